//! A login over SSH opens the tier of a policy that the firewall enforces, and where both ways enforce it, key and gate
//! open and close together.

use std::time::{Duration, SystemTime};

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, PROTECTED, PROTECTED6};
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::ping::Pings;
use wgmfa_tests::program::says_an_hour;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn stock_ssh_opens_the_tier_and_prints_no_key() {
    let mut gated = Gated::with_resident_agent("1h");
    let keys = gated.lab.preshared_keys();
    let released = gated.lab.laptop.ssh(&["wgmfa-sync"]).ok();
    assert_eq!(released.stdout, "", "there is no key to print");
    assert!(says_an_hour(&released.stderr, "OK, ") && released.stderr.contains("tier prod"), "{released:?}");
    gated.await_open(PROTECTED);
    gated.await_open(PROTECTED6);
    assert!(!gated.reaches(ADMIN_ONLY));
    gated.lab.bastion.await_state(DEVICE, "OK");
    assert_eq!(gated.lab.preshared_keys(), keys, "the preshared key is none of this policy's affair");

    let json = gated.lab.laptop.ssh(&["wgmfa-sync", "--format", "json"]).ok().json();
    assert_eq!(json["keys"].as_array().map(Vec::len), Some(0), "{json}");
    assert_eq!((&json["grants"][0]["tier"], &json["grants"][0]["state"]), (&"prod".into(), &"OK".into()), "{json}");
}

#[test]
fn the_small_client_shows_what_is_open() {
    let mut gated = Gated::with_resident_agent("1h");
    let synced = gated.lab.laptop.sync(&[]).ok();
    assert!(format!("{}{}", synced.stdout, synced.stderr).contains("tier prod"), "{synced:?}");
    gated.await_open(PROTECTED);
    let status = gated.lab.laptop.status();
    assert!(status.to_string().contains("prod"), "{status}");
}

#[test]
fn key_and_gate_open_and_close_together() {
    let both = "enforce = [\"preshared-key\", \"firewall\"]\ntier = \"prod\"\n";
    let mut gated = Gated::with("30s", both, "");
    gated.lab.gateway.start();
    gated.lab.await_waiting_key();
    assert!(!gated.reaches(PROTECTED));
    gated.lab.laptop.sync(&[]).ok();
    let opened = SystemTime::now();
    until("packets", LONG, || gated.reaches(PROTECTED).then_some(()));
    let pings = Pings::start(&gated.lab.laptop.machine, PROTECTED);
    pings.first_reply_after(opened);
    let set = gated.ruleset();
    assert!(set.contains("10.77.0.2"), "{set}");
    pings.await_silence(Duration::from_secs(3), LONG * 2);
    pings.assert_none_after(opened + Duration::from_secs(31));
    until("the gate to be closed too", LONG, || (!gated.ruleset().contains("10.77.0.2")).then_some(()));
}

#[test]
fn a_cron_agent_opens_what_was_granted_at_its_next_round() {
    let mut gated = Gated::new("5m");
    gated.lab.gateway.agent(&["rotate"]).ok();
    assert!(!gated.reaches(PROTECTED));
    let released = gated.lab.laptop.ssh(&["wgmfa-sync"]);
    assert!(released.stderr.contains("round of app-gw"), "{released:?}");
    gated.lab.gateway.agent(&["rotate"]).ok();
    gated.await_open(PROTECTED);
    gated.lab.bastion.await_state(DEVICE, "OK");
}
