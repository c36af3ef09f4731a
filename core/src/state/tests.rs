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
        applied_at: Some(at(40)),
        handshake: None,
        opened_by_root: false,
        not_enforced: None,
        ended: None,
        unheard: None,
    }
}

/// A handshake after the apply of [`session`]'s key.
const PROOF: Option<Handshake> = Some(Handshake { at: Timestamp::constant(40 * 60 + 1, 0), with_this_key: true });

fn shown(facts: &Facts<'_>) -> String {
    let (state, reason) = state(facts);
    match reason {
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_string(),
    }
}

#[test]
fn names_and_colours_are_those_of_the_design() {
    let all = KeyState::ALL;
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
    assert_eq!(shown(&Facts { handshake: PROOF, ..facts.clone() }), "OK");
    assert_eq!(shown(&Facts { other: key(1), ..facts.clone() }), "OK");
    // the person's machine has reported, and not yet the released key
    let behind = Facts { other: key(2), handshake: PROOF, ..facts.clone() };
    assert_eq!(shown(&behind), "Match Pending: released, not yet seen to match");
    let over = Facts { deadline: Some(now), handshake: PROOF, ..facts };
    assert_eq!(shown(&over), "Mismatch Pending: the deadline has passed, and the server side has not confirmed");
}

#[test]
fn a_change_that_is_ordered_is_pending_until_it_is_confirmed() {
    let set = mfa();
    let selection = applies(&set);
    let proven = Facts { handshake: PROOF, ..session(&selection) };
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
    let locked = Facts { locked: true, deadline: None, handshake: PROOF, ..session(&selection) };
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
    let grant = |until, unconfirmed: Option<&str>| {
        Some(TierGrant { until: at(until), unconfirmed: unconfirmed.map(str::to_owned) })
    };
    let facts = Facts { grant: grant(51, None), deadline: Some(at(40)), ..session(&selection) };
    assert_eq!(shown(&facts), "OK");
    let told = Facts { grant: grant(51, Some("app-gw opens it at its next round")), ..facts.clone() };
    assert_eq!(shown(&told), "Pending: app-gw opens it at its next round");
    let locked = "Expired: the server side keeps it locked from when another policy covered it (key set)";
    assert_eq!(shown(&Facts { locked: true, ..facts.clone() }), locked);
    for over in [grant(50, None), grant(50, Some("x")), None] {
        assert_eq!(shown(&Facts { grant: over, ..facts.clone() }), "Expired: a one-time code is needed");
    }
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
    assert_eq!(shown(&Facts { handshake: PROOF, ..facts.clone() }), "Match");
    assert_eq!(shown(&Facts { other: key(2), ..facts.clone() }), "Mismatch: the ends use different preshared keys");
    assert_eq!(shown(&Facts { server: Reported::NoKey, ..facts.clone() }), "No Key Used");
    assert_eq!(shown(&facts), "Match Pending: not yet seen to match");
    assert_eq!(shown(&Facts { unmonitored: true, ..facts.clone() }), "Unmonitored");
    // a policy was removed: the session runs on, then the connection stays locked
    assert_eq!(shown(&Facts { deadline: Some(at(60)), handshake: PROOF, ..facts.clone() }), "Match");
    let locked = "Mismatch: no policy, and the server side uses a key that nobody holds";
    assert_eq!(shown(&Facts { locked: true, ..facts }), locked);
}

#[test]
fn a_handshake_of_before_the_key_proves_nothing() {
    let set = mfa();
    let selection = applies(&set);
    let with = |second: i64, with_this_key| {
        let at = Timestamp::from_second(40 * 60 + second).unwrap();
        shown(&Facts { handshake: Some(Handshake { at, with_this_key }), ..session(&selection) })
    };
    assert_eq!(with(1, true), "OK");
    let pending = "Match Pending: not yet seen to match";
    assert_eq!(with(0, true), pending);
    // changed in place: the latest handshake is still the one under the old key, however late its report came
    assert_eq!(with(1, false), pending);
    let elsewhere = Facts { applied_at: None, deadline: None, handshake: PROOF, ..session(&Selection::None) };
    assert_eq!(shown(&elsewhere), "Match");
}

#[test]
fn what_root_has_opened_is_shown_as_such() {
    let set = mfa();
    let selection = applies(&set);
    let opened = Facts { opened_by_root: true, ordered: Some(Ordered::Rotation), ..session(&selection) };
    assert_eq!(shown(&opened), "Match Pending: opened by root on the server side, not yet seen to match");
    assert_eq!(shown(&Facts { handshake: PROOF, ..opened.clone() }), "OK: opened by root on the server side");
    let over = Facts { now: at(60), handshake: PROOF, ..opened };
    assert_eq!(shown(&over), "Mismatch Pending: root's override is over, and the server side has not confirmed");
}

#[test]
fn a_server_that_stands_down_is_never_ok() {
    let set = mfa();
    let selection = applies(&set);
    let not_enforced = Some("root has the agent of gw stand down".to_owned());
    let facts = Facts { not_enforced, handshake: PROOF, ..session(&selection) };
    assert_eq!(shown(&facts), "Pending: root has the agent of gw stand down");
    assert_eq!(shown(&Facts { selection: &Selection::None, deadline: None, ..facts }), "Match");
}

