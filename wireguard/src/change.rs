//! Changing: another preshared key on peers that exist.

use std::collections::{BTreeMap, HashSet};

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
    Change::in_place(name, changes)?.carry_out()
}

/// Removes peers and adds them again in one update each, with allowed IPs and persistent keepalive as they were and a new
/// preshared key: sessions that run end at once, for good. Counters and latest handshake begin at zero.
///
/// Checked before and after like [`set_preshared_key`].
pub fn readd(name: &InterfaceName, changes: &[(PublicKey, PresharedKey)], endpoint: EndpointRule) -> Result<(), Error> {
    Change::readd(name, changes, endpoint)?.carry_out()
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

/// A change that was checked against its interface and is ready to be carried out.
pub struct Change {
    before: Interface,
    backend: Backend,
    keys: BTreeMap<PublicKey, PresharedKey>,
    way: Way,
    endpoint: EndpointRule,
}

impl Change {
    /// What [`readd`] does first: nothing is changed yet. A peer that is taken out of the interface before the change is
    /// carried out comes back, so there must not be much time between the two.
    ///
    /// # Errors
    /// [`Error::UnknownPeers`], or the interface cannot be read.
    pub fn readd(
        name: &InterfaceName,
        changes: &[(PublicKey, PresharedKey)],
        endpoint: EndpointRule,
    ) -> Result<Self, Error> {
        Self::new(name, changes, Way::Together, endpoint)
    }

    /// What [`set_preshared_key`] does first: nothing is changed yet.
    ///
    /// # Errors
    /// As [`Change::readd`].
    pub fn in_place(name: &InterfaceName, changes: &[(PublicKey, PresharedKey)]) -> Result<Self, Error> {
        Self::new(name, changes, Way::InPlace, EndpointRule::Keep)
    }

    fn new(
        name: &InterfaceName,
        changes: &[(PublicKey, PresharedKey)],
        way: Way,
        endpoint: EndpointRule,
    ) -> Result<Self, Error> {
        let (before, backend) = look(name)?;
        let keys: BTreeMap<_, _> = changes.iter().cloned().collect();
        let peers: HashSet<_> = before.peers.iter().map(|peer| &peer.public_key).collect();
        let unknown: Vec<_> = keys.keys().filter(|key| !peers.contains(key)).copied().collect();
        if !unknown.is_empty() {
            return Err(Error::UnknownPeers(name.clone(), unknown));
        }
        let way = if backend == Backend::UserspaceApart { Way::Apart } else { way };
        Ok(Self { before, backend, keys, way, endpoint })
    }

    /// The interface.
    pub fn interface(&self) -> &InterfaceName {
        &self.before.name
    }

    /// The peers whose keys it changes.
    pub fn peers(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.keys()
    }

    /// Changes the interface, reads it again, and compares.
    ///
    /// # Errors
    /// [`Error::NotTaken`], or the interface cannot be written or read.
    pub fn carry_out(&self) -> Result<(), Error> {
        let Self { before, backend, way, .. } = self;
        let (name, mut wanted) = (&before.name, self.wanted());
        let all = wanted.len();
        let mut outcome = write(name, *backend, &wanted, *way);
        retain_not_taken(&look(name)?.0, &mut wanted, *way);
        if !wanted.is_empty() && *way != Way::InPlace {
            // what was removed must not stay away: once more, in the manner that every implementation understands
            outcome = write(name, *backend, &wanted, Way::Apart);
            retain_not_taken(&look(name)?.0, &mut wanted, *way);
        }
        match outcome {
            _ if wanted.is_empty() => Ok(()),
            Err(error) if wanted.len() == all => Err(error),
            _ => Err(Error::NotTaken(name.clone(), wanted.iter().map(|one| one.before.public_key).collect())),
        }
    }

    fn wanted(&self) -> Vec<Wanted<'_>> {
        let kept = |peer: &crate::Peer| peer.endpoint.filter(|_| self.endpoint == EndpointRule::Keep);
        let wanted = self.before.peers.iter().filter_map(|before| {
            let preshared_key = self.keys.get(&before.public_key)?;
            Some(Wanted { before, preshared_key, endpoint: kept(before) })
        });
        wanted.collect()
    }
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
