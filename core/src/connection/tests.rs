//! Which connections an inventory has.

use serde_json::json;

use super::*;

fn key(seed: u8) -> PublicKey {
    PublicKey::from_bytes([seed; 32])
}

fn inventory() -> Inventory {
    serde_json::from_value(json!({
        "version": 1,
        "hosts": [
            {"name": "db-gw", "owner": "dora", "interfaces": [
                {"name": "infra", "public_key": key(1), "peers": [{"public_key": key(2), "generation": 4}]},
            ]},
            {"name": "app-gw", "interfaces": [
                {"name": "infra", "public_key": key(2), "peers": [
                    {"public_key": key(9)}, {"public_key": key(1), "generation": 5}, {"public_key": key(8)},
                    {"public_key": key(7)}, {"public_key": key(6)}, {"public_key": key(3)},
                ]},
            ]},
            {"name": "log-gw", "interfaces": [{"name": "infra", "public_key": key(3), "peers": []}]},
        ],
        "devices": [
            {"name": "z", "owner": "zoe", "public_key": key(6)}, {"name": "a", "owner": "ann", "public_key": key(7)},
        ],
    }))
    .unwrap()
}

#[test]
fn connections_are_sorted_by_name_and_stand_once() {
    let found = connections(&inventory());
    let mut sorted = found.clone();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(found, sorted);
    let names: Vec<_> = found.iter().map(|connection| connection.name.to_string()).collect();
    let strays = [key(8), key(9)].map(|key| format!("app-gw/infra:{key}"));
    let [first, second] = &strays;
    assert_eq!(
        names,
        ["app-gw/infra:a", "app-gw/infra:z", "app-gw/infra:db-gw/infra", "app-gw/infra:log-gw/infra", first, second]
    );
    let owners: Vec<_> = found.iter().map(|one| one.other_owner.as_ref().map(UserName::as_str)).collect();
    assert_eq!(owners, [Some("ann"), Some("zoe"), Some("dora"), None, None, None]);
}

#[test]
fn each_end_has_its_own_report() {
    let inventory = inventory();
    let generations = reported(&inventory).map(|found| {
        let of = |key| found.by(key).and_then(|peer| peer.generation);
        (of(found.connection.public_key), of(found.connection.other_public_key))
    });
    let between_hosts: Vec<_> = generations.skip(2).take(2).collect();
    assert_eq!(between_hosts, [(Some(5), Some(4)), (None, None)]);
    let none_from_the_far_end = reported(&inventory).nth(3).unwrap();
    assert!(none_from_the_far_end.one.is_some() && none_from_the_far_end.other.is_none());
}
