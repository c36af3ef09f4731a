//! Nobody is told that a peer is kept out, or let in, as long as the gate cannot be made as it is to be.

use crate::a_code_opens_the_gate::{held_back, untimed};
use crate::bed::{Bed, Resident, run, wait_until};
use crate::gates::CODE;
use crate::person::{PROTECTED, TIERS};

/// Runs a program where the agent sees the same files.
fn beside(resident: &Resident, words: &[&str]) {
    run("nsenter", &[&["--target", &resident.0.id().to_string(), "--mount"], words].concat());
}

#[test]
fn neither_a_revocation_nor_a_logout() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    talk.hears();
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
    // nft fails for this agent alone, and somebody touches the gate: it is to be made anew
    beside(&resident, &["mount", "--bind", "/bin/false", "/usr/sbin/nft"]);
    run("ip", &["netns", "exec", bed.namespace(), "nft", "add", "rule", "inet", "wgmfa", "from_peers", "counter"]);
    wait_until("it is noticed", || bed.log().contains("the gate does not stand: "));
    let mut talk = person.talk();
    talk.hears();
    let logged_out = talk.asks("logout");
    assert!(logged_out.starts_with("error: the gate does not stand: "), "{logged_out}");
    let failed = bed.bastion.revoke(&person.peer, "test");
    assert!(failed.as_ref().is_some_and(|why| why.starts_with("the gate does not stand: ")), "{failed:?}");
    person.await_reach(PROTECTED); // it is the gate of before that stands
    beside(&resident, &["umount", "--lazy", "/usr/sbin/nft"]);
    wait_until("the gate stands", || bed.bastion.revoke(&person.peer, "test").is_none());
    assert!(!person.reaches(PROTECTED));
}

#[test]
fn nor_a_session_of_a_key() {
    let mut bed = Bed::with_gate(0);
    bed.configure(&format!("codes-from-networks = true\n{TIERS}"));
    let person = held_back(&bed, 1, "branch-office");
    let key = person.peer.public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &key, "allowed-ips", "10.7.9.0/24"]).status.success());
    bed.peers.push(person.peer.clone());
    bed.bastion.cover(&bed.peers, 3600);
    bed.bastion.gates(|gates| gates.peers.get_mut(&person.peer).unwrap().with_key = true);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    wait_until("the gate stands", || bed.path("state/gate.nft").exists());
    let waiting = bed.key_on(0);
    // the first network of its tier: the gate is made anew for it, and its file cannot be written
    let file = bed.path("state/gate.nft");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let refused = bed.bastion.open(&person.peer, 600);
    assert!(refused.is_some(), "{refused:?}");
    let state = bed.state_text().replace(' ', "");
    assert!(state.contains("\"hold\":\"waiting\"") && !state.contains("\"hold\":\"open\""), "no session runs: {state}");
    std::fs::remove_dir(&file).unwrap();
    wait_until("the gate stands", || bed.bastion.open(&person.peer, 600).is_none());
    assert_eq!(bed.key_on(0), waiting, "it is the key that nobody had got");
}
