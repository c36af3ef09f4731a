//! Rule 2: the bastion has a generation on disk before the server uses it.

use std::collections::BTreeSet;

use wgmfa_core::message::agent::FromAgent;

use crate::bed::{Bed, mode, text, wait_until};

#[test]
fn the_first_round_locks_then_deposits_then_applies_then_confirms() {
    let bed = Bed::new(3);
    let allowed_ips = |bed: &Bed| {
        let shown = text(&bed.wg(&["show", &bed.interface, "allowed-ips"]).stdout);
        shown.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = allowed_ips(&bed);
    bed.rotate();

    let heard = bed.bastion.heard();
    let [hello, report, deposit, applied] = &heard[..] else { panic!("{heard:?}") };
    assert!(matches!(&hello.message, FromAgent::Hello { resident: false, .. }));
    let FromAgent::Report { interfaces, next_in_seconds: None, .. } = &report.message else { panic!("{report:?}") };
    assert!(interfaces[0].peers.iter().all(|peer| peer.has_preshared_key && peer.generation.is_none()));
    assert!(report.on_interface.values().all(|key| *key == bed.configured));
    let FromAgent::Deposit { deposits } = &deposit.message else { panic!("{deposit:?}") };
    assert_eq!(deposits.len(), 3);
    for (number, peer) in bed.peers.iter().enumerate() {
        let deposited = deposits.iter().find(|deposit| deposit.which.peer == *peer).unwrap();
        let key = deposited.preshared_key.expose_base64();
        let locked = &deposit.on_interface[&peer.public_key];
        assert!(*locked != bed.configured && *locked != *key, "locked, and not yet applied");
        assert_eq!(applied.on_interface[&peer.public_key], *key, "applied before it is confirmed");
        assert_eq!(bed.key_on(number), *key);
        assert!(!bed.state_text().contains(&**key), "no generation is on the server's disk");
        let in_file = &bed.keys_in_file()[number];
        assert!(*in_file != bed.configured && *in_file != *key && *in_file != *locked, "a lock key of its own");
    }
    assert!(std::fs::read_to_string(bed.file()).unwrap().starts_with("# the office\n"));
    assert_eq!(allowed_ips(&bed), before);
    for name in ["state", "state/state.json", "state/configured-keys"] {
        assert_eq!(mode(&bed.path(name)) & 0o077, 0, "{name} is for root alone");
    }
}

#[test]
fn a_second_round_changes_nothing() {
    let bed = Bed::new(2);
    bed.rotate();
    let (keys, files) = (bed.key_on(0), bed.keys_in_file());
    bed.bastion.forget_heard();
    bed.rotate();
    assert!(
        bed.bastion
            .heard()
            .iter()
            .all(|heard| matches!(heard.message, FromAgent::Hello { .. } | FromAgent::Report { .. }))
    );
    assert_eq!((bed.key_on(0), bed.keys_in_file()), (keys, files));
    let status = bed.agent(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["peers"][0]["hold"], "waiting");
    assert_eq!(status["peers"][0]["generation"], 1);
    assert_eq!(status["peers"][0]["policy"]["ordinal"], 101);
}

#[test]
fn of_two_rounds_at_once_the_second_waits_for_the_first() {
    let bed = Bed::new(1);
    let rounds: Vec<_> = (0..3).map(|_| bed.command(&["rotate"]).spawn().unwrap()).collect();
    assert!(rounds.into_iter().all(|mut round| round.wait().unwrap().success()));
    assert!(bed.is_waiting(0));
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 1);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let bed = Bed::new(1);
    let out = bed.agent(&["rotate", "--dry-run"]);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    assert!(said.contains(": would lock: a policy covers this peer for the first time here\n"), "{said}");
    assert!(
        said.contains(": would rotate to generation 1: a policy covers this peer for the first time here\n"),
        "{said}"
    );
    assert_eq!(bed.key_on(0), bed.configured);
    assert!(!bed.path("state").exists() && bed.bastion.connection(&bed.peers[0]).highest == 0);
}

#[test]
fn a_waiting_key_that_is_one_interval_old_is_replaced() {
    let bed = Bed::new(1);
    bed.rotate();
    let first = bed.key_on(0);
    bed.bastion.cover(&bed.peers, 0);
    bed.rotate();
    // under so short an interval the next one may be over by now as well
    assert_ne!(bed.key_on(0), first);
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 2);
}

#[test]
fn a_peer_that_no_policy_names_is_left_alone() {
    let bed = Bed::new(2);
    bed.bastion.uncover(&bed.peers[1..]);
    bed.bastion.name_uncovered(&bed.peers[1..]);
    let out = bed.agent(&["rotate"]);
    let line = format!(
        "wgmfa-agent: warning: {} peer {} (10.7.0.2/32): no second factor: the key is registered to nobody\n",
        bed.interface, bed.peers[1].public_key
    );
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), line));
    assert_eq!(bed.key_on(1), bed.configured);
    assert_eq!(bed.keys_in_file()[1], bed.configured);
    bed.rotate();
}

#[test]
fn a_round_that_only_locks_shows_it_in_a_second_report() {
    let bed = Bed::new(2);
    bed.rotate();
    let reports = || {
        let heard = bed.bastion.heard().into_iter();
        heard.filter(|heard| matches!(heard.message, FromAgent::Report { .. })).collect::<Vec<_>>()
    };
    bed.bastion.change(&bed.peers[0], |connection| connection.keep_locked = Some("the device is disabled".to_owned()));
    bed.bastion.forget_heard();
    bed.rotate();
    let [before, after] = &reports()[..] else { panic!("{:?}", reports()) };
    let peer = &bed.peers[0].public_key;
    assert_ne!(before.on_interface[peer], bed.key_on(0));
    assert_eq!(after.on_interface[peer], bed.key_on(0), "the bastion hears of the lock in the round that makes it");
    let FromAgent::Report { interfaces, .. } = &after.message else { unreachable!() };
    let shown = interfaces[0].peers.iter().find(|shown| shown.public_key == *peer).unwrap();
    assert_eq!(shown.generation, None);

    bed.bastion.forget_heard();
    bed.rotate();
    assert_eq!(reports().len(), 1, "what is locked already is shown by the first report");
}

#[test]
fn a_look_at_what_would_be_done_puts_off_no_round() {
    let bed = Bed::new(1);
    // longer than a resident agent is ever without contact
    bed.bastion.cover(&bed.peers, 15);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let first = bed.key_on(0);
    bed.rotate(); // the next round is to come when that key is one interval old
    let out = bed.agent(&["rotate", "--dry-run"]);
    assert!(out.status.success(), "{out:?}");
    wait_until("another key when the first is one interval old", || bed.key_on(0) != first && bed.is_waiting(0));
}
