//! The worked example: `policy.d/` as it stands, four gateways and two people, with the names of
//! `tests/vectors/article/`, and what `key list` shows at each step. Beside their laptops, one of them owns a workstation
//! with an agent.

use std::sync::Arc;

use serde_json::Value;
use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::gateway::Gateway;
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, Wire, unique};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel, genkey};
use wgmfa_tests::wait::{LONG, until};

const PORT: u16 = 51820;
const GATEWAYS: [&str; 4] = ["app-gw", "db-gw", "log-gw", "mail-gw"];
/// The first of them have tunnels to each other.
const SERVERS: usize = 3;
const PEOPLE: [(&str, &str); 2] = [("justin", "justins-laptop"), ("alice", "alice-laptop")];
const WORKSTATION: &str = "justins-desk";
/// Where the workstation has a tunnel to.
const LOG: usize = 2;

/// The four gateways, the two laptops with a tunnel to each, the workstation with a tunnel to one, and the bastion.
struct Example {
    bastion: Bastion,
    gateways: Vec<Gateway>,
    laptops: Vec<Laptop>,
    workstation: Gateway,
    _between_servers: Vec<Tunnel>,
    _wire: Wire,
}

/// The address of a gateway in its tunnels.
fn inside(gateway: usize) -> String {
    format!("10.70.{gateway}.1")
}

/// The address of a gateway in its tunnels to others.
fn between_servers(gateway: usize) -> String {
    format!("10.72.0.{}", gateway + 1)
}

fn towards(keys: &Keys, endpoint: Option<String>, allowed_ips: String, preshared_key: Option<String>) -> PeerConfig {
    PeerConfig { public_key: keys.public.clone(), preshared_key, endpoint, allowed_ips }
}

/// Tunnels from each server to each other one, with no preshared key yet.
fn join_servers(machines: &[Arc<Machine>], addresses: &[String]) -> Vec<Tunnel> {
    let keys = [(); SERVERS].map(|()| Keys::generate());
    let tunnels = (0..SERVERS).map(|server| {
        let others = (0..SERVERS).filter(|other| *other != server);
        let peers: Vec<_> = others
            .map(|other| {
                let endpoint = format!("{}:{}", addresses[other], PORT + 1);
                towards(&keys[other], Some(endpoint), format!("{}/32", between_servers(other)), None)
            })
            .collect();
        let address = format!("{}/24", between_servers(server));
        Tunnel::up(&machines[server], "infra", keys[server].clone(), &address, PORT + 1, &peers)
    });
    tunnels.collect()
}

/// A machine with an agent that a person owns.
fn enrol_owned(machine: &Arc<Machine>, tunnel: Tunnel, name: &str, owner: &str, bastion: &Bastion) -> Gateway {
    let host = Gateway::enrol(machine, tunnel, name, bastion);
    let key = host.agent(&["init", "--print-key"]).ok().stdout;
    bastion.admin(&["host", "remove", name]).ok();
    bastion.admin_with(&["host", "add", name, "--key", "-", "--owner", owner], key.as_bytes()).ok();
    host
}

impl Example {
    fn new() -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let machine = |role: &str| Arc::new(Machine::with_own_interface_names(&format!("{name}{role}")));
        let (bastion_machine, laptop_machines) = (machine("b"), ["j", "a"].map(machine));
        let gateway_machines = ["1", "2", "3", "4"].map(machine);
        let bastion_address = wire.plug(&bastion_machine);
        let gateway_addresses = gateway_machines.each_ref().map(|machine| wire.plug(machine));
        let workstation = machine("d");
        for machine in laptop_machines.iter().chain([&workstation]) {
            wire.plug(machine);
        }
        let gateway_keys = [(); 4].map(|()| Keys::generate());
        // the laptops', and the workstation's
        let device_keys = [(); 3].map(|()| Keys::generate());

