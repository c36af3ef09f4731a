//! Locking: a lock key on a peer that is removed and added again, so that no session outlives it.

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::order::{Interrupted, interrupted};
use wgmfa_core::rotation::{Contact, Held, Hold};
use wgmfa_wireguard::EndpointRule;

use super::Agent;
use crate::carry_out::{Changes, NotDone, random_key, readd, ready_to_readd};
use crate::clock;
use crate::crash::crash_point;
use crate::files::file_fingerprint;
use crate::seen::Seen;
use crate::state::Kept;

impl Agent {
    /// Locks peers that stand on `seen`. What could not be done comes back, and is a fault of the round.
    pub(super) fn lock(&mut self, due: Vec<(PeerRef, String)>, seen: &Seen) -> NotDone {
        self.lock_at(clock::now(), due, seen)
    }

    /// The same at a moment that is near: everything is made ready before it.
    pub(super) fn lock_at(&mut self, moment: Boottime, due: Vec<(PeerRef, String)>, seen: &Seen) -> NotDone {
        let now = clock::now();
        // of two servers each must know where the other one is, or they never meet again
        let (mut changes, mut of_pairs) = (Changes::new(), Changes::new());
        for (peer, reason) in &due {
            let Some(own) = seen.public_key(&peer.interface) else { continue };
            self.note_foreign_key(peer, seen, now);
            let is_idle = self.note_idle(peer, reason, seen, now);
            let interrupted = self.interrupted_at(peer, seen, now);
            if is_idle || interrupted.is_some() {
                self.overtake(peer); // the bastion has not been told why, and may hand the key back
            }
            let key = random_key();
            let name = self.leave_pair(peer);
            let changes = if name.is_some() { &mut of_pairs } else { &mut changes };
            let kept = self.hold_locked(peer, reason);
            kept.connection = name.unwrap_or_else(|| std::mem::take(&mut kept.connection));
            kept.held.fingerprint = key.fingerprint(&own, &peer.public_key);
            (kept.before, kept.interrupted) = (seen.fingerprint(peer), interrupted);
            changes.entry(peer.interface.clone()).or_default().push((peer.public_key, key));
        }
        // A full disk keeps nobody in: what is remembered then does not match, and the peer is locked again.
        if let Err(failure) = self.save() {
            self.faults.insert(failure.error);
        }
        crash_point("ready");
        // what stands there is looked at just before it is changed: nobody's removed peer is to come back
        let not_done = if of_pairs.is_empty() && changes.len() == 1 {
            clock::wait_until(moment.before(self.look_takes));
            let ready = ready_to_readd(&changes, EndpointRule::Drop);
            clock::wait_until(moment);
            ready.carry_out()
        } else {
            clock::wait_until(moment);
            let mut not_done = readd(&changes, EndpointRule::Drop);
            not_done.extend(readd(&of_pairs, EndpointRule::Keep));
            not_done
        };
        crash_point("locked");
        self.faults.extend(not_done.values().cloned());
        let done: Vec<_> = due.into_iter().filter(|(peer, _)| !not_done.contains_key(peer)).collect();
        self.made(&done);
        self.changed("locked", &done);
        not_done
    }

    /// Locks one peer because the bastion says so. One that has left its interface is cut off already, and comes back
    /// locked.
    ///
    /// # Errors
    /// Why it is not locked now, in words.
    pub(super) fn lock_ordered(&mut self, peer: &PeerRef, reason: &str) -> Result<(), String> {
        let seen = Seen::one(&self.config, &peer.interface);
        if seen.peer(peer).is_none() {
            if self.leave_pair(peer).is_some() || self.state.peers.contains_key(peer) {
                self.lock_unseen(peer, reason);
                self.save().map_err(|failure| failure.error)?;
            }
            let is_read = seen.public_key(&peer.interface).is_some();
            let unread = || format!("{} cannot be read now; its peer is locked when it comes back", peer.interface);
            return if is_read { Ok(()) } else { Err(unread()) };
        }
        // of what stands on the interface nobody says that it is no generation, so only a file's key is kept
        self.remember_configured(std::iter::once((peer, false)), &seen);
        let mut not_done = self.lock(vec![(peer.clone(), reason.to_owned())], &seen);
        self.want_round();
        not_done.remove(peer).map_or(Ok(()), Err)
    }

