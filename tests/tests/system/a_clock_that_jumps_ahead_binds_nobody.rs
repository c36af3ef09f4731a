//! The bastion's clock shows a later time than it is, and is mended: the way back is open.

use std::path::Path;

use wgmfa_tests::Lab;
use wgmfa_tests::wait::{LONG, until};

use super::a_clock_that_is_set_back_opens_nothing::libfaketime;

fn clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("the folder is ours");
    std::fs::rename(&new, file).expect("the folder is ours");
}

#[test]
fn a_jump_while_it_serves_is_named_and_forgotten() {
    let mut lab = Lab::with_resident_agent("1h");
    let (library, file) = (libfaketime(), lab.bastion.machine.path("clock"));
    clock(&file, "+0");
    lab.bastion.stop();
    let shown = file.to_string_lossy().into_owned();
    lab.bastion.start_with(&[
        ("LD_PRELOAD", &library),
        ("FAKETIME_TIMESTAMP_FILE", &shown),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    until("the agent again", LONG, || (lab.bastion.log("host-connected").len() == 2).then_some(()));
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    clock(&file, "+86400");
    let says = |what: &str| lab.bastion.admin(&["status"]).stdout.contains(what);
    until("the name of the jump", LONG, || says("has jumped ahead").then_some(()));
    until("the end of the session, by that clock", LONG, || (!lab.accepts(&released)).then_some(()));
    clock(&file, "+0");
    until("the way back", LONG, || (!lab.bastion.admin(&["status"]).stdout.contains("clock:")).then_some(()));
    until("another key that waits, at both ends", LONG, || {
        let (peer, key) = (lab.gateway.status()["peers"][0].clone(), lab.bastion.key("justins-laptop"));
        let another = key["generation"].as_u64() > Some(1) && peer["generation"] == key["generation"];
        let is_noted = lab.bastion.log("applied").iter().any(|line| line["generation"] == key["generation"]);
        (another && is_noted && peer["hold"] == "waiting" && key["state"] == "Expired").then_some(())
    });
    lab.log_in();
}

#[test]
fn a_wrong_time_that_was_recorded_is_set_back_by_root() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    lab.bastion.stop();
    let library = libfaketime();
    lab.bastion.start_with(&[("LD_PRELOAD", &library), ("FAKETIME", "+1d"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    lab.bastion.stop();
    lab.bastion.start();
    let status = lab.bastion.admin(&["status"]).expect(1);
    assert!(status.stdout.contains("clock reset"), "{status:#?}");
    lab.laptop.sync(&[]).expect(3);
    lab.bastion.admin(&["clock", "reset", "--reason", "the time server was wrong"]).ok();
    assert_eq!(lab.bastion.log("clock-reset").len(), 1);
    let waiting = || (lab.gateway.status()["peers"][0]["hold"] == "waiting").then_some(());
    until("a new key that nobody has", LONG, waiting);
    assert!(!lab.accepts(&released), "all sessions are over");
    lab.laptop.authenticator.skip_to_now();
    lab.log_in();
    lab.bastion.admin(&["status"]).ok();
}