        let mut bastion = Bastion::init(&bastion_machine, &bastion_address);
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../policy.d")).unwrap().flatten() {
            bastion.policy(file.file_name().to_str().unwrap(), &std::fs::read_to_string(file.path()).unwrap());
        }
        bastion.start();
        let towards_gateway = |gateway: usize| {
            let endpoint = format!("{}:{PORT}", gateway_addresses[gateway]);
            towards(&gateway_keys[gateway], Some(endpoint), format!("10.70.{gateway}.0/24"), Some(genkey()))
        };
        let laptops = (0..2).map(|person| {
            let peers: Vec<_> = (0..4).map(towards_gateway).collect();
            let (machine, keys) = (&laptop_machines[person], device_keys[person].clone());
            let tunnel = Tunnel::up(machine, "wg0", keys, &format!("10.71.{person}.2/24"), 0, &peers);
            for gateway in 0..4 {
                machine.ip(&["route", "add", &format!("10.70.{gateway}.0/24"), "dev", "wg0"]);
            }
            let (user, device) = PEOPLE[person];
            let authenticator = bastion.add_user(user);
            bastion.add_device(device, user, &tunnel.keys.public);
            Laptop::of(machine, tunnel, user, authenticator, &bastion)
        });
        let laptops = laptops.collect();
        let between_servers = join_servers(&gateway_machines, &gateway_addresses);
        let gateways = (0..4).map(|gateway| {
            let devices = 0..if gateway == LOG { 3 } else { 2 };
            let towards_device =
                |device: usize| towards(&device_keys[device], None, format!("10.71.{device}.2/32"), Some(genkey()));
            let peers: Vec<_> = devices.clone().map(towards_device).collect();
            let (machine, keys) = (&gateway_machines[gateway], gateway_keys[gateway].clone());
            let address = format!("{}/24", inside(gateway));
            let tunnel = Tunnel::up(machine, "devices", keys, &address, PORT, &peers);
            devices.for_each(|device| machine.ip(&["route", "add", &format!("10.71.{device}.2/32"), "dev", "devices"]));
            let enrolled = Gateway::enrol(machine, tunnel, GATEWAYS[gateway], &bastion);
            if gateway < SERVERS {
                let config = std::fs::read_to_string(machine.path("agent.toml")).expect("it was written");
                machine.write("agent.toml", &config.replace("[\"devices\"]", "[\"devices\", \"infra\"]"));
            }
            enrolled
        });
        let gateways = gateways.collect();
        let tunnel =
            Tunnel::up(&workstation, "wg0", device_keys[2].clone(), "10.71.2.2/24", 0, &[towards_gateway(LOG)]);
        workstation.ip(&["route", "add", &format!("10.70.{LOG}.0/24"), "dev", "wg0"]);
        let workstation = enrol_owned(&workstation, tunnel, WORKSTATION, PEOPLE[0].0, &bastion);
        Self { bastion, gateways, laptops, workstation, _between_servers: between_servers, _wire: wire }
    }

    /// What `key list` shows of a connection of a person.
    fn row(&self, gateway: &str, device: &str) -> Value {
        self.bastion.key(&format!("{gateway}/devices:{device}"))
    }

    #[track_caller]
    fn await_state(&self, gateway: &str, device: &str, state: &str) -> Value {
        self.bastion.await_state(&format!("{gateway}/devices:{device}"), state)
    }

    fn can_ping(&self, person: usize, gateway: usize) -> bool {
        is_answered(&self.laptops[person].machine, &inside(gateway))
    }

    #[track_caller]
    fn await_ping(&self, person: usize, gateway: usize) {
        until(&format!("a ping of {} to {}", PEOPLE[person].0, GATEWAYS[gateway]), LONG, || {
            self.can_ping(person, gateway).then_some(())
        });
    }
}

/// For how many minutes a row says that its session lasts.
fn minutes(row: &Value) -> i64 {
    let time = |key: &str| row[key].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (released, deadline) = (time("released_at"), time("deadline"));
    let (released, deadline) = (released.expect("released_at"), deadline.expect("deadline"));
    (deadline.duration_since(released).as_secs() + 30) / 60
}

