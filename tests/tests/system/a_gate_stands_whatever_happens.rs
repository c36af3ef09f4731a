//! No restart, reload or reboot opens the gate without a grant, and what was granted comes back where it should.

use std::time::{Duration, SystemTime};

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{PROTECTED, PROTECTED6};
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::ping::Pings;
use wgmfa_tests::tunnel::{Keys, Tunnel};
use wgmfa_tests::wait::{LONG, until};

#[test]
fn a_killed_agent_keeps_nobody_in_for_longer_and_its_successor_knows_what_is_left() {
    let mut gated = Gated::with_resident_agent("30s");
    gated.open();
    let opened = SystemTime::now();
    let pings = Pings::start(&gated.lab.laptop.machine, PROTECTED);
    pings.first_reply_after(opened);
    gated.lab.gateway.agent.as_mut().expect("it runs").kill();
    pings.first_reply_after(SystemTime::now());
    gated.start();
    pings.first_reply_after(SystemTime::now());
    assert!(gated.ask("status\n").contains("\nprod until "));
    gated.lab.gateway.agent.as_mut().expect("it runs").kill();
    // nobody is there at the deadline but the kernel
    pings.await_silence(Duration::from_secs(3), LONG * 2);
    pings.assert_none_after(opened + Duration::from_secs(31));
    gated.start();
    assert!(!gated.reaches(PROTECTED) && gated.ask("status\n").contains("\nclosed: "));
}

#[test]
fn a_flushed_ruleset_is_noticed_and_put_back_with_what_is_left() {
    let mut gated = Gated::with_resident_agent("5m");
    let flush = |gated: &Gated| {
        gated.lab.gateway.machine.run("nft", &["flush", "ruleset"]).ok();
        until("the gate to be back", LONG, || gated.ruleset().contains("table inet wgmfa").then_some(()));
    };
    flush(&gated);
    assert!(!gated.reaches(PROTECTED) && !gated.reaches(PROTECTED6));
    gated.open();
    flush(&gated);
    for address in [PROTECTED, PROTECTED6] {
        gated.await_open(address); // the grant is back
    }
    let agent = gated.lab.gateway.agent.as_ref().expect("it runs");
    assert!(agent.said().contains("gate"), "it says so: {}", agent.said());
}

#[test]
fn the_sites_own_ruleset_can_bring_the_gate_with_it() {
    let mut gated = Gated::with_resident_agent("5m");
    gated.open();
    let machine = &gated.lab.gateway.machine;
    let gate = machine.path("agent-state/gate.nft");
    let site = format!(
        "flush ruleset\ntable inet site {{\n chain forward {{\n  type filter hook forward priority filter; policy accept;\n  \
         ct state established,related accept\n }}\n}}\ninclude \"{}\"\n",
        gate.display()
    );
    let site = machine.write("site.nft", &site);
    let pings = Pings::start(&gated.protected, wgmfa_tests::lab::LAPTOP);
    machine.run("nft", &["-f", &site.to_string_lossy()]).ok();
    pings.first_reply_after(SystemTime::now()); // the agent has put the grant back
    gated.lab.gateway.agent.as_mut().expect("it runs").kill();
    let machine = &gated.lab.gateway.machine;
    machine.run("nft", &["-f", &site.to_string_lossy()]).ok();
    assert!(!gated.reaches(PROTECTED), "without the agent nobody is granted anything, and the gate stands");
}

#[test]
fn after_a_reboot_nobody_is_let_through_until_the_bastion_has_said_what_is_left() {
    let mut gated = Gated::with_resident_agent("1h");
    gated.open();
    gated.lab.gateway.agent.as_mut().expect("it runs").kill();
    gated.lab.gateway.machine.run("nft", &["flush", "ruleset"]).ok();
    gated.lab.bastion.stop();
    gated.lab.gateway.start_with(&[("WGMFA_BOOT_ID", "after the reboot")]);
    until("the gate", LONG, || gated.ruleset().contains("table inet wgmfa").then_some(()));
    assert!(!gated.reaches(PROTECTED) && !gated.reaches(PROTECTED6), "the bastion has said nothing yet");
    gated.lab.bastion.start();
    until("the grant to be back", LONG * 2, || gated.reaches(PROTECTED).then_some(()));
    gated.lab.bastion.await_state(DEVICE, "OK");
}

#[test]
fn an_outage_of_the_bastion_ends_nothing_early_and_opens_nothing() {
    let mut gated = Gated::with_resident_agent("5m");
    gated.open();
    gated.lab.bastion.stop();
    gated.await_open(PROTECTED);
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("{code}\n"));
    assert!(said.contains("\nerror: ") && !said.contains("ok:"), "{said}");
}

#[test]
fn an_interface_that_was_away_for_a_round_comes_back_gated() {
    let mut gated = Gated::with_resident_agent("5m");
    let gateway = &gated.lab.gateway;
    let (machine, tunnel) = (&gateway.machine, &gateway.tunnel);
    tunnel.down(machine);
    gateway.agent(&["rotate"]);
    let ruleset = gated.ruleset();
    assert!(ruleset.contains(&format!("iifname \"{}\"", tunnel.name)), "{ruleset}");
    tunnel.make(machine, &machine.path(&format!("{}.conf", tunnel.name)));
    gated.await_listener();
    assert!(!gated.reaches(PROTECTED));
    gated.open();
    gated.await_open(PROTECTED);
}

#[test]
fn a_new_interface_that_a_policy_names_is_gated_at_once() {
    let mut gated = Gated::new("5m");
    let text = wgmfa_tests::lab::policy("5m", "app-gw/*") + "enforce = [\"firewall\"]\ntier = \"prod\"\n";
    gated.lab.bastion.policy("101-devices.toml", &text);
    gated.lab.bastion.admin(&["reload"]).ok();
    let (first, name) = (&gated.lab.gateway.tunnel.name, format!("{}g1", wgmfa_tests::machine::unique()));
    let configuration = gated.lab.gateway.machine.path("agent.toml");
    let text = std::fs::read_to_string(&configuration).expect("the lab makes it");
    let both = text.replace(&format!("[\"{first}\"]"), &format!("[\"{first}\", \"{name}\"]"));
    assert_ne!(text, both);
    wgmfa_tests::machine::write_private(&configuration, &both);
    gated.start();
    let gateway = &gated.lab.gateway;
    gateway.agent(&["rotate"]).expect(6); // the other one is missing
    let second = Tunnel::up(&gateway.machine, &name, Keys::generate(), "10.78.0.1/24", 51999, &[]);
    // the next round would be a minute later
    until("the gate of the new interface", LONG, || gated.ruleset().contains(&second.name).then_some(()));
}
