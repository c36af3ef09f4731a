//! The bastion's keeper is killed (SIGKILL) after each step of a rotation and of a release. Afterwards nobody does anything
//! but start it again and log in; no code works twice.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::wait::{LONG, until};

/// The keeper is killed by a crash point, and all its processes end with it.
fn await_death(lab: &mut Lab, point: &str) {
    let mut serve = lab.bastion.serve.take().expect("it was started");
    assert_eq!(serve.await_end().signal(), Some(9), "it is killed at {point}: {}", serve.said());
    until("the end of front and workers", LONG, || lab.bastion.machine.pids().is_empty().then_some(()));
}

fn restart_to_be_killed(lab: &mut Lab, point: &str) {
    lab.bastion.stop();
    lab.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
}

fn killed_in_a_rotation(point: &str) {
    let mut lab = Lab::new("1h");
    restart_to_be_killed(&mut lab, point);
    lab.gateway.start();
    await_death(&mut lab, point);
    lab.bastion.start();
    lab.await_waiting_key();
    lab.log_in();

    let [released, _] = lab.preshared_keys();
    lab.gateway.agent.as_mut().expect("it runs").stop();
    restart_to_be_killed(&mut lab, point);
    lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]).expect(6); // nobody confirms the lock
    lab.gateway.agent(&["rotate"]).expect(5);
    await_death(&mut lab, point);
    lab.bastion.start();
    lab.gateway.agent(&["rotate"]).ok();
    lab.await_waiting_key();
    assert!(!lab.accepts(&released.expect("a key was released")), "{point}");
    lab.log_in();
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn a_keeper_killed_with_a_deposit_on_disk() {
    killed_in_a_rotation("deposited");
}

#[test]
fn a_keeper_killed_with_a_confirmation_on_disk() {
    killed_in_a_rotation("applied");
}

/// The person gets nothing, and the code is used up; the next one opens the same generation or a higher one.
fn killed_in_a_release(point: &str) {
    let mut lab = Lab::with_resident_agent("1h");
    let waiting = lab.bastion.key(DEVICE)["generation"].as_u64();
    restart_to_be_killed(&mut lab, point);
    let ended = lab.laptop.sync(&[]);
    assert!(ended.code() != 0, "{ended:#?}");
    await_death(&mut lab, point);
    lab.bastion.start();

    lab.laptop.sync_as_set(&[]).expect(3);
    let refusals = lab.bastion.log("login-refused");
    assert!(refusals.iter().any(|line| line["reason"] == "code already used"), "{refusals:#?}");
    let accepted = lab.bastion.log("code-accepted").len();
    lab.log_in();
    assert_eq!((accepted, lab.bastion.log("code-accepted").len()), (1, 2), "{point}");
    assert!(lab.bastion.key(DEVICE)["generation"].as_u64() >= waiting, "{point}");
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn a_keeper_killed_when_it_has_accepted_the_code() {
    killed_in_a_release("code-accepted");
}

#[test]
fn a_keeper_killed_when_it_has_let_the_login_pass() {
    killed_in_a_release("login-accepted");
}

#[test]
fn a_keeper_killed_when_the_gateway_has_opened() {
    killed_in_a_release("opened");
}

#[test]
fn a_keeper_killed_when_the_release_is_on_disk() {
    killed_in_a_release("released");
}
