//! `doc/guide.md`, word for word: its blocks run in order on the machines that they name, and what it shows is what one
//! sees. It ends in the worked example: what the policies do to each connection is compared with its vectors.

use wgmfa_tests::tunnel::Keys;

use super::documents::machines::{Machines, invitation};
use super::documents::steps::{Step, steps};
use super::documents::text;

const GATEWAYS: [&str; 4] = ["app-gw", "db-gw", "log-gw", "mail-gw"];
/// The first of them have tunnels to each other.
const SERVERS: usize = 3;
const PEOPLE: [(&str, &str); 2] = [("justin", "justins-laptop"), ("alice", "alice-laptop")];

/// The address of a gateway in its tunnels to the laptops.
fn inside(gateway: usize) -> String {
    format!("10.70.{gateway}.1")
}

/// The address of a gateway in its tunnels to the others.
fn between(gateway: usize) -> String {
    format!("10.72.0.{}", gateway + 1)
}

fn peer(keys: &Keys, allowed_ips: &str, endpoint: Option<(usize, u16)>) -> String {
    // the bastion is the first machine on the wire
    let endpoint = endpoint.map(|(gateway, port)| format!("Endpoint = 10.99.0.{}:{port}\n", gateway + 2));
    format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = {allowed_ips}\n{}", keys.public, endpoint.unwrap_or_default())
}

fn interface(keys: &Keys, address: &str, port: Option<u16>) -> String {
    let port = port.map(|port| format!("ListenPort = {port}\n")).unwrap_or_default();
    format!("[Interface]\nPrivateKey = {}\nAddress = {address}\n{port}", keys.private)
}

/// What the text begins with: WireGuard that works.
fn plain_wireguard() -> Machines {
    let names = [&["bastion"][..], &GATEWAYS, &PEOPLE.map(|(_, device)| device)].concat();
    let machines = Machines::new(&names);
    machines.named("bastion").install_bastion();
    let devices = GATEWAYS.map(|_| Keys::generate());
    let infra = [(); SERVERS].map(|()| Keys::generate());
    let laptops = PEOPLE.map(|_| Keys::generate());
    for (gateway, name) in GATEWAYS.iter().enumerate() {
        let mut text = interface(&devices[gateway], &format!("{}/24", inside(gateway)), Some(51820));
        text.extend(laptops.iter().enumerate().map(|(person, keys)| peer(keys, &format!("10.71.{person}.2/32"), None)));
        machines.named(name).wg_quick("devices", &text);
    }
    for server in 0..SERVERS {
        let mut text = interface(&infra[server], &format!("{}/24", between(server)), Some(51821));
        let others = (0..SERVERS).filter(|other| *other != server);
        text.extend(others.map(|other| peer(&infra[other], &format!("{}/32", between(other)), Some((other, 51821)))));
        machines.named(GATEWAYS[server]).wg_quick("infra", &text);
    }
    for (person, (_, device)) in PEOPLE.iter().enumerate() {
        let mut text = interface(&laptops[person], &format!("10.71.{person}.2/24"), None);
        let to = |gateway: usize| peer(&devices[gateway], &format!("10.70.{gateway}.0/24"), Some((gateway, 51820)));
        text.extend((0..GATEWAYS.len()).map(to));
        machines.named(device).wg_quick("wg0", &text);
    }
    for gateway in 0..GATEWAYS.len() {
        PEOPLE.iter().for_each(|(_, device)| machines.await_ping(device, &inside(gateway)));
    }
    machines.await_ping("app-gw", &between(2));
    machines
}

/// A laptop's pings to these gateways pass, and no other ones.
#[track_caller]
fn assert_passes(machines: &Machines, device: &str, expected: [bool; 4], when: &str) {
    let gateways = |passes: bool| (0..GATEWAYS.len()).filter(move |gateway| expected[*gateway] == passes).map(inside);
    // one ping alone can be late on a slow machine
    gateways(true).for_each(|address| machines.await_ping(device, &address));
    let open: Vec<String> = gateways(false).filter(|address| machines.ping_passes(device, address)).collect();
    assert!(open.is_empty(), "{device} reaches {open:?}: {when}");
}

/// For each connection: which ordinal wins, which end is the server side, and whether the policies contradict each other.
fn assert_as_in_the_vectors(machines: &Machines) {
    let expected: serde_json::Value = serde_json::from_str(&text("tests/vectors/article/expected.json")).unwrap();
    let expected = expected.as_object().unwrap();
    let explained = machines.admin(&["--json", "policy", "explain"]).ok().json();
    let explained = explained["connections"].as_array().unwrap();
    assert_eq!(explained.len(), expected.len());
    for row in explained {
        let name = row["connection"].as_str().unwrap();
        for key in ["winner", "server_side", "conflict"] {
            assert_eq!(row[key], expected[name][key], "{name}: {key}");
        }
    }
}

/// A person logs in, and so had the other one or not: nothing passes before, all of that person's connections afterwards,
/// and nothing changes for the other one.
fn log_in(machines: &mut Machines, on: &str, block: &str, other_had: bool) {
    let (user, device) = *PEOPLE.iter().find(|(_, device)| *device == on).expect("a person's machine");
    let others = PEOPLE.map(|(_, device)| device).into_iter().find(|other| *other != device).expect("two people");
    assert_passes(machines, others, [other_had; 4], &format!("before {user} has logged in"));
    assert_passes(machines, device, [false; 4], &format!("before {user} has logged in"));
    machines.prepare_login(user, on);
    machines.run(on, block);
    assert_passes(machines, device, [true; 4], &format!("after {user} has logged in"));
    assert_passes(machines, others, [other_had; 4], &format!("after {user} has logged in"));
}

#[test]
fn the_guide_works_word_for_word() {
    let mut machines = plain_wireguard();
    let (mut invitations, mut logins) = (Vec::<String>::new(), 0);
    for step in steps(&text("doc/guide.md")) {
        match step {
            Step::Carry { file, from, to } => machines.carry(&file, &from, &to),
            Step::See { lines } => machines.see(&lines),
            Step::Run { on, text } if text.contains("wgmfa-enrol") => {
                let (user, _) = PEOPLE.iter().find(|(_, device)| *device == on).expect("a person's machine");
                machines.enrol(user, &on, &text, &invitations.remove(0));
            }
            Step::Run { on, text } if text.contains("wgmfa sync") || text.contains("wgmfa-sync") => {
                log_in(&mut machines, &on, &text, logins > 0);
                logins += 1;
            }
            Step::Run { on, text } => {
                let said = machines.run(&on, &text);
                if text.contains("--invite") {
                    invitations.push(invitation(&said));
                }
                if text.contains("reload\n") {
                    assert_as_in_the_vectors(&machines);
                    machines.await_ping("app-gw", &between(2));
                }
                if text.contains("key rotate") {
                    assert_passes(&machines, PEOPLE[1].1, [false, true, true, true], "only that session is over");
                }
                if text.contains("device disable") {
                    assert_passes(&machines, PEOPLE[0].1, [false; 4], "the laptop is lost");
                    assert_passes(&machines, PEOPLE[1].1, [false, true, true, true], "and no other one");
                }
            }
        }
    }
    assert_eq!(logins, 2, "with wgmfa, and with stock tools");
}
