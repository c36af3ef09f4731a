use std::sync::Barrier;

use serde_json::{Value, json};
use wgmfa_tests::tunnel::genkey;

use crate::scene::Scene;

#[test]
fn lines_of_peer_and_key_are_applied() {
    let scene = Scene::new();
    let keys = [genkey(), genkey()];
    let lines = format!("{}\t{}\n{}\t{}\n", scene.peers[0], keys[0], scene.peers[1], keys[1]);
    let ended = scene.wgmfa(&["apply"], &lines).ok();
    let (name, [one, other]) = (&scene.tunnel.name, &scene.peers);
    let expected = format!("{name}: peer {one}: preshared key changed\n{name}: peer {other}: preshared key changed\n");
    assert_eq!((ended.stdout, ended.stderr), (expected, String::new()));
    assert_eq!(scene.preshared_keys(), keys);
    let again = scene.wgmfa(&["apply", "--interface", name], &lines).ok();
    assert_eq!(again.stdout, format!("{name}: peer {one}: unchanged\n{name}: peer {other}: unchanged\n"));
}

#[test]
fn the_json_object_is_applied() {
    let scene = Scene::new();
    let (key, preshared_key) = scene.key(1, 3);
    let ended = scene.wgmfa(&["apply"], &scene.release(&[key]).to_string()).ok();
    assert!(ended.stdout.starts_with("gw1/devices: OK, 60 min left (until "), "{ended:?}");
    assert_eq!(scene.preshared_keys()[1], preshared_key);
}

#[test]
fn a_broken_line_is_named_and_the_others_are_applied() {
    let scene = Scene::new();
    let (key, unknown) = (genkey(), genkey());
    let lines = format!("{}\tnot-a-{key}\n{}\t{key}\n{unknown}\t{key}\n", scene.peers[0], scene.peers[1]);
    let ended = scene.wgmfa(&["apply"], &lines).expect(6);
    assert_eq!(
        ended.stderr,
        format!(
            "wgmfa: error: line 1: the second word is not a preshared key\n\
             wgmfa: hint: pipe in what ssh BASTION wgmfa-sync prints, with or without --format json\n\
             wgmfa: error: peer {unknown}: refused: {unknown} is not a peer of any interface here\n\
             wgmfa: hint: wgmfa interfaces shows what is here; a peer that is missing is never added\n"
        )
    );
    assert!(!ended.said().contains(&key), "{ended:?}");
    assert_eq!(scene.preshared_keys()[1], key);
    assert_eq!(scene.tunnel.peers(&scene.machine).len(), 2);
}

#[test]
fn nothing_usable_is_a_failure() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    for (input, errors) in [
        ("", "standard input: no keys came"),
        ("login refused\njunk\n", "line 1: the first word is not a public key"),
        ("{\"version\": 1}", "standard input: not a message of this conversation (column "),
        ("{", "standard input: not a message of this conversation (column "),
    ] {
        let said = scene.wgmfa(&["apply"], input).expect(1).stderr;
        assert!(said.starts_with(&format!("wgmfa: error: {errors}")), "{said}");
        assert!(said.lines().last().unwrap().starts_with("wgmfa: hint: "), "{said}");
        assert_eq!(said.matches("wgmfa: hint: ").count(), 1, "{said}");
    }
    let ended = scene.wgmfa(&["apply", "--interface", "nosuch"], &format!("{}\t{}\n", scene.peers[0], genkey()));
    assert!(
        ended.expect(1).stderr.starts_with("wgmfa: error: nosuch: no such WireGuard interface here\nwgmfa: hint: ")
    );
    assert_eq!(scene.preshared_keys(), before);
}

#[test]
fn interfaces_shows_no_secret() {
    let scene = Scene::new();
    let ended = scene.wgmfa(&["interfaces"], "").ok();
    let mut answer = ended.json();
    let peers = answer["interfaces"][0]["peers"].take();
    let interface = json!({"name": scene.tunnel.name, "public_key": scene.tunnel.keys.public, "peers": null});
    assert_eq!(answer, json!({"version": 1, "interfaces": [interface]}));
    for peer in &scene.peers {
        assert!(peers.as_array().unwrap().contains(&json!({"public_key": peer})), "{peers}");
    }
}

#[test]
fn two_at_once_take_turns_and_the_later_release_wins() {
    let scene = Scene::new();
    let (newer, newer_key) = scene.key(0, 8);
    let mut orders = vec![];
    // eight releases, of which the one that came in last has the newer key
    for number in 0..8u64 {
        let (key, _) = if number == 5 { (newer.clone(), String::new()) } else { scene.key(0, 7) };
        let mut order = scene.release(&[key]);
        order["received"] = json!(if number == 5 { 2_000 } else { 1_000 + number });
        orders.push(order.to_string());
    }
    let together = Barrier::new(orders.len());
    std::thread::scope(|scope| {
        for order in &orders {
            let (scene, together) = (&scene, &together);
            scope.spawn(move || {
                together.wait();
                let ended = scene.wgmfa(&["apply"], order);
                assert!(
                    ended.code() == 0 || ended.stderr.contains("a later login was faster; its key stays"),
                    "{ended:?}"
                );
            });
        }
    });
    assert_eq!(scene.preshared_keys()[0], newer_key);
    let left: Value = serde_json::from_str(&std::fs::read_to_string(scene.status_file()).unwrap()).unwrap();
    assert_eq!(left["connections"][0]["generation"], 8);
}
