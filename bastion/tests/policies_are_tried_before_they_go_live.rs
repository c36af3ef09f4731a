//! `policy check DIR` and `policy explain --inventory` need neither configuration nor root nor a running bastion.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

fn bastion(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion")).args(words).env("TZ", "UTC").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn explain(folder: &Path, more: &[&str]) -> Output {
    let (inventory, policies) = (folder.join("inventory.json"), folder.join("policy.d"));
    let mut words = vec!["policy", "explain", "--inventory", inventory.to_str().unwrap()];
    words.extend(["--policy-dir", policies.to_str().unwrap()]);
    words.extend(more);
    bastion(&words)
}

#[test]
fn every_vector_is_explained_as_expected() {
    let mut folders = 0;
    for entry in std::fs::read_dir(vectors()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("expected.json").exists() {
            continue;
        }
        folders += 1;
        let output = explain(&folder, &["--json"]);
        assert!(output.status.success(), "{}: {}", folder.display(), text(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = std::fs::read(folder.join("expected.json")).unwrap();
        let expected: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&expected).unwrap();
        let found = found["connections"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{}", folder.display());
        for connection in found {
            let name = connection["connection"].as_str().unwrap();
            for key in ["winner", "server_side", "conflict"] {
                assert_eq!(connection[key], expected[name][key], "{}: {name}: {key}", folder.display());
            }
        }
    }
    assert!(folders > 0);
}

#[test]
fn a_part_of_a_name_chooses_connections() {
    let output = explain(&vectors().join("article"), &["mail-gw/devices:alice", "--at", "2026-11-21T15:00:00Z"]);
    assert!(output.status.success());
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines[0], "mail-gw/devices:alice-laptop (alice)");
    assert!(lines[1].starts_with("  policy 102 User Mail: applies"), "{lines:?}");
    assert_eq!(lines[2], "  server side: mail-gw/devices");

    let output = explain(&vectors().join("article"), &["nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "wgmfa-bastion: error: no connection is called 'nowhere'\nwgmfa-bastion: hint: any part of HOST/INTERFACE:OTHER \
         will do\n"
    );
}

#[test]
fn a_connection_is_named_by_either_order_of_its_ends_or_a_public_key() {
    for name in ["db-gw/infra:app-gw/infra", "app-gw/infra:db-gw/infra"] {
        let output = explain(&vectors().join("article"), &[name, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<_> = json["connections"].as_array().unwrap().iter().map(|each| &each["connection"]).collect();
        assert_eq!(names, ["app-gw/infra:db-gw/infra"]);
    }
    let output = explain(&vectors().join("article"), &["Lz/D0WoH+6P57u+LFEYweVtJ4cg5ia4nkNyyawxApWY=", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let connections = json["connections"].as_array().unwrap();
    assert!(connections.len() == 4 && connections.iter().all(|each| each["other"] == "alice-laptop"), "{json:#}");
}

#[test]
fn sound_policies_are_counted() {
    let folder = vectors().join("article/policy.d");
    let output = bastion(&["policy", "check", folder.to_str().unwrap()]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "4 policies, no faults\n"));
}

#[test]
fn every_fault_is_shown_with_its_place_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display();
    std::fs::write(
        folder.path().join("101-prod.toml"),
        "description = \"Prod\"\nrotation-interval = \"5s\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("notes.toml"), "").unwrap();
    let output = bastion(&["policy", "check", folder.path().to_str().unwrap()]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(
        shown.contains(&format!(
            "{dir}/101-prod.toml:2:21: rotation-interval must be at least 30s\n    rotation-interval = \"5s\"\n                        \
             ^^^^\n"
        )),
        "{shown}"
    );
    assert!(shown.contains(&format!("{dir}/notes.toml: ")), "{shown}");
    let count = shown.lines().last().unwrap();
    assert!(count.ends_with(" faults"), "{shown}");

    let output = bastion(&["policy", "check", folder.path().to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["faults"][0]["line"], 2);
    assert_eq!(json["faults"][0]["column"], 21);
}

#[test]
fn an_empty_folder_and_a_missing_one_are_faults() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display();
    for (path, message) in [
        (
            folder.path().to_owned(),
            format!("{dir}: there is no policy file (*.toml) here, and nothing would be protected"),
        ),
        (folder.path().join("none"), format!("{dir}/none: no such file or folder")),
    ] {
        let output = bastion(&["policy", "check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stdout), format!("{message}\n1 fault\n"));
    }
}

#[test]
fn a_broken_inventory_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inventory.json");
    std::fs::write(&file, "{\"version\": 1,\n \"hosts\": 5}").unwrap();
    let policies = vectors().join("article/policy.d");
    let words =
        ["policy", "explain", "--inventory", file.to_str().unwrap(), "--policy-dir", policies.to_str().unwrap()];
    let output = bastion(&words);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "wgmfa-bastion: error: {}:2:11: invalid type: integer `5`, expected a sequence\nwgmfa-bastion: hint: wgmfa-bastion \
         inventory --json writes such a file\n",
        file.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn an_inventory_that_contradicts_itself_is_shown_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inventory.json");
    let article = std::fs::read_to_string(vectors().join("article/inventory.json")).unwrap();
    let mut inventory: serde_json::Value = serde_json::from_str(&article).unwrap();
    let hosts = inventory["hosts"].as_array_mut().unwrap();
    hosts.push(hosts[0].clone());
    let devices = inventory["devices"].as_array_mut().unwrap();
    let key = devices[0]["public_key"].clone();
    devices.push(serde_json::json!({"name": "app-gw", "owner": "justin", "public_key": key}));
    std::fs::write(&file, inventory.to_string()).unwrap();

    let policies = vectors().join("article/policy.d");
    let words =
        ["policy", "explain", "--inventory", file.to_str().unwrap(), "--policy-dir", policies.to_str().unwrap()];
    let output = bastion(&words);
    let shown = file.display();
    let expected = format!(
        "wgmfa-bastion: error: broken inventory\n\
         {shown}: app-gw is the name of a host and of a device\n\
         {shown}: the host app-gw stands there twice\n\
         {shown}: the public key {} belongs to justins-laptop and to app-gw\n\
         3 faults\n\
         wgmfa-bastion: hint: wgmfa-bastion inventory --json writes such a file\n",
        key.as_str().unwrap()
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), expected.as_str()));
}

#[test]
fn what_is_missing_or_of_another_version_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inventory.json");
    let shown = file.display().to_string();
    let policies = vectors().join("article/policy.d").display().to_string();
    let tried = |policies: &str| bastion(&["policy", "explain", "--inventory", &shown, "--policy-dir", policies]);
    let refused = |output: Output, error: &str| {
        let first = text(&output.stderr).lines().next().unwrap_or_default();
        let expected = format!("wgmfa-bastion: error: {error}");
        assert_eq!((output.status.code(), first, text(&output.stdout)), (Some(2), expected.as_str(), ""));
    };
    refused(tried(&policies), &format!("{shown}: no such file or folder"));
    for (content, error) in [
        ("", ":1:0: EOF while parsing a value"),
        ("{}", ":1:2: missing field `version`"),
        ("{\"version\": 2}", ": version 2 is not one that this program knows (1)"),
        ("{\"version\": 1, \"hosts\": [{\"name\": \"root\"}]}", ":1:41: 'agent' and 'root' are reserved names"),
    ] {
        std::fs::write(&file, content).unwrap();
        refused(tried(&policies), &format!("{shown}{error}"));
    }
    std::fs::write(&file, "{\"version\": 1, \"later\": []}").unwrap();
    let output = tried(&policies);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "no connections\n"));
    let nowhere = folder.path().join("none").display().to_string();
    let output = tried(&nowhere);
    let expected = format!("wgmfa-bastion: error: broken configuration\n{nowhere}: no such file or folder\n1 fault\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), expected.as_str()));
    let output = bastion(&["policy", "explain", "--inventory", &shown, "--policy-dir", &policies, "--at", "noon"]);
    refused(output, "--at <TIME>: write a time as 2026-11-21T15:55:00Z");
    let output = bastion(&["policy", "explain", "--policy-dir", &policies]);
    refused(output, "the following required arguments were not provided: --inventory <FILE|->");
}

#[test]
fn what_happens_next_follows_the_given_time() {
    let folder = tempfile::tempdir().unwrap();
    let (file, policies) = (folder.path().join("inventory.json"), vectors().join("article/policy.d"));
    let article = std::fs::read_to_string(vectors().join("article/inventory.json")).unwrap();
    let next = |fields: serde_json::Value, connection: &str, at: &str| {
        let mut inventory: serde_json::Value = serde_json::from_str(&article).unwrap();
        for host in inventory["hosts"].as_array_mut().unwrap() {
            for interface in host["interfaces"].as_array_mut().unwrap() {
                for peer in interface["peers"].as_array_mut().unwrap() {
                    peer.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
                }
            }
        }
        std::fs::write(&file, inventory.to_string()).unwrap();
        let words = ["policy", "explain", connection, "--inventory", file.to_str().unwrap(), "--json", "--at", at];
        let output = bastion(&[&words[..], &["--policy-dir", policies.to_str().unwrap()]].concat());
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let next = &found["connections"][0]["next"];
        (next["action"].as_str().unwrap().to_owned(), next["at"].as_str().map(str::to_owned))
    };
    // rotation-interval of the policy on alice's connections: 1h; between the two gateways: 1d
    let (alice, gateways) = ("app-gw/devices:alice-laptop", "app-gw/infra:db-gw/infra");
    let rotated = || serde_json::json!({"generation": 7, "rotated_at": "2026-11-21T12:00:00Z"});
    let released = || {
        serde_json::json!({"generation": 7, "rotated_at": "2026-11-21T11:00:00Z",
            "released_at": "2026-11-21T12:10:00Z", "deadline": "2026-11-21T13:10:00Z"})
    };
    for (fields, connection, at, action, then) in [
        (serde_json::json!({}), alice, "2026-11-21T12:00:00Z", "rotate", "2026-11-21T12:00:00Z"),
        (rotated(), alice, "2026-11-21T12:59:59Z", "wait", "2026-11-21T13:00:00Z"),
        (rotated(), alice, "2026-11-21T13:00:00Z", "rotate", "2026-11-21T13:00:00Z"),
        (released(), alice, "2026-11-21T13:09:59Z", "wait", "2026-11-21T13:10:00Z"),
        (released(), alice, "2026-11-21T14:10:00+01:00", "rotate", "2026-11-21T13:10:00Z"),
        (rotated(), gateways, "2026-11-21T13:00:00Z", "wait", "2026-11-22T12:00:00Z"),
        (rotated(), gateways, "2026-11-22T12:00:00Z", "rotate", "2026-11-22T12:00:00Z"),
    ] {
        let found = next(fields.clone(), connection, at);
        assert_eq!(found, (action.to_owned(), Some(then.to_owned())), "{connection} {fields} at {at}");
    }
}
