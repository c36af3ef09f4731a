//! Two gateways with a tunnel between them, and a bastion: two servers, no person.

use std::sync::Arc;

use crate::bastion::Bastion;
use crate::gateway::Gateway;
use crate::machine::{Machine, Wire, unique};
use crate::ping::{Pings, is_answered};
use crate::tunnel::{Keys, PeerConfig, Tunnel, genkey};
use crate::wait::{LONG, until};

/// The port on which both interfaces listen.
const LISTEN_PORT: u16 = 51820;

/// The name of the gateway that sorts first.
pub const FIRST: &str = "app-gw";
/// The name of the other gateway.
pub const SECOND: &str = "db-gw";
/// The addresses of both in the tunnel, the first end's first.
pub const IN_TUNNEL: [&str; 2] = ["10.78.0.1", "10.78.0.2"];

/// One of the two gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The one that sorts first.
    First,
    /// The other one.
    Second,
}

impl End {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// How a pair begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The rotation interval of the policy that covers the pair.
    pub rotation_interval: String,
    /// Whether the tunnel begins with a preshared key that both ends hold.
    pub preshared_key: bool,
    /// The end that reaches the bastion through the tunnel alone; none: both reach it directly.
    pub behind: Option<End>,
}

impl Beginning {
    /// With a preshared key, and the bastion within the reach of both.
    pub fn new(rotation_interval: &str) -> Self {
        Self { rotation_interval: rotation_interval.to_owned(), preshared_key: true, behind: None }
    }
}

/// Two gateways and a bastion. No agent runs at first.
#[derive(Debug)]
pub struct Pair {
    /// The gateway that sorts first.
    pub first: Gateway,
    /// The other one.
    pub second: Gateway,
    /// The bastion, running.
    pub bastion: Bastion,
    /// What joins them: bastion 1, first 2, second 3.
    pub wire: Wire,
}

impl Pair {
    /// A pair under a policy without a second factor, with this rotation interval; both reach the bastion.
    #[track_caller]
    pub fn new(rotation_interval: &str) -> Self {
        Self::begin(&Beginning::new(rotation_interval))
    }

    /// The same, and resident agents on both have rotated once.
    #[track_caller]
    pub fn with_resident_agents(rotation_interval: &str) -> Self {
        let mut pair = Self::new(rotation_interval);
        pair.first.start();
        pair.second.start();
        pair.await_settled(1);
        pair
    }

    /// A pair that begins like this.
    #[track_caller]
    pub fn begin(beginning: &Beginning) -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let [bastion, first, second] = ["b", "g", "h"].map(|role| Arc::new(Machine::new(&format!("{name}{role}"))));
        let [bastion_address, first_address, second_address] =
            [&bastion, &first, &second].map(|machine| wire.plug(machine));
        let key = beginning.preshared_key.then(genkey);
        let (first_keys, second_keys) = (Keys::generate(), Keys::generate());
        // whoever reaches the bastion through the tunnel must be let through to it
        let through = |end: End| match beginning.behind {
            Some(behind) if behind == end => format!(", {bastion_address}/32"),
            _ => String::new(),
        };
        let towards = |keys: &Keys, address: &str, at: usize, end: End| PeerConfig {
            public_key: keys.public.clone(),
            preshared_key: key.clone(),
            endpoint: Some(format!("{address}:{LISTEN_PORT}")),
            allowed_ips: format!("{}/32{}", IN_TUNNEL[at], through(end)),
        };
        let [to_first, to_second] = [
            towards(&first_keys, &first_address, 0, End::Second),
            towards(&second_keys, &second_address, 1, End::First),
        ];
        let up = |machine: &Machine, name: String, keys, at: usize, peer| {
            Tunnel::up(machine, &name, keys, &format!("{}/24", IN_TUNNEL[at]), LISTEN_PORT, &[peer])
        };
        let first_tunnel = up(&first, format!("{name}g0"), first_keys, 0, to_second);
        let second_tunnel = up(&second, format!("{name}h0"), second_keys, 1, to_first);
        match beginning.behind {
            Some(End::First) => {
                through_tunnel(&first, &first_tunnel, &second, &bastion, &second_address, &bastion_address)
            }
            Some(End::Second) => {
                through_tunnel(&second, &second_tunnel, &first, &bastion, &first_address, &bastion_address)
            }
            None => {}
        }
        let mut bastion = Bastion::init(&bastion, &bastion_address);
        let server = format!("{FIRST}/{}", first_tunnel.name);
        bastion.policy("103-infra.toml", &policy(&beginning.rotation_interval, &server));
        bastion.start();
        let first = Gateway::enrol(&first, first_tunnel, FIRST, &bastion);
        let second = Gateway::enrol(&second, second_tunnel, SECOND, &bastion);
        Self { first, second, bastion, wire }
    }

    /// One of the gateways.
    pub fn gateway(&mut self, end: End) -> &mut Gateway {
        match end {
            End::First => &mut self.first,
            End::Second => &mut self.second,
        }
    }

    /// The connection's name.
    pub fn connection(&self) -> String {
        format!("{}:{}", self.first.interface(), self.second.interface())
    }

    /// Orders a new generation now.
    #[track_caller]
    pub fn rotate(&self) {
        self.bastion.admin(&["key", "rotate", &self.connection(), "--reason", "test"]).ok();
    }

    /// Waits until `key list` shows this generation or a later one as OK; gives the generation.
    #[track_caller]
    pub fn await_settled(&self, generation: u64) -> u64 {
        until(&format!("generation {generation} on both ends"), LONG * 2, || {
            let keys = self.bastion.keys(); // empty until an end has reported
            let row = keys.iter().find(|row| row["connection"] == self.connection().as_str())?;
            let reached = row["generation"].as_u64().filter(|reached| *reached >= generation)?;
            (row["state"] == "OK").then_some(reached)
        })
    }

    /// The preshared keys of both ends.
    #[track_caller]
    pub fn preshared_keys(&self) -> [Option<String>; 2] {
        let (first, second) = (&self.first.tunnel.keys.public, &self.second.tunnel.keys.public);
        [self.first.preshared_key(second), self.second.preshared_key(first)]
    }

    /// Pings from the first end to the second, 100 a second.
    pub fn pings(&self) -> Pings {
        Pings::every(&self.first.machine, IN_TUNNEL[1], "0.01")
    }

    /// Waits for an answered ping from the first end to the second.
    #[track_caller]
    pub fn await_ping(&self) {
        until("an answered ping", LONG, || is_answered(&self.first.machine, IN_TUNNEL[1]).then_some(()));
    }
}

/// Lets one end reach the bastion through its tunnel, and the other end's machine, alone.
fn through_tunnel(
    behind: &Machine,
    tunnel: &Tunnel,
    before: &Machine,
    bastion: &Machine,
    before_address: &str,
    bastion_address: &str,
) {
    behind.ip(&["route", "add", &format!("{bastion_address}/32"), "dev", &tunnel.name]);
    before.run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"]).ok();
    bastion.ip(&["route", "add", "10.78.0.0/24", "via", before_address]);
}

/// A policy under which two servers rotate together.
pub fn policy(rotation_interval: &str, peer: &str) -> String {
    format!("description = \"Infra\"\nrotation-interval = \"{rotation_interval}\"\nmfa = false\npeers = [\"{peer}\"]\n")
}
