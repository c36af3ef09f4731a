//! Kernel WireGuard, through generic netlink.
//!
//! The library creates an interface or a peer that is not there: every write comes right after a read that has seen both.
//! It packs a change into messages of at most 8 KiB that are not atomic together, so each message is a request of its own
//! here. Its errors can quote a request with its keys: their text is never passed on.

use std::io;

use nix::errno::Errno;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use wireguard_control::{Backend, Device, DeviceUpdate, Key, PeerConfigBuilder};

use crate::interface::merge;
use crate::steps::{Limits, Step, Wanted, Way, calls, requests};
use crate::{AllowedIp, Error, Interface, Peer};

/// The kernel WireGuard interfaces of the calling thread's network namespace. Needs no rights.
pub(crate) fn names() -> Result<Vec<String>, Error> {
    let names = Device::list(Backend::Kernel).map_err(|error| Error::List(without_text(&error)))?;
    Ok(names.iter().map(|name| name.as_str_lossy().into_owned()).collect())
}

/// Reads one interface; none: it is not a kernel WireGuard interface.
pub(crate) fn read(name: &InterfaceName) -> Result<Option<Interface>, Error> {
    let device = match Device::get(&library_name(name)?, Backend::Kernel) {
        Ok(device) => device,
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            // ENOENT: the kernel has no WireGuard; EOPNOTSUPP: an interface of another kind
            Some(Errno::ENODEV | Errno::ENOENT | Errno::EOPNOTSUPP) => return Ok(None),
            Some(Errno::EPERM) => return Err(Error::Rights(name.clone())),
            _ => return Err(Error::Io(name.clone(), without_text(&error))),
        },
    };
    let public_key = device.public_key.as_ref().ok_or_else(|| Error::Unconfigured(name.clone()))?;
    let peers = device.peers.iter().map(|peer| Peer {
        public_key: PublicKey::from_bytes(peer.config.public_key.0),
        preshared_key: peer.config.preshared_key.as_ref().and_then(|key| PresharedKey::from_bytes(key.0).ok()),
        endpoint: peer.config.endpoint,
        allowed_ips: peer
            .config
            .allowed_ips
            .iter()
            .map(|ip| AllowedIp { address: ip.address, prefix_length: ip.cidr })
            .collect(),
        persistent_keepalive: peer.config.persistent_keepalive_interval.filter(|seconds| *seconds != 0),
        latest_handshake: peer.stats.last_handshake_time,
        received: peer.stats.rx_bytes,
        sent: peer.stats.tx_bytes,
    });
    Ok(Some(Interface {
        name: name.clone(),
        public_key: PublicKey::from_bytes(public_key.0),
        listen_port: device.listen_port,
        peers: merge(peers),
    }))
}

/// A netlink message ends at 8 KiB, headers and the interface's name included; an address block takes 28 or 40 bytes of it.
const MESSAGE: Limits = Limits { bytes: 8_000, allowed_ips: 150 };

/// An upper bound of a step's bytes in a message, from the attributes of `linux/wireguard.h`.
fn size(step: &Step<'_>) -> usize {
    match step {
        Step::Set(_) | Step::Remove(_) | Step::Keepalive(..) => 100,
        Step::Add(_, ips) | Step::Allow(_, ips) => 160 + 40 * ips.len(),
    }
}

/// Carries out a change on an interface that was read just before.
pub(crate) fn write(name: &InterfaceName, wanted: &[Wanted<'_>], way: Way) -> Result<(), Error> {
    send(name, requests(wanted, way, MESSAGE, size))
}

/// Has peers called, on an interface that was read just before.
pub(crate) fn call(name: &InterfaceName, peers: &[&PublicKey]) -> Result<(), Error> {
    send(name, calls(peers, MESSAGE, size))
}

fn send(name: &InterfaceName, requests: Vec<Vec<Step<'_>>>) -> Result<(), Error> {
    let interface = library_name(name)?;
    for request in requests {
        let peers: Vec<_> = request.iter().map(section).collect();
        DeviceUpdate::new().add_peers(&peers).apply(&interface, Backend::Kernel).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EPERM) => Error::Rights(name.clone()),
                Some(Errno::ENODEV) => Error::Gone(name.clone()),
                _ => Error::Io(name.clone(), without_text(&error)),
            }
        })?;
    }
    Ok(())
}

fn section(step: &Step<'_>) -> PeerConfigBuilder {
    let builder = |public_key: &PublicKey| PeerConfigBuilder::new(&Key(*public_key.as_bytes()));
    let allow = |builder: PeerConfigBuilder, ips: &[AllowedIp]| {
        ips.iter().fold(builder, |builder, ip| builder.add_allowed_ip(ip.address, ip.prefix_length))
    };
    match step {
        Step::Set(one) => builder(&one.before.public_key).set_preshared_key(Key(*one.preshared_key.expose_bytes())),
        Step::Remove(public_key) => builder(public_key).remove(),
        Step::Allow(public_key, ips) => allow(builder(public_key), ips),
        Step::Keepalive(public_key, seconds) => builder(public_key).set_persistent_keepalive_interval(*seconds),
        Step::Add(one, ips) => {
            let mut peer = builder(&one.before.public_key)
                .set_preshared_key(Key(*one.preshared_key.expose_bytes()))
                .replace_allowed_ips();
            if let Some(endpoint) = one.endpoint {
                peer = peer.set_endpoint(endpoint);
            }
            if let Some(seconds) = one.before.persistent_keepalive {
                peer = peer.set_persistent_keepalive_interval(seconds);
            }
            allow(peer, ips)
        }
    }
}

/// Linux interface names have at most 15 characters; a longer one cannot exist.
fn library_name(name: &InterfaceName) -> Result<wireguard_control::InterfaceName, Error> {
    name.as_str().parse().map_err(|_| Error::Gone(name.clone()))
}

fn without_text(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
