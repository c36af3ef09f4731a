//! Each row of the key table, and what a person reads when it is broken.

use proptest::prelude::*;

use crate::interval::Interval;
use crate::policy::{Covers, Enforce, Ordinal, PolicySet};

fn parse(files: &[(&str, &str)]) -> Result<PolicySet, String> {
    let files: Vec<_> = files.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    PolicySet::parse(&files).map_err(|faults| faults.to_string())
}

/// The first line of the only fault of a policy that is good but for these lines.
fn fault(lines: &str) -> String {
    let text = format!("description = \"D\"\nrotation-interval = \"1h\"\nmfa = true\n{lines}");
    let shown = parse(&[("1-a.toml", &text)]).expect_err(lines);
    assert!(shown.ends_with("\n1 fault"), "{shown}");
    shown.lines().next().unwrap().to_owned()
}

#[test]
fn every_key_is_read() {
    let text = r#"
        description = "Prod User Devices"
        rotation-interval = "1d12h"
        mfa = true
        server-peers = ["*-gw/devices"]
        client-peers = ["laptop-*", "ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE="]
        unmonitored = true
        idle-timeout = "5m"
        enforce = ["firewall", "preshared-key"]
        tier = "prod"
    "#;
    let set = parse(&[("etc/policy.d/101-prod.toml", text)]).unwrap();
    let policy = set.policy(Ordinal(101)).unwrap();
    assert_eq!((policy.description.as_str(), policy.rotation_interval.as_seconds()), ("Prod User Devices", 129_600));
    assert_eq!((policy.unmonitored, policy.idle_timeout), (true, Some(Interval::from_seconds(300))));
    assert!(matches!(&policy.enforce, Enforce::Both(tier) if tier.to_string() == "prod"));
    let Covers::Mfa { server_peers, client_peers } = &policy.covers else { panic!("it is MFA") };
    assert_eq!((server_peers.len(), client_peers.len()), (1, 2));
    assert_eq!(policy.to_string(), "policy 101 Prod User Devices");
}

#[test]
fn two_servers_have_nobody_who_could_give_a_code() {
    let text =
        "description = \"D\"\nrotation-interval = \"1h\"\nmfa = false\nenforce = [\"firewall\"]\ntier = \"prod\"";
    let shown = parse(&[("1-a.toml", text)]).unwrap_err();
    assert!(shown.starts_with("1-a.toml:4:12: enforce by the firewall does not go with mfa = false"), "{shown}");
    assert!(shown.ends_with("\n1 fault"), "{shown}");
}

#[test]
fn what_is_not_said_has_its_default() {
    let set = parse(&[("1-a.toml", "description = \"D\"\nrotation-interval = \"30s\"\nmfa = false\n")]).unwrap();
    let policy = &set.policies()[0];
    assert_eq!(policy.covers, Covers::Together { peers: Vec::new() });
    assert_eq!((policy.unmonitored, policy.idle_timeout, &policy.enforce), (false, None, &Enforce::PresharedKey));
}

