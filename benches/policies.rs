//! How long `plan` and `explain` take for a million connections under a thousand policies, and whether ten times the
//! connections take ten times as long.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::own_cpu_time;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::explain::explain;
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer};
use wgmfa_core::key::{Fingerprint, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::policy::PolicySet;
use wgmfa_core::rotation::{Assignment, Contact, Held, Hold, Standing, View, plan};

const MANY: usize = 1_000_000;
const FEW: usize = 100_000;

/// Samples of each size, taken in turns.
const SAMPLES: usize = 5;

/// Peers of one gateway.
const PEERS: usize = 1000;

/// Time for a million, in milliseconds.
const MOST: f64 = 2000.0;

/// How many times as long ten times as much may take: ten, and what the caches of the processor are worth.
const LINEAR: f64 = 15.0;

fn main() -> ExitCode {
    let set = policies();
    assert_eq!(set.policies().len(), 1000);
    let now: Timestamp = "2026-11-21T14:00:00Z".parse().expect("a time");
    let mut report = Report::default();
    let (few, many) = (inventory(FEW), inventory(MANY));
    let explained = |inventory: &Inventory, count: usize| {
        let before = own_cpu_time();
        let explanations = explain(&set, inventory, now);
        let took = own_cpu_time() - before;
        assert_eq!(explanations.connections.len(), count);
        let covered = explanations.connections.iter().filter(|one| one.winner.is_some()).count();
        assert!(covered > count / 2, "the policies are of use: {covered} of {count}");
        took
    };
    tell(&mut report, "explain", || explained(&few, FEW), || explained(&many, MANY));
    drop((few, many));
    let (few, many) = (views(FEW), views(MANY));
    tell(&mut report, "plan", || planned(&few), || planned(&many));
    report.exit()
}

fn tell(report: &mut Report, what: &str, few: impl Fn() -> Duration, many: impl Fn() -> Duration) {
    let milliseconds = |took: Duration| took.as_secs_f64() * 1000.0;
    let (few, many): (Vec<_>, Vec<_>) = (0..SAMPLES).map(|_| (milliseconds(few()), milliseconds(many()))).unzip();
    let name = format!("CPU time of {what}, 1,000,000 connections under 1,000 policies");
    let unit = Unit::Milliseconds;
    report.tell(&Figure { name: &name, unit, samples: many.clone(), against: None, bound: Bound::Median(MOST) });
    let against = Some(("100,000 connections", few));
    report.tell(&Figure { name: &name, unit, samples: many, against, bound: Bound::Ratio(LINEAR) });
}

/// Policies that name interfaces, devices and keys, by name and with stars.
fn policies() -> PolicySet {
    let text = |at: usize| {
        let list = match at % 10 {
            0 => format!("server-peers = [\"gw-{}/devices\", \"gw-{}/devices\"]", at, at + 1),
            1 => format!("server-peers = [\"gw-{at}*/devices\"]"),
            2 => format!("client-peers = [\"laptop-{at}\", \"laptop-{}\"]", at * 7),
            3 => format!("client-peers = [\"laptop-{at}-*\"]"),
            4 => format!("client-peers = [\"*-{at}-phone\"]"),
            5 => format!("peers = [\"gw-*{at}/infra\"]"),
            6 => format!("peers = [\"gw-{at}/infra\", \"gw-{}/infra\"]", at + 3),
            7 => format!("server-peers = [\"{}\"]", key(1, at)),
            8 => format!("client-peers = [\"lap*{at}\"]\nunmonitored = true"),
            _ if at == 999 => "server-peers = [\"*/devices\"]".to_owned(),
            _ => format!("server-peers = [\"*-{at}/*\"]"),
        };
        let mfa = !list.starts_with("peers");
        format!("description = \"Policy {at}\"\nrotation-interval = \"1h\"\nmfa = {mfa}\n{list}\n")
    };
    let files: Vec<_> = (0..1000).map(|at| (format!("{at:04}-policy.toml"), text(at))).collect();
    PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Gateways of a thousand peers each: devices of people, each on two gateways, a few unmonitored peers, and a few other
/// gateways.
fn inventory(connections: usize) -> Inventory {
    let gateways = connections / PEERS;
    let now: Timestamp = "2026-11-21T13:30:00Z".parse().expect("a time");
    let hosts = (0..gateways).map(|gateway| {
        let mut devices = interface("devices", key(1, gateway));
        let first = gateway * PEERS / 2;
        devices.peers = (0..PEERS - 5)
            .map(|at| match at % 100 {
                0 => peer(key(4, gateway * PEERS + at), now, at),
                // each device stands on this gateway and the next one
                _ => peer(key(3, (first + at) % (connections / 2)), now, at),
            })
            .collect();
        let mut infra = interface("infra", key(2, gateway));
        // each relation is reported by both its ends
        let near = (1..=5).flat_map(|step| [gateway + step, gateway + gateways - step]);
        infra.peers = near.map(|other| peer(key(2, other % gateways), now, other)).collect();
        host(&format!("gw-{gateway}"), vec![devices, infra])
    });
    let device = |at: usize| Device {
        name: format!("laptop-{at}").parse().expect("a name"),
        owner: Some(format!("person-{}", at / 2).parse().expect("a name")),
        public_key: key(3, at),
        disabled: false,
    };
    Inventory { version: 1, hosts: hosts.collect(), devices: (0..connections / 2).map(device).collect() }
}

fn host(name: &str, interfaces: Vec<Interface>) -> Host {
    Host {
        name: name.parse().expect("a name"),
        owner: None,
        disabled: false,
        agent: None,
        stood_down: false,
        interfaces,
    }
}

fn interface(name: &str, public_key: PublicKey) -> Interface {
    Interface { name: name.parse().expect("a name"), public_key, listen_port: Some(51820), peers: Vec::new() }
}

fn peer(public_key: PublicKey, now: Timestamp, at: usize) -> Peer {
    let released = at.is_multiple_of(3);
    Peer {
        public_key,
        allowed_ips: Vec::new(),
        has_preshared_key: true,
        fingerprint: None,
        latest_handshake: None,
        handshake_with_this_key: false,
        opened_by_root_for: None,
        opened_by_root_until: None,
        kept_locked: false,
        generation: Some(7),
        rotated_at: Some(now),
        released_at: released.then_some(now),
        deadline: None,
    }
}

/// A public key that is like no other, and whose bytes are spread as those of real ones are.
fn key(kind: u64, at: usize) -> PublicKey {
    let mut bytes = [0; 32];
    let mut state = kind << 56 | at as u64;
    for chunk in bytes.chunks_mut(8) {
        // splitmix64 (Steele, Lea, Flood 2014)
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    PublicKey::from_bytes(bytes)
}

/// A peer as the agent sees it: what it remembers, what the bastion said.
type Peerwise = (Held, Assignment);

fn views(count: usize) -> Vec<Peerwise> {
    let fingerprint: Fingerprint = "00112233445566778899aabbccddeeff".parse().expect("32 digits");
    let interface: wgmfa_core::name::InterfaceName = "devices".parse().expect("a name");
    let view = |at: usize| {
        let hour = Boottime::from_millis(3_600_000);
        let (hold, standing) = match at % 4 {
            0 => (Hold::Waiting { since: hour }, Standing::Waiting { generation: 7, age_seconds: 60 }),
            1 => (Hold::Open { deadline: hour }, Standing::Released { generation: 7, seconds_left: 60 }),
            2 => (Hold::Locked { reason: "test".to_owned() }, Standing::Missing { reason: "test".to_owned() }),
            _ => (Hold::Waiting { since: hour }, Standing::Released { generation: 7, seconds_left: 60 }),
        };
        let assignment = Assignment {
            peer: PeerRef { interface: interface.clone(), public_key: key(3, at) },
            connection: format!("gw/devices:laptop-{at}"),
            policy: None,
            rotation_interval: 3600,
            idle_timeout: None,
            highest_generation: 7,
            standing,
        };
        (Held { generation: 7, fingerprint, hold, rotation_interval: 3600 }, assignment)
    };
    (0..count).map(view).collect()
}

fn planned(views: &[Peerwise]) -> Duration {
    let before = own_cpu_time();
    for (held, assignment) in views {
        let now = Boottime::from_millis(3_500_000);
        let (observed, contact) = (Some(held.fingerprint), Contact::Assigned(assignment));
        black_box(plan(&View { now, same_boot: true, observed, held: Some(held), idle: None, contact }));
    }
    own_cpu_time() - before
}
