//! `key show`: an administrator carries a key to where nobody can log in. It counts as a release.

use serde_json::json;
use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY, policy};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{run, says_an_hour};
use wgmfa_tests::tunnel::{Keys, genkey};
use wgmfa_tests::wait::{LONG, until};

use super::site::{Agent, INTERFACE, Site};

#[test]
fn a_key_that_is_shown_opens_the_tunnel_until_its_deadline() {
    let lab = Lab::with_resident_agent("1h");
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));
    let shown = lab.bastion.admin(&["key", "show", "laptop", "--reason", "its user has no ssh"]).ok();
    let (peer, key) = shown.stdout.trim_end().split_once('\t').expect("PEER-PUBLIC-KEY<TAB>PRESHARED-KEY");
    assert_eq!(peer, lab.gateway.tunnel.keys.public);
    let name = format!("{}:{DEVICE}", lab.gateway.interface());
    let opened = format!("{name}: OK, ");
    assert!(shown.stderr.starts_with(&opened) && says_an_hour(&shown.stderr, &opened), "{shown:?}");
    assert!(shown.stderr.ends_with("), policy 101 Devices\n"), "{shown:?}");
    let row = lab.bastion.key(DEVICE);
    assert_eq!((&row["state"], &row["released_from"]), (&json!("Match Pending"), &json!(null)), "{row}");

    let set = ["set", &lab.laptop.tunnel.name, "peer", peer, "preshared-key", "/dev/stdin"];
    run(lab.laptop.machine.command("wg").args(set), format!("{key}\n").as_bytes()).ok();
    until("an answered ping", LONG, || is_answered(&lab.laptop.machine, GATEWAY).then_some(()));
    lab.bastion.await_state(DEVICE, "OK");

    let line = &lab.bastion.log("released")[0];
    assert_eq!((&line["actor"], &line["user"], &line["connection"]), (&json!("root"), &json!(null), &json!(name)));
    let reason = line["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("shown to an administrator until ") && reason.ends_with(": its user has no ssh"));
    // once more is a renewal of the same generation
    let again = lab.bastion.admin(&["--json", "key", "show", "laptop", "--reason", "lost the paper"]).ok().json();
    assert_eq!(again["keys"][0]["preshared_key"], key);
    assert_eq!((&again["changed"], lab.bastion.log("renewed").len()), (&json!(true), 1));
}

#[test]
fn a_key_is_set_where_a_policy_for_two_servers_names_a_device() {
    let lab = Lab::with_resident_agent("1h");
    let (interface, device) = (lab.gateway.interface(), &lab.laptop.tunnel.keys.public);
    let both = "description = \"Both\"\nrotation-interval = \"1h\"\nmfa = false\n";
    lab.bastion.policy("050-both.toml", &format!("{both}peers = [\"{interface}\"]\n"));
    lab.bastion.admin(&["reload"]).ok();
    // what was under a second factor is locked, and nothing will ever rotate there
    until("the lock", LONG, || (lab.gateway.status()["peers"][0]["hold"] == "locked").then_some(()));
    let told = lab.bastion.admin(&["why", DEVICE]).ok().stdout;
    assert!(told.contains(&format!("wgmfa-bastion key set {interface}:{DEVICE} --reason TEXT")), "{told}");
    let refused = lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "x"]).expect(1);
    assert!(refused.stderr.contains("has no agent, and no end rotates alone"), "{refused:#?}");

    let key = genkey();
    lab.bastion.admin_with(&["key", "set", DEVICE, "--reason", "by hand"], key.as_bytes()).ok();
    assert_eq!(lab.gateway.preshared_key(device).as_deref(), Some(&*key));
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(lab.gateway.preshared_key(device).as_deref(), Some(&*key), "nobody locks it again");
    let nothing = lab.bastion.admin(&["why", DEVICE]).ok().stdout;
    assert!(nothing.contains("nothing stands in the way"), "{nothing}");
    let peer = &lab.gateway.tunnel.keys.public;
    let set = ["set", &lab.laptop.tunnel.name, "peer", peer, "preshared-key", "/dev/stdin"];
    run(lab.laptop.machine.command("wg").args(set), format!("{key}\n").as_bytes()).ok();
    until("an answered ping", LONG, || is_answered(&lab.laptop.machine, GATEWAY).then_some(()));

    // the second factor takes it over again
    std::fs::remove_file(lab.bastion.folder().join("policy.d/050-both.toml")).expect("it was written");
    lab.bastion.admin(&["reload"]).ok();
    lab.bastion.await_state(DEVICE, "Expired");
    assert_ne!(lab.gateway.preshared_key(device).as_deref(), Some(&*key));
}

