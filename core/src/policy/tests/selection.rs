//! Which policy wins, and the sides; each row of the case table stands in `tests/vectors/` too.

use proptest::prelude::*;

use super::set;
use crate::connection::{Connection, ConnectionName, InterfaceRef, Other};
use crate::key::PublicKey;
use crate::policy::{Conflict, End, Selection, Selector, Sides, select};

fn key(name: &str) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    PublicKey::from_bytes(bytes)
}

/// A connection by its name; hosts called `desk…` and all devices belong to ann. `?NAME` is an unmonitored end.
fn connection(one: &str, other: &str) -> Connection {
    let one: InterfaceRef = one.parse().unwrap();
    let ann = || Some("ann".parse().unwrap());
    let (other_name, other_owner) = match other.strip_prefix('?') {
        Some(_) => (Other::Unmonitored(key(other)), None),
        None => match other.parse::<InterfaceRef>() {
            Ok(end) if end.host.as_str().starts_with("desk") => (Other::Interface(end), ann()),
            Ok(end) => (Other::Interface(end), None),
            Err(_) => (Other::Device(other.parse().unwrap()), ann()),
        },
    };
    Connection {
        public_key: key(&one.to_string()),
        other_public_key: key(other),
        owner: one.host.as_str().starts_with("desk").then(ann).flatten(),
        other_owner,
        name: ConnectionName { one, other: other_name },
    }
}

/// The winner's ordinal and what follows: `one`, `other`, `both`, or the conflict.
fn outcome(policies: &[(&str, &str)], one: &str, other: &str) -> (Option<u64>, String) {
    match select(&set(policies), &connection(one, other)) {
        Selection::None => (None, String::new()),
        Selection::Conflict { policy, reason } => (Some(policy.ordinal.0), reason.to_string()),
        Selection::Applies { policy, sides } => (
            Some(policy.ordinal.0),
            match sides {
                Sides::Server(End::One) => "one",
                Sides::Server(End::Other) => "other",
                Sides::Both => "both",
            }
            .to_owned(),
        ),
    }
}

#[test]
fn the_sides_follow_from_the_lists() {
    for (policy, one, other, sides) in [
        ("mfa = true\nserver-peers = [\"gw/wg0\"]", "gw/wg0", "phone", "one"),
        ("mfa = true\nclient-peers = [\"phone\"]", "gw/wg0", "phone", "one"),
        ("mfa = true\nclient-peers = [\"phone\"]\nserver-peers = [\"gw/wg0\"]", "gw/wg0", "phone", "one"),
        ("mfa = true\nserver-peers = [\"gw/wg0\"]", "desk/wg0", "gw/wg0", "other"),
        ("mfa = true\nclient-peers = [\"desk/*\"]", "desk/wg0", "gw/wg0", "other"),
        ("mfa = false\npeers = [\"gw/wg0\"]", "gw/wg0", "phone", "both"),
        ("mfa = false\npeers = [\"*\"]", "gw/wg0", "phone", "both"),
    ] {
        assert_eq!(outcome(&[("1-a.toml", policy)], one, other), (Some(1), sides.to_owned()), "{policy}");
    }
    assert_eq!(
        outcome(&[("1-a.toml", "mfa = true\nserver-peers = [\"gw/wg1\", \"tablet\"]")], "gw/wg0", "phone").0,
        None
    );
}

#[test]
fn a_policy_that_contradicts_itself_is_a_conflict_and_the_next_is_not_tried() {
    let phone = key("phone").to_string();
    let by_key = format!("mfa = true\nserver-peers = [\"{phone}\"]\nclient-peers = [\"phone\"]");
    for (policy, one, other, conflict) in [
        (
            "mfa = true\nserver-peers = [\"*/wg0\"]\nclient-peers = [\"gw/*\"]",
            "gw/wg0",
            "phone",
            Conflict::BothLists("gw/wg0".into()),
        ),
        (&*by_key, "gw/wg0", "phone", Conflict::BothLists("phone".into())),
        ("mfa = true\nserver-peers = [\"*/wg0\"]", "a-gw/wg0", "b-gw/wg0", Conflict::TwoServers),
        ("mfa = true\nclient-peers = [\"*\", \"desk/wg0\"]", "desk/wg0", "phone", Conflict::TwoClients),
        ("mfa = true\nserver-peers = [\"phone\"]", "gw/wg0", "phone", Conflict::ServerNotHost("phone".into())),
        ("mfa = true\nclient-peers = [\"desk/wg0\"]", "desk/wg0", "phone", Conflict::ServerNotHost("phone".into())),
        (
            "mfa = true\nserver-peers = [\"a-gw/wg0\"]",
            "a-gw/wg0",
            "b-gw/wg0",
            Conflict::ClientNotOwned("b-gw/wg0".into()),
        ),
        (
            "mfa = true\nserver-peers = [\"b-gw/wg0\"]",
            "a-gw/wg0",
            "b-gw/wg0",
            Conflict::ClientNotOwned("a-gw/wg0".into()),
        ),
    ] {
        let policies = [("1-a.toml", policy), ("2-b.toml", "mfa = false\npeers = [\"*/*\"]")];
        assert_eq!(outcome(&policies, one, other), (Some(1), conflict.to_string()), "{policy}");
        let set = set(&policies);
        let considered = Selector::new(&set).consider(&connection(one, other));
        let reasons: Vec<_> = considered.candidates.iter().map(|candidate| candidate.reason.to_string()).collect();
        assert_eq!(reasons, [format!("conflict: {conflict}"), "policy 1 has a lower ordinal".to_owned()]);
        assert!(considered.candidates.iter().all(|candidate| !candidate.applies()));
    }
}

