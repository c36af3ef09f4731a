//! `--json`: one object for each list and act, with the documented fields, times in UTC and keys as `wg` prints them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wgmfa_tests::Lab;
use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::{DEVICE, HOST, USER};
use wgmfa_tests::wait::{LONG, until};

/// Fields that bear a time, or null.
const TIMES: [&str; 15] = [
    "time",
    "at",
    "now",
    "since",
    "until",
    "deadline",
    "latest_handshake",
    "last_seen",
    "next_round",
    "added_at",
    "last_login_at",
    "rotated_at",
    "released_at",
    "ended_at",
    "applied_at",
];

/// One JSON object of version 1, whose times and keys are well formed.
#[track_caller]
fn answer(bastion: &Bastion, words: &[&str]) -> Value {
    let ended = bastion.admin(&[words, &["--json"]].concat()).ok();
    assert_eq!(ended.stderr, "", "{words:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{words:?}");
    let answer = ended.json();
    assert_eq!(answer["version"], 1, "{words:?}");
    well_formed(&answer);
    answer
}

#[track_caller]
fn well_formed(value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(well_formed),
        Value::Object(fields) => {
            for (name, value) in fields {
                if TIMES.contains(&name.as_str()) && !value.is_null() {
                    let time = value.as_str().unwrap_or_else(|| panic!("{name}: {value}"));
                    assert!(time.len() >= 20 && &time[10..11] == "T" && time.ends_with('Z'), "{name}: {time}");
                }
                if name.ends_with("public_key") {
                    assert!(value.as_str().is_some_and(|key| key.len() == 44 && key.ends_with('=')), "{name}: {value}");
                }
                well_formed(value);
            }
        }
        _ => {}
    }
}

/// The objects of a list.
#[track_caller]
fn list(bastion: &Bastion, words: &[&str], plural: &str) -> Vec<Value> {
    let answer = answer(bastion, words);
    assert_eq!(fields(&answer), BTreeSet::from(["version", plural]), "{words:?}");
    answer[plural].as_array().unwrap_or_else(|| panic!("{words:?}: {answer}")).clone()
}