#[test]
fn a_wrong_configuration_is_shown_whole() {
    let shown = parse(&[
        (
            "101-prod.toml",
            "description = \"Prod\"\nmfa = true\nrotation-interval = \"10s\"\nserver-pers = []\npeers = [\"a/b\"]\n",
        ),
        ("99-mail.toml", "mfa = \"yes\"\nrotation-interval = \"1h\nidle-timeout = \"1m\""),
        ("empty.toml", ""),
    ])
    .unwrap_err();
    assert_eq!(
        shown,
        "101-prod.toml:3:21: rotation-interval must be at least 30s
    rotation-interval = \"10s\"
                        ^^^^^
101-prod.toml:4:1: unknown key server-pers, did you mean server-peers?
    server-pers = []
    ^^^^^^^^^^^
101-prod.toml:5:9: peers does not go with mfa = true, use server-peers or client-peers
    peers = [\"a/b\"]
            ^^^^^^^
99-mail.toml:2:24: invalid basic string, expected `\"`
    rotation-interval = \"1h
                           ^
empty.toml: description is required
empty.toml: mfa is required
empty.toml: rotation-interval is required
empty.toml: the name of a policy file begins with its ordinal, as 101-name.toml
8 faults"
    );
}

#[test]
fn each_wrong_value_has_its_message() {
    let both = "server-peers = [\"a/b\"]\nclient-peers = [\"c\", \"a/b\"]";
    for (lines, message) in [
        ("idle-timeout = \"4m59s\"", "1-a.toml:4:16: idle-timeout must be at least 5m"),
        ("idle-timeout = 300", "1-a.toml:4:16: idle-timeout must be a string"),
        ("idle-timeout = \"5\"", "1-a.toml:4:16: idle-timeout: write a length of time as 30s, 10m, 1h, 1d or 1d12h"),
        (both, "1-a.toml:5:22: a/b is named in server-peers and in client-peers"),
        ("server-peers = \"a/b\"", "1-a.toml:4:16: server-peers must be a list of strings"),
        (
            "server-peers = [\"a/b/c\"]",
            "1-a.toml:4:17: server-peers: name a peer as HOST/INTERFACE, by a device's name, or by a public key",
        ),
        ("enforce = [\"nft\"]", "1-a.toml:4:12: enforce is a list of preshared-key and firewall"),
        ("enforce = []", "1-a.toml:4:11: enforce must name preshared-key, firewall or both"),
        ("enforce = [\"firewall\"]", "1-a.toml: tier is required"),
        ("enforce = [\"firewall\", \"preshared-key\"]", "1-a.toml: tier is required"),
        ("tier = \"prod\"", "1-a.toml:4:8: tier is for policies that enforce by the firewall"),
        ("enforce = [\"firewall\"]\ntier = \"0\"", "1-a.toml:5:8: tier 0 is open without a code, name another one"),
        (
            "enforce = [\"firewall\"]\ntier = \"a b\"",
            "1-a.toml:5:8: tier: a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'",
        ),
        ("unmonitored = 1", "1-a.toml:4:15: unmonitored must be true or false"),
        ("mfa = true", "1-a.toml:4:1: duplicate key"),
        ("Enforce = []", "1-a.toml:4:1: unknown key Enforce, did you mean enforce?"),
        (
            "[server]\n",
            "1-a.toml:4:2: unknown key server; known here: description, rotation-interval, mfa, server-peers, client-peers, \
             peers, unmonitored, idle-timeout, enforce, tier",
        ),
    ] {
        assert_eq!(fault(lines), message, "{lines}");
    }
    let text = |description: &str| format!("description = {description}\nmfa = true\nrotation-interval = \"1h\"");
    let blanks = format!("\"x{}\"", " ".repeat(200));
    for description in ["\"\"", "\" \"", "\"a\\nb\"", "\"\\u001b[2J\"", &format!("{:?}", "x".repeat(201)), &blanks] {
        let shown = parse(&[("1-a.toml", &text(description))]).unwrap_err();
        assert!(
            shown.starts_with("1-a.toml:1:15: description must be one line of at most 200 characters\n"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn lists_go_with_their_kind_of_policy() {
    let text = "description = \"D\"\nrotation-interval = \"1h\"\nmfa = false\nserver-peers = []\nclient-peers = []\n";
    let shown = parse(&[("1-a.toml", text)]).unwrap_err();
    assert!(shown.contains("1-a.toml:4:16: server-peers does not go with mfa = false, use peers\n"), "{shown}");
    assert!(shown.contains("1-a.toml:5:16: client-peers does not go with mfa = false, use peers\n"), "{shown}");
}

#[test]
fn an_ordinal_is_a_number_and_belongs_to_one_file() {
    let good = "description = \"D\"\nrotation-interval = \"1h\"\nmfa = true\n";
    assert_eq!(
        parse(&[("7-b.toml", good), ("007-a.toml", good), ("7-c.toml", good)]).unwrap_err(),
        "7-b.toml: ordinal 7 is already that of 007-a.toml\n7-c.toml: ordinal 7 is already that of 7-b.toml\n2 faults"
    );
    let no_ordinal = "the name of a policy file begins with its ordinal, as 101-name.toml\n1 fault";
    for name in ["prod.toml", "-1-a.toml", "+1-a.toml", " 1-a.toml", "٣-a.toml", ""] {
        assert_eq!(parse(&[(name, good)]).unwrap_err(), format!("{name}: {no_ordinal}"));
    }
    let large = "18446744073709551616-a.toml";
    assert_eq!(parse(&[(large, good)]).unwrap_err(), format!("{large}: the ordinal is too large\n1 fault"));
    for name in ["18446744073709551615-a.toml", "7.toml", "101_prod.toml", "101 prod.toml"] {
        assert!(parse(&[(name, good)]).is_ok(), "{name}");
    }
}

#[test]
fn a_folder_without_policies_is_a_fault() {
    assert_eq!(parse(&[]).unwrap_err(), "policies: there is no policy file, and nothing would be protected\n1 fault");
}

proptest! {
    #[test]
    fn an_interval_is_read_as_it_is_written(seconds in 0u64..100_000_000) {
        let interval = Interval::from_seconds(seconds);
        prop_assert_eq!(interval.to_string().parse(), Ok(interval));
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        name in "[0-9]{0,3}-?[a-z]{0,3}\\.toml",
        lines in proptest::collection::vec(
            ("description|rotation-interval|mfa|server-peers|client-peers|peers|unmonitored|idle-timeout|enforce|tier|x",
             "true|false|1|\"\"|\"1h\"|\\[\\]|\\[\"a/b\"\\]|\\[\"\\*\"\\]|\\[1\\]|\\[\"firewall\"\\]|\\{\\}|\""),
            0..10,
        ),
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let _ = parse(&[(&name, &text)]);
    }
}
