//! A site with many people: a bastion, and a gateway with a peer for each person's device.

use std::io::Read as _;
use std::sync::Arc;

use nix::unistd::Pid;
use wgmfa_core::key::PublicKey;
use wgmfa_tests::bastion::{Bastion, PASSWORD, PORT};
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::gateway::Gateway;
use wgmfa_tests::lab::policy;
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, Wire, unique, write_private};
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel};
use wgmfa_tests::wait::{LONG, until};

use crate::client::{Account, Client};
use crate::process;
use crate::sshd::Sshd;

/// The bastion's name in the client's configuration.
pub const SERVER: &str = "bastion";

/// The gateway's address in the tunnels.
pub const GATEWAY: &str = "10.77.0.1";

const HOST: &str = "app-gw";
const LISTEN_PORT: u16 = 51820;

/// A person with one device.
#[derive(Debug)]
pub struct Person {
    /// The name on the bastion.
    pub name: String,
    /// The person's authenticator.
    pub authenticator: Authenticator,
    /// The keys of the device.
    pub keys: Keys,
    /// The device's address in the tunnel.
    pub address: String,
}

/// A bastion, a gateway and a client on one wire.
#[derive(Debug)]
pub struct Site {
    /// Where people log in from.
    pub client: Client,
    /// The server side of all connections.
    pub gateway: Gateway,
    /// The bastion, running.
    pub bastion: Bastion,
    name: String,
    gateway_address: String,
    wire: Wire,
    laptops: usize,
}