fn fields(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A site with a session.
#[track_caller]
fn site() -> Lab {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    lab
}

#[test]
fn every_list_is_an_object_with_its_plural() {
    let lab = site();
    let (bastion, interface) = (&lab.bastion, &lab.gateway.tunnel.name);
    let (gateway, laptop) = (lab.gateway.tunnel.keys.public.as_str(), lab.laptop.tunnel.keys.public.as_str());

    for words in [&["user", "list"][..], &["user", "show", USER]] {
        let users = list(bastion, words, "users");
        assert_eq!((users.len(), &users[0]["name"], &users[0]["admin"]), (1, &json!(USER), &json!(false)));
        assert_eq!((&users[0]["disabled"], &users[0]["recovery_codes_left"]), (&json!(false), &json!(10)));
    }
    for words in [&["host", "list"][..], &["host", "show", HOST]] {
        let hosts = list(bastion, words, "hosts");
        assert_eq!((hosts.len(), &hosts[0]["name"], &hosts[0]["owner"]), (1, &json!(HOST), &Value::Null));
        assert_eq!((&hosts[0]["connected"], &hosts[0]["disabled"]), (&json!(true), &json!(false)));
    }
    for words in [&["device", "list"][..], &["device", "show", DEVICE]] {
        let devices = list(bastion, words, "devices");
        assert_eq!((devices.len(), &devices[0]["name"], &devices[0]["owner"]), (1, &json!(DEVICE), &json!(USER)));
        assert_eq!((&devices[0]["public_key"], &devices[0]["disabled"]), (&json!(laptop), &json!(false)));
    }
    let lines = list(bastion, &["log"], "lines");
    let documented = ["seq", "time", "event", "user", "actor", "from", "connection", "generation", "reason", "hash"];
    for (line, seq) in lines.iter().zip(1..) {
        assert!(fields(line).is_superset(&documented.into()), "{line}");
        assert_eq!(line["seq"], seq);
    }
    let released = &bastion.log("released")[0];
    assert_eq!((&released["user"], &released["generation"]), (&json!(USER), &json!(1)));
    assert_eq!(released["connection"], format!("{HOST}/{interface}:{DEVICE}"));

    let keys = list(bastion, &["key", "list"], "connections");
    let key = &keys[0];
    let documented = [
        "connection",
        "host",
        "interface",
        "public_key",
        "other",
        "other_public_key",
        "owner",
        "policy",
        "server_side",
        "state",
        "reason",
        "generation",
        "rotated_at",
        "released_at",
        "released_from",
        "deadline",
        "latest_handshake",
    ];
    assert_eq!(fields(key), documented.into());
    assert_eq!(key["connection"], format!("{HOST}/{interface}:{DEVICE}"));
    assert_eq!((&key["host"], &key["interface"], &key["other"]), (&json!(HOST), &json!(interface), &json!(DEVICE)));
    assert_eq!((&key["public_key"], &key["other_public_key"]), (&json!(gateway), &json!(laptop)));
    assert_eq!(key["policy"], json!({"ordinal": 101, "description": "Devices", "mfa": true}));
    assert_eq!((&key["owner"], &key["generation"]), (&json!(USER), &json!(1)));
    assert_eq!(key["server_side"], format!("{HOST}/{interface}"));
    assert_eq!(list(bastion, &["key", "list", DEVICE], "connections").len(), 1);
    assert_eq!(list(bastion, &["key", "list", "--without-mfa"], "connections"), Vec::<Value>::new());
}

#[test]
fn what_is_no_list_is_an_object_too() {
    let lab = site();
    let bastion = &lab.bastion;
    let status = answer(bastion, &["status"]);
    let documented = ["pam", "clock", "disk", "policies", "agents", "locked", "refusals"];
    assert!(fields(&status).is_superset(&documented.into()), "{status}");
    assert_eq!((&status["ok"], &status["agents"][0]["host"]), (&json!(true), &json!(HOST)));
    let why = answer(bastion, &["why", USER]);
    assert_eq!(fields(&why), BTreeSet::from(["version", "name", "obstacle", "mend"]));
    let found = answer(bastion, &["check"]);
    assert_eq!(found["faults"], json!([]));
    // nobody keeps the clock of some machines right, and that is said
    let others = |warning: &&Value| !warning.as_str().is_some_and(|text| text.starts_with("clock: no time"));
    assert_eq!(found["warnings"].as_array().expect("a list").iter().find(others), None);
    let found = answer(bastion, &["policy", "check"]);
    assert_eq!((&found["policies"], &found["faults"], &found["warnings"]), (&json!(1), &json!([]), &json!([])));
    let verified = answer(bastion, &["log", "verify"]);
    assert_eq!((&verified["intact"], verified["head"]["seq"].as_u64() > Some(5)), (&json!(true), true));
    let same = || {
        let verified = answer(bastion, &["log", "verify"]);
        (answer(bastion, &["log", "head"])["head"] == verified["head"]).then_some(())
    };
    until("a moment in which nothing is logged", LONG, same);
    let keys = answer(bastion, &["host-key"]);
    assert!(bastion.known_hosts().contains(keys["host_keys"][0].as_str().expect("a key")), "{keys}");
    let line = bastion.admin(&["host-key", "--sshfp"]).ok().stdout;
    assert_eq!(keys["sshfp"][0].as_str(), Some(line.trim_end()), "{keys}");
    let line = bastion.admin(&["host-key"]).ok().stdout;
    assert_eq!(keys["known_hosts"][0].as_str(), Some(line.trim_end()), "{keys}");
    let rotated = answer(bastion, &["key", "rotate", DEVICE, "--reason", "lent"]);
    assert_eq!(rotated["changed"], true);
}

#[test]
fn an_inventory_is_explained_as_the_bastion_explains_it() {
    let lab = site();
    let bastion = &lab.bastion;
    let inventory = answer(bastion, &["inventory"]);
    let interface = &inventory["hosts"][0]["interfaces"][0];
    assert_eq!((&inventory["hosts"][0]["name"], &inventory["hosts"][0]["owner"]), (&json!(HOST), &Value::Null));
    assert_eq!(interface["listen_port"], 51820);
    let peer = &interface["peers"][0];
    assert_eq!(
        (&peer["public_key"], &peer["allowed_ips"]),
        (&json!(lab.laptop.tunnel.keys.public), &json!(["10.77.0.2/32"]))
    );
    assert_eq!((&peer["has_preshared_key"], &peer["generation"]), (&json!(true), &json!(1)));
    for field in ["rotated_at", "released_at", "deadline"] {
        assert!(peer[field].is_string(), "{field}: {peer}");
    }
    let text = inventory.to_string();
    let [of_gateway, _] = lab.preshared_keys();
    assert!(!text.contains(&of_gateway.expect("a preshared key")), "a preshared key stands in no inventory");

    let explained = answer(bastion, &["policy", "explain"]);
    let file = bastion.machine.write("inventory.json", &text);
    let (file, policies) = (file.display().to_string(), bastion.folder().join("policy.d").display().to_string());
    let tried = answer(bastion, &["policy", "explain", "--inventory", &file, "--policy-dir", &policies]);
    assert_eq!(without_times(explained.clone()), without_times(tried));
    let connection = &explained["connections"][0];
    let documented = [
        "connection",
        "host",
        "interface",
        "public_key",
        "other",
        "other_public_key",
        "owner",
        "candidates",
        "winner",
        "conflict",
        "server_side",
        "next",
    ];
    assert_eq!(fields(connection), documented.into());
    let candidate = &connection["candidates"][0];
    assert_eq!(fields(candidate), BTreeSet::from(["ordinal", "description", "applies", "reason"]));
    assert_eq!((&candidate["ordinal"], &candidate["applies"]), (&json!(101), &json!(true)));
    assert_eq!((&connection["winner"], &connection["conflict"]), (&json!(101), &json!(false)));
    assert_eq!(connection["server_side"], lab.gateway.interface());
    assert_eq!(fields(&connection["next"]), BTreeSet::from(["action", "at", "reason"]));
    assert_eq!(connection["next"]["action"], "wait");
}

fn without_times(mut explained: Value) -> Value {
    for connection in explained["connections"].as_array_mut().expect("a list") {
        connection["next"]["at"] = Value::Null;
    }
    explained
}

#[test]
fn a_followed_log_is_json_lines() {
    let lab = site();
    let mut command = lab.bastion.command();
    command.arg("--config").arg(lab.bastion.folder().join("bastion.toml")).args(["log", "--follow", "--json"]);
    let follower = wgmfa_tests::daemon::Daemon::start(&mut command);
    lab.bastion.admin(&["user", "disable", USER]);
    let last = until("a followed line", LONG, || {
        let lines = follower.lines();
        let lines = lines.iter().map(|line| serde_json::from_str::<Value>(&line.text).expect("a JSON line"));
        lines.into_iter().find(|line| line["event"] == "user-disabled")
    });
    well_formed(&last);
    assert_eq!((&last["user"], &last["actor"]), (&json!(USER), &json!("root")));
}
