//! Deposited, applied, over; and sealed all the time.

use wgmfa_core::release::{Newest, Phase};

use super::*;

#[test]
fn a_generation_goes_its_way() {
    let (_folder, store) = with_applied(1);
    let record = store.record(&place()).unwrap().unwrap();
    let current = record.current.clone().unwrap();
    assert_eq!((record.highest, current.generation, current.phase), (1, 1, Phase::Applied));
    assert_eq!((current.deposited_at, current.applied_at), (at(1), Some(at(2))));
    assert_eq!(current.fingerprint, key(1).fingerprint(&public(GATEWAY), &public(LAPTOP)));
    assert_eq!(store.connection_at(&record.place).unwrap().to_string(), "app-gw/devices:justins-laptop");
    assert_eq!(record.newest(), Some(Newest { generation: 1, phase: Phase::Applied }));

    store.deposit(at(3), &host(), &[deposit(5)]).unwrap();
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.newest(), Some(Newest { generation: 5, phase: Phase::Deposited }));
    assert_eq!(record.current, Some(current), "the server side accepts the old one still");

    store.applied(at(4), &host(), &[which(5)]).unwrap();
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.current.unwrap().generation, 5);
    let previous = record.previous.unwrap();
    assert_eq!((previous.generation, previous.phase, previous.ended_at), (1, Phase::Expired, Some(at(4))));
    assert!(store.unseal(at(5), &place(), 1).is_err());
    assert_eq!(store.unseal(at(5), &place(), 5).unwrap(), key(5));
    assert_eq!(store.records_of(&host()).unwrap(), store.records().unwrap());
}

#[test]
fn numbers_only_go_up_also_when_everything_was_removed() {
    let (_folder, store) = with_applied(7);
    for number in [0, 1, 6, 7] {
        assert_eq!(store.deposit(at(3), &host(), &[deposit(number)]).unwrap(), [], "{number}");
    }
    let _ = store.remove_device(at(4), Actor::ROOT, &device()).unwrap();
    let _ = store.remove_host(at(4), Actor::ROOT, &host()).unwrap();
    let _ = store.remove_person(at(4), Actor::ROOT, &user()).unwrap();
    furnish(&store);
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 7);
    assert_eq!(store.deposit(at(5), &host(), &[deposit(7)]).unwrap(), []);
    assert_eq!(store.deposit(at(5), &host(), &[deposit(8)]).unwrap(), [which(8)]);
    assert!(store.connection.execute("UPDATE places SET highest = 1", []).is_err());
    assert!(store.connection.execute("DELETE FROM places", []).is_err());
}

#[test]
fn only_the_newest_deposit_can_be_applied() {
    let (_folder, store) = furnished();
    store.deposit(at(1), &host(), &[deposit(1)]).unwrap();
    store.deposit(at(1), &host(), &[deposit(2)]).unwrap();
    assert_eq!(store.applied(at(2), &host(), &[which(1), which(2), which(3)]).unwrap(), [which(2)]);
    assert_eq!(store.applied(at(3), &host(), &[which(2)]).unwrap(), [which(2)], "said again");
    assert_eq!(store.record(&place()).unwrap().unwrap().current.unwrap().applied_at, Some(at(2)));
}

#[test]
fn a_deposit_needs_a_reported_peer_a_new_number_and_a_new_key() {
    let (_folder, store) = with_applied(1);
    let elsewhere = PeerGeneration { peer: peer(99), generation: 2 };
    let deposits = [
        Deposit { which: elsewhere, preshared_key: key(2) },
        Deposit { which: which(1), preshared_key: key(2) },
        Deposit { which: which(u64::MAX), preshared_key: key(2) },
        Deposit { which: which(2), preshared_key: key(1) },
        Deposit { which: which(3), preshared_key: key(3) },
    ];
    assert_eq!(store.deposit(at(3), &host(), &deposits).unwrap(), [which(3)]);
    let refused = store.log(&Filter { event: Some(Event::DepositRefused), ..Filter::default() }).unwrap();
    let reasons: Vec<_> = refused.into_iter().map(|line| line.reason.unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "the host has not reported such a peer",
            "generation 1 was there already",
            "generation 1 was there already",
            "this key was used before",
        ]
    );
}

