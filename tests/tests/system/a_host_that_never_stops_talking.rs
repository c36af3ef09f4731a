//! A host that was taken over talks without an end, or has too many peers: people are served
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{TryRecvError, channel};

use serde_json::{Value, json};
use wgmfa_tests::wait::{LONG, until};

use super::site::{INTERFACE, Site};

/// Peers of nobody in each report.
const PEERS: usize = 10_000;

/// A report that differs from every other one.
fn report(own: &str, number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    let peer = |at: usize| {
        let public_key = format!("{at:0>42}A="); // base64 of 32 bytes
        json!({"public_key": public_key, "has_preshared_key": true, "allowed_ips": [format!("10.{high}.{low}.0/24")]})
    };
    let peers: Vec<Value> = (0..PEERS).map(peer).collect();
    let interface = json!({"name": INTERFACE, "public_key": own, "peers": peers});
    format!("{}\n", json!({"type": "report", "interfaces": [interface]}))
}

#[test]
fn people_log_in_meanwhile() {
    let mut site = Site::new();
    let host = site.host("app-gw");
    let agent = host.connect(true);
    let reports: Vec<String> = (0..8).map(|number| report(&host.keys.public, number)).collect();
    let said = Arc::new(AtomicUsize::new(0));
    let mut conversation = agent.conversation;
    std::thread::scope(|scope| {
        let counted = Arc::clone(&said);
        let (ended, stop) = channel::<()>();
        scope.spawn(move || {
            for report in reports.iter().cycle() {
                // hung up on, or no longer wanted
                if !conversation.say(report.as_bytes()) || stop.try_recv() != Err(TryRecvError::Empty) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("a flood", LONG * 4, || (said.load(Ordering::Relaxed) > 12).then_some(()));
        let answered = site.justin.ssh(&["wgmfa-status"]);
        drop(ended);
        answered.ok();
    });
}

#[test]
fn a_report_of_more_peers_than_a_host_may_have_is_refused() {
    let mut site = Site::new();
    let host = site.host("app-gw");
    let peers: Vec<Value> = (0..20_001).map(|at| json!({"public_key": format!("{at:0>42}A=")})).collect();
    let interface = json!({"name": INTERFACE, "public_key": host.keys.public, "peers": peers});
    let mut agent = host.connect(true).conversation;
    agent.say_json(&json!({"type": "report", "interfaces": [interface]}));
    let answer = agent.hear_json();
    let reason = "its report has 20001 peers, and a host may have 20000: use several hosts";
    assert_eq!(answer, json!({"type": "refused", "reason": reason}));
    assert_eq!(agent.hear(), None, "it is hung up on");
    site.justin.ssh(&["wgmfa-status"]).ok();
}
