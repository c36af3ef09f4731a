//! What an administrator orders on the bastion ends a session before the command returns, and lasts.

use std::time::SystemTime;

use serde_json::json;
use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, HOST, USER};
use wgmfa_tests::wait::{LONG, until};

use super::site::Site;

/// A session runs; these words end it: no ping is answered that was sent after the command returned.
fn cut_off_by(lab: &mut Lab, words: &[&str]) -> String {
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let pings = lab.pings();
    pings.first_reply_after(SystemTime::now());
    let said = lab.bastion.admin(words).ok();
    let cut = SystemTime::now();
    assert!(!said.said().contains("not confirmed"), "{said:#?}");
    assert!(!lab.accepts(&released), "the key of the session is over: {words:?}");
    pings.assert_none_after(cut);
    released
}

/// Nobody comes in, whoever starts the agent anew or asks for a round.
fn stays_locked(lab: &mut Lab, released: &str) {
    let [stands, _] = lab.preshared_keys();
    lab.gateway.agent.as_mut().expect("it runs").stop();
    lab.gateway.start();
    until("it is back", LONG, || lab.gateway.machine.path("agent-state/agent.sock").exists().then_some(()));
    lab.gateway.agent(&["rotate"]);
    assert_eq!(lab.gateway.status()["peers"][0]["hold"], "locked");
    assert_eq!(lab.preshared_keys()[0], stands, "a lock key that stands is left alone");
    assert!(!lab.accepts(released));
}

#[test]
fn by_an_ordered_rotation() {
    let mut lab = Lab::with_resident_agent("1h");
    let released = cut_off_by(&mut lab, &["key", "rotate", DEVICE, "--reason", "the laptop was lent"]);
    lab.gateway.agent.as_ref().expect("it runs").await_line("locked: the laptop was lent");
    lab.await_waiting_key();
    assert!(!lab.accepts(&released));
    lab.log_in();
}

#[test]
fn by_disabling_a_device() {
    let mut lab = Lab::with_resident_agent("1h");
    let released = cut_off_by(&mut lab, &["device", "disable", DEVICE]);
    stays_locked(&mut lab, &released);
    assert_ne!(lab.laptop.sync(&[]).code(), 0);
    lab.bastion.admin(&["device", "enable", DEVICE]).ok();
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn by_disabling_a_device_while_the_agent_only_comes_by_it_is_confirmed_by_one_round() {
    let mut lab = Lab::new("1h");
    lab.gateway.agent(&["rotate"]).ok();
    lab.await_waiting_key();
    lab.log_in();
    lab.gateway.agent(&["rotate"]).ok();
    lab.bastion.admin(&["device", "disable", DEVICE]).expect(6);
    assert_eq!(lab.bastion.key(DEVICE)["state"], "Mismatch Pending");
    lab.gateway.agent(&["rotate"]).ok();
    assert_ne!(lab.bastion.key(DEVICE)["state"], "Mismatch Pending");
}

#[test]
fn by_removing_a_device() {
    let mut lab = Lab::with_resident_agent("1h");
    let released = cut_off_by(&mut lab, &["device", "remove", DEVICE]);
    stays_locked(&mut lab, &released);
    lab.bastion.add_device(DEVICE, USER, &lab.laptop.tunnel.keys.public);
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn by_removing_a_device_whose_peer_has_left_the_gateway() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let key = lab.laptop.tunnel.keys.public.clone();
    let set = |words: &[&str]| {
        let name = &lab.gateway.tunnel.name;
        lab.gateway.machine.run("wg", &[&["set", name, "peer", &key], words].concat()).ok();
    };
    set(&["remove"]);
    let said = lab.bastion.admin(&["device", "remove", DEVICE]).ok();
    assert_eq!(said.said(), format!("removed {DEVICE}\n"), "nothing is left to confirm");
    set(&["allowed-ips", "10.77.0.2/32"]);
    lab.gateway.agent(&["rotate"]).ok();
    let stands = || lab.gateway.preshared_key(&key).filter(|stands| *stands != released);
    until("a lock key on the peer that came back", LONG, stands);
    assert!(!lab.accepts(&released));
}

#[test]
fn by_disabling_a_person() {
    let mut lab = Lab::with_resident_agent("1h");
    let released = cut_off_by(&mut lab, &["user", "disable", USER]);
    stays_locked(&mut lab, &released);
    lab.laptop.sync(&[]).expect(3);
    lab.bastion.admin(&["user", "enable", USER]).ok();
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn by_disabling_a_host() {
    let mut lab = Lab::with_resident_agent("1h");
    let released = cut_off_by(&mut lab, &["host", "disable", HOST]);
    stays_locked(&mut lab, &released);
    let refused = lab.laptop.sync(&[]);
    assert!(refused.stderr.contains(&format!("{HOST} is disabled")), "{refused:#?}");
    lab.bastion.admin(&["host", "enable", HOST]).ok();
    lab.gateway.agent(&["rotate"]).ok(); // need not wait for the next attempt to connect
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn a_host_that_is_disabled_while_its_report_is_on_the_way_still_confirms() {
    let site = Site::new();
    let (device, host) = (site.justin.public_key(), site.host("app-gw"));
    let mut agent = host.connect(true);
    agent.wait_with_keys(&[device], 1);
    std::thread::scope(|scope| {
        let disabling = scope.spawn(|| site.bastion.admin(&["host", "disable", "app-gw"]));
        let order = agent.conversation.hear_json();
        assert_eq!(order["type"], "lock", "{order}");
        agent.conversation.say_json(&json!({"type": "report", "interfaces": []}));
        agent.conversation.say_json(&json!({"type": "locked", "id": order["id"]}));
        let ended = disabling.join().expect("it ends").ok();
        assert_eq!(ended.said(), "disabled app-gw\n");
    });
    assert_eq!(agent.conversation.hear_json()["type"], "refused");
    assert_eq!(agent.conversation.hear(), None, "it is hung up on");
}
