//! Whoever puts another key on a peer, or takes it out, has it locked; the bastion hears of it.

use wgmfa_core::message::agent::{FromAgent, LocalEvent};

use crate::bed::{Bed, wait_until, wg_key};

fn events(bed: &Bed) -> Vec<LocalEvent> {
    let heard = bed.bastion.heard().into_iter();
    heard
        .flat_map(|heard| match heard.message {
            FromAgent::Report { events, .. } => events,
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn a_resident_agent_sees_it_by_itself() {
    let bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let foreign = wg_key(&["genpsk"], None);
    bed.set_key(0, &foreign);
    wait_until("a fresh key waits", || bed.is_waiting(0) && bed.key_on(0) != foreign);
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 2);
    let found = events(&bed);
    let [event] = &found[..] else { panic!("{found:?}") };
    assert_eq!((event.event.as_str(), event.reason.as_str()), ("changed-outside", "another preshared key was set"));
    assert_eq!(event.peer.as_ref(), Some(&bed.peers[0]));
}

#[test]
fn a_round_sees_it_without_the_bastion_and_reports_it_later() {
    let mut bed = Bed::new(1);
    bed.rotate();
    bed.bastion.stop();
    bed.set_key(0, "");
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(5));
    assert_ne!(bed.key_on(0), "(none)");
    bed.bastion.resume();
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(0));
    assert!(bed.is_waiting(0));
    let reasons: Vec<_> = events(&bed).into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["the preshared key was taken out"]);
    bed.bastion.forget_heard();
    bed.rotate();
    assert_eq!(events(&bed), [], "told once");
}

#[test]
fn an_interface_that_comes_up_from_its_file_is_locked_without_alarm() {
    let bed = Bed::new(1);
    bed.rotate();
    let released = bed.key_on(0);
    bed.set_from_file();
    assert!(bed.key_on(0) != released && bed.key_on(0) != bed.configured, "the file holds a lock key");
    bed.rotate();
    assert!(bed.is_waiting(0) && bed.key_on(0) != released);
    assert_eq!(events(&bed), []);
}

#[test]
fn a_file_that_somebody_restored_gets_its_lock_key_again() {
    let bed = Bed::new(1);
    let old = std::fs::read_to_string(bed.file()).unwrap();
    bed.rotate();
    std::fs::write(bed.file(), old).unwrap();
    assert_eq!(bed.agent(&["check"]).status.code(), Some(6));
    bed.rotate();
    assert_ne!(bed.keys_in_file()[0], bed.configured);
    assert_eq!(bed.agent(&["check"]).status.code(), Some(0));
}