#[test]
fn a_session_that_ended_early_says_why() {
    let set = mfa();
    let selection = applies(&set);
    let ended = Some("no handshake for 5m".to_owned());
    let facts = Facts { locked: true, deadline: None, ended, ..session(&selection) };
    assert_eq!(shown(&facts), "Expired: a login is needed: no handshake for 5m");
}

#[test]
fn old_evidence_is_called_old() {
    let set = mfa();
    let selection = applies(&set);
    let facts = Facts { unheard: Some("gw was last heard at 14:55".to_owned()), ..session(&selection) };
    assert_eq!(shown(&facts), "Match Pending: not yet seen to match; gw was last heard at 14:55");
    assert_eq!(shown(&Facts { handshake: PROOF, ..facts.clone() }), "OK: gw was last heard at 14:55");
    assert_eq!(
        shown(&Facts { selection: &Selection::None, deadline: None, unmonitored: true, ..facts }),
        "Unmonitored"
    );
}

#[test]
fn who_received_a_key_knows_its_state() {
    assert_eq!(
        [received(0, true), received(1, true), received(1, false)].map(KeyState::name),
        ["Expired", "OK", "Match Pending"]
    );
}

fn reported() -> impl Strategy<Value = Reported> {
    prop_oneof![Just(Reported::Nothing), Just(Reported::NoKey), Just(key(1)), Just(key(2))]
}

/// Which policy wins.
#[derive(Debug, Clone, Copy)]
enum Wins {
    Nobody,
    Mfa,
    Pair,
    Firewall,
    Conflict,
}

fn wins() -> impl Strategy<Value = Wins> {
    prop_oneof![Just(Wins::Nobody), Just(Wins::Mfa), Just(Wins::Pair), Just(Wins::Firewall), Just(Wins::Conflict)]
}

fn handshakes() -> impl Strategy<Value = Option<Handshake>> {
    let handshake = (0i64..100, any::<bool>());
    proptest::option::of(handshake.prop_map(|(minute, with_this_key)| Handshake { at: at(minute), with_this_key }))
}

proptest! {
    #[test]
    fn nothing_is_ok_without_evidence_and_the_order_is_kept(
        wins in wins(),
        (unmonitored, locked, opened_by_root, stands_down, unheard) in any::<(bool, bool, bool, bool, bool)>(),
        rotation in proptest::option::of(any::<bool>()),
        [deadline, applied, grant] in proptest::array::uniform3(proptest::option::of(0i64..100)),
        unconfirmed in any::<bool>(),
        (server, other) in (reported(), reported()), handshake in handshakes(),
    ) {
        let set = match wins {
            Wins::Firewall => policy("mfa = true\nenforce = [\"firewall\"]\ntier = \"prod\""),
            Wins::Pair => pair(),
            _ => mfa(),
        };
        let selection = match wins {
            Wins::Nobody => Selection::None,
            Wins::Conflict => Selection::Conflict { policy: &set.policies()[0], reason: Conflict::TwoServers },
            _ => applies(&set),
        };
        let ordered = rotation.map(|rotation| if rotation { Ordered::Rotation } else { Ordered::Other("x".to_owned()) });
        let text = |wanted: bool| wanted.then(|| "x".to_owned());
        let facts = Facts {
            unmonitored, ordered, deadline: deadline.map(at), locked, server, other,
            grant: grant.map(|until| TierGrant { until: at(until), unconfirmed: text(unconfirmed) }),
            applied_at: applied.map(at), handshake, opened_by_root, not_enforced: text(stands_down), unheard: text(unheard),
            ..session(&selection)
        };
        let (state, reason) = state(&facts);
        let has_policy = !matches!(wins, Wins::Nobody | Wins::Conflict);
        prop_assert_eq!(matches!(wins, Wins::Conflict), state == KeyState::Conflict);
        match state {
            KeyState::Ok | KeyState::Expired => prop_assert!(has_policy),
            KeyState::Match | KeyState::NoKeyUsed | KeyState::Unmonitored => prop_assert!(!has_policy),
            _ => {}
        }
        if !matches!(state, KeyState::Ok | KeyState::Match | KeyState::NoKeyUsed | KeyState::Unmonitored) {
            prop_assert!(reason.is_some(), "{} has a reason", state);
        }
        if matches!(state, KeyState::Ok | KeyState::Match) && !matches!(wins, Wins::Firewall) {
            let same = matches!((server, other), (Reported::Key(one), Reported::Key(other)) if one == other);
            let one_differs = matches!((server, other), (Reported::Key(_), Reported::Key(_)) | (_, Reported::NoKey));
            let proved = handshake.is_some_and(|handshake| {
                handshake.with_this_key && facts.applied_at.is_none_or(|applied| handshake.at > applied)
            });
            prop_assert!(same || proved && !one_differs);
            prop_assert!(server != Reported::NoKey && !locked);
        }
        if state == KeyState::Ok {
            let confirmed = facts.grant.clone().filter(|grant| grant.unconfirmed.is_none());
            let until = if matches!(wins, Wins::Firewall) { confirmed.map(|grant| grant.until) } else { facts.deadline };
            prop_assert!(until.is_some_and(|until| until > facts.now));
            prop_assert!(!stands_down);
            let by_root = opened_by_root && facts.ordered == Some(Ordered::Rotation);
            prop_assert!(facts.ordered.is_none() || by_root || matches!(wins, Wins::Firewall));
        }
    }
}
