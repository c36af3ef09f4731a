//! `kill -9` after each step: after a restart everything converges without a person, no key is lost, no code works twice.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY};
use wgmfa_tests::ping::is_answered;

/// The bastion, started anew, that kills itself at a point.
fn bastion_dies_at(lab: &mut Lab, point: &str) {
    lab.bastion.stop();
    lab.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
}

/// The bastion has killed itself; it is started anew.
fn bastion_is_back(lab: &mut Lab) {
    let status = lab.bastion.serve.as_mut().unwrap().await_end();
    assert_eq!(status.signal(), Some(9), "the bastion did not come to the point at which it dies");
    lab.bastion.kill();
    lab.bastion.start();
}

/// A login opens the tunnel, with the key that the server has.
fn assert_a_login_works(lab: &mut Lab) {
    lab.laptop.sync(&[]).ok();
    let [gateway, laptop] = lab.preshared_keys();
    assert_eq!(gateway, laptop);
    assert!(is_answered(&lab.laptop.machine, GATEWAY));
}

#[test]
fn the_bastion_during_a_round() {
    let mut lab = Lab::new("1h");
    for point in ["deposited", "applied"] {
        bastion_dies_at(&mut lab, point);
        lab.gateway.agent(&["rotate"]).expect(5);
        bastion_is_back(&mut lab);
        lab.gateway.agent(&["rotate"]).ok();
        lab.await_waiting_key();
        if point == "deposited" {
            // something to do in the next round
            lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]).ok();
        }
    }
    assert_a_login_works(&mut lab);
}

fn the_bastion_during_a_login(point: &str) {
    let mut lab = Lab::with_resident_agent("1h");
    bastion_dies_at(&mut lab, point);
    lab.gateway.await_contact(&lab.bastion);
    let ended = lab.laptop.sync(&[]);
    assert!(matches!(ended.code(), 1 | 3 | 5), "{point}: {ended:?}");
    assert!(ended.stdout.is_empty(), "{point}: {ended:?}");
    bastion_is_back(&mut lab);
    lab.laptop.sync_as_set(&[]).expect(3);
    lab.gateway.await_contact(&lab.bastion);
    assert_a_login_works(&mut lab);
    assert_eq!(lab.bastion.log("code-accepted").len(), 2, "{point}");
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn the_bastion_when_it_has_accepted_a_code() {
    the_bastion_during_a_login("code-accepted");
}

#[test]
fn the_bastion_when_the_server_has_opened() {
    the_bastion_during_a_login("opened");
}

#[test]
fn the_bastion_when_it_has_recorded_a_release() {
    the_bastion_during_a_login("released");
}

#[test]
fn the_agent_when_it_is_told_to_open() {
    for point in ["open-received", "opened"] {
        let mut lab = Lab::new("1h");
        lab.gateway.start_with(&[("WGMFA_CRASH_AT", point)]);
        lab.await_waiting_key();
        // the server accepts the key already, so the release goes on
        assert_a_login_works(&mut lab);
        let status = lab.gateway.agent.as_mut().unwrap().await_end();
        assert_eq!(status.signal(), Some(9), "{point}");
        lab.gateway.start();
        lab.gateway.await_contact(&lab.bastion);
        lab.bastion.await_state(DEVICE, "OK");
        assert!(is_answered(&lab.laptop.machine, GATEWAY), "{point}");
    }
}
