//! What people call peers.

use std::collections::BTreeSet;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::agent::PeerRef;

use super::State;

impl State {
    /// The one peer that people call this: its public key, its connection's name, or a part of that.
    ///
    /// # Errors
    /// None or several are called so.
    pub fn find(&self, text: &str) -> Result<PeerRef, Failure> {
        let peers: BTreeSet<_> = self.peers.keys().chain(self.grants.iter().map(|(peer, _)| peer)).collect();
        let is_exact = |peer: &&PeerRef| self.name_of(peer) == text || peer.public_key.to_string() == text;
        let exact: Vec<_> = peers.iter().copied().filter(is_exact).collect();
        let found = if exact.is_empty() {
            peers.into_iter().filter(|peer| self.name_of(peer).contains(text)).collect()
        } else {
            exact
        };
        match found[..] {
            [one] => Ok(one.clone()),
            [] => Err(Failure::new(Exit::Failed, "no peer under a policy has that name here")
                .hint("wgmfa-agent status lists them")),
            _ => {
                let names: BTreeSet<_> =
                    found.iter().map(|peer| format!("{} ({})", self.name_of(peer), peer.interface)).collect();
                let names: Vec<_> = names.into_iter().collect();
                Err(Failure::new(Exit::Failed, format!("several peers have that name: {}", names.join(", ")))
                    .hint("write more of it"))
            }
        }
    }

    /// Whether a peer is held back by the firewall alone: no key opens it.
    pub fn is_by_firewall_alone(&self, peer: &PeerRef) -> bool {
        self.grants.get(peer).is_some_and(|gated| !gated.with_key)
    }

    /// What people call a peer: its connection's name, or interface and public key.
    pub fn name_of(&self, peer: &PeerRef) -> String {
        let by_key = self.peers.get(peer).map(|kept| &kept.connection);
        let by_gate = self.grants.get(peer).map(|gated| &gated.connection);
        let name = by_key.into_iter().chain(by_gate).find(|name| !name.is_empty());
        name.cloned().unwrap_or_else(|| format!("{} peer {}", peer.interface, peer.public_key))
    }
}
