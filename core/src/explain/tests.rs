//! What programs and people read. When which key rotates stands in `tests/rotation/`.

use serde_json::json;

use super::*;
use crate::key::PublicKey;

fn explanations() -> Explanations {
    explanations_of(|_| {})
}

/// The same of an inventory in which something is otherwise.
fn explanations_of(change: impl FnOnce(&mut Inventory)) -> Explanations {
    let key = |seed: u8| PublicKey::from_bytes([seed; 32]);
    let mut inventory = serde_json::from_value(json!({
        "version": 1,
        "hosts": [
            {"name": "app-gw", "owner": null, "interfaces": [
                {"name": "devices", "public_key": key(1), "peers": [
                    {"public_key": key(2), "generation": 7, "deadline": "2026-11-21T14:30:00Z"},
                    {"public_key": key(3)},
                ]},
                {"name": "infra", "public_key": key(4), "peers": [{"public_key": key(5)}]},
            ]},
            {"name": "db-gw", "interfaces": [{"name": "infra", "public_key": key(5), "peers": [{"public_key": key(4)}]}]},
        ],
        "devices": [{"name": "justins-laptop", "owner": "justin", "public_key": key(2)}],
    }))
    .unwrap();
    change(&mut inventory);
    let policy =
        |description: &str, rest: &str| format!("description = \"{description}\"\nrotation-interval = \"1h\"\n{rest}");
    let set = PolicySet::parse(&[
        ("099-risky.toml".to_owned(), policy("Risky Devices", "mfa = true\nclient-peers = [\"justins-laptop\"]")),
        ("101-prod.toml".to_owned(), policy("Prod User Devices", "mfa = true\nserver-peers = [\"app-gw/devices\"]")),
        ("103-infra.toml".to_owned(), policy("Infra", "mfa = false\npeers = [\"*/infra\"]")),
    ])
    .unwrap();
    explain(&set, &inventory, "2026-11-21T14:00:00Z".parse().unwrap())
}

#[test]
fn programs_read_json() {
    let explained = serde_json::to_value(explanations()).unwrap();
    assert_eq!(explained["version"], 1);
    assert_eq!(explained["connections"].as_array().unwrap().len(), 3);
    assert_eq!(
        explained["connections"][0],
        json!({
            "connection": "app-gw/devices:justins-laptop", "host": "app-gw", "interface": "devices",
            "public_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "other": "justins-laptop",
            "other_public_key": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", "owner": "justin",
            "candidates": [
                {"ordinal": 99, "description": "Risky Devices", "applies": true,
                 "reason": "client-peers names justins-laptop, and no lower ordinal applies"},
                {"ordinal": 101, "description": "Prod User Devices", "applies": false,
                 "reason": "policy 99 has a lower ordinal"},
            ],
            "winner": 99, "conflict": false, "server_side": "app-gw/devices",
            "next": {"action": "wait", "at": "2026-11-21T14:30:00Z", "reason": "a session is running"},
        })
    );
    let infra = &explained["connections"][2];
    assert_eq!((&infra["connection"], &infra["server_side"]), (&json!("app-gw/infra:db-gw/infra"), &json!(null)));
    assert_eq!(infra["next"]["at"], "2026-11-21T14:00:00Z");
    let stray = &explained["connections"][1];
    assert_eq!((&stray["winner"], &stray["owner"], &stray["next"]["at"]), (&json!(null), &json!(null), &json!(null)));
}

#[test]
fn people_read_text() {
    let text = render(&explanations().connections, |at| format!("<{at}>"));
    assert_eq!(
        text,
        "app-gw/devices:justins-laptop (justin)
  policy 99 Risky Devices: applies: client-peers names justins-laptop, and no lower ordinal applies
  policy 101 Prod User Devices: does not apply: policy 99 has a lower ordinal
  server side: app-gw/devices
  next: wait until <2026-11-21T14:30:00Z>: a session is running
app-gw/devices:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=
  policy 101 Prod User Devices: does not apply: the other end is unmonitored, and this policy does not set unmonitored
  next: nothing: the other end is unmonitored, and no policy covers that
app-gw/infra:db-gw/infra
  policy 103 Infra: applies: peers names app-gw/infra, and no lower ordinal applies
  server side: both rotate together
  next: rotate now: the two ends have no key from here yet
"
    );
}

#[test]
fn a_waiting_keys_next_moment_is_the_same_whenever_one_asks() {
    let inventory = serde_json::from_value(json!({
        "version": 1,
        "hosts": [{"name": "app-gw", "interfaces": [{"name": "devices", "public_key": PublicKey::from_bytes([1; 32]), "peers": [
            {"public_key": PublicKey::from_bytes([2; 32]), "generation": 7, "rotated_at": "2026-11-21T14:00:00.700Z"},
        ]}]}],
        "devices": [{"name": "justins-laptop", "owner": "justin", "public_key": PublicKey::from_bytes([2; 32])}],
    }))
    .unwrap();
    let text = "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]";
    let set = PolicySet::parse(&[("101-prod.toml".to_owned(), text.to_owned())]).unwrap();
    for now in ["2026-11-21T14:30:00.600Z", "2026-11-21T14:30:00.800Z", "2026-11-21T15:00:00.600Z"] {
        let explained = serde_json::to_value(explain(&set, &inventory, now.parse().unwrap())).unwrap();
        let next = &explained["connections"][0]["next"];
        assert_eq!((&next["action"], &next["at"]), (&json!("wait"), &json!("2026-11-21T15:00:00.7Z")), "{now}");
    }
}

#[test]
fn no_key_rotates_where_the_bastion_keeps_a_peer_locked_or_root_has_ended_enforcing() {
    let next = |change: fn(&mut Inventory)| explanations_of(change).connections.remove(0).next;
    assert_eq!(next(|_| {}).action, NextAction::Wait);
    let kept = next(|inventory| inventory.hosts[0].interfaces[0].peers[0].kept_locked = true);
    let reason = "kept locked until what was removed is registered again";
    assert_eq!((kept.action, kept.at, kept.reason.as_str()), (NextAction::None, None, reason));
    let alone = next(|inventory| inventory.hosts[0].stood_down = true);
    let reason = "root has had the agent of app-gw stand down: nothing is enforced there";
    assert_eq!((alone.action, alone.at, alone.reason.as_str()), (NextAction::None, None, reason));
}
