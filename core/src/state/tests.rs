//! Each state by its definition, and that nothing is OK without evidence.

use proptest::prelude::*;

use super::*;
use crate::key::{PresharedKey, PublicKey};
use crate::policy::{Conflict, End, PolicySet, Sides};

fn policy(lines: &str) -> PolicySet {
    let text = format!("description = \"D\"\nrotation-interval = \"1h\"\n{lines}");
    PolicySet::parse(&[("7-a.toml".to_owned(), text)]).unwrap()
}

fn mfa() -> PolicySet {
    policy("mfa = true")
}

fn pair() -> PolicySet {
    policy("mfa = false")
}

fn applies(set: &PolicySet) -> Selection<'_> {
    let policy = &set.policies()[0];
    Selection::Applies { policy, sides: if policy.mfa() { Sides::Server(End::One) } else { Sides::Both } }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn key(seed: u8) -> Reported {
    let key = PresharedKey::from_bytes([seed; 32]).unwrap();
    Reported::Key(key.fingerprint(&PublicKey::from_bytes([1; 32]), &PublicKey::from_bytes([2; 32])))
}

/// A session of an MFA connection with a device, ten minutes before its deadline, and no handshake yet.
fn session<'a>(selection: &'a Selection<'a>) -> Facts<'a> {
    Facts {
        now: at(50),
        selection,
        unmonitored: false,
        ordered: None,
        deadline: Some(at(60)),
        locked: false,
        grant: None,
        server: key(1),
        other: Reported::Nothing,
        handshake_since_apply: false,
    }
}

fn shown(facts: &Facts<'_>) -> String {
    let (state, reason) = state(facts);
    match reason {
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_string(),
    }
}

