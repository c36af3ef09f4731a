use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use wgmfa_tests::program::{Ended, install, run};

use crate::scene::Scene;

/// A tier that the first peer has opened, as the bastion tells it.
fn granted(scene: &Scene, tier: &str, seconds_left: u64) -> Value {
    json!({
        "connection": "app-gw/devices:justins-laptop", "public_key": scene.tunnel.keys.public,
        "peer_public_key": scene.peers[0], "tier": tier, "state": "OK",
        "policy": {"ordinal": 101, "description": "Prod User Devices", "mfa": true},
        "seconds_left": seconds_left, "deadline": "2026-11-21T15:55:00Z",
    })
}

fn release(scene: &Scene, keys: &[Value], grants: &[Value]) {
    let mut release = scene.release(keys);
    release["grants"] = json!(grants);
    scene.bastion_answers(&format!("{release}\n"));
}

#[test]
fn a_login_that_opens_only_tiers_is_a_success() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let mut waits = granted(&scene, "mail", 600);
    waits["state"] = json!("Pending");
    waits["waits"] = json!("next round of app-gw expected by 14:56");
    release(&scene, &[], &[granted(&scene, "prod", 3600), waits]);
    let ended = scene.sync(&[]).ok();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("app-gw/devices: OK, 60 min left (until "), "{ended:?}");
    assert!(lines[0].ends_with("), policy 101 Prod User Devices, tier prod"), "{ended:?}");
    assert!(lines[1].starts_with("app-gw/devices: Pending, 10 min left (until "), "{ended:?}");
    assert!(lines[1].ends_with(", tier mail; next round of app-gw expected by 14:56"), "{ended:?}");
    assert_eq!((lines.len(), ended.stderr.as_str()), (2, ""));
    assert_eq!(scene.said(), [json!({"received": true})]);
    assert_eq!(scene.preshared_keys(), before);

    let rows = scene.wgmfa(&["status", "--json"], "").ok().json()["connections"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let row = rows.as_array().unwrap().iter().find(|row| row["tier"] == "prod").unwrap();
    assert_eq!((&row["state"], &row["generation"]), (&json!("OK"), &json!(null)));
    assert_eq!((&row["interface"], &row["peer_public_key"]), (&json!(scene.tunnel.name), &json!(scene.peers[0])));
    assert!((3500..=3600).contains(&row["seconds_left"].as_u64().unwrap()), "{row}");
    let table = scene.wgmfa(&["status"], "").ok().stdout;
    assert!(table.contains("101 Prod User Devices, tier prod\n") && table.contains("Pending"), "{table}");
    scene.wgmfa(&["status", "--warn-before", "20m"], "").expect(4);
}

#[test]
fn tiers_stand_beside_keys_and_end_with_their_time() {
    let scene = Scene::new();
    let (mut key, preshared_key) = scene.key(1, 7);
    key["tier"] = json!("prod");
    release(&scene, &[key], &[granted(&scene, "mail", 0)]);
    let ended = scene.sync(&[]).ok();
    assert!(ended.stdout.starts_with("gw1/devices: OK, 60 min left (until "), "{ended:?}");
    assert!(ended.stdout.contains("policy 101 Prod User Devices, tier prod\napp-gw/devices: OK, "), "{ended:?}");
    assert_eq!(scene.preshared_keys()[1], preshared_key);
    let ended = scene.wgmfa(&["status"], "").expect(4);
    assert!(ended.stdout.contains("Expired        login needed: wgmfa sync"), "{ended:?}");
    let rows = scene.wgmfa(&["status", "--json"], "").expect(4).json()["connections"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 2);

    // another login opens it again
    release(&scene, &[], &[granted(&scene, "mail", 3600)]);
    scene.sync(&[]).ok();
    scene.wgmfa(&["status"], "").ok();
}

#[test]
fn a_connection_that_another_policy_gates_otherwise_stands_once() {
    let scene = Scene::new();
    let (mut key, _) = scene.key(0, 7);
    key["connection"] = json!("app-gw/devices:justins-laptop");
    for _ in 0..2 {
        release(&scene, std::slice::from_ref(&key), &[]);
        scene.sync(&[]).ok();
        let rows = scene.wgmfa(&["status", "--json"], "").ok().json()["connections"].clone();
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["generation"]), (1, &json!(7)), "{rows}");
        release(&scene, &[], &[granted(&scene, "prod", 3600)]);
        scene.sync(&[]).ok();
        let rows = scene.wgmfa(&["status", "--json"], "").ok().json()["connections"].clone();
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["tier"]), (1, &json!("prod")), "{rows}");
    }
}

