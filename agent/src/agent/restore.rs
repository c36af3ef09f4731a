//! Sessions that a reboot or a reload of an interface has interrupted, and that go on: the bastion hands their keys back.

use wgmfa_core::message::agent::{Deposit, PeerGeneration};
use wgmfa_core::order::{Refusal, restore};
use wgmfa_core::rotation::{Assignment, Contact, Hold};
use wgmfa_wireguard::EndpointRule;

use super::Agent;
use crate::carry_out::{Changes, readd};
use crate::clock;
use crate::crash::crash_point;
use crate::seen::Seen;
use crate::state::Alive;

impl Agent {
    /// The generations that are missing on their peers, for the report.
    pub(super) fn interrupted(&self) -> Vec<PeerGeneration> {
        let peers = self.state.peers.iter();
        let missing =
            peers.filter(|(_, kept)| matches!(kept.held.hold, Hold::Locked { .. })).filter_map(|(peer, kept)| {
                kept.interrupted.map(|which| PeerGeneration { peer: peer.clone(), generation: which.generation })
            });
        missing.collect()
    }

    /// Puts back what the bastion hands back. What cannot be put back is locked, and rotated as ever.
    pub(super) fn take_restored(&mut self, restored: Vec<Deposit>, assignments: &[Assignment], seen: &Seen) {
        let now = clock::now();
        let before = self.state.peers.clone();
        let (mut changes, mut told) = (Changes::new(), Vec::new());
        for Deposit { which, preshared_key } in restored {
            let peer = &which.peer;
            let assignment = assignments.iter().find(|one| one.peer == *peer);
            let (Some(kept), Some(assignment), Some(own)) =
                (self.state.peers.get_mut(peer), assignment, seen.public_key(&peer.interface))
            else {
                continue;
            };
            let fingerprint = preshared_key.fingerprint(&own, &peer.public_key);
            let view = kept.view(now, seen.fingerprint(peer), Contact::Assigned(assignment));
            let deadline = match restore(&view, kept.interrupted, which.generation, fingerprint) {
                Ok(deadline) => deadline,
                Err(Refusal::Stay(why) | Refusal::Lock(why)) => {
                    self.faults.insert(format!("{}: its session was not restored: {why}", assignment.connection));
                    continue;
                }
            };
            (kept.held.hold, kept.held.fingerprint) = (Hold::Open { deadline }, fingerprint);
            (kept.before, kept.interrupted) = (seen.fingerprint(peer), None);
            // until a handshake shows that somebody is there
            kept.alive = Some(Alive { since: now, handshake: None });
            let left = wgmfa_core::interval::left(deadline.since(now).as_secs());
            changes.entry(peer.interface.clone()).or_default().push((peer.public_key, preshared_key));
            told.push((peer.clone(), format!("generation {}, {left}", which.generation)));
        }
        if changes.is_empty() {
            return;
        }
        if let Err(failure) = self.save() {
            self.state.peers = before;
            self.faults.insert(failure.error);
            return;
        }
        crash_point("restoring");
        let not_done = readd(&changes, EndpointRule::Drop);
        crash_point("restored");
        self.faults.extend(not_done.values().cloned());
        told.retain(|(peer, _)| !not_done.contains_key(peer));
        self.made(&told);
        told.iter().for_each(|(peer, _)| _ = self.unproved.insert(peer.clone(), None));
        self.changed("restored", &told);
    }
}
