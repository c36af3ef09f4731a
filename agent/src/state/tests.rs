//! What the agent remembers is read back, and means nothing in another boot.

use wgmfa_core::key::{PresharedKey, PublicKey};

use super::*;

fn state() -> State {
    let peer = PeerRef { interface: "devices".parse().unwrap(), public_key: PublicKey::from_bytes([2; 32]) };
    let key = PresharedKey::from_bytes([7; 32]).unwrap();
    let fingerprint = key.fingerprint(&peer.public_key, &PublicKey::from_bytes([1; 32]));
    let hold = Hold::Open { deadline: Boottime::from_millis(9000) };
    let held = Held { generation: 3, fingerprint, hold, rotation_interval: 30 };
    let kept = Kept { file_key: Some(fingerprint), ..Kept::new(held) };
    let mut state = State::new(BootId("one".to_owned()));
    state.last_contact = Some(Boottime::from_millis(5000));
    state.happened("changed-outside", Some(peer.clone()), "test", Boottime::from_millis(4000));
    state.happened("changed-outside", Some(peer.clone()), "test", Boottime::from_millis(4500));
    state.peers.insert(peer, kept);
    state
}

#[test]
fn what_is_written_is_read_and_holds_no_preshared_key() {
    let text = serde_json::to_string(&state()).unwrap();
    let read: State = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert!(!text.contains(&*PresharedKey::from_bytes([7; 32]).unwrap().expose_base64()));
    assert_eq!(read.events.len(), 1, "the same event is kept once");
}

#[test]
fn the_bastion_hears_of_every_closing_however_many_there_are() {
    let mut state = State::new(BootId("one".to_owned()));
    let peer = |number: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        PeerRef { interface: "devices".parse().unwrap(), public_key: PublicKey::from_bytes(key) }
    };
    let at = Boottime::from_millis;
    (0..MOST_KEPT).for_each(|number| state.happened("changed-outside", Some(peer(number)), "test", at(1)));
    (0..2 * MOST_KEPT).for_each(|number| state.logged_out(&peer(number), None, at(2)));
    assert_eq!(state.untold_closings().count(), 2 * MOST_KEPT);
    state.logged_out(&peer(0), None, at(3));
    assert_eq!(state.untold_closings().count(), 2 * MOST_KEPT, "once each");
}

#[test]
fn the_bastion_hears_of_each_act_of_root_and_of_each_session_that_was_idle() {
    let (mut state, at) = (state(), Boottime::from_millis);
    let peer = state.peers.keys().next().unwrap().clone();
    (0..2 * MOST_KEPT).for_each(|number| state.happened("changed-outside", None, &number.to_string(), at(5000)));
    assert_eq!(std::mem::take(&mut state.events).len(), MOST_KEPT, "what comes by itself is kept within bounds");
    state.happened("changed-outside", None, "the gate did not stand", at(5500));
    for moment in [6000, 7000] {
        for event in ["override", "lock", "stand-down"] {
            state.happened(event, Some(peer.clone()), "the bastion is down", at(moment));
        }
    }
    for generation in [3, 3, 4] {
        state.idled(&peer, generation, "no handshake for 5 min".to_owned(), at(8000));
    }
    let kept: Vec<_> = state.events.iter().map(|one| (one.event.as_str(), one.at, one.generation)).collect();
    let acts = [6000, 7000].map(|moment| ["override", "lock", "stand-down"].map(|event| (event, at(moment), None)));
    let expected = [
        &[("changed-outside", at(5500), None)][..],
        &acts.concat(),
        &[("idle", at(8000), Some(3)), ("idle", at(8000), Some(4))],
    ];
    assert_eq!(kept, expected.concat());
}

#[test]
fn what_was_closed_again_while_the_report_was_on_its_way_is_news_for_the_next() {
    let (mut state, at) = (state(), Boottime::from_millis);
    let peer = state.peers.keys().next().unwrap().clone();
    state.logged_out(&peer, None, at(5000));
    let told = state.events_for_report(at(6000)).len();
    state.logged_out(&peer, None, at(6500));
    state.reported(told, at(6000));
    let left: Vec<_> = state.events.iter().map(|event| (event.event.as_str(), event.at)).collect();
    assert_eq!(left, [("closed", at(6500))]);
}

#[test]
fn what_comes_again_while_it_is_told_is_told_again_and_takes_nothing_else_with_it() {
    let (mut state, at) = (state(), Boottime::from_millis);
    let peer = state.peers.keys().next().cloned();
    state.events.clear();
    let seen = "another preshared key was set";
    state.happened("changed-outside", peer.clone(), seen, at(1000));
    state.happened("lock", None, "told", at(1000));
    state.happened("lock", None, "too much for this report", at(1000));
    state.happened("changed-outside", peer, seen, at(2500));
    state.reported(2, at(2000));
    let left: Vec<_> = state.events.iter().map(|event| (event.reason.as_str(), event.at)).collect();
    assert_eq!(left, [(seen, at(2500)), ("too much for this report", at(1000))]);
}

#[test]
fn another_boot_makes_every_moment_worthless() {
    let same = state().in_boot(BootId("one".to_owned()));
    assert!(same.peers.values().all(|kept| kept.same_boot) && same.last_contact.is_some());
    let other = state().in_boot(BootId("two".to_owned()));
    assert!(other.peers.values().all(|kept| !kept.same_boot) && other.last_contact.is_none());
    assert_eq!(other.events_for_report(Boottime::from_millis(8000))[0].seconds_ago, 8);
}

#[test]
fn a_handshake_that_is_known_by_its_age_is_no_new_sign_of_life() {
    let (mut state, at) = (state(), Boottime::from_millis);
    let kept = state.peers.values_mut().next().unwrap();
    let handshake = |millis| Some(std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis));
    for (seen, moment, since) in [(7000, 10, 10), (8000, 20, 10), (7000, 30, 10), (9000, 40, 10), (12_000, 50, 50)] {
        kept.see(handshake(seen), at(moment));
        assert_eq!(kept.alive.unwrap().since, at(since), "{seen}");
    }
    kept.see(handshake(12_345), at(60));
    kept.see(handshake(12_346), at(70));
    assert_eq!(kept.alive.unwrap().since, at(70), "the kernel tells the moment itself");
}
