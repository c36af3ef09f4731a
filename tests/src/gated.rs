//! A lab in which the gateway's firewall holds the laptop back: the tunnel is up, and behind the gateway lies a protected
//! machine, by IPv4 and IPv6.

use std::sync::Arc;

use crate::lab::{DEVICE, GATEWAY, HOST, LAPTOP, Lab};
use crate::machine::{Machine, unique, write_private};
use crate::ping::is_answered;
use crate::program::{Ended, run};
use crate::wait::{LONG, until};

/// The gateway's IPv6 address in the tunnel.
pub const GATEWAY6: &str = "fd00:77::1";
/// The laptop's.
pub const LAPTOP6: &str = "fd00:77::2";
/// The protected machine's address, in the tier `prod`.
pub const PROTECTED: &str = "10.1.0.5";
/// Its IPv6 address, in the same tier.
pub const PROTECTED6: &str = "fd00:1::5";
/// Another address of it, in the tier `admin`.
pub const ADMIN_ONLY: &str = "10.9.0.5";
/// The port on which the gateway asks for codes.
pub const CODE_PORT: u16 = 7777;

/// The tiers of the gateway.
const TIERS: &str = r#"
[tier.0]
allow = ["10.77.0.1:7777/tcp"]
[tier.prod]
allow = ["10.1.0.0/16", "fd00:1::/48"]
[tier.admin]
allow = ["10.9.0.0/24"]
from = "prod"
lifetime = "30s"
"#;

/// The usual lab with a protected machine behind the gateway.
#[derive(Debug)]
pub struct Gated {
    /// Laptop, gateway and bastion.
    pub lab: Lab,
    /// What lies behind the gateway.
    pub protected: Arc<Machine>,
}

impl Gated {
    /// A lab whose policy is enforced by the firewall alone; no agent runs yet.
    #[track_caller]
    pub fn new(rotation_interval: &str) -> Self {
        Self::with(rotation_interval, "enforce = [\"firewall\"]\ntier = \"prod\"\n", "")
    }

    /// The same with these lines in the policy, and these in front of the tiers in the agent's configuration.
    #[track_caller]
    pub fn with(rotation_interval: &str, policy: &str, agent: &str) -> Self {
        let lab = Lab::new(rotation_interval);
        let protected = Arc::new(Machine::new(&format!("{}p", unique())));
        let gated = Self { lab, protected };
        gated.connect();
        let text = crate::lab::policy(rotation_interval, &gated.lab.gateway.interface());
        gated.lab.bastion.policy("101-devices.toml", &(text + policy));
        gated.lab.bastion.admin(&["reload"]).ok();
        gated.configure_agent(&format!("{agent}{TIERS}"));
        gated
    }

    /// The same with a resident agent that has put the gate up and asks for codes.
    #[track_caller]
    pub fn with_resident_agent(rotation_interval: &str) -> Self {
        let mut gated = Self::new(rotation_interval);
        gated.start();
        gated
    }

    /// Starts the resident agent, and waits until it asks for codes.
    #[track_caller]
    pub fn start(&mut self) {
        self.lab.gateway.start();
        self.await_listener();
    }

    /// Waits until the gateway asks for codes inside the tunnel, by a person's name: then it has heard of the policy.
    #[track_caller]
    pub fn await_listener(&self) {
        until("the listener for codes", LONG, || self.ask("").contains(DEVICE).then_some(()));
    }

