//! Rule 5: a login may release once. A connection that several commands share (ControlMaster) is one login.

use std::time::Duration;

use serde_json::json;

use super::site::{Agent, Site};

/// Confirms the next order to open, and gives it.
fn confirm_open(agent: &mut Agent<'_>) -> serde_json::Value {
    let order = agent.conversation.hear_json();
    assert_eq!(order["type"], "open", "{order}");
    agent.conversation.say_json(&json!({"type": "opened", "id": order["id"], "refused": null}));
    order
}

#[test]
fn a_second_command_on_its_connection_gets_nothing_and_prolongs_nothing() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(true);
    let keys = agent.wait_with_keys(&[&device], 1);

    let master = site.justin.master();
    let first = std::thread::scope(|scope| {
        let sync = scope.spawn(|| master.ssh(&["bastion", "wgmfa-sync"]));
        confirm_open(&mut agent);
        sync.join().unwrap()
    });
    assert_eq!(first.ok().stdout, format!("{}\t{}\n", host.keys.public, keys[0]));
    for words in [&["bastion", "wgmfa-sync"][..], &["bastion", "wgmfa-sync", "--format", "json"]] {
        let again = master.ssh(words);
        assert_ne!(again.code(), 0);
        assert_eq!(again.stdout, "");
        assert!(again.stderr.contains("wgmfa-sync: error: this login has already had its keys\n"), "{again:?}");
    }
    let again = master.ssh(&["-s", "bastion", "wgmfa-sync"]);
    assert_eq!((again.code() != 0, again.stdout.as_str()), (true, ""), "{again:?}");
    master.ssh(&["bastion", "wgmfa-status"]).ok();
    drop(master);
    assert_eq!((site.count("released"), site.count("renewed")), (1, 0));
    let heard = agent.conversation.hear_within(Duration::from_millis(300));
    assert_eq!(heard, None, "a refused release must not prolong the session on the server");

    // another login is another release: it renews
    let renewed = std::thread::scope(|scope| {
        let login = scope.spawn(|| site.justin.ssh(&["wgmfa-sync"]));
        confirm_open(&mut agent);
        login.join().unwrap()
    });
    assert_eq!(renewed.ok().stdout, first_line(&host.keys.public, &keys[0]));
    assert_eq!((site.count("released"), site.count("renewed")), (1, 1));
}

fn first_line(peer: &str, key: &str) -> String {
    format!("{peer}\t{key}\n")
}

#[test]
fn a_release_that_hands_out_nothing_uses_up_nothing() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.report(&[&device], Some(600));
    let master = site.justin.master();
    let too_early = master.ssh(&["bastion", "wgmfa-sync"]).expect(6);
    assert_eq!(too_early.stdout, "");
    agent.deposit(&[&device], 1);
    agent.applied(&[&device], 1);
    assert_eq!(master.ssh(&["bastion", "wgmfa-sync"]).ok().stdout.lines().count(), 1);
    master.ssh(&["bastion", "wgmfa-sync"]).expect(1);
}
