//! What a change says to an interface, cut into requests that each happen whole or not at all.
//!
//! A peer that is removed and added again must stand in one request with both halves: a process killed between two
//! requests then leaves every peer either as it was or as it should be.

use std::net::SocketAddr;

use wgmfa_core::key::{PresharedKey, PublicKey};

use crate::{AllowedIp, Peer};

/// A peer as it was, and what becomes of it.
pub(crate) struct Wanted<'a> {
    pub before: &'a Peer,
    pub preshared_key: &'a PresharedKey,
    pub endpoint: Option<SocketAddr>,
}

/// How peers are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The preshared key alone.
    InPlace,
    /// Removed and added again in one request.
    Together,
    /// Removed in one request and added again in the next, one peer at a time: boringtun (0.6, 0.7) panics when it is told
    /// to change a peer, and carries `remove` over to every later peer of the same request.
    Apart,
}

/// One section about one peer in a request.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Change the preshared key of a peer that exists.
    Set(&'a Wanted<'a>),
    Remove(&'a PublicKey),
    Add(&'a Wanted<'a>, &'a [AllowedIp]),
    /// Give a peer more allowed IPs.
    Allow(&'a PublicKey, &'a [AllowedIp]),
    /// Switch the persistent keepalive of a peer that exists: seconds, or 0 for off.
    Keepalive(&'a PublicKey, u16),
}

/// What one request may hold.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub bytes: usize,
    /// A peer with more allowed IPs gets the rest in further requests.
    pub allowed_ips: usize,
}

/// The steps of a change, grouped by what must not be torn apart.
fn groups<'a>(wanted: &'a [Wanted<'a>], way: Way, allowed_ips: usize) -> Vec<Vec<Step<'a>>> {
    let mut groups = Vec::new();
    for one in wanted {
        let public_key = &one.before.public_key;
        let (first, rest) = one.before.allowed_ips.split_at(one.before.allowed_ips.len().min(allowed_ips));
        match way {
            Way::InPlace => {
                groups.push(vec![Step::Set(one)]);
                continue;
            }
            Way::Together => groups.push(vec![Step::Remove(public_key), Step::Add(one, first)]),
            Way::Apart => groups.extend([vec![Step::Remove(public_key)], vec![Step::Add(one, first)]]),
        }
        groups.extend(rest.chunks(allowed_ips).map(|more| vec![Step::Allow(public_key, more)]));
    }
    groups
}

/// The requests of a change: as many groups in each as fit, `size` bytes a step.
pub(crate) fn requests<'a>(
    wanted: &'a [Wanted<'a>],
    way: Way,
    limits: Limits,
    size: impl Fn(&Step<'_>) -> usize,
) -> Vec<Vec<Step<'a>>> {
    let limit = if way == Way::Apart { 0 } else { limits.bytes };
    packed(groups(wanted, way, limits.allowed_ips), limit, size)
}

/// The requests that have peers without a persistent keepalive called: it is switched on, which sends a packet at once,
/// and in the same request off again.
pub(crate) fn calls<'a>(
    peers: &[&'a PublicKey],
    limits: Limits,
    size: impl Fn(&Step<'_>) -> usize,
) -> Vec<Vec<Step<'a>>> {
    let call = |peer: &&'a PublicKey| vec![Step::Keepalive(peer, LONGEST_KEEPALIVE), Step::Keepalive(peer, 0)];
    packed(peers.iter().map(call).collect(), limits.bytes, size)
}

/// The longest keepalive that there is, in seconds: the one that would send the least if it stayed.
const LONGEST_KEEPALIVE: u16 = u16::MAX;

fn packed<'a>(groups: Vec<Vec<Step<'a>>>, limit: usize, size: impl Fn(&Step<'_>) -> usize) -> Vec<Vec<Step<'a>>> {
    let mut requests: Vec<Vec<Step<'a>>> = Vec::new();
    let mut left = 0;
    for group in groups {
        let bytes: usize = group.iter().map(&size).sum();
        match requests.last_mut().filter(|_| bytes <= left) {
            Some(request) => {
                request.extend(group);
                left -= bytes;
            }
            None => {
                requests.push(group);
                left = limit.saturating_sub(bytes);
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8, allowed_ips: usize) -> Peer {
        Peer {
            public_key: PublicKey::from_bytes([number; 32]),
            preshared_key: None,
            endpoint: None,
            allowed_ips: vec![AllowedIp { address: [10, 0, 0, 1].into(), prefix_length: 32 }; allowed_ips],
            persistent_keepalive: None,
            latest_handshake: None,
            received: 0,
            sent: 0,
        }
    }

    fn shape(requests: &[Vec<Step<'_>>]) -> Vec<String> {
        let letter = |step: &Step<'_>| match step {
            Step::Set(_) => "set".to_owned(),
            Step::Remove(_) => "remove".to_owned(),
            Step::Add(_, ips) => format!("add{}", ips.len()),
            Step::Allow(_, ips) => format!("allow{}", ips.len()),
            Step::Keepalive(_, 0) => "off".to_owned(),
            Step::Keepalive(..) => "on".to_owned(),
        };
        requests.iter().map(|request| request.iter().map(letter).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_peer_is_never_removed_in_one_request_and_added_in_the_next_unless_the_daemon_needs_it() {
        let peers = [peer(1, 1), peer(2, 400), peer(3, 0)];
        let key = PresharedKey::from_bytes([9; 32]).unwrap();
        let wanted: Vec<_> =
            peers.iter().map(|before| Wanted { before, preshared_key: &key, endpoint: None }).collect();
        let ten = |_: &Step<'_>| 10;
        assert_eq!(
            shape(&requests(&wanted, Way::InPlace, Limits { bytes: 20, allowed_ips: 150 }, ten)),
            ["set set", "set"]
        );
        for limit in 0..100 {
            for request in requests(&wanted, Way::Together, Limits { bytes: limit, allowed_ips: 150 }, ten) {
                let removed = request.iter().filter(|step| matches!(step, Step::Remove(_))).count();
                let added = request.iter().filter(|step| matches!(step, Step::Add(..))).count();
                assert_eq!(removed, added, "limit {limit}");
                assert!(request.len() * 10 <= limit.max(20), "limit {limit}");
            }
        }
        assert_eq!(
            shape(&requests(&wanted, Way::Together, Limits { bytes: 1000, allowed_ips: 150 }, ten)),
            ["remove add1 remove add150 allow150 allow100 remove add0"]
        );
        assert_eq!(
            shape(&requests(&wanted, Way::Apart, Limits { bytes: 1000, allowed_ips: 150 }, ten)),
            ["remove", "add1", "remove", "add150", "allow150", "allow100", "remove", "add0"]
        );
    }

    #[test]
    fn a_keepalive_is_never_switched_on_in_one_request_and_off_in_the_next() {
        let keys = [1, 2, 3].map(|number| PublicKey::from_bytes([number; 32]));
        let keys: Vec<&PublicKey> = keys.iter().collect();
        let limits = |bytes| Limits { bytes, allowed_ips: 150 };
        assert_eq!(shape(&calls(&keys, limits(40), |_| 10)), ["on off on off", "on off"]);
        assert_eq!(shape(&calls(&keys, limits(0), |_| 10)), ["on off", "on off", "on off"]);
        assert!(calls(&[], limits(40), |_| 10).is_empty());
    }
}