#[test]
fn names_and_colours_are_those_of_the_design() {
    use KeyState::*;
    let all = [Conflict, MatchPending, MismatchPending, Pending, Ok, Expired, Mismatch, Match, NoKeyUsed, Unmonitored];
    let table: Vec<_> = all.iter().map(|state| format!("{state} {:?}", state.colour()).to_lowercase()).collect();
    assert_eq!(
        table.join(", "),
        "conflict red, match pending yellow, mismatch pending yellow, pending yellow, ok green, expired red, mismatch red, \
         match green, no key used black, unmonitored black"
    );
    for state in all {
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
}

#[test]
fn a_conflict_is_shown_before_anything_else() {
    let set = mfa();
    let conflict = Selection::Conflict { policy: &set.policies()[0], reason: Conflict::TwoServers };
    let facts = Facts { ordered: Some(Ordered::Rotation), ..session(&conflict) };
    assert_eq!(shown(&facts), "Conflict: in policy 7 server-peers names both ends");
}

#[test]
fn a_session_is_ok_when_a_handshake_or_both_fingerprints_prove_it() {
    let (set, now) = (mfa(), at(50));
    let selection = applies(&set);
    let facts = session(&selection);
    assert_eq!(shown(&facts), "Match Pending: not yet seen to match");
    assert_eq!(shown(&Facts { handshake_since_apply: true, ..facts.clone() }), "OK");
    assert_eq!(shown(&Facts { other: key(1), ..facts.clone() }), "OK");
    // the person's machine has reported, and not yet the released key
    let behind = Facts { other: key(2), handshake_since_apply: true, ..facts.clone() };
    assert_eq!(shown(&behind), "Match Pending: released, not yet seen to match");
    let over = Facts { deadline: Some(now), handshake_since_apply: true, ..facts };
    assert_eq!(shown(&over), "Mismatch Pending: the deadline has passed, and the server side has not confirmed");
}

#[test]
fn a_change_that_is_ordered_is_pending_until_it_is_confirmed() {
    let set = mfa();
    let selection = applies(&set);
    let proven = Facts { handshake_since_apply: true, ..session(&selection) };
    let rotation = Facts { ordered: Some(Ordered::Rotation), ..proven.clone() };
    assert_eq!(shown(&rotation), "Mismatch Pending: a rotation was ordered, and the server side has not confirmed");
    let lock = Facts { ordered: Some(Ordered::Other("ann was disabled".to_owned())), ..proven.clone() };
    assert_eq!(shown(&lock), "Pending: ann was disabled");
    let first = Facts { deadline: None, ..proven };
    assert_eq!(shown(&first), "Pending: the server side has not applied a generation yet");
}

#[test]
fn a_locked_peer_needs_a_login_whatever_else_is_reported() {
    let set = mfa();
    let selection = applies(&set);
    let locked = Facts { locked: true, deadline: None, handshake_since_apply: true, ..session(&selection) };
    assert_eq!(shown(&locked), "Expired: a login is needed");
    assert_eq!(shown(&Facts { deadline: Some(at(60)), ..locked.clone() }), "Expired: a login is needed");
    let stray = Facts { unmonitored: true, ..locked.clone() };
    assert_eq!(shown(&stray), "Expired: an administrator has to carry the key (key show)");
    let none = Facts { server: Reported::NoKey, ..locked };
    assert_eq!(shown(&none), "Pending: the server side uses no preshared key: no second factor");
}

#[test]
fn a_firewall_policy_asks_for_a_grant() {
    let set = policy("mfa = true\nenforce = [\"firewall\"]\ntier = \"prod\"");
    let selection = applies(&set);
    let facts = Facts { grant: Some(at(51)), deadline: Some(at(40)), ..session(&selection) };
    assert_eq!(shown(&facts), "OK");
    assert_eq!(shown(&Facts { grant: Some(at(50)), ..facts.clone() }), "Expired: a one-time code is needed");
    assert_eq!(shown(&Facts { grant: None, ..facts }), "Expired: a one-time code is needed");
}

#[test]
fn two_servers_match_or_differ() {
    let set = pair();
    let selection = applies(&set);
    let facts = session(&selection);
    assert_eq!(shown(&facts), "Match Pending: not yet seen to match");
    assert_eq!(shown(&Facts { other: key(1), ..facts.clone() }), "OK");
    let differ = "Mismatch: the ends use different preshared keys";
    assert_eq!(shown(&Facts { other: key(2), ..facts.clone() }), differ);
    assert_eq!(shown(&Facts { other: Reported::NoKey, ..facts.clone() }), differ);
    assert_eq!(shown(&Facts { deadline: None, ..facts }), "Pending: the ends have not applied a generation yet");
}

#[test]
fn without_a_policy_the_ends_speak_for_themselves() {
    let facts = Facts { deadline: None, ..session(&Selection::None) };
    assert_eq!(shown(&Facts { other: key(1), ..facts.clone() }), "Match");
    assert_eq!(shown(&Facts { handshake_since_apply: true, ..facts.clone() }), "Match");
    assert_eq!(shown(&Facts { other: key(2), ..facts.clone() }), "Mismatch: the ends use different preshared keys");
    assert_eq!(shown(&Facts { server: Reported::NoKey, ..facts.clone() }), "No Key Used");
    assert_eq!(shown(&facts), "Match Pending: not yet seen to match");
    assert_eq!(shown(&Facts { unmonitored: true, ..facts.clone() }), "Unmonitored");
    // a policy was removed: the session runs on, then the connection stays locked
    assert_eq!(shown(&Facts { deadline: Some(at(60)), handshake_since_apply: true, ..facts.clone() }), "Match");
    let locked = "Mismatch: no policy, and the server side uses a key that nobody holds";
    assert_eq!(shown(&Facts { locked: true, ..facts }), locked);
}

fn reported() -> impl Strategy<Value = Reported> {
    prop_oneof![Just(Reported::Nothing), Just(Reported::NoKey), Just(key(1)), Just(key(2))]
}

proptest! {
    #[test]
    fn nothing_is_ok_without_evidence(
        together: bool, unmonitored: bool, rotation in proptest::option::of(any::<bool>()), deadline in proptest::option::of(0i64..100),
        locked: bool, server in reported(), other in reported(), handshake: bool,
    ) {
        let set = if together { pair() } else { mfa() };
        let selection = applies(&set);
        let ordered = rotation.map(|rotation| if rotation { Ordered::Rotation } else { Ordered::Other("x".to_owned()) });
        let facts = Facts {
            unmonitored, ordered, deadline: deadline.map(at), locked, server, other, handshake_since_apply: handshake,
            ..session(&selection)
        };
        let (state, reason) = state(&facts);
        prop_assert_eq!(reason.is_none(), state == KeyState::Ok);
        if state == KeyState::Ok {
            let same = matches!((server, other), (Reported::Key(one), Reported::Key(other)) if one == other);
            let one_differs = matches!((server, other), (Reported::Key(_), Reported::Key(_)) | (_, Reported::NoKey));
            prop_assert!(same || handshake && !one_differs);
            prop_assert!(server != Reported::NoKey && facts.ordered.is_none());
            prop_assert!(facts.deadline.is_some_and(|deadline| deadline > facts.now));
            prop_assert!(!locked);
        }
    }
}