/// Answers the next order to open; gives it.
fn open(agent: &mut Agent<'_>, refused: Option<&str>) -> serde_json::Value {
    let order = agent.conversation.hear_json();
    assert_eq!(order["type"], "open", "{order}");
    agent.conversation.say_json(&json!({"type": "opened", "id": order["id"], "refused": refused}));
    order
}

#[test]
fn an_unmonitored_peer_gets_its_key_so_and_its_server_hears_of_it_first() {
    let mut site = Site::with(
        |_| {},
        |bastion| {
            let text = policy("1h", &format!("*/{INTERFACE}"));
            bastion.policy("101-devices.toml", &format!("{text}unmonitored = true\n"));
        },
    );
    let mut ann = site.administrator("ann");
    let peer = Keys::generate().public;
    let host = site.host("app-gw");
    let mut agent = host.connect(true);
    let keys = agent.wait_with_keys(&[&peer], 1);
    let row = site.bastion.key(&peer);
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("Expired"), &json!("an administrator has to carry the key (key show)"))
    );
    let show = ["bastion", "wgmfa-bastion", "key", "show", &peer[..8], "--reason", "'a printer'"];

    let refused = std::thread::scope(|scope| {
        let shown = scope.spawn(|| ann.ssh(&show[1..]));
        open(&mut agent, Some("no such peer"));
        assert_eq!(agent.conversation.hear_json()["type"], "round");
        shown.join().unwrap()
    });
    let refused = refused.expect(1);
    let said = format!("app-gw/{INTERFACE}:{peer}: app-gw refuses: no such peer\n");
    assert!(refused.stdout.is_empty() && refused.stderr.ends_with(&said), "{refused:?}");
    assert_eq!((site.count("released"), site.count("release-refused")), (0, 1));

    let shown = std::thread::scope(|scope| {
        let shown = scope.spawn(|| ann.ssh(&show[1..]));
        let order = open(&mut agent, None);
        assert_eq!((&order["generation"], &order["seconds_left"]), (&json!(1), &json!(3600)));
        shown.join().unwrap()
    });
    assert_eq!(shown.ok().stdout, format!("{}\t{}\n", host.keys.public, keys[0]));
    let row = site.bastion.key(&peer);
    assert_eq!(row["state"], "Match Pending");
    let line = &site.bastion.log("released")[0];
    assert_eq!((&line["actor"], &line["from"]), (&json!("ann"), &row["released_from"]), "{line}");
}

#[test]
fn what_may_not_be_released_is_not_shown() {
    let site = Site::new();
    let (device, phone) = (site.justin.public_key().to_owned(), site.device("phone", "justin"));
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.report(&[&device, &phone], Some(3600));
    agent.deposit(&[&phone], 1); // on disk, and not yet accepted
    site.bastion.admin(&["device", "disable", "justins-laptop"]).expect(6); // its agent only comes by
    for part in ["phone", "justins-laptop"] {
        let refused = site.bastion.admin(&["key", "show", part, "--reason", "x"]).expect(1);
        assert_eq!(refused.stdout, "", "{refused:?}");
    }
    let json = site.bastion.admin(&["--json", "key", "show", "justins-laptop", "--reason", "x"]).expect(1).json();
    assert_eq!(json["changed"], false);
    assert_eq!(json["refused"][0]["reason"], "justins-laptop is disabled");
    site.bastion.admin(&["key", "show", "phone"]).expect(2);
    assert_eq!((site.count("released"), site.count("release-refused")), (0, 3));
}

#[test]
fn a_key_is_set_at_once_or_nothing_is_changed() {
    let lab = Lab::new("1h");
    lab.gateway.agent(&["rotate"]).ok();
    let before = lab.bastion.key(DEVICE);
    let set = ["key", "set", DEVICE, "--reason", "by hand"];
    let refused = lab.bastion.admin_with(&set, genkey().as_bytes()).expect(1);
    for words in ["no resident agent of app-gw is connected", "hint: run `wgmfa-agent run` on app-gw, and repeat this"]
    {
        assert!(refused.stderr.contains(words), "{words}: {refused:#?}");
    }
    assert!(lab.bastion.log("key-set").is_empty());
    lab.gateway.agent(&["rotate"]).ok();
    let after = lab.bastion.key(DEVICE);
    assert_eq!((&after["state"], &after["generation"]), (&before["state"], &before["generation"]), "{after}");
}