impl Site {
    /// A site without people whose gateway has these devices as peers; no agent runs yet.
    #[track_caller]
    pub fn new(devices: &[Keys]) -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let [bastion, gateway, client] = ["b", "g", "c"].map(|role| Arc::new(Machine::new(&format!("{name}{role}"))));
        let [bastion_address, gateway_address, _] = [&bastion, &gateway, &client].map(|machine| wire.plug(machine));
        let interface = format!("{name}g0");
        let peer = |(index, keys): (usize, &Keys)| PeerConfig {
            public_key: keys.public.clone(),
            preshared_key: None,
            endpoint: None,
            allowed_ips: format!("{}/32", address(index)),
        };
        let peers: Vec<PeerConfig> = devices.iter().enumerate().map(peer).collect();
        let tunnel = Tunnel::up(&gateway, &interface, Keys::generate(), &format!("{GATEWAY}/16"), LISTEN_PORT, &peers);
        let mut bastion = Bastion::init(&bastion, &bastion_address);
        bastion.policy("101-devices.toml", &policy("1h", &format!("{HOST}/{interface}")));
        bastion.start();
        let gateway = Gateway::enrol(&gateway, tunnel, HOST, &bastion);
        let client = Client::of(&client);
        client.knows(SERVER, &bastion_address, PORT, &bastion.known_hosts());
        Self { client, gateway, bastion, name, gateway_address, wire, laptops: 0 }
    }

    /// A site with this many people, each with a device, and a resident agent: a key is waiting for everybody.
    #[track_caller]
    pub fn with_people(count: usize) -> (Vec<Person>, Self) {
        let devices: Vec<Keys> = (0..count).map(|_| Keys::generate()).collect();
        let mut site = Self::new(&devices);
        let people = devices.into_iter().enumerate().map(|(index, keys)| site.add_person(index, keys)).collect();
        site.gateway.start();
        until("a waiting key for everybody", LONG, || {
            let keys = site.bastion.keys();
            let waiting = keys.iter().filter(|row| row["generation"] == 1 && row["released_at"].is_null()).count();
            (waiting == count).then_some(())
        });
        (people, site)
    }

    /// A site with this many people whose policy is enforced by the firewall, with these tiers; the gateway asks for codes.
    ///
    /// # Panics
    /// The agent's configuration cannot be written.
    #[track_caller]
    pub fn with_gate(count: usize, rotation_interval: &str, tiers: &str) -> (Vec<Person>, Self) {
        let devices: Vec<Keys> = (0..count).map(|_| Keys::generate()).collect();
        let mut site = Self::new(&devices);
        let text = policy(rotation_interval, &site.gateway.interface());
        site.bastion.policy("101-devices.toml", &format!("{text}enforce = [\"firewall\"]\ntier = \"prod\"\n"));
        site.bastion.admin(&["reload"]).ok();
        let people = devices.into_iter().enumerate().map(|(index, keys)| site.add_person(index, keys)).collect();
        let path = site.gateway.machine.path("agent.toml");
        let config = std::fs::read_to_string(&path).expect("the site makes it");
        write_private(&path, &format!("{config}{tiers}"));
        site.gateway.start();
        until("the gate", LONG, || {
            let shown = site.gateway.machine.run("nft", &["list", "tables"]);
            shown.stdout.contains("inet wgmfa").then_some(())
        });
        (people, site)
    }

    fn add_person(&self, index: usize, keys: Keys) -> Person {
        let name = format!("person{index}");
        let authenticator = self.bastion.add_user(&name);
        self.bastion.add_device(&format!("device{index}"), &name, &keys.public);
        Person { name, authenticator, keys, address: address(index) }
    }

    /// Starts sshd on the same wire.
    #[track_caller]
    pub fn start_sshd(&mut self) -> Sshd {
        Sshd::start(&format!("{}s", self.name), &mut self.wire, &self.client)
    }

    /// Gives a person a machine of their own, with the tunnel to the gateway.
    #[track_caller]
    pub fn laptop(&mut self, person: Person) -> Laptop {
        self.laptops += 1;
        let machine = Arc::new(Machine::new(&format!("{}l{}", self.name, self.laptops)));
        self.wire.plug(&machine);
        let towards_gateway = PeerConfig {
            public_key: self.gateway.tunnel.keys.public.clone(),
            preshared_key: None,
            endpoint: Some(format!("{}:{LISTEN_PORT}", self.gateway_address)),
            allowed_ips: format!("{GATEWAY}/32"),
        };
        let interface = format!("{}l{}", self.name, self.laptops);
        let tunnel =
            Tunnel::up(&machine, &interface, person.keys, &format!("{}/16", person.address), 0, &[towards_gateway]);
        Laptop::of(&machine, tunnel, &person.name, person.authenticator, &self.bastion)
    }

    /// The bastion's keeper.
    ///
    /// # Panics
    /// It does not run.
    pub fn keeper(&self) -> Pid {
        self.bastion.serve.as_ref().expect("it runs").pid()
    }

    /// The bastion's front.
    ///
    /// # Panics
    /// It does not run.
    pub fn front(&self) -> Pid {
        let is_front = |pid: &Pid| process::words(*pid).get(1).is_some_and(|word| word == "front");
        self.bastion.machine.pids().into_iter().find(is_front).expect("the front runs")
    }
}

impl Person {
    /// Does something with this person's account and a code that was never used.
    pub fn with_account<T>(&mut self, act: impl FnOnce(&Account<'_>) -> T) -> T {
        let code = self.authenticator.next_code();
        act(&Account { server: SERVER, user: &self.name, password: PASSWORD, code: &code })
    }
}

/// Peers that nobody has to speak for: random bytes as public keys.
///
/// # Panics
/// The system has no random bytes.
pub fn strangers(count: usize) -> Vec<Keys> {
    let mut random = std::fs::File::open("/dev/urandom").expect("Linux has it");
    let key = |_| {
        let mut bytes = [0; 32];
        random.read_exact(&mut bytes).expect("it never ends");
        Keys { private: String::new(), public: PublicKey::from_bytes(bytes).to_string() }
    };
    (0..count).map(key).collect()
}

/// The address of a device in the tunnel.
fn address(index: usize) -> String {
    format!("10.77.{}.{}", 1 + index / 250, 1 + index % 250)
}
