//! What is allowed and named all the same.

use super::set;
use crate::inventory::Inventory;
use crate::policy::warnings;

/// One gateway with two interfaces, a second one, a phone, and a peer that nobody registered.
fn inventory() -> Inventory {
    let key = |seed: u8| crate::key::PublicKey::from_bytes([seed; 32]);
    let peer = |seed: u8| serde_json::json!({"public_key": key(seed), "allowed_ips": [format!("10.0.0.{seed}/32"), "fd00::1/128"]});
    let interface = |name: &str, seed: u8, peers: &[u8]| {
        let peers: Vec<_> = peers.iter().map(|&seed| peer(seed)).collect();
        serde_json::json!({"name": name, "public_key": key(seed), "peers": peers})
    };
    serde_json::from_value(serde_json::json!({
        "version": 1,
        "hosts": [
            {"name": "a-gw", "interfaces": [interface("wg0", 1, &[9, 8]), interface("wg1", 2, &[3])]},
            {"name": "b-gw", "interfaces": [interface("wg1", 3, &[2])]},
        ],
        "devices": [{"name": "phone", "owner": "ann", "public_key": key(9)}],
    }))
    .unwrap()
}

fn shown(policies: &[(&str, &str)]) -> String {
    warnings(&set(policies), &inventory()).to_string()
}

const STRAY: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

#[test]
fn an_unmonitored_peer_on_a_covered_interface_is_named_with_its_key_and_addresses() {
    let expected = format!(
        "a-gw/wg0: warning: no second factor: peer {STRAY} (10.0.0.8/32, fd00::1/128) is unmonitored, and policy 5 covers \
         this interface\n1 warning"
    );
    let covered = ("5-a.toml", "mfa = true\nserver-peers = [\"a-gw/wg0\"]");
    assert_eq!(shown(&[covered]), expected);
    // also when a policy without a second factor takes it
    assert_eq!(
        shown(&[covered, ("6-b.toml", &format!("mfa = false\npeers = [\"{STRAY}\"]\nunmonitored = true"))]),
        expected
    );
    assert_eq!(shown(&[("5-a.toml", "mfa = true\nserver-peers = [\"a-gw/wg0\"]\nunmonitored = true")]), "no warnings");
}

#[test]
fn a_non_mfa_policy_that_wins_over_a_second_factor_is_named() {
    let pair = ("4-a.toml", "mfa = false\npeers = [\"phone\"]");
    let covered = ("5-b.toml", "mfa = true\nserver-peers = [\"a-gw/wg0\"]\nunmonitored = true");
    assert_eq!(
        shown(&[pair, covered]),
        "a-gw/wg0:phone: warning: this connection has no second factor: policy 4 (mfa = false) wins over policy 5\n1 warning"
    );
    assert_eq!(shown(&[("6-a.toml", pair.1), covered]), "no warnings");
}

#[test]
fn conflicts_and_policies_that_name_nobody_are_named() {
    assert_eq!(
        shown(&[("4-a.toml", "mfa = true"), ("5-b.toml", "mfa = true\nserver-peers = [\"*/wg1\"]")]),
        "4-a.toml: warning: the policy names no peer
a-gw/wg1:b-gw/wg1: warning: conflict: in policy 5 server-peers names both ends; nothing is rotated
2 warnings"
    );
}

#[test]
fn agents_that_come_by_are_named_with_what_that_costs() {
    let mut inventory = inventory();
    inventory.hosts[0].agent = Some(crate::inventory::Rhythm::Every(61));
    inventory.hosts[1].agent = Some(crate::inventory::Rhythm::Resident);
    let policies = |interval: &str| {
        let text = |rest: &str| format!("description = \"x\"\nrotation-interval = \"{interval}\"\n{rest}\n");
        crate::policy::PolicySet::parse(&[
            ("5-a.toml".to_owned(), text("mfa = true\nunmonitored = true\nserver-peers = [\"a-gw/wg0\"]")),
            ("6-b.toml".to_owned(), text("mfa = false\npeers = [\"*/wg1\"]")),
        ])
        .unwrap()
    };
    let tandem = "a-gw/wg1:b-gw/wg1: warning: the agent of a-gw comes every 1m1s: packets can be lost when both ends \
                  change their key (gaps of more than a minute)\n";
    let late = "a-gw: warning: its agent comes every 1m1s: a session under policy 5 (1h) is locked up to 1m1s late\n";
    assert_eq!(warnings(&policies("1h"), &inventory).to_string(), format!("{tandem}{late}2 warnings"));
    let refused = "a-gw: warning: its agent comes every 1m1s, too seldom for policy 5, which rotates every 1m: most \
                   logins between rounds are refused, and a session is locked up to 1m1s late\n";
    assert_eq!(warnings(&policies("1m"), &inventory).to_string(), format!("{tandem}{refused}2 warnings"));
    inventory.hosts[0].agent = Some(crate::inventory::Rhythm::Resident);
    assert_eq!(warnings(&policies("1m"), &inventory).to_string(), "no warnings");
}