#[test]
fn a_refused_connection_beside_a_tier_is_6() {
    let scene = Scene::new();
    let mut release = scene.release(&[]);
    release["grants"] = json!([granted(&scene, "prod", 3600)]);
    release["refused"] = json!([{"connection": "gw1/devices:justins-laptop", "reason": "device disabled"}]);
    scene.bastion_answers(&format!("{release}\n"));
    scene.sync(&[]).expect(6);

    // refused itself, it is open no longer
    let mut release = scene.release(&[]);
    release["refused"] = json!([{"connection": "app-gw/devices:justins-laptop", "reason": "device disabled"}]);
    scene.bastion_answers(&format!("{release}\n"));
    scene.wgmfa(&["status"], "").ok();
    scene.sync(&[]).expect(6);
    scene.wgmfa(&["status"], "").expect(4);
}

/// `wgmfa` as somebody without rights.
fn as_nobody(scene: &Scene, words: &[&str]) -> Ended {
    let all = PermissionsExt::from_mode(0o777);
    for name in ["", "bin", "bin/status", "bin/answer"] {
        std::fs::set_permissions(scene.machine.path(name), Clone::clone(&all)).unwrap();
    }
    let runtime = scene.machine.path("runtime");
    if !runtime.exists() {
        std::fs::create_dir(&runtime).unwrap();
        std::os::unix::fs::chown(&runtime, Some(65534), Some(65534)).unwrap();
        install(env!("CARGO_BIN_EXE_wgmfa"), &scene.machine.path("wgmfa"));
    }
    let mut command = scene.machine.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]);
    command.arg(scene.machine.path("wgmfa")).args(words).env("XDG_RUNTIME_DIR", &runtime);
    run(command.env("PATH", scene.path()).env("HOME", scene.machine.folder()).env_remove("SUDO_UID"), b"")
}

#[test]
fn who_only_opens_tiers_needs_no_right_to_change_an_interface() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    release(&scene, &[], &[granted(&scene, "prod", 3600)]);
    let name = scene.tunnel.name.clone();
    let ended = as_nobody(&scene, &["sync", "bastion", "--interface", &name]).expect(1);
    assert!(ended.stderr.contains("wgmfa sync --tiers-only"), "{ended:?}");
    assert!(scene.file("bin/arguments").is_none(), "ssh was started");

    let sync = ["sync", "bastion", "--tiers-only", "--device", "justins-laptop", "--interface", &name];
    let ended = as_nobody(&scene, &sync).ok();
    assert!(ended.stdout.ends_with(", policy 101 Prod User Devices, tier prod\n"), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let hello: Value = serde_json::from_str(&scene.file("bin/hello").unwrap()).unwrap();
    assert_eq!((&hello["public_keys"], &hello["device"]), (&json!([]), &json!("justins-laptop")));
    let rows = as_nobody(&scene, &["status", "--json"]).ok().json()["connections"].clone();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["tier"]), (1, &json!("prod")));

    // a key that comes all the same is named, and written nowhere
    let (key, preshared_key) = scene.key(0, 7);
    release(&scene, &[key], &[granted(&scene, "prod", 3600)]);
    let ended = as_nobody(&scene, &sync).expect(6);
    assert_eq!(ended.stderr, "gw0/devices: its key was not written: --tiers-only\n");
    assert!(!ended.stdout.contains(&preshared_key));
    assert_eq!(scene.preshared_keys(), before);

    // and what is refused is over
    let mut refused = scene.release(&[]);
    refused["refused"] = json!([{"connection": "app-gw/devices:justins-laptop", "reason": "device disabled"}]);
    scene.bastion_answers(&format!("{refused}\n"));
    as_nobody(&scene, &["status"]).ok();
    as_nobody(&scene, &sync).expect(6);
    as_nobody(&scene, &["status"]).expect(4);
}
