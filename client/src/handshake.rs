//! Waiting until a tunnel has shaken hands with its new key.

use std::time::{Duration, Instant, SystemTime};

use wgmfa_core::key::PublicKey;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::read;

use crate::order::{Handshake, Outcome};

/// How long `--wait` waits: WireGuard tries again every 5 s (REKEY_TIMEOUT), so three tries.
const LONGEST: Duration = Duration::from_secs(15);
/// WireGuard tells nobody of a handshake, so waiting is looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A session lives this long after its handshake (REJECT_AFTER_TIME of the WireGuard paper).
const SESSION: Duration = Duration::from_secs(180);

/// The handshakes that are still to come.
#[derive(Debug)]
pub struct Waiting {
    since: Instant,
    peers: Vec<(String, InterfaceName, PublicKey)>,
}

impl Waiting {
    /// For every key that stands in an interface now.
    pub fn of(outcome: &Outcome) -> Self {
        let peers = outcome.done.iter().map(|done| (done.name(), done.interface.clone(), done.peer));
        Self { since: Instant::now(), peers: peers.collect() }
    }

    /// Looks until all have come, or the time is over. Sends nothing: whoever has applied the keys has begun the handshakes.
    pub fn look(self) -> Vec<Handshake> {
        let mut found: Vec<Handshake> =
            self.peers.iter().map(|(name, ..)| Handshake { name: name.clone(), millis: None }).collect();
        loop {
            for ((_, interface, peer), handshake) in self.peers.iter().zip(&mut found) {
                if handshake.millis.is_none() && is_connected(interface, peer) {
                    handshake.millis = Some(self.since.elapsed().as_millis().try_into().unwrap_or(u64::MAX));
                }
            }
            if found.iter().all(|handshake| handshake.millis.is_some()) || self.since.elapsed() >= LONGEST {
                return found;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A peer that was added again has no handshake until the new key has worked.
fn is_connected(interface: &InterfaceName, peer: &PublicKey) -> bool {
    let Ok(interface) = read(interface) else { return false };
    let latest = interface.peer(peer).and_then(|peer| peer.latest_handshake);
    latest.is_some_and(|latest| SystemTime::now().duration_since(latest).is_ok_and(|age| age < SESSION))
}
