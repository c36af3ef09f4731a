//! The gate on real kernel objects: a gateway, peers behind `wg0` (a veth pair: only its name counts) and hosts behind
//! `lan0`, each in a network namespace of its own. Needs root, `ip`, `nft` and `ping`.

mod a_change_touches_nobody_else;
mod a_flowtable_is_named;
mod a_gate_that_was_touched_is_noticed;
mod a_grant_opens_its_tier_only;
mod a_network_is_opened_as_a_whole;
mod nothing_outlasts_a_deadline;
mod nothing_passes_without_a_grant;
mod peers_reach_each_other_only_when_both_may;
mod rules_of_a_killed_agent_are_replaced;
mod ten_thousand_are_opened_at_once;
mod the_file_may_be_loaded_at_any_time;
mod too_large_a_packet_is_reported;

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use wgmfa_core::document::Document;
use wgmfa_core::gate::{Addresses, Layout, Opening};
use wgmfa_core::name::TierName;
use wgmfa_core::tier::Tiers;
use wgmfa_tests::machine::{Machine, unique};

use super::{Backend, Gate, backend};

/// Long enough for every test.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The peers.
pub const PEERS: [&str; 2] = ["10.7.0.2", "10.7.0.3"];
pub const PEERS6: [&str; 2] = ["fd07::2", "fd07::3"];
/// In tier prod as a network.
pub const INSIDE: &str = "10.1.0.5";
pub const INSIDE6: &str = "fd00:1::5";
/// In tier prod at port 443 only.
pub const SERVICE: &str = "10.2.0.5";
pub const SERVICE6: &str = "fd00:2::5";
/// In tier admin.
pub const ADMIN: &str = "10.9.0.5";
/// In tier 0 at port 22 only.
pub const OPEN: &str = "10.4.0.5";
/// The gateway.
pub const GATEWAY: &str = "10.7.0.1";
pub const GATEWAY6: &str = "fd07::1";

/// The machines; gone when dropped.
pub struct Bed {
    pub gateway: Machine,
    /// Holds the addresses of all peers.
    pub peers: Machine,
    /// Holds those of all hosts behind the gateway.
    pub inside: Machine,
}