    /// Addresses, routes and forwarding.
    fn connect(&self) {
        let Lab { laptop, gateway, .. } = &self.lab;
        for machine in [&gateway.machine, &self.protected] {
            // an address that waits for duplicates to be detected answers nobody for a second or two
            machine.run("sysctl", &["-qw", "net.ipv6.conf.default.accept_dad=0"]).ok();
        }
        let (near, far) = (format!("{}p0", unique()), "eth0");
        let namespaces = (gateway.machine.namespace(), self.protected.namespace());
        let mut add = std::process::Command::new("ip");
        add.args(["link", "add", &near, "netns", namespaces.0, "type", "veth", "peer", "name", far]);
        run(add.args(["netns", namespaces.1]), b"").ok();
        for (machine, device, addresses) in [
            (&gateway.machine, near.as_str(), ["10.1.0.1/24", "10.9.0.1/24", "fd00:1::1/64"].as_slice()),
            (&self.protected, far, &["10.1.0.5/24", "10.9.0.5/24", "fd00:1::5/64"]),
            (&gateway.machine, &gateway.tunnel.name, &["fd00:77::1/64"]),
            (&laptop.machine, &laptop.tunnel.name, &["fd00:77::2/64"]),
        ] {
            for address in addresses {
                // without detection of duplicates an address is good at once
                let nodad: &[&str] = if address.contains("::") { &["nodad"] } else { &[] };
                machine.ip(&[&["addr", "add", address, "dev", device], nodad].concat());
            }
            machine.ip(&["link", "set", device, "up"]);
        }
        for family in ["ipv4", "ipv6"] {
            let path = if family == "ipv4" { "net.ipv4.ip_forward=1" } else { "net.ipv6.conf.all.forwarding=1" };
            gateway.machine.run("sysctl", &["-qw", path]).ok();
        }
        self.protected.ip(&["route", "add", "10.77.0.0/24", "via", "10.1.0.1"]);
        self.protected.ip(&["-6", "route", "add", "fd00:77::/64", "via", "fd00:1::1"]);
        for network in ["10.1.0.0/16", "10.9.0.0/24"] {
            laptop.machine.ip(&["route", "add", network, "dev", &laptop.tunnel.name]);
        }
        laptop.machine.ip(&["-6", "route", "add", "fd00:1::/48", "dev", &laptop.tunnel.name]);
        let everything =
            format!("{GATEWAY}/24,10.1.0.0/16,10.9.0.0/24,fd00:77::/64,fd00:1::/48").replace(".1/24", ".0/24");
        let (laptop_key, gateway_key) = (&laptop.tunnel.keys.public, &gateway.tunnel.keys.public);
        self.allow(&laptop.machine, &laptop.tunnel.name, gateway_key, &everything);
        self.allow(&gateway.machine, &gateway.tunnel.name, laptop_key, &format!("{LAPTOP}/32,{LAPTOP6}/128"));
    }

    /// Sets the allowed IPs of a peer.
    #[track_caller]
    pub fn allow(&self, machine: &Machine, interface: &str, peer: &str, allowed_ips: &str) {
        machine.run("wg", &["set", interface, "peer", peer, "allowed-ips", allowed_ips]).ok();
    }

    /// Puts lines at the end of the agent's configuration.
    ///
    /// # Panics
    /// There is none.
    pub fn configure_agent(&self, lines: &str) {
        let path = self.lab.gateway.machine.path("agent.toml");
        let text = std::fs::read_to_string(&path).expect("the lab makes it");
        write_private(&path, &format!("{text}{lines}"));
    }

    /// Says these lines to the gateway inside the tunnel, with `ncat`; gives all that it answers.
    #[track_caller]
    pub fn ask(&self, lines: &str) -> String {
        self.ask_from(LAPTOP, GATEWAY, lines)
    }

    /// The same from one address of the laptop to one of the gateway.
    #[track_caller]
    pub fn ask_from(&self, source: &str, gateway: &str, lines: &str) -> String {
        let machine = &self.lab.laptop.machine;
        let mut ncat = machine.command("ncat");
        ncat.args(["-w", "20", "-s", source, gateway, &CODE_PORT.to_string()]);
        let Ended { stdout, stderr, .. } = run(&mut ncat, lines.as_bytes());
        format!("{stdout}{stderr}")
    }

    /// The person gives a code that was never used; gives all that the gateway answers.
    #[track_caller]
    pub fn give_code(&mut self) -> String {
        let code = self.lab.laptop.authenticator.next_code();
        self.ask(&format!("{code}\n"))
    }

    /// A code opens the tier: nothing is left of waiting when this returns.
    #[track_caller]
    pub fn open(&mut self) {
        let said = self.give_code();
        assert!(said.contains("\nok: prod until "), "{said}");
    }

    /// Whether one ping from the laptop to this address is answered.
    pub fn reaches(&self, address: &str) -> bool {
        is_answered(&self.lab.laptop.machine, address)
    }

    /// Waits until the laptop reaches this address: one ping alone can be late on a slow machine.
    #[track_caller]
    pub fn await_open(&self, address: &str) {
        until(&format!("{address} to be open"), LONG, || self.reaches(address).then_some(()));
    }

    /// Waits until the laptop is held back from this address.
    #[track_caller]
    pub fn await_closed(&self, address: &str) {
        until(&format!("{address} to be closed"), LONG * 2, || (!self.reaches(address)).then_some(()));
    }

    /// What `nft list ruleset` shows on the gateway.
    #[track_caller]
    pub fn ruleset(&self) -> String {
        self.lab.gateway.machine.run("nft", &["list", "ruleset"]).ok().stdout
    }

    /// The name of the connection.
    pub fn connection(&self) -> String {
        format!("{HOST}/{}:{DEVICE}", self.lab.gateway.tunnel.name)
    }
}
