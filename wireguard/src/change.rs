//! Changing: another preshared key on peers that exist.

use std::collections::BTreeMap;

use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;

use crate::interface::{Backend, look};
use crate::steps::{Wanted, Way};
use crate::{Error, Interface, kernel, userspace};

/// What becomes of a peer's endpoint when it is removed and added again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointRule {
    /// It stays: a client's way to handshake at once.
    Keep,
    /// It goes: a server sends nothing to a peer until the peer has proved itself anew.
    Drop,
}

/// Sets the preshared key of peers in place: sessions that run go on, the next handshake needs the new key.
///
/// All changes are checked first ([`Error::UnknownPeers`]: nothing was changed); afterwards the interface is read again and
/// compared ([`Error::NotTaken`] names what is not as asked). Where a daemon cannot change a peer in place (boringtun), the
/// peer is removed and added again with its endpoint. Of a peer that is named twice, the last change counts.
pub fn set_preshared_key(name: &InterfaceName, changes: &[(PublicKey, PresharedKey)]) -> Result<(), Error> {
    change(name, changes, Way::InPlace, EndpointRule::Keep)
}

/// Removes peers and adds them again in one update each, with allowed IPs and persistent keepalive as they were and a new
/// preshared key: sessions that run end at once, for good. Counters and latest handshake begin at zero.
///
/// Checked before and after like [`set_preshared_key`].
pub fn readd(name: &InterfaceName, changes: &[(PublicKey, PresharedKey)], endpoint: EndpointRule) -> Result<(), Error> {
    change(name, changes, Way::Together, endpoint)
}

/// Begins a handshake with those of these peers whose endpoint is known and that have no persistent keepalive: one with a
/// keepalive begins it by itself. Nothing on the interface is another one afterwards. A peer with a session that is fresh
/// is sent one empty packet instead; boringtun cannot be told to, and is left alone.
pub fn begin_handshakes(name: &InterfaceName, peers: &[PublicKey]) -> Result<(), Error> {
    if peers.is_empty() {
        return Ok(());
    }
    let (interface, backend) = look(name)?;
    let is_silent = |peer: &&crate::Peer| peer.endpoint.is_some() && peer.persistent_keepalive.is_none();
    let silent = interface.peers.iter().filter(is_silent).map(|peer| &peer.public_key);
    let called: Vec<_> = silent.filter(|key| peers.contains(key)).collect();
    match backend {
        Backend::Kernel => kernel::call(name, &called),
        Backend::Userspace => userspace::call(name, &called),
        Backend::UserspaceApart => Ok(()),
    }
}

fn change(
    name: &InterfaceName,
    changes: &[(PublicKey, PresharedKey)],
    way: Way,
    endpoint: EndpointRule,
) -> Result<(), Error> {
    let (before, backend) = look(name)?;
    let mut wanted = wanted(&before, changes, endpoint)?;
    let all = wanted.len();
    let way = if backend == Backend::UserspaceApart { Way::Apart } else { way };
    let mut outcome = write(name, backend, &wanted, way);
    retain_not_taken(&look(name)?.0, &mut wanted, way);
    if !wanted.is_empty() && way != Way::InPlace {
        // what was removed must not stay away: once more, in the manner that every implementation understands
        outcome = write(name, backend, &wanted, Way::Apart);
        retain_not_taken(&look(name)?.0, &mut wanted, way);
    }
    match outcome {
        _ if wanted.is_empty() => Ok(()),
        Err(error) if wanted.len() == all => Err(error),
        _ => Err(Error::NotTaken(name.clone(), wanted.iter().map(|one| one.before.public_key).collect())),
    }
}

fn wanted<'a>(
    before: &'a Interface,
    changes: &'a [(PublicKey, PresharedKey)],
    endpoint: EndpointRule,
) -> Result<Vec<Wanted<'a>>, Error> {
    let peers: BTreeMap<_, _> = before.peers.iter().map(|peer| (&peer.public_key, peer)).collect();
    let changes: BTreeMap<_, _> = changes.iter().map(|(public_key, key)| (public_key, key)).collect();
    let unknown: Vec<_> = changes.keys().filter(|key| !peers.contains_key(*key)).map(|key| **key).collect();
    if !unknown.is_empty() {
        return Err(Error::UnknownPeers(before.name.clone(), unknown));
    }
    let kept = |peer: &crate::Peer| peer.endpoint.filter(|_| endpoint == EndpointRule::Keep);
    let wanted = changes.into_iter().filter_map(|(public_key, preshared_key)| {
        let before = *peers.get(public_key)?;
        Some(Wanted { before, preshared_key, endpoint: kept(before) })
    });
    Ok(wanted.collect())
}

fn write(name: &InterfaceName, backend: Backend, wanted: &[Wanted<'_>], way: Way) -> Result<(), Error> {
    match backend {
        Backend::Kernel => kernel::write(name, wanted, way),
        Backend::Userspace | Backend::UserspaceApart => userspace::write(name, wanted, way),
    }
}

/// Leaves in `wanted` what the interface does not show: the peer, its new key, and after a re-add what it had before.
fn retain_not_taken(after: &Interface, wanted: &mut Vec<Wanted<'_>>, way: Way) {
    let peers: BTreeMap<_, _> = after.peers.iter().map(|peer| (&peer.public_key, peer)).collect();
    wanted.retain(|one| {
        let Some(peer) = peers.get(&one.before.public_key) else { return true };
        let as_before = way == Way::InPlace
            || (one.before.persistent_keepalive == peer.persistent_keepalive
                && one.before.allowed_ips.iter().all(|ip| peer.allowed_ips.contains(ip)));
        peer.preshared_key.as_ref() != Some(one.preshared_key) || !as_before
    });
}
