//! What the ends of a connection say of its key.

use jiff::Timestamp;
use wgmfa_core::inventory::Peer;
use wgmfa_core::state::{Handshake, Reported};

use crate::store::Generation;

/// The latest handshake with a peer.
pub fn handshake(peer: &Peer) -> Option<Handshake> {
    Some(Handshake { at: peer.latest_handshake?, with_this_key: peer.handshake_with_this_key })
}

/// Ages of handshakes are whole seconds, and take time to arrive.
const ROUNDING: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

/// A handshake after this was made with a generation.
pub fn proved_after(current: &Generation) -> Option<Timestamp> {
    let applied = current.applied_at?;
    // a change in place leaves the latest handshake as it was
    Some(if current.in_place { applied + ROUNDING } else { applied })
}

/// What the client of a device says about the key that it has put into its interface.
pub fn read_back(current: Option<&Generation>) -> Reported {
    let fingerprint = current.and_then(|current| current.client_fingerprint.filter(|it| *it == current.fingerprint));
    fingerprint.map_or(Reported::Nothing, Reported::Key)
}

/// What an end says of its key, as its host last reported it.
pub fn reported(peer: Option<&Peer>) -> Reported {
    match peer {
        Some(peer) if !peer.has_preshared_key => Reported::NoKey,
        Some(Peer { fingerprint: Some(fingerprint), .. }) => Reported::Key(*fingerprint),
        _ => Reported::Nothing,
    }
}
