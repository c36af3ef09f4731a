//! Where the gateway may be: addresses, and the WireGuard interface through which each is reached. No code goes another
//! way than through a tunnel, because only there it is known who can hear it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Instant;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::gate::CODE_PORT;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{Error, read};

use crate::code::gateway::Gateway;

/// Most ways that are tried: more peers with an address of their own are those of a server, not of a person's machine.
const MOST: usize = 16;

/// An address, and the interface through which it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The WireGuard interface.
    pub interface: String,
    /// The address of the gateway inside the tunnel.
    pub address: SocketAddr,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match address.port() {
            CODE_PORT => write!(f, "{} through {}", address.ip(), self.interface),
            _ => write!(f, "{address} through {}", self.interface),
        }
    }
}

/// What there is to try.
#[derive(Debug)]
pub struct Ways {
    /// In this order.
    pub ways: Vec<Way>,
    /// An interface whose peers may not be read, so that their addresses are missing.
    pub hidden: Option<InterfaceName>,
}

/// The ways to a gateway that a person has named: through the interface that is named, or else through that to which the
/// system routes it.
///
/// # Errors
/// It has no address, or no tunnel leads there.
pub fn named(gateway: &Gateway, only: Option<&InterfaceName>, until: Instant) -> Result<Ways, Failure> {
    only.map_or(Ok(()), require_tunnel)?;
    let addresses = gateway.addresses(until).map_err(|why| Failure::new(Exit::Unreachable, why))?;
    let through = |address: &SocketAddr| match only {
        Some(name) => Some(name.to_string()),
        None => interface_towards(*address).filter(|name| is_tunnel(name)),
    };
    let way = |address: SocketAddr| through(&address).map(|interface| Way { interface, address });
    let ways: Vec<Way> = addresses.into_iter().filter_map(way).take(MOST).collect();
    if ways.is_empty() {
        return Err(Failure::new(Exit::Unreachable, format!("{gateway} is not reached through a WireGuard interface"))
            .hint("bring the tunnel up, for example: sudo wg-quick up wg0"));
    }
    Ok(Ways { ways, hidden: None })
}

/// The ways that the interfaces themselves tell: peers that are one address, then the first address of each network in
/// which the interface is.
///
/// # Errors
/// There is no such interface, or nothing to guess from.
pub fn guessed(only: Option<&InterfaceName>) -> Result<Ways, Failure> {
    let names = match only {
        Some(name) => require_tunnel(name).map(|()| vec![name.clone()])?,
        None => tunnels(),
    };
    if names.is_empty() {
        return Err(Failure::new(Exit::Failed, "no WireGuard interface here")
            .hint("bring it up first, for example: sudo wg-quick up wg0"));
    }
    let addresses = own_addresses();
    let mut ways = Ways { ways: Vec::new(), hidden: None };
    for name in &names {
        let mut found: Vec<IpAddr> = match read(name) {
            Ok(interface) => interface
                .peers
                .iter()
                .flat_map(|peer| &peer.allowed_ips)
                .filter(|block| usize::from(block.prefix_length) == bits(block.address))
                .map(|block| block.address)
                .collect(),
            Err(error) => {
                if matches!(error, Error::Rights(_) | Error::Io(..)) {
                    ways.hidden.get_or_insert_with(|| name.clone());
                }
                Vec::new()
            }
        };
        let own = addresses.iter().filter(|own| own.interface == name.as_str());
        found.extend(own.filter_map(|own| first_other_host(own.address, own.prefix_length)));
        for address in found {
            let way = Way { interface: name.to_string(), address: (address, CODE_PORT).into() };
            if !ways.ways.contains(&way) && addresses.iter().all(|own| own.address != address) {
                ways.ways.push(way);
            }
        }
    }
    ways.ways.truncate(MOST);
    if ways.ways.is_empty() {
        let names: Vec<_> = names.iter().map(InterfaceName::as_str).collect();
        return Err(Failure::new(
            Exit::Unreachable,
            format!("{}: nothing tells where the gateway is", names.join(", ")),
        )
        .hint("name it: wgmfa code GATEWAY, or gateway = \"ADDRESS\" in ~/.config/wgmfa/client.toml"));
    }
    Ok(ways)
}