    /// Remembers a peer that is not there as locked: whatever key it comes back with is not the one remembered.
    pub(super) fn lock_unseen(&mut self, peer: &PeerRef, reason: &str) {
        let nobodys = PublicKey::from_bytes([0; 32]);
        self.hold_locked(peer, reason).held.fingerprint = random_key().fingerprint(&nobodys, &peer.public_key);
    }

    /// Remembers a peer as locked; the caller gives the fingerprint.
    fn hold_locked(&mut self, peer: &PeerRef, reason: &str) -> &mut Kept {
        let nobodys = PublicKey::from_bytes([0; 32]);
        let hold = Hold::Locked { reason: reason.to_owned() };
        let kept = self.state.peers.entry(peer.clone()).or_insert_with(|| {
            let fingerprint = random_key().fingerprint(&nobodys, &peer.public_key);
            Kept::new(Held { generation: 0, fingerprint, hold: hold.clone(), rotation_interval: 0 })
        });
        (kept.held.hold, kept.same_boot, kept.handshake_before, kept.interrupted) = (hold, true, None, None);
        self.unproved.remove(peer);
        kept
    }

    /// Whether a lock has interrupted a session that may go on.
    pub(super) fn is_interrupted(&self, peer: &PeerRef) -> bool {
        self.state.peers.get(peer).is_some_and(|kept| kept.interrupted.is_some())
    }

    /// The generation whose session a lock interrupts and does not end.
    fn interrupted_at(&self, peer: &PeerRef, seen: &Seen, now: Boottime) -> Option<Interrupted> {
        let kept = self.state.peers.get(peer)?;
        let observed = seen.fingerprint(peer);
        let from_agent = kept.before.is_some() && kept.before == observed;
        let own = observed != Some(kept.held.fingerprint) && (from_agent || is_from_file(kept, peer, seen));
        let view = kept.view(now, observed, Contact::Lost(self.state.last_contact));
        interrupted(&view, own, kept.interrupted)
    }

    /// The bastion learns that a session was over before its deadline, if it was.
    fn note_idle(&mut self, peer: &PeerRef, reason: &str, seen: &Seen, now: Boottime) -> bool {
        let Some(kept) = self.state.peers.get(peer).filter(|kept| kept.same_boot) else { return false };
        let view = kept.view(now, seen.fingerprint(peer), Contact::Lost(self.state.last_contact));
        let is_idle = view.idled().as_deref() == Some(reason);
        if is_idle {
            self.state.idled(peer, kept.held.generation, reason.to_owned(), now);
        }
        is_idle
    }

    /// A key that neither the agent nor the interface's own file has put there is news for the bastion's audit log.
    fn note_foreign_key(&mut self, peer: &PeerRef, seen: &Seen, now: Boottime) {
        let Some(kept) = self.state.peers.get(peer).filter(|kept| kept.same_boot) else { return };
        let observed = seen.fingerprint(peer);
        // A crash between remembering a change and making it leaves what stood there before.
        let is_own = observed == Some(kept.held.fingerprint) || kept.before.is_some() && observed == kept.before;
        if is_own || is_from_file(kept, peer, seen) {
            return;
        }
        let reason =
            if observed.is_some() { "another preshared key was set" } else { "the preshared key was taken out" };
        self.state.happened("changed-outside", Some(peer.clone()), reason, now);
    }
}

/// Whether the lock key of the interface's own file stands on a peer.
fn is_from_file(kept: &Kept, peer: &PeerRef, seen: &Seen) -> bool {
    let key = seen.peer(peer).and_then(|peer| peer.preshared_key.as_ref());
    key.is_some_and(|key| kept.file_key == Some(file_fingerprint(key, peer)))
}
