//! Whose an address is. Inside a tunnel the source address is bound to the peer's key: WireGuard drops a packet whose
//! source is not among the sending peer's allowed IPs, by the longest prefix of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::key::PublicKey;

/// The peers of one interface by their allowed IPs, as they are at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    by_network: BTreeMap<IpNet, PublicKey>,
    by_peer: BTreeMap<PublicKey, BTreeSet<IpNet>>,
}

/// Which peers one grant may open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Single addresses only: behind a network there may be other people.
    Single,
    /// Networks too.
    Networks,
}

/// Why an address stands for nobody who could be asked for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// No peer of the interface has it.
    Unknown,
    /// The peer that has it has a whole network.
    Wide,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "this address is no peer's",
            Self::Wide => "this address is one of a network, which nobody is known by",
        })
    }
}

impl std::error::Error for Stranger {}

impl Owners {
    /// The allowed IPs of an interface, each with its peer. A network that stands there twice belongs to the last one, as
    /// in WireGuard.
    pub fn new(allowed_ips: impl IntoIterator<Item = (PublicKey, IpNet)>) -> Self {
        let mut owners = Self::default();
        for (peer, network) in allowed_ips {
            let network = network.trunc();
            // No packet has such an address: it would be mistaken for an IPv4 one.
            if matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
                continue;
            }
            if let Some(before) = owners.by_network.insert(network, peer) {
                owners.by_peer.entry(before).or_default().remove(&network);
            }
            owners.by_peer.entry(peer).or_default().insert(network);
        }
        owners
    }

    /// The peer that an address belongs to, and the network that says so: the longest one.
    pub fn owner(&self, address: IpAddr) -> Option<(IpNet, PublicKey)> {
        let single = IpNet::from(address.to_canonical());
        let mut network = Some(single);
        while let Some(candidate) = network {
            if let Some(peer) = self.by_network.get(&candidate) {
                return Some((candidate, *peer));
            }
            network = candidate.supernet();
        }
        None
    }

    /// The peer that speaks from this address.
    ///
    /// # Errors
    /// No peer has it, or only as a part of a network, and `width` does not take that for an identity.
    pub fn caller(&self, address: IpAddr, width: Width) -> Result<PublicKey, Stranger> {
        let (network, peer) = self.owner(address).ok_or(Stranger::Unknown)?;
        if is_single(network) || width == Width::Networks { Ok(peer) } else { Err(Stranger::Wide) }
    }

    /// What is opened when this peer is let through: nothing that belongs to another peer, though it may lie within one
    /// of this peer's networks. None of them lies within another one: the kernel takes no set of networks that overlap.
    pub fn addresses(&self, peer: &PublicKey, width: Width) -> BTreeSet<IpNet> {
        let own = self.by_peer.get(peer).into_iter().flatten();
        let wanted = own.filter(|network| is_single(**network) || width == Width::Networks);
        let all: BTreeSet<IpNet> = wanted.flat_map(|network| self.without_others(*network, peer)).collect();
        let mut apart: BTreeSet<IpNet> = BTreeSet::new();
        for network in all {
            // in this order a network comes before what lies within it
            if !apart.last().is_some_and(|wide| wide.contains(&network)) {
                apart.insert(network);
            }
        }
        apart
    }

    /// A peer's allowed IPs.
    pub fn networks(&self, peer: &PublicKey) -> impl Iterator<Item = &IpNet> {
        self.by_peer.get(peer).into_iter().flatten()
    }

    /// A network of a peer, less what longer prefixes give to others.
    fn without_others(&self, network: IpNet, peer: &PublicKey) -> Vec<IpNet> {
        let end = IpNet::from(network.broadcast());
        let within = self.by_network.range(network..=end).filter(|(inner, _)| network.contains(*inner));
        // What is the peer's own within another's network is looked at by itself.
        let others: Vec<IpNet> = within.filter(|(_, owner)| *owner != peer).map(|(inner, _)| *inner).collect();
        let mut rest = Vec::new();
        subtract(network, &others, &mut rest);
        rest
    }
}

/// Whether it is one address.
pub fn is_single(network: IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// What is left of a network when these, which lie within it, are taken out.
fn subtract(network: IpNet, taken: &[IpNet], rest: &mut Vec<IpNet>) {
    let inside: Vec<IpNet> = taken.iter().copied().filter(|inner| network.contains(inner)).collect();
    if inside.is_empty() {
        rest.push(network);
        return;
    }
    if inside.contains(&network) {
        return;
    }
    if let Ok(halves) = network.subnets(network.prefix_len() + 1) {
        halves.for_each(|half| subtract(half, &inside, rest));
    }
}

#[cfg(test)]
mod tests;