fn bits(address: IpAddr) -> usize {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first address of a network that is not one's own: 10.0.0.1 for 10.0.0.2/24. None: there is no other, or it would be
/// one's own.
fn first_other_host(own: IpAddr, prefix_length: u8) -> Option<IpAddr> {
    let (width, own_bits) = match own {
        IpAddr::V4(own) => (32, u128::from(own.to_bits())),
        IpAddr::V6(own) if own.is_unicast_link_local() => return None,
        IpAddr::V6(own) => (128, own.to_bits()),
    };
    let host_bits = u32::from(width - prefix_length.min(width));
    if host_bits == 0 || prefix_length == 0 {
        return None;
    }
    let network = (own_bits >> host_bits) << host_bits;
    let first = match (network | 1, host_bits) {
        (first, _) if first != own_bits => first,
        (_, 1) => network, // two addresses, and this is the other one
        _ => return None,
    };
    Some(match own {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(first).ok()?).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(first).into(),
    })
}

/// The WireGuard interfaces of this machine. Needs no rights.
fn tunnels() -> Vec<InterfaceName> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<InterfaceName> =
        names.filter(|name| is_wireguard(name)).filter_map(|name| name.parse().ok()).collect();
    names.sort();
    names
}

/// The WireGuard interface of this machine, if there is just one.
pub fn only_tunnel() -> Option<InterfaceName> {
    let mut names = tunnels();
    names.pop().filter(|_| names.is_empty())
}

/// The kernel's own, or one whose daemon has its socket where userspace WireGuard has it.
fn is_wireguard(name: &str) -> bool {
    is_of_the_kernel(name) || (is_tun(name) && Path::new("/var/run/wireguard").join(format!("{name}.sock")).exists())
}

/// A userspace WireGuard is a TUN interface; whose it is, only root can see.
fn is_tunnel(name: &str) -> bool {
    is_of_the_kernel(name) || is_tun(name)
}

fn is_of_the_kernel(name: &str) -> bool {
    let uevent = Path::new("/sys/class/net").join(name).join("uevent");
    std::fs::read_to_string(uevent).is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=wireguard"))
}

fn is_tun(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("tun_flags").exists()
}

fn require_tunnel(name: &InterfaceName) -> Result<(), Failure> {
    if is_tunnel(name.as_str()) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{name}: no such WireGuard interface here"))
        .hint("bring the interface up, for example with wg-quick up; wg show lists what is there"))
}

/// An address of this machine.
struct Own {
    interface: String,
    address: IpAddr,
    prefix_length: u8,
}

fn own_addresses() -> Vec<Own> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let own = all.filter_map(|one| {
        let (address, mask) = (ip(&one.address?)?, ip(&one.netmask?)?);
        let ones = match mask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        Some(Own { interface: one.interface_name, address, prefix_length: u8::try_from(ones).ok()? })
    });
    own.collect()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// The interface to which the system routes an address, by the address that it would send from. Nothing is sent.
pub fn interface_towards(address: SocketAddr) -> Option<String> {
    let anywhere: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((anywhere, 0)).ok()?;
    socket.connect(address).ok()?;
    let from = socket.local_addr().ok()?.ip();
    own_addresses().into_iter().find(|own| own.address == from).map(|own| own.interface)
}

/// The address of an interface from which a gateway can be asked.
pub fn source_towards(way: &Way) -> Option<IpAddr> {
    let fits = |own: &Own| own.interface == way.interface && own.address.is_ipv4() == way.address.is_ipv4();
    own_addresses().into_iter().find(fits).map(|own| own.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_the_first_in_its_network() {
        for (own, prefix_length, expected) in [
            ("10.0.0.2", 24, Some("10.0.0.1")),
            ("10.0.1.2", 16, Some("10.0.0.1")),
            ("10.0.0.1", 24, None),
            ("10.0.0.2", 32, None),
            ("10.0.0.2", 31, Some("10.0.0.3")),
            ("10.0.0.3", 31, Some("10.0.0.2")),
            ("10.0.0.2", 0, None),
            ("fd00::2", 64, Some("fd00::1")),
            ("fd00::2", 128, None),
            ("fd00::3", 127, Some("fd00::2")),
            ("fe80::2", 64, None),
        ] {
            let found = first_other_host(own.parse().unwrap(), prefix_length);
            assert_eq!(found, expected.map(|expected| expected.parse().unwrap()), "{own}/{prefix_length}");
        }
    }

    #[test]
    fn the_loopback_is_no_tunnel() {
        assert!(!is_tunnel("lo") && !is_wireguard("lo") && !is_tunnel("no-such"));
        assert_eq!(interface_towards("127.0.0.1:7777".parse().unwrap()).as_deref(), Some("lo"));
    }
}
