//! A reload that changes by what a policy enforces, or which tier it gives, while somebody is in: nothing stays open that the
//! new policy holds back.

use nix::sys::signal::Signal;
use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, PROTECTED};
use wgmfa_tests::lab::{DEVICE, policy};
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::tunnel::genkey;
use wgmfa_tests::wait::{LONG, until};

const KEY: &str = "";
const FIREWALL: &str = "enforce = [\"firewall\"]\ntier = \"prod\"\n";
const BOTH: &str = "enforce = [\"preshared-key\", \"firewall\"]\ntier = \"prod\"\n";

fn change(gated: &Gated, interval: &str, lines: &str) {
    let text = policy(interval, &gated.lab.gateway.interface());
    gated.lab.bastion.policy("101-devices.toml", &(text + lines));
    gated.lab.bastion.admin(&["reload"]).ok();
}

fn await_gate(gated: &Gated, stands: bool) {
    until("the gate", LONG, || (gated.ruleset().contains("table inet wgmfa") == stands).then_some(()));
}

fn with_a_session(interval: &str, lines: &str) -> Gated {
    let mut gated = Gated::with(interval, lines, "");
    gated.lab.gateway.start();
    gated.lab.await_waiting_key();
    log_in(&mut gated);
    gated
}

fn log_in(gated: &mut Gated) {
    gated.lab.laptop.sync(&[]).ok();
    until("packets", LONG, || gated.reaches(PROTECTED).then_some(()));
}

#[test]
fn a_session_of_a_key_opens_no_gate_and_still_ends_at_its_deadline() {
    let mut gated = with_a_session("30s", KEY);
    change(&gated, "5m", FIREWALL);
    await_gate(&gated, true);
    gated.await_closed(PROTECTED);
    gated.open();
    gated.await_open(PROTECTED);
    gated.await_closed(PROTECTED);
    let row = gated.lab.bastion.await_state(DEVICE, "Expired");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("(key set)")), "{row}");
}

#[test]
fn from_both_to_the_firewall_a_code_is_needed_and_back_again_logout_ends_the_key_too() {
    let mut gated = with_a_session("5m", BOTH);
    change(&gated, "5m", FIREWALL);
    gated.await_closed(PROTECTED);
    gated.open();
    change(&gated, "5m", BOTH);
    gated.lab.gateway.await_contact(&gated.lab.bastion);
    gated.await_open(PROTECTED); // the key's session goes on
    assert!(gated.ask("logout\n").contains("\nok: logged out"));
    gated.await_closed(PROTECTED);
    gated.lab.await_waiting_key();
    log_in(&mut gated);
    change(&gated, "5m", KEY);
    await_gate(&gated, false);
    gated.await_open(PROTECTED);
}

#[test]
fn a_policy_that_gives_another_tier_closes_what_it_does_not_give() {
    let mut gated = Gated::with("5m", FIREWALL, "[tier.guests]\nallow = [\"10.9.0.0/24\"]\n");
    gated.start();
    gated.open();
    gated.await_open(PROTECTED);
    change(&gated, "5m", &FIREWALL.replace("prod", "guests"));
    gated.await_closed(PROTECTED);
    gated.lab.bastion.await_state(DEVICE, "Expired");
    assert!(gated.ask("status\n").contains("\nclosed: "));
    let said = gated.give_code();
    assert!(said.contains("\nok: guests until "), "{said}");
    gated.await_open(ADMIN_ONLY);
    assert!(!gated.reaches(PROTECTED));
}

fn set(gated: &Gated, key: &str) -> Ended {
    gated.lab.bastion.admin_with(&["key", "set", DEVICE, "--reason", "by hand"], key.as_bytes())
}

/// What keeps the connection shut is said wherever somebody looks.
#[track_caller]
fn assert_left_locked(gated: &Gated) {
    let row = gated.lab.bastion.key(DEVICE);
    assert_eq!(row["state"], "Expired", "{row}");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("(key set)")), "{row}");
    let why = gated.lab.bastion.admin(&["why", DEVICE]).ok().stdout;
    assert!(why.contains("wgmfa-bastion key set"), "{why}");
}

#[test]
fn what_a_key_has_left_locked_says_so_until_one_is_set_which_outlasts_a_cut() {
    let mut gated = Gated::with("5m", KEY, "");
    gated.lab.gateway.start();
    gated.lab.await_waiting_key();
    let text = policy("5m", &gated.lab.gateway.interface());
    gated.lab.bastion.policy("101-devices.toml", &(text + FIREWALL));
    let told = gated.lab.bastion.admin(&["reload", "--dry-run"]).ok().stdout;
    assert!(told.starts_with("1 connection stays locked after its deadline\n"), "{told}");
    change(&gated, "5m", FIREWALL);
    await_gate(&gated, true);
    assert_left_locked(&gated);
    let refused = gated.lab.laptop.sync(&[]);
    assert!(refused.stderr.contains("it is locked from when another policy covered it"), "{refused:#?}");

    // who does not confirm has no key
    let key = genkey();
    let agent = |gated: &Gated, signal| gated.lab.gateway.agent.as_ref().expect("it runs").signal(signal);
    agent(&gated, Signal::SIGSTOP);
    let unsure = set(&gated, &key).expect(6);
    assert!(unsure.stderr.contains("app-gw has not confirmed in time\n"), "{unsure:#?}");
    assert_left_locked(&gated);
    agent(&gated, Signal::SIGCONT);
    gated.lab.gateway.agent.as_ref().expect("it runs").await_line("a key came from the bastion");
    until("the lock", LONG, || (gated.lab.gateway.status()["peers"][0]["hold"] == "locked").then_some(()));

    set(&gated, &key).ok();
    let Gated { lab, .. } = &gated;
    let (laptop, peer) = (&lab.laptop, &lab.gateway.tunnel.keys.public);
    let words = ["set", &laptop.tunnel.name, "peer", peer, "preshared-key", "/dev/stdin"];
    run(laptop.machine.command("wg").args(words), format!("{key}\n").as_bytes()).ok();
    gated.await_listener();
    gated.open();
    gated.await_open(PROTECTED);

    gated.lab.bastion.admin(&["device", "disable", DEVICE]).ok();
    gated.await_closed(PROTECTED);
    gated.lab.bastion.admin(&["device", "enable", DEVICE]).ok();
    gated.await_listener();
    gated.open();
    gated.await_open(PROTECTED);
    assert_eq!(gated.lab.gateway.preshared_key(&gated.lab.laptop.tunnel.keys.public).as_deref(), Some(&*key));
}
