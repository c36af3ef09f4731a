//! Renewing: a session that runs changes to its next generation in place, and no packet is lost.

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::{Fingerprint, PresharedKey};
use wgmfa_core::message::agent::{Deposit, PeerGeneration, PeerRef};
use wgmfa_core::rotation::{Action, Contact, Hold, plan};

use super::Agent;
use super::open::sent_at_worst;
use crate::carry_out::{Changes, change_in_place, random_key};
use crate::clock;
use crate::crash::crash_point;
use crate::seen::Seen;

/// A generation that was handed to the bastion, and that no interface has yet. It is nowhere but in memory: after a
/// restart the session goes on with the generation that it has.
pub(super) struct Next {
    generation: u64,
    key: PresharedKey,
}

impl Agent {
    /// Makes the generation that follows in a session that runs.
    ///
    /// # Errors
    /// Why there is none to follow, in words.
    pub(super) fn make_next(&mut self, peer: &PeerRef, above: u64) -> Result<Deposit, String> {
        let seen = Seen::one(&self.config, &peer.interface);
        self.running(peer, &seen)?;
        // one that was made for another login must not change under its number
        let made = self.next.get(peer).map_or(0, |next| next.generation);
        let highest = self.state.peers[peer].held.generation.max(above).max(made);
        let generation = highest.checked_add(1).ok_or("there is no higher generation")?;
        let key = random_key();
        self.next.insert(peer.clone(), Next { generation, key: key.clone() });
        Ok(Deposit { which: PeerGeneration { peer: peer.clone(), generation }, preshared_key: key })
    }

    /// Changes to the next generation: the bastion has it on disk, and the client has it too. From now on the server
    /// accepts no other; what the client does before it hears of that is done with the session that runs.
    ///
    /// # Errors
    /// Why the peer goes on with the generation that it has, in words.
    pub(super) fn change_to(&mut self, which: &PeerGeneration, seconds_left: u64) -> Result<(), String> {
        crash_point("change-received");
        let (now, peer) = (clock::now(), &which.peer);
        let is_it = self.next.get(peer).is_some_and(|next| next.generation == which.generation);
        let next = if is_it { self.next.remove(peer) } else { None };
        let next =
            next.ok_or("this server has not made that generation, or another one since, or was started again")?;
        let seen = Seen::one(&self.config, &peer.interface);
        let deadline = self.running(peer, &seen)?;
        let own = seen.public_key(&peer.interface).ok_or("the interface is gone")?;
        let told = sent_at_worst(now, self.connected, self.state.last_contact).plus_seconds(seconds_left);
        if told <= now {
            return Err("the order came too late".to_owned());
        }
        let deadline = told.max(deadline);
        let fingerprint = next.key.fingerprint(&own, &peer.public_key);
        let before = self.hold_renewed(which, fingerprint, deadline)?;
        crash_point("change-saved");
        let changes = Changes::from([(peer.interface.clone(), vec![(peer.public_key, next.key)])]);
        if let Some(why) = change_in_place(&changes).remove(peer) {
            self.restore(peer, before);
            self.enforce();
            return Err(why);
        }
        crash_point("changed");
        self.overtake(peer);
        let line = format!("generation {}, {}", which.generation, left(deadline, now));
        self.made(&[(peer.clone(), String::new())]);
        let handshake_before = seen.peer(peer).and_then(|peer| peer.latest_handshake);
        self.state.peers.entry(peer.clone()).and_modify(|kept| kept.handshake_before = handshake_before);
        self.unproved.insert(peer.clone(), handshake_before);
        self.changed("renewed", &[(peer.clone(), line)]);
        self.want_round();
        Ok(())
    }

    /// The deadline of the session that runs on a peer.
    fn running(&mut self, peer: &PeerRef, seen: &Seen) -> Result<Boottime, String> {
        let observed = seen.peer(peer).map(|_| seen.fingerprint(peer));
        let observed = observed.ok_or_else(|| format!("{} has no such peer now", peer.interface))?;
        let kept = self.state.peers.get(peer).ok_or("this server has made no key for that peer")?;
        let contact = Contact::Lost(self.state.last_contact);
        if let Some(Action::Lock { reason }) = plan(&kept.view(clock::now(), observed, contact)).into_iter().next() {
            self.enforce();
            return Err(reason);
        }
        match &kept.held.hold {
            Hold::Open { deadline } => Ok(*deadline),
            Hold::Waiting { .. } => Err("no session runs there".to_owned()),
            Hold::Override { .. } => Err("opened by root on this host".to_owned()),
            Hold::Locked { reason } => Err(format!("locked: {reason}")),
        }
    }

    /// Remembers the change before it is made; gives what was remembered before.
    fn hold_renewed(
        &mut self,
        which: &PeerGeneration,
        fingerprint: Fingerprint,
        deadline: Boottime,
    ) -> Result<crate::state::Kept, String> {
        let kept = self.state.peers.get_mut(&which.peer).ok_or("this server has made no key for that peer")?;
        let before = kept.clone();
        kept.before = Some(kept.held.fingerprint);
        (kept.held.generation, kept.held.fingerprint) = (which.generation, fingerprint);
        kept.held.hold = Hold::Open { deadline };
        if let Err(failure) = self.save() {
            self.restore(&which.peer, before);
            return Err(failure.error);
        }
        Ok(before)
    }

    fn restore(&mut self, peer: &PeerRef, before: crate::state::Kept) {
        self.state.peers.insert(peer.clone(), before);
        if let Err(failure) = self.save() {
            self.faults.insert(failure.error);
        }
    }
}

/// What is left until then, in words.
fn left(deadline: Boottime, now: Boottime) -> String {
    wgmfa_core::interval::left(deadline.since(now).as_secs())
}
