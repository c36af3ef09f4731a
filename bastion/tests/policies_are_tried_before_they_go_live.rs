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
