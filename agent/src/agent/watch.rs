//! Watching for two endpoints that take turns for one peer.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::turns::Turns;
use wgmfa_wireguard::is_same_handshake;

use super::Agent;
use crate::seen::Seen;

/// One peer is spoken of once in this time, in seconds.
const ONCE_IN: u64 = 3600;

/// What is known of each peer's endpoints, since this program was started.
#[derive(Default)]
pub struct Endpoints(BTreeMap<PeerRef, Watched>);

#[derive(Default)]
struct Watched {
    turns: Turns,
    /// The latest handshake, as it was first seen.
    latest: Option<SystemTime>,
    spoken: Option<Boottime>,
}

impl Agent {
    /// Looks where each peer's handshakes come from; two endpoints that take turns are news for the bastion.
    pub(super) fn watch_endpoints(&mut self, seen: &Seen, now: Boottime) {
        self.endpoints.0.retain(|peer, _| seen.peer(peer).is_some());
        for (interface, seen) in &seen.interfaces {
            for peer in &seen.interface.peers {
                let (Some(endpoint), Some(latest)) = (peer.endpoint, peer.latest_handshake) else { continue };
                let at = PeerRef { interface: interface.clone(), public_key: peer.public_key };
                let watched = self.endpoints.0.entry(at.clone()).or_default();
                if !is_same_handshake(watched.latest, Some(latest)) {
                    watched.latest = Some(latest);
                }
                let latest = watched.latest.unwrap_or(latest).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let Some([one, other]) = watched.turns.note(latest, endpoint) else { continue };
                if watched.spoken.is_some_and(|spoken| now.since(spoken).as_secs() < ONCE_IN) {
                    continue;
                }
                watched.spoken = Some(now);
                let reason = format!("two endpoints take turns: {one} and {other}; its private key is in two places");
                self.changes.push(format!("{}: {reason}", self.state.name_of(&at)));
                self.state.happened("two-endpoints", Some(at), &reason, now);
                self.next_round = now;
            }
        }
    }
}
