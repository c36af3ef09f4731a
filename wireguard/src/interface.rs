//! Reading: which interfaces there are, and what stands on one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::net::if_::if_nametoindex;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;

use crate::{Error, kernel, userspace};

/// A WireGuard interface as it is now, without its private key.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Its name.
    pub name: InterfaceName,
    /// Its public key.
    pub public_key: PublicKey,
    /// The UDP port on which it listens.
    pub listen_port: Option<u16>,
    /// Its peers, each public key once.
    pub peers: Vec<Peer>,
}

impl Interface {
    /// The peer with this public key.
    pub fn peer(&self, public_key: &PublicKey) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.public_key == *public_key)
    }
}

/// A peer of an interface. Words and meaning as in `wg(8)`, `wg show`.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its public key.
    pub public_key: PublicKey,
    /// The preshared key; none when it is all zero, which WireGuard takes for "no preshared key".
    pub preshared_key: Option<PresharedKey>,
    /// Where its packets came from last, or where it is expected.
    pub endpoint: Option<SocketAddr>,
    /// Allowed IPs, in the order in which the interface names them.
    pub allowed_ips: Vec<AllowedIp>,
    /// Persistent keepalive in seconds; none: off.
    pub persistent_keepalive: Option<u16>,
    /// When the latest handshake was; none: there was none since the peer was added.
    pub latest_handshake: Option<SystemTime>,
    /// Bytes received since the peer was added.
    pub received: u64,
    /// Bytes sent since the peer was added.
    pub sent: u64,
}

/// Whether the latest handshake is still the one that was seen before. boringtun tells no more than how many seconds ago it
/// was: a moment that was made from that has whole seconds, and differs by up to two of them from look to look.
pub fn is_same_handshake(before: Option<SystemTime>, now: Option<SystemTime>) -> bool {
    let (Some(one), Some(other)) = (before, now) else { return before == now };
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    let is_made_from_an_age = other.duration_since(UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0);
    apart.is_zero() || is_made_from_an_age && apart <= Duration::from_secs(2)
}

/// An address block that a peer may use, printed as `10.77.0.2/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowedIp {
    /// The block's first address.
    pub address: IpAddr,
    /// How many leading bits are fixed.
    pub prefix_length: u8,
}

impl fmt::Display for AllowedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// The WireGuard interfaces of this network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// The usable ones, sorted.
    pub names: Vec<InterfaceName>,
    /// What looked like one and was passed over. Worth a line of log, not an error.
    pub skipped: Vec<Skipped>,
}

/// Something that looked like a WireGuard interface and was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name as the system has it.
    pub name: String,
    /// Why, in words.
    pub reason: &'static str,
}

/// Lists the WireGuard interfaces, kernel and userspace, of the calling thread's network namespace.
///
/// A socket in `/var/run/wireguard` counts only if a daemon listens on it and an interface of its name is in this
/// namespace: sockets know no namespaces, and a killed daemon leaves its own behind.
pub fn interfaces() -> Result<Interfaces, Error> {
    let mut interfaces = Interfaces::default();
    for name in kernel::names()? {
        interfaces.note(name, None);
    }
    match userspace::names() {
        Ok(names) => {
            for name in names {
                let reason = if !userspace::answers(&name) {
                    Some("no daemon answers on its socket")
                } else if if_nametoindex(name.as_str()).is_err() {
                    Some("not in this network namespace")
                } else {
                    None
                };
                interfaces.note(name, reason);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            interfaces.note(userspace::FOLDER.to_owned(), Some("no right to look into this folder"));
        }
        Err(error) => return Err(Error::List(error)),
    }
    interfaces.names.sort();
    interfaces.names.dedup();
    Ok(interfaces)
}

impl Interfaces {
    fn note(&mut self, name: String, reason: Option<&'static str>) {
        match (reason, name.parse()) {
            (None, Ok(name)) => self.names.push(name),
            (None, Err(_)) => self.skipped.push(Skipped { name, reason: "not a name that wgmfa can use" }),
            (Some(reason), _) => self.skipped.push(Skipped { name, reason }),
        }
    }
}

/// Reads one interface. Peers that the kernel reports in several parts come merged.
pub fn read(name: &InterfaceName) -> Result<Interface, Error> {
    look(name).map(|(interface, _)| interface)
}

/// Who runs an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Kernel,
    Userspace,
    /// A daemon that cannot change peers in place ([`crate::steps::Way::Apart`]).
    UserspaceApart,
}

