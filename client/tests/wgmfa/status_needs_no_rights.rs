use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use wgmfa_tests::program::{install, run};

use crate::scene::Scene;

#[test]
fn status_shows_what_is_left_to_everyone_and_no_key() {
    let scene = Scene::new();
    assert_eq!(scene.wgmfa(&["status"], "").ok().stdout, "no login yet since this machine was started: wgmfa sync\n");
    let ((one, one_key), (mut other, other_key)) = (scene.key(0, 7), scene.key(1, 3));
    other["seconds_left"] = json!(300);
    scene.wgmfa(&["apply"], &scene.release(&[one, other]).to_string()).ok();

    std::fs::set_permissions(scene.machine.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    install(env!("CARGO_BIN_EXE_wgmfa"), &scene.machine.path("wgmfa"));
    let status = |options: &[&str]| {
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
        let mut command = scene.machine.command("setpriv");
        command.args(nobody).arg(scene.machine.path("wgmfa")).arg("status").args(options);
        run(command.env("HOME", "/"), b"")
    };
    let rows = status(&["--json"]).ok().json()["connections"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["connection"], "gw0/devices:justins-laptop");
    assert_eq!(rows[0]["state"], "Match Pending", "no handshake was seen");
    assert_eq!(rows[0]["reason"], "only root can see handshakes");
    assert_eq!(rows[0]["interface"], scene.tunnel.name);
    assert_eq!(rows[0]["peer_public_key"], scene.peers[0]);
    assert_eq!(rows[0]["latest_handshake"], json!(null));
    assert!((3500..=3600).contains(&rows[0]["seconds_left"].as_u64().unwrap()), "{rows}");
    let table = status(&[]).ok().stdout;
    assert!(table.lines().nth(1).unwrap().starts_with("gw0/devices  "), "{table}");

    status(&["--warn-before", "4m"]).ok();
    status(&["--warn-before", "10m"]).expect(4);
    let left = std::fs::read_to_string(scene.status_file()).unwrap();
    assert!(!left.contains(&one_key) && !left.contains(&other_key));
}

#[test]
fn an_expired_session_is_4() {
    let scene = Scene::new();
    let (mut key, _) = scene.key(0, 7);
    key["seconds_left"] = json!(0);
    scene.wgmfa(&["apply"], &scene.release(&[key]).to_string()).ok();
    let ended = scene.wgmfa(&["status"], "").expect(4);
    assert!(ended.stdout.contains("Expired  login needed: wgmfa sync"), "{ended:?}");
    assert_eq!(scene.wgmfa(&["status", "--json"], "").expect(4).json()["connections"][0]["state"], "Expired");
}

#[test]
fn an_interface_that_is_gone_expires_nothing() {
    let scene = Scene::new();
    let (mut key, _) = scene.key(0, 7);
    key["seconds_left"] = json!(0);
    scene.wgmfa(&["apply"], &scene.release(&[key]).to_string()).ok();
    scene.tunnel.down(&scene.machine);
    scene.wgmfa(&["status"], "").ok();
}

#[test]
fn what_a_later_login_was_refused_is_over() {
    let scene = Scene::new();
    let ((one, _), (other, _)) = (scene.key(0, 7), scene.key(1, 3));
    scene.bastion_answers(&format!("{}\n", scene.release(&[one, other.clone()])));
    scene.sync(&[]).ok();
    scene.wgmfa(&["status"], "").ok();
    let refused = json!([{"connection": "gw0/devices:justins-laptop", "reason": "no key is waiting"}]);
    for keys in [vec![other], vec![]] {
        let mut release = scene.release(&keys);
        release["refused"] = refused.clone();
        scene.bastion_answers(&format!("{release}\n"));
        let ended = scene.sync(&[]).expect(6);
        assert_eq!(ended.stderr, "gw0/devices: refused: no key is waiting\n");
        let rows = scene.wgmfa(&["status", "--json"], "").expect(4).json()["connections"].clone();
        let states = [&rows[0], &rows[1]].map(|row| (row["state"].clone(), row["seconds_left"] == 0));
        assert_eq!(states, [(json!("Expired"), true), (json!("Match Pending"), false)], "{rows}");
    }
}
