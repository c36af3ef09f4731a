//! The usual lab: one laptop, one gateway, one bastion, one person, one policy.

use std::sync::Arc;

use crate::bastion::Bastion;
use crate::gateway::Gateway;
use crate::laptop::Laptop;
use crate::machine::{Machine, Wire, unique};
use crate::ping::{Pings, is_answered};
use crate::tunnel::{Keys, PeerConfig, Tunnel, genkey};

/// The port on which the gateway's interface listens.
const LISTEN_PORT: u16 = 51820;

/// The person's name on the bastion.
pub const USER: &str = "justin";
/// The person's device.
pub const DEVICE: &str = "justins-laptop";
/// The gateway's name.
pub const HOST: &str = "app-gw";
/// The gateway's address in the tunnel.
pub const GATEWAY: &str = "10.77.0.1";
/// The laptop's address in the tunnel.
pub const LAPTOP: &str = "10.77.0.2";

/// A laptop, a gateway and a bastion. The tunnel begins with a preshared key that both ends hold.
#[derive(Debug)]
pub struct Lab {
    /// The person's machine.
    pub laptop: Laptop,
    /// The server side.
    pub gateway: Gateway,
    /// The bastion, running.
    pub bastion: Bastion,
    /// What joins them: bastion 1, gateway 2, laptop 3.
    pub wire: Wire,
}

impl Lab {
    /// A lab whose policy has this rotation interval; no agent runs yet.
    #[track_caller]
    pub fn new(rotation_interval: &str) -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let [bastion, gateway, laptop] = ["b", "g", "l"].map(|role| Arc::new(Machine::new(&format!("{name}{role}"))));
        let [bastion_address, gateway_address, _] = [&bastion, &gateway, &laptop].map(|machine| wire.plug(machine));

        let (gateway_keys, laptop_keys, preshared_key) = (Keys::generate(), Keys::generate(), genkey());
        let gateway_interface = format!("{name}g0");
        let towards_laptop = PeerConfig {
            public_key: laptop_keys.public.clone(),
            preshared_key: Some(preshared_key.clone()),
            endpoint: None,
            allowed_ips: format!("{LAPTOP}/32"),
        };
        let towards_gateway = PeerConfig {
            public_key: gateway_keys.public.clone(),
            preshared_key: Some(preshared_key),
            endpoint: Some(format!("{gateway_address}:{LISTEN_PORT}")),
            allowed_ips: "10.77.0.0/24".to_owned(),
        };
        let gateway_tunnel = Tunnel::up(
            &gateway,
            &gateway_interface,
            gateway_keys,
            &format!("{GATEWAY}/24"),
            LISTEN_PORT,
            &[towards_laptop],
        );
        let laptop_tunnel =
            Tunnel::up(&laptop, &format!("{name}l0"), laptop_keys, &format!("{LAPTOP}/24"), 0, &[towards_gateway]);

        let mut bastion = Bastion::init(&bastion, &bastion_address);
        bastion.policy("101-devices.toml", &policy(rotation_interval, &format!("{HOST}/{gateway_interface}")));
        bastion.start();
        let authenticator = bastion.add_user(USER);
        bastion.add_device(DEVICE, USER, &laptop_tunnel.keys.public);
        let gateway = Gateway::enrol(&gateway, gateway_tunnel, HOST, &bastion);
        let laptop = Laptop::of(&laptop, laptop_tunnel, USER, authenticator, &bastion);
        Self { laptop, gateway, bastion, wire }
    }

    /// The same with a resident agent that has done its first round: a key is waiting.
    #[track_caller]
    pub fn with_resident_agent(rotation_interval: &str) -> Self {
        let mut lab = Self::new(rotation_interval);
        lab.gateway.start();
        lab.await_waiting_key();
        lab
    }

    /// Waits until the bastion has noted that a generation is applied, and nobody has it.
    #[track_caller]
    pub fn await_waiting_key(&self) {
        self.await_waiting_key_above(None);
    }

    /// The same with a generation above this one: a key that waited before a lock is not meant.
    #[track_caller]
    pub fn await_waiting_key_above(&self, generation: Option<u64>) {
        crate::wait::until(&format!("a waiting generation above {generation:?}"), crate::wait::LONG * 2, || {
            let keys = self.bastion.keys(); // empty until the gateway has reported
            let row = keys.iter().find(|row| row["connection"].as_str().is_some_and(|name| name.ends_with(DEVICE)))?;
            let waits = row["rotated_at"].is_string() && row["released_at"].is_null();
            // a key that is deposited and not applied is refused to whoever logs in
            (waits && row["generation"].as_u64() > generation).then_some(())
        });
    }

    /// Pings from the laptop through the tunnel.
    pub fn pings(&self) -> Pings {
        Pings::start(&self.laptop.machine, GATEWAY)
    }

    /// The person logs in with `wgmfa sync`; a ping through the tunnel is answered.
    #[track_caller]
    pub fn log_in(&mut self) {
        self.laptop.sync(&[]).ok();
        self.await_answer();
    }

    /// Waits until a ping through the tunnel is answered.
    #[track_caller]
    pub fn await_answer(&self) {
        crate::wait::until("an answered ping", crate::wait::LONG, || {
            is_answered(&self.laptop.machine, GATEWAY).then_some(())
        });
    }

    /// Whether the gateway accepts this preshared key: the laptop begins anew with it, and knocks.
    #[track_caller]
    pub fn accepts(&self, preshared_key: &str) -> bool {
        let (gateway, laptop) = (&self.gateway, &self.laptop);
        let received = || gateway.tunnel.received(&gateway.machine, &laptop.tunnel.keys.public);
        let before = received();
        laptop.tunnel.readd(&laptop.machine, &gateway.tunnel.keys.public, preshared_key);
        crate::wait::until("a knock that arrives", crate::wait::LONG, || {
            let answered = is_answered(&laptop.machine, GATEWAY);
            // a peer that was added again meanwhile counts from zero
            (answered || received() != before).then_some(answered)
        })
    }

    /// Waits until the gateway accepts this preshared key: one ping alone can be late on a slow machine.
    #[track_caller]
    pub fn await_accepted(&self, preshared_key: &str) {
        crate::wait::until("an answer with that key", crate::wait::LONG, || self.accepts(preshared_key).then_some(()));
    }

    /// The preshared keys of both ends.
    #[track_caller]
    pub fn preshared_keys(&self) -> [Option<String>; 2] {
        let (gateway, laptop) = (&self.gateway.tunnel.keys.public, &self.laptop.tunnel.keys.public);
        [self.gateway.preshared_key(laptop), self.laptop.preshared_key(gateway)]
    }
}

/// A policy under which devices fetch the keys of one interface.
pub fn policy(rotation_interval: &str, server_peer: &str) -> String {
    format!(
        "description = \"Devices\"\nrotation-interval = \"{rotation_interval}\"\nmfa = true\n\
         server-peers = [\"{server_peer}\"]\n"
    )
}
