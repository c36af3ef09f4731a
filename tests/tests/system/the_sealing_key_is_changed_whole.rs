//! The sealing key is changed while the bastion runs, while it is stopped, and while it is killed: everything opens again.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::Lab;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn keys_and_codes_go_on_and_the_key_is_never_shown() {
    let mut lab = Lab::with_resident_agent("1h");
    let path = lab.bastion.folder().join("sealing.key");
    let key = || std::fs::read(&path).expect("the key file");
    let first = key();
    let said = lab.bastion.admin(&["sealing-key", "rotate"]).ok();
    let second = key();
    assert_ne!(first, second);
    assert!(said.stdout.contains("make a new one now"), "{said:#?}");
    let hex: String = second.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!said.said().contains(&hex[..16]));
    lab.log_in(); // with a code and a key that were sealed with the old one

    lab.bastion.stop();
    lab.bastion.admin(&["sealing-key", "rotate"]).ok();
    assert_ne!(second, key());
    lab.bastion.start();
    lab.log_in();
    assert_eq!(lab.bastion.log("resealed").len(), 2);
}

#[test]
fn a_keeper_that_is_killed_meanwhile_opens_its_store_again() {
    for point in ["sealing-key-written", "sealing-key-resealing", "sealing-key-resealed"] {
        let mut lab = Lab::with_resident_agent("1h");
        lab.bastion.stop();
        lab.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
        lab.bastion.admin(&["sealing-key", "rotate"]).expect(5);
        let mut serve = lab.bastion.serve.take().expect("it was started");
        assert_eq!(serve.await_end().signal(), Some(9), "it is killed at {point}: {}", serve.said());
        until("the end of front and workers", LONG, || lab.bastion.machine.pids().is_empty().then_some(()));
        lab.bastion.start();
        lab.gateway.await_contact(&lab.bastion);
        lab.log_in();
        assert!(!lab.bastion.folder().join("sealing.key.new").exists(), "{point}");
        lab.bastion.admin(&["log", "verify"]).ok();
    }
}
