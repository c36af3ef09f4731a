//! Inside the tunnel the source address is the identity: nobody else can use it, and a grant goes with its peer.

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{CODE_PORT, PROTECTED};
use wgmfa_tests::lab::{DEVICE, GATEWAY, LAPTOP, USER};
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel};
use wgmfa_tests::wait::{LONG, until};

/// A second device of the same person, at 10.77.0.3, with a machine of its own.
struct Second {
    machine: Machine,
    tunnel: Tunnel,
}

impl Second {
    #[track_caller]
    fn join(gated: &mut Gated) -> Self {
        let name = unique();
        let machine = Machine::new(&format!("{name}s"));
        gated.lab.wire.plug(&machine);
        let keys = Keys::generate();
        let gateway = &gated.lab.gateway;
        let towards_gateway = PeerConfig {
            public_key: gateway.tunnel.keys.public.clone(),
            preshared_key: None,
            endpoint: Some("10.99.0.2:51820".to_owned()),
            allowed_ips: "10.77.0.0/24,10.1.0.0/16".to_owned(),
        };
        let tunnel = Tunnel::up(&machine, &format!("{name}s0"), keys, "10.77.0.3/24", 0, &[towards_gateway]);
        machine.ip(&["route", "add", "10.1.0.0/16", "dev", &tunnel.name]);
        gated.allow(&gateway.machine, &gateway.tunnel.name, &tunnel.keys.public, "10.77.0.3/32");
        gated.lab.bastion.add_device("justins-tablet", USER, &tunnel.keys.public);
        Self { machine, tunnel }
    }

    fn reaches(&self, address: &str) -> bool {
        is_answered(&self.machine, address)
    }

    /// What the gateway answers to these lines from an address of this machine.
    fn ask_from(&self, source: &str, lines: &str) -> String {
        let mut ncat = self.machine.command("ncat");
        ncat.args(["-w", "20", "-s", source, GATEWAY, &CODE_PORT.to_string()]);
        wgmfa_tests::program::run(&mut ncat, lines.as_bytes()).stdout
    }
}

#[test]
fn a_code_opens_one_device_and_its_address_is_of_no_use_to_another() {
    let mut gated = Gated::new("5m");
    let second = Second::join(&mut gated);
    gated.start();
    until("the second device is known", LONG, || {
        second.ask_from("10.77.0.3", "").contains("justins-tablet").then_some(())
    });
    gated.open();
    gated.await_open(PROTECTED);
    assert!(!second.reaches(PROTECTED), "the first one's code opens the first one");

    // the granted address, from another peer: WireGuard drops it
    second.machine.ip(&["addr", "add", &format!("{LAPTOP}/32"), "dev", &second.tunnel.name]);
    let spoofed = second.machine.run("ping", &["-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", LAPTOP, PROTECTED]);
    assert_ne!(spoofed.code(), 0, "{spoofed:?}");
    assert_eq!(second.ask_from(LAPTOP, "status\n"), "");

    // from the protected network, and from the wire between the machines: another interface
    gated.protected.ip(&["addr", "add", &format!("{LAPTOP}/32"), "dev", "eth0"]);
    for (machine, target) in [(&*gated.protected, "10.1.0.1"), (&second.machine, "10.99.0.2")] {
        let mut ncat = machine.command("ncat");
        ncat.args(["-w", "2", target, &CODE_PORT.to_string()]);
        let answer = wgmfa_tests::program::run(&mut ncat, b"status\n");
        assert_eq!(answer.stdout, "", "the listener is bound to the tunnel: {answer:?}");
    }
}

#[test]
fn an_address_that_moves_to_another_peer_loses_its_grant() {
    let mut gated = Gated::new("5m");
    let second = Second::join(&mut gated);
    gated.start();
    gated.open();
    gated.await_open(PROTECTED);
    let gateway = &gated.lab.gateway;
    gated.allow(
        &gateway.machine,
        &gateway.tunnel.name,
        &second.tunnel.keys.public,
        &format!("10.77.0.3/32,{LAPTOP}/32"),
    );
    second.machine.ip(&["addr", "add", &format!("{LAPTOP}/32"), "dev", &second.tunnel.name]);
    let through = || {
        let mut ping = second.machine.command("ping");
        ping.args(["-n", "-q", "-c", "1", "-W", "1", "-I", LAPTOP, PROTECTED]);
        wgmfa_tests::program::run(&mut ping, b"").code() == 0
    };
    until("closed for the new peer", LONG, || {
        let said = second.ask_from(LAPTOP, "status\n");
        (said.contains("\nclosed: ") && said.contains("justins-tablet")).then_some(())
    });
    assert!(!through(), "the new peer is held back");
    // and it does not come back with the address
    gated.allow(&gateway.machine, &gateway.tunnel.name, &second.tunnel.keys.public, "10.77.0.3/32");
    let laptop_key = &gated.lab.laptop.tunnel.keys.public;
    gated.allow(&gateway.machine, &gateway.tunnel.name, laptop_key, &format!("{LAPTOP}/32"));
    until("the address is the laptop's again", LONG, || gated.ask("status\n").contains(DEVICE).then_some(()));
    assert!(!gated.reaches(PROTECTED), "a grant that was lost is lost");
}

#[test]
fn who_is_cut_off_is_closed_at_once() {
    let mut gated = Gated::with_resident_agent("1h");
    gated.open();
    gated.await_open(PROTECTED);
    gated.lab.bastion.admin(&["device", "disable", DEVICE]).ok();
    assert!(!gated.reaches(PROTECTED), "confirmed by the resident agent");
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("{code}\n"));
    assert!(!said.contains("ok:"), "{said}");
    gated.lab.bastion.admin(&["device", "enable", DEVICE]).ok();
    assert!(!gated.reaches(PROTECTED), "a new code is needed");
    gated.open();

    gated.lab.bastion.admin(&["user", "disable", USER]).ok();
    assert!(!gated.reaches(PROTECTED));
}

#[test]
fn a_peer_with_more_than_one_address_is_refused_unless_the_gateway_allows_it() {
    let mut gated = Gated::new("5m");
    let gateway = &gated.lab.gateway;
    let key = &gated.lab.laptop.tunnel.keys.public;
    gated.allow(&gateway.machine, &gateway.tunnel.name, key, "10.77.0.2/31");
    gated.lab.gateway.start();
    let code = gated.lab.laptop.authenticator.next_code();
    let said =
        until("the listener", LONG, || Some(gated.ask(&format!("{code}\n"))).filter(|said| said.contains("error: ")));
    assert!(said.contains("one of a network") && !said.contains("ok:"), "{said}");
    assert!(!gated.reaches(PROTECTED));
}
