//! The first login of README.md, word for word: its blocks run in order, each on the machine that its first line names.

use wgmfa_tests::code::Authenticator;

use super::documents::machines::{Machines, Person};
use super::documents::section;
use super::documents::steps::{Step, steps};

/// The server's address in the tunnel.
const SERVER: &str = "10.77.0.1";

/// The interface that the text presumes, in the kernel where it has any; standard input is `wg set` without the private key.
const INTERFACE: &str = r#"set -e
ip link add wg0 type wireguard 2>/dev/null || wireguard-go wg0 >/dev/null 2>&1
wg genkey | wg set wg0 private-key /dev/stdin
ip addr add "$1/24" dev wg0
ip link set wg0 mtu 1420 up"#;

/// Makes the interface; gives its public key.
fn make_interface(machines: &Machines, on: &str, address: &str) -> String {
    machines.named(on).run("bash", &["-c", INTERFACE, "bash", address]).ok();
    machines.named(on).run("wg", &["show", "wg0", "public-key"]).ok().stdout.trim_end().to_owned()
}

fn set(machines: &Machines, on: &str, settings: &str) {
    machines.named(on).run("wg", &[&["set", "wg0"], &*settings.split(' ').collect::<Vec<_>>()].concat()).ok();
}

/// What the text presumes: three machines, and plain WireGuard between two of them.
fn plain_wireguard() -> Machines {
    let mut machines = Machines::new(&["bastion", "app-gw", "laptop"]);
    machines.options = vec!["--config", "/srv/wgmfa/bastion.toml"];
    let server = make_interface(&machines, "app-gw", SERVER);
    let laptop = make_interface(&machines, "laptop", "10.77.0.2");
    set(&machines, "app-gw", &format!("listen-port 51820 peer {laptop} allowed-ips 10.77.0.2/32"));
    set(&machines, "laptop", &format!("peer {server} allowed-ips 10.77.0.0/24 endpoint 10.99.0.2:51820"));
    machines.await_ping("laptop", SERVER);
    machines
}

/// Does one step, and sees to it that what the text says about it is so.
fn do_step(machines: &mut Machines, step: &Step) {
    let (on, text) = match step {
        Step::Carry { file, from, to } => return machines.carry(file, from, to),
        Step::See { lines } => return machines.see(lines),
        Step::Run { on, text } => (on, text),
    };
    let logs_in = text.contains("sync");
    if logs_in {
        assert!(!machines.ping_passes("laptop", SERVER), "the tunnel is open before this login:\n{text}");
        machines.prepare_login("justin", on);
    }
    let said = machines.run(on, text);
    if logs_in {
        machines.await_ping("laptop", SERVER);
        machines.await_state("OK  ");
    }
    if let Some(url) = said.split_whitespace().find(|word| word.starts_with("otpauth://")) {
        let password =
            std::fs::read_to_string(machines.named("bastion").file("password")).unwrap().trim_end().to_owned();
        let justin = Person { password, authenticator: Authenticator::from_url(url) };
        machines.people.insert("justin".to_owned(), justin);
    }
    if text.contains("key list") {
        machines.await_state("Expired  a login is needed");
    }
}

/// Takes the key from the laptop and ends its session.
fn forget_key(machines: &Machines) {
    let dump = machines.named("laptop").run("wg", &["show", "wg0", "dump"]).ok().stdout;
    let peer: Vec<&str> = dump.lines().nth(1).unwrap().split('\t').collect();
    set(machines, "laptop", &format!("peer {} remove", peer[0]));
    set(machines, "laptop", &format!("peer {} endpoint {} allowed-ips {}", peer[0], peer[2], peer[3]));
}

#[test]
fn the_first_login_works_word_for_word() {
    let steps = steps(&section("README.md", "The first login, word for word"));
    let mut machines = plain_wireguard();
    let mut logins = 0;
    for step in &steps {
        do_step(&mut machines, step);
        if matches!(step, Step::Run { text, .. } if text.contains("sync")) {
            logins += 1;
            forget_key(&machines); // for the next one to bring it
        }
    }
    assert_eq!(logins, 2, "with wgmfa, and with stock tools: {steps:#?}");
    machines.admin(&["why", "justin"]).ok();
}