#[test]
fn an_unmonitored_end_is_covered_only_on_demand() {
    let without = ("1-a.toml", "mfa = true\nserver-peers = [\"gw/wg0\"]");
    let with = ("2-b.toml", "mfa = true\nserver-peers = [\"gw/wg0\"]\nunmonitored = true");
    assert_eq!(outcome(&[without], "gw/wg0", "?x"), (None, String::new()));
    // its client side has no owner, which is no conflict: it is locked until an administrator carries the key
    assert_eq!(outcome(&[without, with], "gw/wg0", "?x"), (Some(2), "one".to_owned()));
    assert_eq!(outcome(&[without, with], "gw/wg0", "phone"), (Some(1), "one".to_owned()));

    let set = set(&[without, with]);
    let considered = Selector::new(&set).consider(&connection("gw/wg0", "?x"));
    let reasons: Vec<_> = considered.candidates.iter().map(|candidate| candidate.reason.to_string()).collect();
    assert_eq!(
        reasons,
        [
            "the other end is unmonitored, and this policy does not set unmonitored",
            "server-peers names gw/wg0, and no lower ordinal applies"
        ]
    );
    let Selection::Applies { sides, .. } = considered.selection else { panic!("it applies") };
    assert_eq!(sides.client_owner(&connection("gw/wg0", "?x")), None);
}

#[test]
fn the_sides_name_their_ends() {
    let connection = connection("desk/wg0", "gw/wg0");
    let sides = Sides::Server(End::Other);
    assert_eq!(sides.server_side(&connection).unwrap().to_string(), "gw/wg0");
    assert_eq!(sides.server_public_key(&connection), Some(key("gw/wg0")));
    assert_eq!(sides.client_public_key(&connection), Some(key("desk/wg0")));
    assert_eq!(sides.client_owner(&connection).unwrap().as_str(), "ann");
    assert_eq!(Sides::Both.server_side(&connection), None);
}

proptest! {
    /// Each policy names the gateway or not; the lowest that does wins, whatever the order and spelling of the files.
    #[test]
    fn the_lowest_ordinal_wins_whatever_the_order_of_the_files(
        policies in proptest::collection::btree_map(0u64..500, (any::<bool>(), 0usize..4), 1..12)
            .prop_flat_map(|policies| Just(policies.into_iter().collect::<Vec<_>>()).prop_shuffle()),
    ) {
        let files: Vec<_> = policies.iter().map(|&(ordinal, (names, zeros))| {
            let peer = if names { "gw/*" } else { "other/*" };
            (format!("{}{ordinal}-a.toml", "0".repeat(zeros)), format!("mfa = true\nserver-peers = [\"{peer}\"]"))
        }).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let lowest = policies.iter().filter(|(_, (names, _))| *names).map(|(ordinal, _)| *ordinal).min();
        prop_assert_eq!(outcome(&files, "gw/wg0", "phone").0, lowest);
    }

    /// The short way and the whole way agree, also from a selector that has seen other connections.
    #[test]
    fn a_selector_says_what_a_fresh_one_says(
        policies in proptest::collection::btree_map(
            0u64..50,
            (any::<bool>(), any::<bool>(),
             proptest::collection::btree_set("gw/wg0|gw/\\*|\\*/wg1|desk/wg0|\\*|phone|\\*/\\*", 0..3),
             proptest::collection::btree_set("gw/wg1|des\\*/\\*|p\\*|tablet", 0..3)),
            1..6,
        ),
    ) {
        let files: Vec<_> = policies.iter().map(|(ordinal, (mfa, unmonitored, one, two))| {
            let lists = if *mfa {
                format!("mfa = true\nserver-peers = {one:?}\nclient-peers = {two:?}")
            } else {
                format!("mfa = false\npeers = {one:?}")
            };
            let lists = lists.replace(['{'], "[").replace('}', "]");
            (format!("{ordinal}-a.toml"), format!("{lists}\nunmonitored = {unmonitored}"))
        }).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let set = set(&files);
        let mut selector = Selector::new(&set);
        for one in ["gw/wg0", "gw/wg1"] {
            for other in ["phone", "tablet", "desk/wg0", "hut/wg1", "?x"] {
                let connection = connection(one, other);
                let considered = selector.consider(&connection);
                prop_assert_eq!(&considered.selection, &select(&set, &connection));
                prop_assert_eq!(&considered.selection, &selector.select(&connection));
                let applies = considered.candidates.iter().filter(|candidate| candidate.applies());
                prop_assert_eq!(applies.count(), usize::from(considered.selection.policy().is_some()));
            }
        }
    }
}
