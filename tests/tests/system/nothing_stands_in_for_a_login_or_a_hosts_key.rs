//! Rule 7: a person is who logs in, a host is who signs with its key. There is no fall-back from one to the other.

use serde_json::{Value, json};
use wgmfa_tests::program::run;

use super::conversation::Conversation;
use super::site::{Host, Site};

/// Why an agent that begins so is refused.
#[track_caller]
fn refusal(mut agent: Conversation, hello: &Value) -> String {
    agent.say_json(hello);
    let answer = agent.hear_json();
    assert_eq!(answer["type"], "refused", "{answer}");
    assert_eq!(agent.hear(), None, "it is hung up on");
    assert!(!agent.end().0.success());
    answer["reason"].as_str().expect("a text").to_owned()
}

#[test]
fn an_ssh_key_gives_a_person_nothing() {
    let site = Site::new();
    let host = site.host("app-gw");
    host.connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    for user in ["justin", "root", "app-gw", ""] {
        let user = if user.is_empty() { " " } else { user };
        let ended = run(&mut host.ssh(user, &[host.bastion(), "wgmfa-sync"]), b"").expect(255);
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("Permission denied (keyboard-interactive)."), "{ended:?}");
    }
    assert_eq!((site.count("released"), site.count("login-accepted")), (0, 0));
}

#[test]
fn a_login_gives_no_host_and_a_host_no_keys() {
    let mut site = Site::new();
    let host = site.host("app-gw");
    let mut agent = site.justin.subsystem("wgmfa-agent");
    assert_eq!(agent.hear(), None);
    let (status, said) = agent.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("wgmfa: error: only these can be asked for here: wgmfa-sync"), "{said}");

    for words in [&[host.bastion(), "wgmfa-sync"][..], &["-s", host.bastion(), "wgmfa-sync"], &[host.bastion()]] {
        let ended = run(&mut host.ssh("agent", words), b"").expect(1);
        assert_eq!(ended.stdout, "");
        let line = "wgmfa: error: a host may ask for the subsystem wgmfa-agent only\n";
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
    // the user name of hosts is no person's, whatever is answered
    let code = site.justin.fresh_code();
    site.justin.laptop.set_code(&code);
    let asked = site.justin.laptop.asked().len();
    site.justin.laptop.ssh_as_set(&["-l", "agent", "wgmfa-sync"]).expect(255);
    assert_eq!(site.justin.laptop.asked().len(), asked, "nothing is asked");
}

#[test]
fn an_agent_is_the_host_whose_key_signs_the_nonce_of_this_connection() {
    let site = Site::new();
    let [host, other] = ["app-gw", "db-gw"].map(|name| site.host(name));
    let device = site.justin.public_key();
    host.connect(false).wait_with_keys(&[device], 1);
    let signed_elsewhere = |by: &Host, nonce: &str| {
        let mut hello = by.hello("app-gw", nonce, false);
        hello["host"] = json!("app-gw");
        hello
    };
    let not_its_name = "this SSH key is not registered for the host that the agent names";
    let not_signed = "the signature over the nonce is not good";

    let (agent, nonce) = other.challenged();
    assert_eq!(refusal(agent, &other.hello("app-gw", &nonce, false)), not_its_name, "another host's name");
    let (agent, nonce) = other.challenged();
    assert_eq!(refusal(agent, &signed_elsewhere(&host, &nonce)), not_its_name, "another host's signature, relayed");
    let (agent, nonce) = host.challenged();
    assert_eq!(refusal(agent, &signed_elsewhere(&other, &nonce)), not_signed, "signed by another key");
    let (first, old_nonce) = host.challenged();
    let replayed = host.hello("app-gw", &old_nonce, false);
    drop(first);
    let (agent, nonce) = host.challenged();
    assert_ne!(nonce, old_nonce);
    assert_eq!(refusal(agent, &replayed), not_signed, "a signature over another nonce");
    let (agent, nonce) = host.challenged();
    let mut empty = host.hello("app-gw", &nonce, false);
    empty["signature"] = json!("");
    assert_eq!(refusal(agent, &empty), not_signed, "no signature");
    let (agent, nonce) = host.challenged();
    assert_eq!(refusal(agent, &host.hello("no-such-host", &nonce, false)), not_its_name);
    let (agent, _) = host.challenged();
    assert_eq!(refusal(agent, &json!({"type": "ping"})), "the first line must be hello");
    let refused = site.bastion.log("host-refused");
    let hosts: Vec<_> = refused.iter().map(|line| line["host"].as_str().expect("a host")).collect();
    let whose_key = ["db-gw", "db-gw", "app-gw", "app-gw", "app-gw", "app-gw"];
    assert_eq!(hosts, whose_key, "nobody fills another host's part of the log, nor that of nobody");
    let said = |line: usize| refused[line]["reason"].as_str().expect("a reason");
    assert!(said(0).ends_with(": app-gw") && said(5).ends_with(": no-such-host"), "{refused:?}");

    // a key that nobody registered does not come that far, nor does one whose host is cut off
    let stranger = site.host("stranger");
    site.bastion.admin(&["host", "remove", "stranger"]).ok();
    site.bastion.admin(&["host", "disable", "db-gw"]).ok();
    for host in [&stranger, &other] {
        let ended = run(&mut host.ssh("agent", &["-s", host.bastion(), "wgmfa-agent"]), b"").expect(255);
        assert!(ended.stderr.contains("Permission denied (publickey)."), "{ended:?}");
    }
    assert_eq!(site.bastion.key("app-gw")["generation"], 1);
}

#[test]
fn a_host_speaks_for_its_own_peers_only() {
    let site = Site::new();
    let [host, other] = ["app-gw", "db-gw"].map(|name| site.host(name));
    let device = site.justin.public_key();
    host.connect(false).wait_with_keys(&[device], 1);
    let mut agent = other.connect(false);
    // neither what it did not report, nor an interface that is another host's
    let deposit = |generation: u64| {
        json!({"type": "deposit", "deposits": [{"interface": "wg0", "public_key": device,
            "generation": generation, "preshared_key": wgmfa_tests::tunnel::genkey()}]})
    };
    agent.conversation.say_json(&deposit(2));
    assert_eq!(agent.conversation.hear_json(), json!({"type": "stored", "deposits": []}));
    let stolen = json!({"type": "report", "interfaces": [{"name": "wg0", "public_key": host.keys.public,
        "peers": [{"public_key": device}]}]});
    agent.conversation.say_json(&stolen);
    assert_eq!(agent.conversation.hear_json()["assignments"], json!([]));
    agent.conversation.say_json(&deposit(3));
    assert_eq!(agent.conversation.hear_json(), json!({"type": "stored", "deposits": []}));
    let applied = json!({"type": "applied", "applied": [{"interface": "wg0", "public_key": device, "generation": 3}]});
    agent.conversation.say_json(&applied);
    assert_eq!(agent.conversation.hear_json(), json!({"type": "noted", "applied": [], "staged": []}));
    assert_eq!(site.count("report-refused"), 1);
    let keys = site.bastion.keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!((&keys[0]["host"], &keys[0]["generation"]), (&json!("app-gw"), &json!(1)));
}
