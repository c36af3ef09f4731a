//! Opening: the generation on a peer is about to be released to a person.

use wgmfa_core::message::agent::PeerGeneration;
use wgmfa_core::order::{self, Opening, Refusal, Term, sent_at_worst};
use wgmfa_core::rotation::{Contact, Hold};
use wgmfa_wireguard::EndpointRule;

use super::Agent;
use crate::carry_out::{Changes, readd};
use crate::clock;
use crate::crash::crash_point;
use crate::seen::Seen;
use crate::state::Alive;

impl Agent {
    /// Arms the deadline of a generation, and adds its peer anew with the same key: that heals a handshake timestamp
    /// that a thief has pushed into the future. In a session that runs only the deadline moves.
    ///
    /// # Errors
    /// Why the peer does not accept the generation, in words.
    pub(super) fn open(&mut self, which: &PeerGeneration, seconds_left: u64) -> Result<(), String> {
        crash_point("open-received");
        let now = clock::now();
        let peer = &which.peer;
        let seen = Seen::one(&self.config, &peer.interface);
        let here = seen.peer(peer).ok_or_else(|| format!("{} has no such peer now", peer.interface))?;
        let observed = seen.fingerprint(peer);
        // the gate opens with the key, or neither does
        let gate_refusal = self.gate_refusal(peer);
        let term = self.term(seconds_left);
        if term.sent < now {
            self.next_round = now; // the answer to a report says what is really left
        }
        let contact = Contact::Lost(self.state.last_contact);
        let kept = self.state.peers.get(peer).ok_or("this server has made no key for that peer")?;
        let opening = order::open(&kept.view(now, observed, contact), which.generation, term);
        let Opening { deadline, fresh } = match opening {
            Ok(opening) => opening,
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        if let Some(why) = gate_refusal {
            return Err(why);
        }
        let kept = self.state.peers.get_mut(peer).expect("it was there just now");
        let before = std::mem::replace(&mut kept.held.hold, Hold::Open { deadline });
        // A login is a sign of life too.
        kept.alive = Some(Alive { since: now, handshake: here.latest_handshake.filter(|_| !fresh) });
        if fresh {
            kept.handshake_before = None;
        }
        if let Err(failure) = self.store.save(&self.state) {
            self.state.peers.entry(peer.clone()).and_modify(|kept| kept.held.hold = before);
            return Err(failure.error);
        }
        let latest_handshake = here.latest_handshake;
        if fresh {
            let key = here.preshared_key.clone().expect("its fingerprint was the one remembered");
            let changes = Changes::from([(peer.interface.clone(), vec![(peer.public_key, key)])]);
            if let Some(why) = readd(&changes, EndpointRule::Drop).remove(peer) {
                self.lock(vec![(peer.clone(), why.clone())], &seen);
                self.want_round();
                return Err(why);
            }
        }
        crash_point("opened");
        if self.state.grants.get(peer).is_some_and(|gated| gated.with_key)
            && let Err(why) = self.keep_gate_for(peer, &seen)
        {
            // nobody gets the key: no session begins, and the gate does not open when it stands again
            self.state.peers.entry(peer.clone()).and_modify(|kept| kept.held.hold = before);
            self.save_or_fault();
            self.want_round();
            return Err(why);
        }
        self.unproved.insert(peer.clone(), latest_handshake.filter(|_| !fresh));
        let what = if fresh { "opened" } else { "prolonged" };
        let left = wgmfa_core::interval::left(deadline.since(now).as_secs());
        self.changed(what, &[(peer.clone(), format!("generation {}, {left}", which.generation))]);
        Ok(())
    }

    /// How long an order that comes now is good for.
    pub(super) fn term(&self, seconds_left: u64) -> Term {
        Term { sent: sent_at_worst(clock::now(), self.connected, self.state.last_contact), seconds_left }
    }

    /// Locks what is past its time; answers with why the order is not followed.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> String {
        match refusal {
            Refusal::Stay(reason) => reason,
            Refusal::Lock(reason) => {
                self.enforce();
                reason
            }
        }
    }
}
