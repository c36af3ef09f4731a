//! Which handshake proves that both ends hold the key that is there now, and what root has opened.

use wgmfa_core::inventory::{Interface, Peer};
use wgmfa_core::key::Fingerprint;

use super::*;

/// The laptop as a peer whose key has this fingerprint.
fn with_key(fingerprint: Fingerprint) -> Interface {
    let mut interface = interface("devices", GATEWAY, &[LAPTOP]);
    interface.peers[0].fingerprint = Some(fingerprint);
    interface
}

fn fingerprint(seed: u8) -> Fingerprint {
    key(seed.into()).fingerprint(&public(GATEWAY), &public(LAPTOP))
}

/// Reports the laptop with this key and this handshake; gives what is known of it then.
fn heard(store: &Store, now: i64, seed: u8, handshake: HandshakeAge) -> Peer {
    let (interfaces, handshake_ages) = ([with_key(fingerprint(seed))], [handshake]);
    store.report(at(now), &host(), &Report { handshake_ages: &handshake_ages, ..report(&interfaces) }).unwrap();
    store.inventory().unwrap().hosts[0].interfaces[0].peers[0].clone()
}

#[test]
fn a_handshake_that_was_there_before_a_change_in_place_proves_nothing() {
    let (_folder, store) = with_applied(1);
    assert!(heard(&store, 10, 1, age(LAPTOP, 2)).handshake_with_this_key);
    store.deposit(at(20), &host(), &[deposit(2)]).unwrap();
    store.applied(at(20), &host(), &[which(2)]).unwrap();
    // the report was long on its way: by its age alone the old handshake would be younger than the new key
    let before = HandshakeAge { before_change: true, ..age(LAPTOP, 1) };
    let peer = heard(&store, 60, 2, before);
    assert_eq!((peer.latest_handshake, peer.handshake_with_this_key), (Some(at(59)), false));
    assert!(heard(&store, 130, 2, age(LAPTOP, 1)).handshake_with_this_key);
}

#[test]
fn under_a_key_from_elsewhere_only_a_second_handshake_is_proof() {
    let (_folder, store) = furnished();
    let proved = |now, seed, seconds| heard(&store, now, seed, age(LAPTOP, seconds)).handshake_with_this_key;
    assert!(!proved(10, 5, 1), "it may have been made before the key was changed");
    assert!(!proved(11, 5, 2), "the same one");
    assert!(proved(130, 5, 1));
    assert!(!proved(140, 6, 11), "another key was set, and the handshake is the old one");
    assert!(proved(260, 6, 1));
}

#[test]
fn what_root_has_opened_is_known_until_the_next_report_says_otherwise() {
    let (_folder, store) = with_applied(1);
    let mut opened = with_key(fingerprint(9));
    opened.peers[0].opened_by_root_for = Some(60);
    let tell = |now, interface: &Interface| {
        let (interfaces, handshake_ages) = ([interface.clone()], [age(LAPTOP, 0)]);
        let stood_down = now > 40;
        let report = Report { handshake_ages: &handshake_ages, stood_down, ..report(&interfaces) };
        store.report(at(now), &host(), &report).unwrap();
        store.inventory().unwrap().hosts.remove(0)
    };
    let peer = tell(10, &opened).interfaces[0].peers[0].clone();
    assert_eq!((peer.opened_by_root_until, peer.handshake_with_this_key), (Some(at(70)), true));
    opened.peers[0].opened_by_root_for = Some(51);
    let peer = tell(20, &opened).interfaces[0].peers[0].clone();
    assert_eq!(peer.opened_by_root_until, Some(at(70)), "a second more or less is the same end");
    let host = tell(30, &with_key(fingerprint(1)));
    assert_eq!((host.interfaces[0].peers[0].opened_by_root_until, host.stood_down), (None, false));
    assert!(tell(50, &with_key(fingerprint(1))).stood_down);
}
