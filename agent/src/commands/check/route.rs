//! The way to the bastion, if it runs through a peer that only the bastion can open: then a lock would cut the agent off
//! from the one who could end it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use wgmfa_core::findings::Findings;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::AllowedIp;

use crate::commands::wait_for;
use crate::config::Config;
use crate::seen::Seen;
use crate::ssh;
use crate::state::State;

/// Names each of the bastion's addresses whose way runs through an MFA peer.
pub fn check(config: &Config, state: &State, seen: &Seen, findings: &mut Findings) {
    // that it does not resolve is named where the bastion is looked at
    let Ok(addresses) = wait_for(ssh::resolve(config)) else { return };
    for address in addresses {
        let Some(interface) = interface_to(address).filter(|name| seen.interfaces.contains_key(name)) else { continue };
        let peers = &seen.interfaces[&interface].interface.peers;
        let nets = peers.iter().map(|peer| (peer.public_key, peer.allowed_ips.as_slice()));
        let Some(public_key) = carrier(address.ip(), nets) else { continue };
        let peer = PeerRef { interface, public_key };
        let Some(kept) = state.peers.get(&peer) else { continue };
        if kept.policy.as_ref().is_none_or(|policy| policy.mfa) {
            let name = state.name_of(&peer);
            findings.warn(
                format!("bastion {}: the way to {} runs through {name}, a peer under an MFA policy", config.bastion, address.ip()),
                "while that peer is locked this agent hears nothing: route the bastion outside of the tunnel, for example \
                 with ip route add",
            );
        }
    }
}

/// The interface by which packets to an address leave, as the kernel's route and its choice of a source address tell: a
/// socket is connected, and nothing is sent.
fn interface_to(address: SocketAddr) -> Option<InterfaceName> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    let source = socket.local_addr().ok()?.ip();
    let bears = |one: &nix::ifaddrs::InterfaceAddress| {
        let storage = one.address.as_ref();
        let v4 = storage.and_then(|at| at.as_sockaddr_in()).map(|at| IpAddr::V4(at.ip()));
        let v6 = storage.and_then(|at| at.as_sockaddr_in6()).map(|at| IpAddr::V6(at.ip()));
        v4.or(v6) == Some(source)
    };
    getifaddrs().ok()?.find(bears)?.interface_name.parse().ok()
}

/// Which peer WireGuard would send a packet to an address to: the one with the longest prefix.
fn carrier<'p, K: Copy + 'p>(address: IpAddr, peers: impl Iterator<Item = (K, &'p [AllowedIp])>) -> Option<K> {
    let prefixes = peers.flat_map(|(key, allowed)| {
        let fitting = allowed.iter().filter(move |one| contains(one, address));
        fitting.map(move |one| (one.prefix_length, key))
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, key)| key)
}

fn contains(allowed: &AllowedIp, address: IpAddr) -> bool {
    ipnet::IpNet::new(allowed.address, allowed.prefix_length).is_ok_and(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_goes_to_the_peer_with_the_longest_prefix() {
        let one = |text: &str, prefix_length| AllowedIp { address: text.parse().unwrap(), prefix_length };
        let (wide, narrow) = ([one("0.0.0.0", 0), one("::", 0)], [one("10.1.0.0", 16)]);
        let to = |address: &str| {
            let peers = [(1, wide.as_slice()), (2, narrow.as_slice())];
            carrier(address.parse().unwrap(), peers.into_iter())
        };
        assert_eq!((to("10.1.2.3"), to("10.2.0.1"), to("fd00::1")), (Some(2), Some(1), Some(1)));
        assert_eq!(carrier("fd00::1".parse().unwrap(), [(2, narrow.as_slice())].into_iter()), None);
    }
}