impl Bed {
    pub fn new() -> Self {
        let name = unique();
        let [gateway, peers, inside] = ["g", "p", "i"].map(|role| Machine::new(&format!("{name}{role}")));
        join(&gateway, "wg0", &peers);
        join(&gateway, "lan0", &inside);
        for (machine, device, addresses) in [
            (&gateway, "wg0", vec![format!("{GATEWAY}/24"), format!("{GATEWAY6}/64")]),
            (&gateway, "lan0", vec!["10.1.0.1/24".to_owned(), "fd00:1::1/64".to_owned(), "fe80::1/64".to_owned()]),
            (
                &peers,
                "eth0",
                PEERS.iter().map(|a| format!("{a}/24")).chain(PEERS6.iter().map(|a| format!("{a}/64"))).collect(),
            ),
            (&inside, "eth0", vec![format!("{INSIDE}/24"), format!("{INSIDE6}/64")]),
            (
                &inside,
                "lo",
                [SERVICE, ADMIN, OPEN].iter().map(|a| format!("{a}/32")).chain([format!("{SERVICE6}/128")]).collect(),
            ),
        ] {
            for address in addresses {
                machine.ip(&["address", "add", &address, "dev", device, "nodad"]);
            }
        }
        for (machine, v4, v6, source) in
            [(&peers, GATEWAY, GATEWAY6, PEERS6[0]), (&inside, "10.1.0.1", "fd00:1::1", INSIDE6)]
        {
            machine.ip(&["route", "add", "default", "via", v4]);
            machine.ip(&["-6", "route", "add", "default", "via", v6, "src", source]);
        }
        for network in ["10.2.0.0/24", "10.4.0.0/24", "10.9.0.0/24"] {
            gateway.ip(&["route", "add", network, "via", INSIDE]);
        }
        gateway.ip(&["-6", "route", "add", "fd00:2::/64", "via", INSIDE6]);
        // a WireGuard interface has no neighbours to ask for
        let link = |machine: &Machine, device: &str| {
            machine.run("cat", &[&format!("/sys/class/net/{device}/address")]).ok().stdout.trim().to_owned()
        };
        let (ours, theirs) = (link(&gateway, "wg0"), link(&peers, "eth0"));
        for peer in PEERS.iter().chain(&PEERS6) {
            gateway.ip(&["neighbour", "replace", peer, "lladdr", &theirs, "dev", "wg0", "nud", "permanent"]);
        }
        for address in [GATEWAY, GATEWAY6] {
            peers.ip(&["neighbour", "replace", address, "lladdr", &ours, "dev", "eth0", "nud", "permanent"]);
        }
        gateway.run("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]).ok();
        Self { gateway, peers, inside }
    }

    /// Does something with a gate on the gateway.
    pub fn with_gate<T: Send>(&self, kind: Backend, act: impl FnOnce(&mut dyn Gate) -> T + Send) -> T {
        let folder: &Path = self.gateway.folder();
        self.gateway.within(|| act(backend(kind, folder).unwrap().as_mut()))
    }

    /// `nft` on the gateway, with this text.
    #[track_caller]
    pub fn nft(&self, text: &str) {
        wgmfa_tests::program::run(self.gateway.command("nft").args(["-f", "-"]), text.as_bytes()).ok();
    }

    /// Whether a peer's ping is answered.
    pub fn pings(&self, from: &str, to: &str) -> bool {
        ping(&self.peers, from, to)
    }

    /// Whether a ping from inside to a peer is answered.
    pub fn pings_back(&self, from: &str, to: &str) -> bool {
        ping(&self.inside, from, to)
    }
}

fn join(gateway: &Machine, device: &str, other: &Machine) {
    let there = other.namespace();
    gateway.ip(&["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", there]);
    // without link-local addresses nobody waits until they are known to be nobody else's
    gateway.ip(&["link", "set", device, "addrgenmode", "none", "up"]);
    other.ip(&["link", "set", "eth0", "addrgenmode", "none", "up"]);
}

fn ping(machine: &Machine, from: &str, to: &str) -> bool {
    machine.run("ping", &["-n", "-q", "-c", "1", "-W", "1", "-I", from, to]).code() == 0
}

/// Whether a connection from one address to another comes about, and ends: a listener that answers is made for it.
pub fn connects(from: (&Machine, &str), to: (&Machine, &str), port: u16) -> bool {
    let address = SocketAddr::new(to.1.parse().unwrap(), port);
    let _listener = to.0.within(|| TcpListener::bind(address)).unwrap();
    from.0.within(|| connect(from.1.parse().unwrap(), address, Duration::from_millis(700)).is_ok())
}

/// A connection from this address.
pub fn connect(from: IpAddr, to: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    let time = nix::sys::time::TimeVal::new(0, i64::from(limit.subsec_micros()));
    setsockopt(&fd, sockopt::SendTimeout, &time)?; // also of connect(2)
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(fd.into())
}

/// Tiers 0, prod and admin on `wg0`.
pub fn layout() -> Layout {
    layout_of(
        r#"
        [tier.0]
        allow = ["10.4.0.5:22/tcp"]
        [tier.prod]
        allow = ["10.1.0.0/16", "fd00:1::/48", "10.2.0.5:443/tcp", "[fd00:2::5]:443/tcp", "10.7.0.1", "fd07::1"]
        [tier.admin]
        allow = ["10.9.0.0/24"]
        from = "prod"
        "#,
    )
}

/// These tiers on `wg0`.
pub fn layout_of(text: &str) -> Layout {
    let mut document = Document::parse("agent.toml", text).unwrap();
    let tiers = Tiers::read(&mut document);
    document.finish().unwrap();
    Layout { interfaces: ["wg0".parse().unwrap()].into(), tiers, code_port: 7777, ..Layout::default() }
}

pub fn addresses(network: &str) -> Addresses {
    let network = network.parse().or_else(|_| network.parse::<IpAddr>().map(Into::into)).unwrap();
    Addresses { interface: "wg0".parse().unwrap(), network }
}

pub fn tier(name: &str) -> TierName {
    name.parse().unwrap()
}

pub fn opening(network: &str, name: &str, left: Duration) -> Opening {
    Opening { addresses: addresses(network), tier: tier(name), left }
}
