//! A reload that changes by what a policy enforces, or which tier it gives, while somebody is in: nothing stays open that the
//! new policy holds back.

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, PROTECTED};
use wgmfa_tests::lab::{DEVICE, policy};
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
    assert!(gated.reaches(PROTECTED));
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
    assert!(gated.reaches(PROTECTED), "the key's session goes on");
    assert!(gated.ask("logout\n").contains("\nok: logged out"));
    gated.await_closed(PROTECTED);
    gated.lab.await_waiting_key();
    log_in(&mut gated);
    change(&gated, "5m", KEY);
    await_gate(&gated, false);
    assert!(gated.reaches(PROTECTED));
}

#[test]
fn a_policy_that_gives_another_tier_closes_what_it_does_not_give() {
    let mut gated = Gated::with("5m", FIREWALL, "[tier.guests]\nallow = [\"10.9.0.0/24\"]\n");
    gated.start();
    gated.open();
    assert!(gated.reaches(PROTECTED));
    change(&gated, "5m", &FIREWALL.replace("prod", "guests"));
    gated.await_closed(PROTECTED);
    gated.lab.bastion.await_state(DEVICE, "Expired");
    assert!(gated.ask("status\n").contains("\nclosed: "));
    let said = gated.give_code();
    assert!(said.contains("\nok: guests until "), "{said}");
    assert!(gated.reaches(ADMIN_ONLY) && !gated.reaches(PROTECTED));
}
