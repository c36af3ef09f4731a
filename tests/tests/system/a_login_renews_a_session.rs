//! A login during a session renews it: with our client both ends change to the next generation in place, and no packet is
//! lost. Whatever dies in between, a key that is over works nowhere, and at worst a new login is needed.

use std::os::unix::process::ExitStatusExt;
use std::time::SystemTime;

use nix::sys::signal::{Signal, kill};
use serde_json::json;
use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY};
use wgmfa_tests::ping::{Pings, is_answered};
use wgmfa_tests::wait::{LONG, until};

use super::conversation::Conversation;

/// A login right after a release changes the generation too: a test need not wait for a minute.
const AT_ONCE: (&str, &str) = ("WGMFA_SAME_GENERATION_FOR", "0");

/// A session runs.
fn in_a_session(bastion_is: &[(&str, &str)], agent_is: &[(&str, &str)]) -> Lab {
    let mut lab = Lab::new("1h");
    lab.bastion.stop();
    lab.bastion.start_with(bastion_is);
    lab.gateway.start_with(agent_is);
    lab.await_waiting_key();
    lab.log_in();
    lab
}

fn generation(lab: &Lab) -> u64 {
    lab.bastion.key(DEVICE)["generation"].as_u64().expect("a generation")
}

fn keys(lab: &Lab) -> [String; 2] {
    lab.preshared_keys().map(|key| key.expect("a preshared key"))
}

/// Both ends use one key, and packets pass.
#[track_caller]
fn assert_connected(lab: &Lab) {
    let [gateway, laptop] = keys(lab);
    assert_eq!(gateway, laptop);
    lab.await_answer();
}

