//! Putting preshared keys on peers that are there.

use std::collections::BTreeMap;

use rand::Rng as _;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{EndpointRule, Error, readd as readd_peers};

/// Which key each peer is to get, by interface.
pub type Changes = BTreeMap<InterfaceName, Vec<(PublicKey, PresharedKey)>>;

/// A peer that does not have its new key, and why.
pub type NotDone = BTreeMap<PeerRef, String>;

/// 32 bytes from the system's random number generator.
pub fn random_key() -> PresharedKey {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    PresharedKey::from_bytes(*bytes).expect("256 random bits are not all zero")
}

/// Removes peers and adds them again with a new key, in one update per interface, and reads back.
///
/// The others of an interface get their keys also when one has gone.
pub fn readd(changes: &Changes, endpoint: EndpointRule) -> NotDone {
    let mut not_done = NotDone::new();
    for (interface, wanted) in changes {
        let mut wanted = wanted.clone();
        loop {
            let error = match readd_peers(interface, &wanted, endpoint) {
                Ok(()) => break,
                Err(error) => error,
            };
            let (peers, try_again) = match &error {
                Error::UnknownPeers(_, peers) => (peers.clone(), true),
                Error::NotTaken(_, peers) => (peers.clone(), false),
                _ => (wanted.iter().map(|(peer, _)| *peer).collect(), false),
            };
            let before = wanted.len();
            wanted.retain(|(peer, _)| !peers.contains(peer));
            for public_key in peers {
                not_done.insert(PeerRef { interface: interface.clone(), public_key }, error.to_string());
            }
            if !try_again || wanted.is_empty() || wanted.len() == before {
                break;
            }
        }
    }
    not_done
}
