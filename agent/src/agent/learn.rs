//! What the agent learns of the peers that the bastion names: what was configured before, names, policies.

use std::collections::{BTreeSet, HashSet};

use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::rotation::{Assignment, Hold};

use super::Agent;
use crate::files;
use crate::seen::Seen;

impl Agent {
    /// Keeps the key of a peer that wgmfa takes over now, for `stand-down`.
    pub(super) fn remember_configured<'a>(&mut self, named: impl Iterator<Item = (&'a PeerRef, bool)>, seen: &Seen) {
        let known = |peer| self.state.peers.contains_key(peer) || self.pairs.contains_key(peer);
        let new: Vec<_> = named.filter(|(peer, _)| !known(*peer) && seen.peer(peer).is_some()).collect();
        if new.is_empty() {
            return;
        }
        let mut from_files = files::configured(&self.config, new.iter().map(|(peer, _)| *peer));
        let stored = self.store.configured_keys().and_then(|mut keys| {
            for (peer, is_untouched) in new {
                if keys.contains_key(peer) {
                    continue;
                }
                match from_files.remove(peer) {
                    Some(key) => _ = keys.insert(peer.clone(), key),
                    // Once there were generations, the key on the interface may be one of them: never to be written down.
                    None if !is_untouched => {}
                    None => {
                        let key = seen.peer(peer).and_then(|peer| peer.preshared_key.clone());
                        keys.insert(peer.clone(), key);
                    }
                }
            }
            self.store.save_configured_keys(&keys)
        });
        if let Err(failure) = stored {
            self.faults.insert(failure.error);
        }
    }

    /// Of peers that the bastion does not name any more, no policy is known.
    pub(super) fn forget_policies(&mut self, assignments: &[Assignment], overtaken: &BTreeSet<PeerRef>) {
        let named: HashSet<_> = assignments.iter().map(|one| &one.peer).chain(overtaken).collect();
        let others = self.state.peers.iter_mut().filter(|(peer, _)| !named.contains(peer));
        others.for_each(|(_, kept)| kept.policy = None);
    }

    /// Takes over the names and policies that people know.
    pub(super) fn learn(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            if let Some(kept) = self.state.peers.get_mut(&assignment.peer) {
                kept.connection.clone_from(&assignment.connection);
                kept.policy.clone_from(&assignment.policy);
                // A release is good for the interval that is in force then, not for the one of when the key was made.
                if assignment.policy.is_some() && matches!(kept.held.hold, Hold::Waiting { .. }) {
                    kept.held.rotation_interval = assignment.rotation_interval;
                }
                // A session goes on as it began.
                if !matches!(kept.held.hold, Hold::Open { .. }) {
                    kept.idle_timeout = assignment.idle_timeout;
                }
            }
        }
    }
}