#[test]
fn both_ends_change_in_place_and_no_packet_is_lost() {
    let mut lab = in_a_session(&[AT_ONCE], &[]);
    let pings = Pings::every(&lab.laptop.machine, GATEWAY, "0.01");
    pings.first_reply_after(SystemTime::now());
    let (first, [old, _]) = (generation(&lab), keys(&lab));
    for renewal in 1..=3 {
        let before = keys(&lab)[0].clone();
        let said = lab.laptop.sync(&[]).ok();
        // a slow machine has lost a second of it
        let whole = |left: &str| said.stdout.contains(&format!(": OK, {left} min left"));
        assert!(whole("60") || whole("59"), "{said:#?}");
        let [gateway, laptop] = keys(&lab);
        assert_eq!(gateway, laptop);
        assert_ne!(gateway, before, "both ends are on the next generation");
        let row = lab.bastion.key(DEVICE);
        assert_eq!(row["generation"], first + renewal);
        assert_eq!(row["state"], "OK", "both ends report the same fingerprint: {row:#}");
        assert!(row["deadline"].is_string(), "{row:#}");
        assert_eq!(lab.laptop.status()["connections"][0]["generation"], first + renewal);
        pings.first_reply_after(SystemTime::now());
    }
    assert_eq!(pings.lost(), [0; 0]);
    drop(pings);
    assert_eq!(lab.bastion.log("renewed").len(), 6, "each was recorded when it was prolonged and when it had changed");
    let [new, _] = keys(&lab);
    lab.await_accepted(&new); // the key that both hold is the one that works
    assert!(!lab.accepts(&old), "a key that is over is accepted");
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn a_second_login_within_a_minute_gets_the_same_generation() {
    let mut lab = in_a_session(&[], &[]);
    let (before, keys_before) = (generation(&lab), keys(&lab));
    lab.laptop.sync(&[]).ok();
    assert_eq!((generation(&lab), keys(&lab)), (before, keys_before));
    assert_connected(&lab);
}

#[test]
fn stock_ssh_keeps_the_generation_and_moves_the_deadline() {
    let mut lab = in_a_session(&[AT_ONCE], &[]);
    let (row, keys_before) = (lab.bastion.key(DEVICE), keys(&lab));
    let ended = lab.laptop.ssh(&["wgmfa-sync"]).ok();
    assert!(ended.stdout.trim_end().ends_with(&keys_before[0]));
    let again = lab.bastion.key(DEVICE);
    assert_eq!(again["generation"], row["generation"]);
    assert!(again["deadline"].as_str() > row["deadline"].as_str(), "{again:#}");
    assert_eq!(keys(&lab), keys_before);
    assert_connected(&lab);
}

#[test]
fn a_client_that_dies_before_it_has_said_received_changes_nothing() {
    let mut lab = in_a_session(&[AT_ONCE], &[]);
    let (before, keys_before) = (generation(&lab), keys(&lab));
    let code = lab.laptop.authenticator.next_code();
    lab.laptop.set_code(&code);
    let mut ssh = lab.laptop.command("ssh");
    let mut client =
        Conversation::start(ssh.arg("-F").arg(lab.laptop.ssh_config()).args(["-s", "bastion", "wgmfa-sync"]));
    client.say_json(&json!({"version": 1, "public_keys": [lab.laptop.tunnel.keys.public], "renews": true}));
    let release = client.hear_json();
    assert_eq!(release["keys"][0]["generation"], before);
    assert_eq!(release["keys"][0]["renewal"], true);
    assert_eq!(release["keys"][0]["next"]["generation"], before + 1, "{}", release["keys"][0]["connection"]);
    drop(client);
    assert_eq!((generation(&lab), keys(&lab)), (before, keys_before));
    assert_connected(&lab);
    lab.laptop.sync(&[]).ok();
    assert_eq!(generation(&lab), before + 2, "what was deposited for nothing is replaced");
    assert_connected(&lab);
}

/// A login with this code that asks for its keys with a client that renews.
fn asking(lab: &Lab, code: &str) -> Conversation {
    lab.laptop.set_code(code);
    let (mut ssh, logins) = (lab.laptop.command("ssh"), lab.bastion.log("login-accepted").len());
    let client = Conversation::start(ssh.arg("-F").arg(lab.laptop.ssh_config()).args(["-s", "bastion", "wgmfa-sync"]));
    until("the login", LONG, || (lab.bastion.log("login-accepted").len() > logins).then_some(()));
    client
}

#[test]
fn of_two_logins_at_once_each_renews_with_a_key_of_its_own() {
    let mut lab = in_a_session(&[AT_ONCE, ("WGMFA_CONFIRM_WITHIN", "6")], &[]);
    // who has logged in does not wait for the other one's code
    let codes = [(); 2].map(|()| lab.laptop.authenticator.next_code());
    let mut clients = codes.each_ref().map(|code| asking(&lab, code));
    let agent = lab.gateway.agent.as_ref().expect("it was started").pid();
    // both are asked for while the server is busy
    kill(agent, Signal::SIGSTOP).unwrap();
    let hello = json!({"version": 1, "public_keys": [lab.laptop.tunnel.keys.public], "renews": true});
    clients.iter_mut().for_each(|client| client.say_json(&hello));
    // each waits 6 s for the server to prolong the session, then 6 s for the next generation
    std::thread::sleep(std::time::Duration::from_millis(6800));
    kill(agent, Signal::SIGCONT).unwrap();
    let releases = clients.each_ref().map(Conversation::hear_json);
    let next = |release: &serde_json::Value| release["keys"][0]["next"].clone();
    let mut changed = Vec::new();
    let made: Vec<_> = releases.iter().map(next).filter(|next| !next.is_null()).collect();
    let renewed = releases.iter().map(|release| !next(release).is_null());
    for (client, _) in clients.iter_mut().zip(renewed).filter(|(_, renewed)| *renewed) {
        client.say_json(&json!({"received": true}));
        changed.extend(client.hear_json()["changed"].as_array().expect("a list").first().cloned());
    }
    assert_eq!(changed.len(), 1, "one of them renews the session: {made:#?}");
    let next = made.iter().find(|next| next["generation"] == changed[0]["generation"]).expect("one of those released");
    assert_eq!(next["preshared_key"], keys(&lab)[0], "the server is on the key that was released");
    assert_eq!(next["generation"], generation(&lab));
}

/// The agent dies when it is told to change. It comes back; then a login is enough, if one is needed at all.
fn agent_killed(point: &str) {
    let mut lab = in_a_session(&[AT_ONCE], &[("WGMFA_CRASH_AT", point)]);
    let [old, _] = keys(&lab);
    let said = lab.laptop.sync(&[]).ok().stderr;
    assert!(
        said.contains("did not say in time whether its key has changed; if the tunnel stops: wgmfa sync"),
        "{said}"
    );
    let mut killed = lab.gateway.agent.take().expect("it was started");
    assert_eq!(killed.await_end().signal(), Some(9), "{point}: {}", killed.said());
    assert_eq!(keys(&lab)[1], old, "{point}: the client uses nothing that the server has not confirmed");
    lab.gateway.start();
    if point == "change-received" {
        assert_connected(&lab);
    }
    lab.gateway.await_contact(&lab.bastion);
    until("a login that opens", LONG * 2, || {
        (lab.laptop.sync(&[]).code() == 0 && is_answered(&lab.laptop.machine, GATEWAY)).then_some(())
    });
    assert_connected(&lab);
    if point != "change-received" {
        assert!(!lab.accepts(&old), "{point}: a key that is over is accepted");
    }
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn an_agent_killed_before_it_changes() {
    agent_killed("change-received");
}

#[test]
fn an_agent_killed_between_memory_and_interface() {
    agent_killed("change-saved");
}

#[test]
fn an_agent_killed_before_it_confirms() {
    agent_killed("changed");
}

/// The keeper dies in a renewal. It comes back; then a login is enough, if one is needed at all.
fn keeper_killed(point: &str) {
    let mut lab = in_a_session(&[AT_ONCE], &[]);
    lab.bastion.stop();
    lab.bastion.start_with(&[AT_ONCE, ("WGMFA_CRASH_AT", point)]);
    lab.gateway.await_contact(&lab.bastion);
    lab.laptop.sync(&[]);
    let mut serve = lab.bastion.serve.take().expect("it was started");
    assert_eq!(serve.await_end().signal(), Some(9), "it is killed at {point}: {}", serve.said());
    until("the end of front and workers", LONG, || lab.bastion.machine.pids().is_empty().then_some(()));
    let gateway = keys(&lab)[0].clone();
    lab.bastion.start_with(&[AT_ONCE]);
    lab.gateway.await_contact(&lab.bastion);
    until("a session in the store", LONG, || lab.bastion.key(DEVICE)["deadline"].is_string().then_some(()));
    assert_eq!(keys(&lab)[0], gateway, "{point}: the session was not ended");
    lab.log_in();
    assert_connected(&lab);
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn a_keeper_killed_with_the_next_generation_on_disk() {
    keeper_killed("next-deposited");
}

#[test]
fn a_keeper_killed_before_it_has_recorded_the_change() {
    keeper_killed("change-confirmed");
}

#[test]
fn a_keeper_killed_before_the_client_hears_of_the_change() {
    keeper_killed("changed");
}