#[test]
fn every_step_of_the_worked_example_shows_in_the_list() {
    let mut example = Example::new();
    let (justin, alice) = (PEOPLE[0].1, PEOPLE[1].1);

    // nobody has logged in: each gateway has made its first key, and nobody comes in
    example.gateways.iter_mut().chain([&mut example.workstation]).for_each(Gateway::start);
    until("reports of all", LONG, || (example.bastion.keys().len() == 8 + 3 + 1).then_some(()));
    for gateway in GATEWAYS {
        for (_, device) in PEOPLE {
            let row = example.await_state(gateway, device, "Expired");
            let expected = match (gateway, device) {
                (_, device) if device == justin => 99,
                ("mail-gw", _) => 102,
                _ => 101,
            };
            assert_eq!(row["policy"]["ordinal"], expected, "{row:#}");
            assert_eq!(row["server_side"], format!("{gateway}/devices"), "{row:#}");
            assert_eq!(row["generation"], 1, "{row:#}");
        }
    }
    assert!(!example.can_ping(0, 0) && !example.can_ping(1, 3));
    servers_need_no_person(&example);

    // stock ssh: alice has her keys, and has not put them anywhere: released, not yet seen to match
    let tsv = example.laptops[1].ssh(&["wgmfa-sync"]).ok().stdout;
    assert_eq!(tsv.lines().count(), 4, "four keys");
    for gateway in GATEWAYS {
        assert_eq!(example.row(gateway, alice)["state"], "Match Pending");
    }
    assert_eq!(example.row("app-gw", justin)["state"], "Expired", "one login opens one device");
    // with stock wg they are put in: OK until …, an hour on three of them, a day for her mail
    let laptop = &example.laptops[1];
    for line in tsv.lines() {
        let (peer, key) = line.split_once('\t').unwrap();
        laptop.tunnel.readd(&laptop.machine, peer, key);
    }
    for (gateway, name) in GATEWAYS.iter().enumerate() {
        example.await_ping(1, gateway);
        let row = example.await_state(name, alice, "OK");
        assert_eq!(minutes(&row), if *name == "mail-gw" { 24 * 60 } else { 60 }, "{row:#}");
    }

    // the client: justin's laptop travels, and its policy wins on every gateway, with ten minutes
    example.laptops[0].sync(&[]).ok();
    for (gateway, name) in GATEWAYS.iter().enumerate() {
        example.await_ping(0, gateway);
        let row = example.await_state(name, justin, "OK");
        assert_eq!((minutes(&row), &row["policy"]["ordinal"]), (10, &Value::from(99)), "{row:#}");
    }
    let table = example.bastion.admin(&["key", "list"]).ok().stdout;
    for (connection, left) in
        [("app-gw/devices:justins-laptop", "min left"), ("mail-gw/devices:alice-laptop", "min left")]
    {
        let line = table
            .lines()
            .find(|line| line.contains(connection) || line.contains(connection.split(':').next_back().unwrap()));
        assert!(line.is_some_and(|line| line.contains("OK") && line.contains(left)), "{connection}:\n{table}");
    }

    // a rotation is ordered: that session is over at once, and only that one
    example.bastion.admin(&["key", "rotate", "app-gw/devices:alice-laptop", "--reason", "the example"]).ok();
    let row = example.await_state("app-gw", alice, "Expired");
    assert_eq!(row["generation"], 2, "{row:#}");
    example.await_ping(1, 1);
    example.await_ping(0, 0);
    assert!(!example.can_ping(1, 0));
    example.laptops[1].sync(&[]).ok();
    example.await_ping(1, 0);
    example.await_state("app-gw", alice, "OK");

    an_override_lasts_until_the_next_rotation(&example);

    // the laptop is lost: all four connections are locked at once, whatever policy covers them
    example.bastion.admin(&["device", "disable", justin]).ok();
    assert!((0..4).all(|gateway| !example.can_ping(0, gateway)));
    (0..4).for_each(|gateway| example.await_ping(1, gateway));
    for gateway in GATEWAYS {
        assert_ne!(example.row(gateway, justin)["state"], "OK");
    }
}

/// Both ends change their key together: OK without a login, every day.
fn servers_need_no_person(example: &Example) {
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let connection = format!("{}/infra:{}/infra", GATEWAYS[one], GATEWAYS[other]);
        let machine = &example.gateways[one].machine;
        until(&format!("a ping of {connection}"), LONG, || is_answered(machine, &between_servers(other)).then_some(()));
        let row = example.bastion.await_state(&connection, "OK");
        assert_eq!((&row["policy"]["ordinal"], &row["generation"]), (&103.into(), &1.into()), "{row:#}");
    }
}

/// Nobody logs in at the workstation: an administrator opens its side, until the next rotation.
fn an_override_lasts_until_the_next_rotation(example: &Example) {
    let machine = &example.workstation.machine;
    let row = example.bastion.await_state(WORKSTATION, "Expired");
    assert_eq!((&row["policy"]["ordinal"], &row["server_side"]), (&101.into(), &"log-gw/devices".into()), "{row:#}");
    let connection = row["connection"].as_str().expect("a name");
    assert!(!is_answered(machine, &inside(LOG)));
    example.bastion.admin(&["override", connection, "--reason", "the example"]).ok();
    until("a ping of the workstation", LONG, || is_answered(machine, &inside(LOG)).then_some(()));
    let row = example.bastion.await_state(connection, "OK");
    assert_eq!(row["reason"], "override by root: the example", "{row:#}");
    assert_eq!(minutes(&row), 60, "{row:#}");

    example.bastion.admin(&["key", "rotate", connection, "--reason", "the example"]).ok();
    example.bastion.await_generation(connection, 2);
    example.bastion.await_state(connection, "Expired");
    assert!(!is_answered(machine, &inside(LOG)));
}
