//! What stands on this host's interfaces, as the bastion hears it.

use std::time::SystemTime;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::inventory;
use wgmfa_core::key::Fingerprint;
use wgmfa_core::message::agent::{FromAgent, HandshakeAge, LocalEvent, PeerGeneration, PeerRef};
use wgmfa_core::rotation::{Held, Hold};
use wgmfa_wireguard::is_same_handshake;

use super::Agent;
use crate::pairs::holds;
use crate::seen::{Seen, SeenInterface};

/// Rounds closer together than this say nothing about when the next one comes, in seconds.
const SHORTEST_PERIOD: u64 = 20;

impl Agent {
    /// The report on what was seen.
    pub(super) fn report(
        &mut self,
        seen: &Seen,
        events: Vec<LocalEvent>,
        interrupted: Vec<PeerGeneration>,
        now: Boottime,
    ) -> FromAgent {
        if let Some(last) = &self.state.last_round {
            let gap = now.since(last.at).as_secs();
            if gap >= SHORTEST_PERIOD {
                self.state.period = Some(gap);
            }
        }
        FromAgent::Report {
            interfaces: seen.interfaces.values().map(|seen| self.interface(seen, now)).collect(),
            handshake_ages: self.handshake_ages(seen),
            next_in_seconds: self.state.period.filter(|_| !self.resident),
            events,
            log_head: self.state.log_head.clone(),
            highest: self.highest(),
            stood_down: self.state.stood_down,
            holds: holds(&self.pairs),
            open: self.gate.put_up.open_tiers().into_iter().collect(),
            interrupted,
        }
    }

    fn interface(&self, seen: &SeenInterface, now: Boottime) -> inventory::Interface {
        let interface = &seen.interface;
        let peer = |peer: &wgmfa_wireguard::Peer| {
            let here = PeerRef { interface: interface.name.clone(), public_key: peer.public_key };
            let key = peer.preshared_key.as_ref();
            let fingerprint = key.map(|key| key.fingerprint(&interface.public_key, &peer.public_key));
            let held = self.state.peers.get(&here).map(|kept| &kept.held);
            inventory::Peer {
                public_key: peer.public_key,
                allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
                has_preshared_key: key.is_some(),
                fingerprint,
                latest_handshake: None,
                handshake_with_this_key: false,
                opened_by_root_for: held
                    .and_then(|held| opened_by_root(held, now))
                    .or_else(|| self.state.grants.get(&here)?.opened_by_root_for(now)),
                opened_by_root_until: None,
                kept_locked: false,
                generation: held.filter(|held| accepts(held, fingerprint)).map(|held| held.generation),
                rotated_at: None,
                released_at: None,
                deadline: None,
            }
        };
        inventory::Interface {
            name: interface.name.clone(),
            public_key: interface.public_key,
            listen_port: interface.listen_port,
            peers: interface.peers.iter().map(peer).collect(),
        }
    }

    fn handshake_ages(&self, seen: &Seen) -> Vec<HandshakeAge> {
        // WireGuard tells the time of day of a handshake; a clock that was set back makes it look like now.
        let wall = SystemTime::now();
        let mut ages = Vec::new();
        for (interface, seen) in &seen.interfaces {
            for peer in &seen.interface.peers {
                let Some(at) = peer.latest_handshake else { continue };
                let peer = PeerRef { interface: interface.clone(), public_key: peer.public_key };
                let kept = self.state.peers.get(&peer);
                let before_change = kept.is_some_and(|kept| is_same_handshake(kept.handshake_before, Some(at)));
                let seconds = wall.duration_since(at).unwrap_or_default().as_secs();
                ages.push(HandshakeAge { peer, seconds, before_change });
            }
        }
        ages
    }
}

/// Whether the key that was seen is the generation that is remembered.
fn accepts(held: &Held, seen: Option<Fingerprint>) -> bool {
    matches!(held.hold, Hold::Waiting { .. } | Hold::Open { .. }) && seen == Some(held.fingerprint)
}

/// For how many seconds more root has opened a peer.
fn opened_by_root(held: &Held, now: Boottime) -> Option<u64> {
    match held.hold {
        Hold::Override { deadline } => Some(deadline.since(now).as_secs()),
        _ => None,
    }
}