#[test]
fn a_key_is_not_in_the_file_in_clear() {
    let (folder, store) = with_applied(1);
    drop(store);
    let contains = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    for entry in std::fs::read_dir(folder.path().join("state")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!contains(&bytes, key(1).expose_bytes()));
        assert!(!contains(&bytes, key(1).expose_base64().as_bytes()));
        assert!(!contains(&bytes, &[9; 20]), "the code secret");
    }
}

#[test]
fn a_sealed_key_opens_in_no_other_place_and_under_no_other_number() {
    let (_folder, store) = with_applied(1);
    store.report(at(3), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP, 9])])).unwrap();
    let other = PeerGeneration { peer: peer(9), generation: 1 };
    store.deposit(at(3), &host(), &[Deposit { which: other.clone(), preshared_key: key(50) }]).unwrap();
    store.applied(at(3), &host(), std::slice::from_ref(&other)).unwrap();
    let other = Place::new(&host(), &other.peer);
    assert_eq!(store.unseal(at(4), &other, 1).unwrap(), key(50));

    let swap = "UPDATE generations SET sealed = (SELECT sealed FROM generations WHERE place = 1) WHERE place = 2";
    store.connection.execute(swap, []).unwrap();
    assert!(matches!(store.unseal(at(4), &other, 1), Err(StoreError::Broken(_))));
    assert_eq!(store.unseal(at(4), &place(), 1).unwrap(), key(1));

    store.connection.execute("UPDATE generations SET generation = 2 WHERE place = 1", []).unwrap();
    store.connection.execute("UPDATE places SET highest = 2 WHERE id = 1", []).unwrap();
    assert!(matches!(store.unseal(at(4), &place(), 2), Err(StoreError::Broken(_))));
    let login = passed(&store, at(4));
    let outcome = store.release(at(4), &login, device().as_str(), &[wanted(2, at(60))]).unwrap();
    assert!(outcome.granted.is_empty());
    assert_eq!(outcome.refused, [(place(), "its key cannot be unsealed".to_owned())]);
}

#[test]
fn an_ordered_rotation_ends_a_running_session() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(5));
    let outcome = store.release(at(5), &login, device().as_str(), &[wanted(1, at(3600))]).unwrap();
    assert_eq!(outcome.granted.len(), 1);
    store.order_rotation(at(6), Actor::ROOT, &place(), "laptop stolen").unwrap();
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.rotation_ordered.as_deref(), Some("laptop stolen"));
    let current = record.current.unwrap();
    assert_eq!((current.phase, current.deadline), (Phase::Expired, Some(at(6))));
    assert!(store.unseal(at(6), &place(), 1).is_err());
    let again = passed(&store, at(7));
    assert!(store.release(at(7), &again, device().as_str(), &[wanted(1, at(3600))]).unwrap().granted.is_empty());

    store.deposit(at(8), &host(), &[deposit(2)]).unwrap();
    assert!(store.record(&place()).unwrap().unwrap().rotation_ordered.is_some());
    store.applied(at(8), &host(), &[which(2)]).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().rotation_ordered, None);
    let nowhere = Place::new(&host(), &peer(77));
    assert!(store.order_rotation(at(9), Actor::ROOT, &nowhere, "x").is_err());
}

