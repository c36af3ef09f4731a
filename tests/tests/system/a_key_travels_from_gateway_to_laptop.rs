//! The main job: a server rotates, a person logs in, the key is released and written, packets flow.

use std::time::SystemTime;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY, HOST};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::says_an_hour;

#[test]
fn a_login_opens_the_tunnel() {
    let mut lab = Lab::with_resident_agent("1h");
    // the agent's first round took the configured key away
    let [gateway, laptop] = lab.preshared_keys();
    assert_ne!(gateway, laptop);
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));

    let pings = lab.pings();
    let before_login = SystemTime::now();
    let ended = lab.laptop.sync(&["--wait"]).ok();
    let interface = lab.gateway.interface();
    let opened = format!("{interface}: OK, ");
    assert!(ended.stdout.starts_with(&opened) && says_an_hour(&ended.stdout, &opened), "{ended:?}");
    assert!(ended.stdout.contains("), policy 101 Devices\n"), "{ended:?}");
    assert!(ended.stdout.contains(&format!("{interface}: connected in ")), "{ended:?}");
    assert_eq!(lab.laptop.asked().len(), 2, "{:?}", lab.laptop.asked());
    pings.first_reply_after(before_login);
    let [gateway, laptop] = lab.preshared_keys();
    assert_eq!(gateway, laptop);

    let row = lab.bastion.await_state(DEVICE, "OK");
    assert_eq!(row["host"], HOST);
    assert_eq!(row["connection"], format!("{interface}:{DEVICE}"));
    assert!(!row["deadline"].is_null() && !row["released_at"].is_null(), "{row}");
    let left = lab.laptop.status();
    assert_eq!(left["connections"][0]["generation"], row["generation"]);
}

#[test]
fn a_server_that_comes_by_from_cron_is_enough() {
    let mut lab = Lab::new("1h");
    lab.gateway.agent(&["rotate"]).ok();
    lab.await_waiting_key();
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));
    // nothing is sent through the tunnel yet, and it has no persistent keepalive
    let ended = lab.laptop.sync(&["--wait"]).ok();
    assert!(ended.stdout.contains(&format!("{}: connected in ", lab.gateway.interface())), "{ended:?}");
    lab.await_answer();
}