/// Reads one interface and says who runs it.
pub(crate) fn look(name: &InterfaceName) -> Result<(Interface, Backend), Error> {
    if if_nametoindex(name.as_str()).is_err() {
        return Err(Error::Gone(name.clone()));
    }
    let refused = match kernel::read(name) {
        Ok(Some(interface)) => return Ok((interface, Backend::Kernel)),
        Ok(None) => None,
        // the kernel asks for rights before it looks whether the interface is its own
        Err(error @ Error::Rights(_)) => Some(error),
        Err(error) => return Err(error),
    };
    match (userspace::read(name), refused) {
        (Ok((interface, false)), _) => Ok((interface, Backend::Userspace)),
        (Ok((interface, true)), _) => Ok((interface, Backend::UserspaceApart)),
        (Err(Error::Gone(_)), Some(refused)) => Err(refused),
        (Err(error), _) => Err(error),
    }
}

/// One entry for each public key: the kernel repeats a peer whose allowed IPs do not fit into one message, with nothing but
/// the rest of them (`linux/wireguard.h`, WG_CMD_GET_DEVICE).
pub(crate) fn merge(parts: impl IntoIterator<Item = Peer>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    let mut places: HashMap<PublicKey, usize> = HashMap::new();
    for part in parts {
        match places.entry(part.public_key) {
            Entry::Occupied(place) => peers[*place.get()].allowed_ips.extend(part.allowed_ips),
            Entry::Vacant(place) => {
                place.insert(peers.len());
                peers.push(part);
            }
        }
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_the_kernel_reports_in_parts_is_one_peer_with_all_its_allowed_ips() {
        let part = |number: u8, preshared_key: Option<u8>, last: u8| Peer {
            public_key: PublicKey::from_bytes([number; 32]),
            preshared_key: preshared_key.map(|byte| PresharedKey::from_bytes([byte; 32]).unwrap()),
            endpoint: None,
            allowed_ips: vec![AllowedIp { address: [10, 0, 0, last].into(), prefix_length: 32 }],
            persistent_keepalive: preshared_key.map(u16::from),
            latest_handshake: None,
            received: 0,
            sent: 0,
        };
        let peers =
            merge([part(1, Some(5), 1), part(2, Some(6), 2), part(2, None, 3), part(3, None, 5), part(2, None, 4)]);
        let shape: Vec<_> = peers
            .iter()
            .map(|peer| (peer.public_key.as_bytes()[0], peer.persistent_keepalive, peer.allowed_ips.len()))
            .collect();
        assert_eq!(shape, [(1, Some(5), 1), (2, Some(6), 3), (3, None, 1)]);
        assert_eq!(peers[1].preshared_key, PresharedKey::from_bytes([6; 32]).ok());
        assert_eq!(peers[1].allowed_ips[2].to_string(), "10.0.0.4/32");
    }

    #[test]
    fn a_handshake_that_is_known_by_its_age_is_the_same_at_the_next_look() {
        let at = |millis| Some(UNIX_EPOCH + Duration::from_millis(millis));
        for (before, now, same) in [
            (None, None, true),
            (None, at(1000), false),
            (at(1000), None, false),
            (at(9000), at(9000), true),
            (at(9000), at(11_000), true),
            (at(11_000), at(9000), true),
            (at(9000), at(12_000), false),
            (at(9500), at(9501), false),
            (at(9000), at(9001), false),
        ] {
            assert_eq!(is_same_handshake(before, now), same, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_name_that_wgmfa_cannot_use_is_passed_over_by_name() {
        let mut interfaces = Interfaces::default();
        interfaces.note("wg0".into(), None);
        interfaces.note("WG1".into(), None);
        interfaces.note("wg2".into(), Some("no daemon answers on its socket"));
        assert_eq!(interfaces.names, ["wg0".parse().unwrap()]);
        let skipped: Vec<_> = interfaces.skipped.iter().map(|one| format!("{}: {}", one.name, one.reason)).collect();
        assert_eq!(skipped, ["WG1: not a name that wgmfa can use", "wg2: no daemon answers on its socket"]);
    }
}
