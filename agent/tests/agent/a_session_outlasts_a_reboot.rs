//! A session that a reboot or a reload interrupts goes on with the very key that it had, and only by the bastion's word.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use wgmfa_core::key::PresharedKey;
use wgmfa_core::message::agent::{FromAgent, PeerGeneration};

use crate::bed::{Bed, wait_until};

/// A peer with a session of ten minutes; gives its key.
fn with_session() -> (Bed, String) {
    let bed = Bed::new(1);
    bed.rotate();
    let until = Instant::now() + Duration::from_secs(600);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.rotate();
    let released = bed.key_on(0);
    bed.bastion.forget_heard();
    (bed, released)
}

/// One round in another boot; what it asked for.
#[track_caller]
fn rotate_rebooted(bed: &Bed, status: i32) -> Vec<PeerGeneration> {
    let out = bed.command(&["rotate"]).env("WGMFA_BOOT_ID", "another").output().unwrap();
    assert_eq!(out.status.code(), Some(status), "{out:?}");
    let asked = bed.bastion.heard().into_iter().find_map(|heard| match heard.message {
        FromAgent::Report { interrupted, .. } => Some(interrupted),
        _ => None,
    });
    asked.expect("a report")
}

#[test]
fn a_round_after_a_reboot_asks_for_its_key() {
    let (bed, released) = with_session();
    let which = PeerGeneration { peer: bed.peers[0].clone(), generation: 1 };
    assert_eq!(rotate_rebooted(&bed, 0), [which]);
    assert_eq!(bed.key_on(0), released);
    assert!(bed.state_text().contains("\"hold\":\"open\""), "{}", bed.state_text());
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 1, "nothing new was made");
    bed.bastion.forget_heard();
    assert_eq!(rotate_rebooted(&bed, 0), [], "it has it");
}

#[test]
fn another_key_under_its_number_is_not_put_there() {
    let (bed, released) = with_session();
    let other = PresharedKey::from_bytes([7; 32]).unwrap();
    bed.bastion.change(&bed.peers[0], |connection| _ = connection.keys.insert(1, other));
    rotate_rebooted(&bed, 6);
    assert!(bed.key_on(0) != released && bed.is_waiting(0));
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 2);
}

#[test]
fn a_bastion_that_hands_nothing_back_gets_a_new_key() {
    let (bed, released) = with_session();
    bed.bastion.change(&bed.peers[0], |connection| connection.keys.clear());
    rotate_rebooted(&bed, 0);
    assert!(bed.key_on(0) != released && bed.is_waiting(0));
}

#[test]
fn what_root_has_locked_stays_locked() {
    let (bed, released) = with_session();
    assert!(bed.agent(&["lock"]).status.success());
    bed.rotate();
    assert!(bed.key_on(0) != released && bed.is_waiting(0));
}

/// What `wg-quick up` does with the keys of the file.
fn reload(bed: &Bed) -> impl FnOnce() + Send + 'static {
    let mut wg = std::process::Command::new("wg");
    wg.arg("setconf").arg(&*bed.interface).arg(bed.file());
    move || assert!(wg.status().unwrap().success())
}

#[test]
fn a_reload_while_the_bastion_is_asked_ends_it_no_more_than_another() {
    let (bed, released) = with_session();
    bed.bastion.meanwhile(reload(&bed));
    bed.rotate();
    assert_eq!(bed.key_on(0), released);
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 1, "nothing new was made");
}

#[test]
fn nor_does_one_that_a_resident_agent_sees_while_it_asks() {
    let (bed, released) = with_session();
    let (reload, state) = (reload(&bed), bed.path("state/state.json"));
    let (seen, is_seen) = std::sync::mpsc::channel();
    bed.bastion.meanwhile(move || {
        reload();
        wait_until("the lock", || std::fs::read_to_string(&state).unwrap().contains("\"hold\":\"locked\""));
        seen.send(()).unwrap();
    });
    let _resident = bed.resident();
    is_seen.recv().unwrap();
    wait_until("its key", || bed.state_text().contains("\"hold\":\"open\"") && bed.key_on(0) == released);
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 1, "nothing new was made");
}

#[test]
fn an_agent_that_is_killed_meanwhile_asks_again() {
    for point in ["reported", "restoring", "restored"] {
        let (bed, released) = with_session();
        let mut rebooted = bed.command(&["rotate"]);
        let out = rebooted.env("WGMFA_BOOT_ID", "another").env("WGMFA_CRASH_AT", point).output().unwrap();
        assert_eq!(out.status.signal(), Some(9), "{point}: {out:?}");
        let is_back = bed.key_on(0) == released;
        assert_eq!(is_back, point == "restored");
        rotate_rebooted(&bed, 0);
        assert_eq!(bed.key_on(0), released, "{point}");
        assert!(bed.state_text().contains("\"hold\":\"open\""), "{point}: {}", bed.state_text());
        assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 1, "{point}: nothing new was made");
    }
}
