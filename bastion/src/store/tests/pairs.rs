//! Generations that two servers use together.

use super::*;

const OTHER: u8 = 9;

fn other() -> HostName {
    "db-gw".parse().unwrap()
}

fn pair() -> Pair {
    let second = PeerRef { interface: "devices".parse().unwrap(), public_key: public(GATEWAY) };
    Pair { first: Place::new(&host(), &peer(OTHER)), second: Place::new(&other(), &second) }
}

/// A store in which two hosts have reported each other.
fn with_two_hosts() -> (TempDir, Store) {
    let (folder, store) = furnished();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    store.add_host(at(0), Actor::ROOT, &other(), key, None).unwrap();
    let _ = store.report(at(0), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP, OTHER])])).unwrap();
    let _ = store.report(at(0), &other(), &report(&[interface("devices", OTHER, &[GATEWAY])])).unwrap();
    (folder, store)
}

fn deposit_together(store: &Store, generation: u64) {
    let which = PeerGeneration { peer: peer(OTHER), generation };
    let deposit = Deposit { which: which.clone(), preshared_key: key(generation) };
    assert_eq!(store.deposit_of(at(1), &host(), &[deposit], true).unwrap(), [which]);
}

fn apply(store: &Store, generation: u64) {
    let which = PeerGeneration { peer: peer(OTHER), generation };
    assert_eq!(store.applied(at(3), &host(), std::slice::from_ref(&which)).unwrap(), [which]);
}

#[test]
fn a_generation_is_held_and_used_by_the_second_end_in_this_order() {
    let (_folder, store) = with_two_hosts();
    deposit_together(&store, 1);
    assert_eq!(store.key_of_pair(&pair().first, 1).unwrap(), key(1));
    assert!(store.key_of_pair(&pair().first, 2).is_err());
    assert!(!store.applied_by_second(at(2), &pair(), 1).unwrap(), "the first end does not use it yet");
    assert!(!store.staged(at(2), &pair(), 2).unwrap());
    assert!(store.staged(at(2), &pair(), 1).unwrap() && store.staged(at(2), &pair(), 1).unwrap());
    apply(&store, 1);
    assert!(store.applied_by_second(at(4), &pair(), 1).unwrap());
    let record = store.record(&pair().first).unwrap().unwrap();
    let current = record.current.clone().unwrap();
    assert_eq!(
        (current.staged_at, current.applied_at, current.other_applied_at),
        (Some(at(2)), Some(at(3)), Some(at(4)))
    );
    assert!(current.together && record.is_of_pair() && store.record(&pair().second).unwrap().unwrap().is_of_pair());
    assert_eq!(events(&store).iter().filter(|event| *event == "staged").count(), 1, "it is told once");
    assert_intact(&store);
}

#[test]
fn an_ordered_rotation_leaves_both_ends_their_key_and_a_cut_takes_it() {
    let (_folder, store) = with_two_hosts();
    deposit_together(&store, 1);
    assert!(store.staged(at(2), &pair(), 1).unwrap());
    apply(&store, 1);
    store.order_rotation(at(5), Actor::ROOT, &pair().first, "test").unwrap();
    assert_eq!(store.key_of_pair(&pair().first, 1).unwrap(), key(1));
    let cut = store.set_host_disabled(at(6), Actor::ROOT, &other(), true).unwrap();
    let both = [pair().first, pair().second];
    assert!(both.iter().all(|place| cut.places.contains(place)), "{:?}", cut.places);
    assert!(store.key_of_pair(&pair().first, 1).is_err(), "it is wiped");
}

#[test]
fn no_person_gets_what_two_servers_use_together() {
    let (_folder, store) = with_applied(1);
    let together = Deposit { which: which(2), preshared_key: key(2) };
    store.deposit_of(at(3), &host(), &[together], true).unwrap();
    store.applied(at(4), &host(), &[which(2)]).unwrap();
    let login = passed(&store, at(5));
    let outcome = store.release(at(5), &login, device().as_str(), &[wanted(2, at(100))]).unwrap();
    assert!(outcome.granted.is_empty() && outcome.refused.len() == 1, "{outcome:?}");
}
