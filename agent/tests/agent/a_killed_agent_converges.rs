//! The agent is killed (SIGKILL) after each step; the next round finishes the work without a person.

use std::os::unix::process::ExitStatusExt;

use crate::bed::{Bed, wait_until};

/// The agent is killed at a point of a round; afterwards a round must bring everything in order.
fn killed_at(bed: &Bed, point: &str) {
    let out = bed.command(&["rotate"]).env("WGMFA_CRASH_AT", point).output().unwrap();
    assert_eq!(out.status.signal(), Some(9), "{point}: {out:?}");
    let highest = bed.bastion.connection(&bed.peers[0]).highest;
    bed.rotate();
    assert!(bed.is_waiting(0), "{point}: the key on the interface is the one that waits");
    assert!(bed.bastion.connection(&bed.peers[0]).highest >= highest, "{point}");
    assert_eq!(bed.agent(&["status"]).status.code(), Some(0), "{point}");
}

#[test]
fn in_the_first_round() {
    for point in ["reported", "ready", "locked", "deposited", "saved", "applied", "noted"] {
        let bed = Bed::new(1);
        killed_at(&bed, point);
        assert!(bed.key_on(0) != bed.configured && bed.keys_in_file()[0] != bed.configured, "{point}");
    }
}

#[test]
fn what_is_about_to_be_applied_is_remembered_before() {
    let bed = Bed::new(1);
    let out = bed.command(&["rotate"]).env("WGMFA_CRASH_AT", "saved").output().unwrap();
    assert_eq!(out.status.signal(), Some(9));
    let deposited = bed.bastion.connection(&bed.peers[0]).keys[&1].expose_base64().to_string();
    assert_ne!(bed.key_on(0), deposited, "the interface does not have it yet");
    let state: serde_json::Value = serde_json::from_str(&bed.state_text()).unwrap();
    assert_eq!(state["peers"][0]["held"]["generation"], 1);
    assert_eq!(state["peers"][0]["held"]["hold"]["hold"], "waiting");
}

#[test]
fn in_a_later_round_and_no_used_key_comes_back() {
    let bed = Bed::new(1);
    bed.rotate();
    for point in ["reported", "deposited", "saved", "applied", "noted"] {
        let old = bed.key_on(0);
        bed.bastion.cover(&bed.peers, 0);
        let out = bed.command(&["rotate"]).env("WGMFA_CRASH_AT", point).output().unwrap();
        assert_eq!(out.status.signal(), Some(9), "{point}: {out:?}");
        bed.bastion.cover(&bed.peers, 3600);
        bed.rotate();
        assert!(bed.is_waiting(0), "{point}");
        assert!(bed.key_on(0) != old || point == "reported", "{point}");
    }
}

#[test]
fn while_a_session_is_opened() {
    for point in ["open-received", "opened"] {
        let bed = Bed::new(1);
        let mut resident = bed.resident_with(&[("WGMFA_CRASH_AT", point)]);
        wait_until("a key waits", || bed.is_waiting(0));
        let waiting = bed.key_on(0);
        let which = wgmfa_core::message::agent::PeerGeneration { peer: bed.peers[0].clone(), generation: 1 };
        bed.bastion.send(wgmfa_core::message::agent::ToAgent::Open { id: 1, which, seconds_left: 2 });
        assert_eq!(resident.0.wait().unwrap().signal(), Some(9), "{point}");
        // The bastion got no confirmation, and has released nothing.
        let _resident = bed.resident();
        wait_until("it is back", || bed.bastion.connected() == 2);
        if point == "opened" {
            wait_until("the deadline, armed before the kill", || bed.key_on(0) != waiting);
        }
        wait_until("a key waits again", || bed.is_waiting(0));
        assert_eq!(bed.bastion.open(&bed.peers[0], 60), None, "{point}");
    }
}

#[test]
fn when_it_has_remembered_a_lock_and_waits_for_the_deadline() {
    let bed = Bed::new(1);
    bed.rotate();
    let released = bed.key_on(0);
    let mut resident = bed.resident_with(&[("WGMFA_CRASH_AT", "ready"), ("WGMFA_LEAD", "500")]);
    wait_until("it is there", || bed.bastion.connected() == 2);
    assert_eq!(bed.bastion.open(&bed.peers[0], 2), None);
    assert_eq!(resident.0.wait().unwrap().signal(), Some(9));
    assert_eq!(bed.key_on(0), released);
    let _resident = bed.resident();
    wait_until("the lock", || bed.key_on(0) != released);
    wait_until("a key waits again", || bed.is_waiting(0));
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 2);
}

#[test]
fn a_bastion_that_is_restored_from_a_backup_gets_higher_generations() {
    let bed = Bed::new(1);
    bed.rotate();
    bed.bastion.cover(&bed.peers, 0);
    bed.rotate();
    bed.bastion.cover(&bed.peers, 3600);
    bed.bastion.change(&bed.peers[0], |connection| {
        connection.highest = 1;
        connection.applied = Some((1, std::time::Instant::now()));
    });
    bed.rotate();
    assert!(bed.is_waiting(0));
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 3);
}
