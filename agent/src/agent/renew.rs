//! Renewing: a session that runs changes to its next generation in place, and no packet is lost.

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::{Fingerprint, PresharedKey};
use wgmfa_core::message::agent::{Deposit, PeerGeneration, PeerRef};
use wgmfa_core::order;
use wgmfa_core::rotation::{Contact, Hold, View};

use super::Agent;
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
        let made = self.next.get(peer).map(|next| next.generation);
        let next = order::next_generation(&self.peer_view(peer, &seen)?, above, made);
        let generation = next.map_err(|refusal| self.refuse(refusal))?;
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
        let seen = Seen::one(&self.config, &peer.interface);
        let made = self.next.get(peer).map(|next| next.generation);
        let until = order::change(&self.peer_view(peer, &seen)?, made, which.generation, self.term(seconds_left));
        let is_it = made == Some(which.generation);
        let next = if is_it { self.next.remove(peer) } else { None };
        let deadline = until.map_err(|refusal| self.refuse(refusal))?;
        let next = next.expect("it is the one that was made");
        let own = seen.public_key(&peer.interface).ok_or("the interface is gone")?;
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

    /// A peer as the plan sees it, by what this host alone knows.
    fn peer_view(&self, peer: &PeerRef, seen: &Seen) -> Result<View<'_>, String> {
        let observed = seen.peer(peer).map(|_| seen.fingerprint(peer));
        let observed = observed.ok_or_else(|| format!("{} has no such peer now", peer.interface))?;
        let kept = self.state.peers.get(peer).ok_or("this server has made no key for that peer")?;
        Ok(kept.view(clock::now(), observed, Contact::Lost(self.state.last_contact)))
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
