//! Which connections are looked at again, and that each change of a state leaves one line.

use wgmfa_core::state::KeyState;

use super::*;
use crate::store::{Found, Known};

fn touched(store: &Store, now: i64) -> Vec<Place> {
    store.take_touched(at(now), 100).unwrap()
}

fn found(state: KeyState, deadline: Option<i64>) -> Found {
    let reason = (state != KeyState::Ok).then(|| "because".to_owned());
    Found { place: place(), state, reason, generation: Some(1), deadline: deadline.map(at) }
}

fn lines(store: &Store) -> Vec<String> {
    let filter = Filter { event: Some(Event::State), ..Filter::default() };
    let line = |line: Line| format!("{}: {}", line.connection.unwrap(), line.reason.unwrap());
    store.log(&filter).unwrap().into_iter().map(line).collect()
}

#[test]
fn whatever_a_state_follows_from_has_its_place_looked_at() {
    let (_folder, store) = furnished();
    assert_eq!(touched(&store, 1), [place()], "a peer that is reported for the first time");
    assert_eq!(touched(&store, 1), [], "taken once");
    let same = [interface("devices", GATEWAY, &[LAPTOP])];
    store.report(at(2), &host(), &report(&same)).unwrap();
    assert_eq!(touched(&store, 2), [], "nothing new was said");
    store.deposit(at(3), &host(), &[deposit(1)]).unwrap();
    store.applied(at(3), &host(), &[which(1)]).unwrap();
    assert_eq!(touched(&store, 3), [place()]);
    let login = passed(&store, at(4));
    let _ = store.release(at(4), &login, device().as_str(), &[wanted(1, at(60))]).unwrap();
    assert_eq!(touched(&store, 4), [place()]);
    let ages = [age(LAPTOP, 1)];
    store.report(at(10), &host(), &Report { handshake_ages: &ages, ..report(&same) }).unwrap();
    assert_eq!(touched(&store, 10), [place()], "the first handshake with a key");
    let _ = store.note_states(at(10), &[place()], &[found(KeyState::Ok, Some(60))]).unwrap();
    store.report(at(130 - 100), &host(), &Report { handshake_ages: &ages, ..report(&same) }).unwrap();
    assert_eq!(touched(&store, 30), [], "a further handshake proves nothing new");
    assert_eq!(touched(&store, 60), [place()], "its deadline has come");
    let _ = store.note_states(at(60), &[place()], &[found(KeyState::MismatchPending, Some(60))]).unwrap();
    assert_eq!(touched(&store, 61), []);
    let other = interface("devices", GATEWAY, &[LAPTOP, 9]);
    store.report(at(62), &host(), &report(&[other])).unwrap();
    assert_eq!(touched(&store, 62), [Place { public_key: public(9), ..place() }], "only the peer that is new");
    store.report(at(63), &host(), &report(&[])).unwrap();
    assert_eq!(touched(&store, 63), [place()], "the interface is gone");
    store.report(at(64), &host(), &Report { stood_down: true, ..report(&[]) }).unwrap();
    assert_eq!(touched(&store, 64), [place()]);
    let _ = store.remove_device(at(65), Actor::ROOT, &device()).unwrap();
    assert_eq!(touched(&store, 65), [place()]);
    store.touch_host(&host()).unwrap();
    assert_eq!(touched(&store, 66), [place()]);
}

#[test]
fn each_change_leaves_one_line_also_over_a_restart() {
    let (folder, store) = with_applied(1);
    let note = |store: &Store, now, found: &[Found]| store.note_states(at(now), &[place()], found).unwrap();
    assert_eq!(note(&store, 10, &[found(KeyState::Expired, None)]), [None]);
    assert_eq!(lines(&store), [""; 0], "the first sight of a connection is no change");
    let before = note(&store, 11, &[found(KeyState::MatchPending, Some(60))]);
    assert_eq!(before, [Some(Known { state: KeyState::Expired, generation: Some(1), deadline: None })]);
    drop(store);
    let store = open_at(&folder.path().join("state"));
    note(&store, 12, &[found(KeyState::MatchPending, Some(60))]);
    note(&store, 13, &[found(KeyState::Ok, Some(60))]);
    assert_eq!(store.count_states().unwrap(), [("OK".to_owned(), 1)].into());
    assert_eq!(store.count_lines().unwrap().get("state"), Some(&1));
    note(&store, 14, &[]);
    assert_eq!(
        lines(&store),
        [
            "app-gw/devices:justins-laptop: Expired -> Match Pending: because",
            "app-gw/devices:justins-laptop: Match Pending -> OK",
            "app-gw/devices:justins-laptop: OK -> none: no host reports this peer any more",
        ]
    );
    assert_eq!(store.count_states().unwrap().len(), 0);
}

#[test]
fn a_piece_of_the_inventory_is_the_same_as_in_the_whole() {
    let (_folder, store) = with_applied(1);
    let ages = [age(LAPTOP, 1)];
    let more = [interface("devices", GATEWAY, &[LAPTOP, 9])];
    store.report(at(10), &host(), &Report { handshake_ages: &ages, ..report(&more) }).unwrap();
    let mut whole = store.inventory().unwrap();
    let peers = &mut whole.hosts[0].interfaces[0].peers;
    peers.retain(|peer| peer.public_key == public(LAPTOP));
    // where its generation stands is in the record
    (peers[0].generation, peers[0].rotated_at) = (None, None);
    let (piece, records) = store.around(&[place()]).unwrap();
    assert_eq!(piece, whole);
    assert_eq!(records, store.records().unwrap());
}