#[test]
fn a_thousand_generations_are_deposited_in_one_go() {
    let (_folder, store) = furnished();
    let peers: Vec<PublicKey> = (0..1000u32)
        .map(|n| {
            let mut bytes = [200; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            PublicKey::from_bytes(bytes)
        })
        .collect();
    let mut gateway = interface("devices", GATEWAY, &[LAPTOP]);
    let template = gateway.peers.remove(0);
    gateway.peers = peers.iter().map(|key| Peer { public_key: *key, ..template.clone() }).collect();
    store.report(at(1), &host(), &report(&[gateway])).unwrap();
    let which = |key: &PublicKey| PeerGeneration { peer: PeerRef { public_key: *key, ..peer(0) }, generation: 1 };
    let deposits: Vec<_> =
        (1..).zip(&peers).map(|(n, peer)| Deposit { which: which(peer), preshared_key: key(n) }).collect();
    let stored = store.deposit(at(2), &host(), &deposits).unwrap();
    assert_eq!(store.applied(at(3), &host(), &stored).unwrap().len(), 1000);
    assert_eq!(store.records_of(&host()).unwrap().len(), 1000);
    let inventory = store.inventory().unwrap();
    assert!(inventory.hosts[0].interfaces[0].peers.iter().all(|peer| peer.generation == Some(1)));
    assert_intact(&store);
}

#[test]
fn a_server_ends_the_session_that_it_means_and_no_later_one() {
    let (_folder, store) = with_applied(1);
    let reason = "no handshake for 15 min";
    store.end_session(at(4), &place(), 1, reason).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().current.unwrap().phase, Phase::Applied, "nobody has it yet");
    let login = passed(&store, at(5));
    assert_eq!(store.release(at(5), &login, device().as_str(), &[wanted(1, at(3600))]).unwrap().granted.len(), 1);
    store.end_session(at(6), &place(), 0, reason).unwrap();
    store.end_session(at(6), &place(), 2, reason).unwrap();
    assert!(store.unseal(at(6), &place(), 1).is_ok());
    store.end_session(at(7), &place(), 1, reason).unwrap();
    let ended = store.record(&place()).unwrap().unwrap().current.unwrap();
    assert_eq!((ended.phase, ended.ended_because.as_deref()), (Phase::Expired, Some(reason)));
    assert!(store.unseal(at(7), &place(), 1).is_err());
}

#[test]
fn an_ordered_rotation_ends_a_key_that_was_set_and_not_confirmed() {
    let (_folder, store) = with_applied(1);
    let setting = Setting { device: "justins-laptop", deadline: at(3600), reason: "visitor" };
    store.deposit_set(at(5), Actor::ROOT, &host(), &deposit(2), setting).unwrap();
    store.order_rotation(at(6), Actor::ROOT, &place(), "the wrong key").unwrap();
    assert_eq!(store.applied(at(7), &host(), &[which(2)]).unwrap(), [], "its confirmation comes too late");
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.rotation_ordered.as_deref(), Some("the wrong key"));
    assert_eq!(record.current.map(|current| current.phase), Some(Phase::Expired));
}

#[test]
fn a_key_that_was_set_once_is_never_set_again() {
    let (_folder, store) = with_applied(1);
    let set = |generation: u64, seed: u64| {
        let setting = Setting { device: "justins-laptop", deadline: at(3600), reason: "visitor" };
        let deposit = Deposit { which: which(generation), preshared_key: key(seed) };
        store.deposit_set(at(5), Actor::ROOT, &host(), &deposit, setting).map_err(|error| error.to_string())
    };
    set(2, 77).unwrap();
    store.withdraw_set(at(6), &place(), 2, "no such peer").unwrap();
    set(3, 77).unwrap(); // it has never stood anywhere
    for generation in 3..6 {
        if generation > 3 {
            store.deposit(at(6), &host(), &[deposit(generation)]).unwrap();
        }
        assert_eq!(store.applied(at(6), &host(), &[which(generation)]).unwrap(), [which(generation)]);
    }
    assert_eq!(set(6, 77), Err("this key was used before".to_owned()));
    let again = Deposit { which: which(6), preshared_key: key(77) };
    assert_eq!(store.deposit(at(7), &host(), &[again]).unwrap(), []);
    set(6, 78).unwrap();
}
