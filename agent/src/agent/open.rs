//! Opening: the generation on a peer is about to be released to a person.

use wgmfa_core::boottime::Boottime;
use wgmfa_core::message::agent::PeerGeneration;
use wgmfa_core::rotation::{Action, Contact, Hold, plan};
use wgmfa_wireguard::EndpointRule;

use super::Agent;
use crate::carry_out::{Changes, readd};
use crate::clock;
use crate::crash::crash_point;
use crate::seen::Seen;
use crate::state::Alive;

/// An order that comes this long after the bastion was last heard may have been long on its way, in seconds: a resident
/// agent hears an answer to its ping every ten.
const LATE: u64 = 15;

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
        let refusal = self.gate_refusal(peer);
        let kept = self.state.peers.get_mut(peer).ok_or("this server has made no key for that peer")?;
        if kept.held.generation != which.generation {
            return Err(format!("this server holds generation {}", kept.held.generation));
        }
        if let Some(why) = refusal {
            return Err(why);
        }
        let first = plan(&kept.view(now, observed, Contact::Lost(self.state.last_contact))).into_iter().next();
        if let Some(Action::Lock { reason }) = first {
            self.enforce();
            return Err(reason);
        }
        let sent = sent_at_worst(now, self.connected, self.state.last_contact);
        if sent < now {
            self.next_round = now; // the answer to a report says what is really left
        }
        let told = sent.plus_seconds(seconds_left);
        if told <= now {
            return Err("the order came too late".to_owned());
        }
        let (deadline, fresh) = match &kept.held.hold {
            Hold::Waiting { .. } => (told, true),
            Hold::Open { deadline } => (told.max(*deadline), false),
            Hold::Override { .. } => return Err("opened by root on this host".to_owned()),
            Hold::Locked { reason } => return Err(format!("locked: {reason}")),
        };
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
            self.want_round();
            return Err(why);
        }
        self.unproved.insert(peer.clone(), latest_handshake.filter(|_| !fresh));
        let what = if fresh { "opened" } else { "prolonged" };
        let left = wgmfa_core::interval::left(deadline.since(now).as_secs());
        self.changed(what, &[(peer.clone(), format!("generation {}, {left}", which.generation))]);
        Ok(())
    }
}

/// When an order that comes now was sent at worst, so that a line that stood still or a machine that was suspended
/// prolongs no session. If that was too early, the next report's answer says so.
pub(super) fn sent_at_worst(now: Boottime, connected: Boottime, last_contact: Option<Boottime>) -> Boottime {
    let heard = last_contact.map_or(connected, |contact| contact.max(connected));
    if now.since(heard).as_secs() < LATE { now } else { heard }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_long_on_its_way_prolongs_nothing() {
        let at = |seconds: u64| Boottime::from_millis(seconds * 1000);
        assert_eq!(sent_at_worst(at(100), at(1), Some(at(90))), at(100));
        assert_eq!(
            sent_at_worst(at(100), at(99), Some(at(2))),
            at(100),
            "the connection is younger than the order can be"
        );
        assert_eq!(sent_at_worst(at(3000), at(1), Some(at(90))), at(90), "suspended while it was on its way");
        assert_eq!(sent_at_worst(at(3000), at(1), None), at(1));
    }
}
