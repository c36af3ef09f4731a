//! A grant comes back after a restart of the agent and a flush of the rules; after a reboot nothing is open.

use std::process::Command;

use wgmfa_core::message::agent::{FromAgent, ToAgent};

use crate::a_code_opens_the_gate::held_back;
use crate::bed::{Bed, text, wait_until};
use crate::person::PROTECTED;

#[test]
fn a_restarted_agent_keeps_grants_without_the_bastion() {
    let mut bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let resident = bed.resident();
    drop(person.talk_to_when_open());
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    bed.bastion.stop();
    assert_eq!(resident.terminate(), Some(0));
    person.await_reach(PROTECTED); // the gate stands without the agent
    bed.flush_rules();
    let resident = bed.resident();
    wait_until("the gate", || bed.has_gate());
    person.await_reach(PROTECTED);
    drop(resident);

    bed.flush_rules();
    let _resident = bed.resident_with(&[("WGMFA_BOOT_ID", "another boot")]);
    wait_until("the gate", || bed.has_gate());
    assert!(!person.reaches(PROTECTED), "the machine was rebooted");
    bed.bastion.resume();
    wait_until("the bastion says what is left", || person.reaches(PROTECTED));
}

#[test]
fn a_gate_that_somebody_flushed_stands_again_and_the_bastion_hears_of_it() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let (person, other) = (held_back(&bed, 1, "justins-laptop"), held_back(&bed, 2, "justins-phone"));
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    bed.flush_rules();
    wait_until("the gate", || bed.has_gate());
    person.await_reach(PROTECTED);
    assert!(!other.reaches(PROTECTED));
    wait_until("the log", || bed.log().contains("gate: put up again: "));
    wait_until("the bastion to be told", || {
        bed.bastion
            .events()
            .iter()
            .any(|(event, reason)| event == "changed-outside" && reason.starts_with("the gate did not stand: "))
    });
}

#[test]
fn an_agent_that_comes_by_opens_and_closes_as_the_bastion_says() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let (person, free) = (held_back(&bed, 1, "justins-laptop"), bed.person(2));
    bed.bastion.gates(|gates| gates.free.push(free.peer.clone()));
    let out = bed.agent(&["rotate", "--dry-run"]);
    let planned = format!("{}: would hold back every peer: a policy enforces by the firewall\n", bed.interface);
    assert_eq!((text(&out.stdout), bed.has_gate()), (planned, false));
    bed.rotate();
    free.await_reach(PROTECTED);
    assert!(!person.reaches(PROTECTED));
    bed.bastion.gates(|gates| gates.record(&person.peer, &"prod".parse().unwrap(), 600));
    let planned = text(&bed.agent(&["rotate", "--dry-run"]).stdout);
    assert!(planned.starts_with("app-gw/devices:justins-laptop: would open prod for "), "{planned}");
    bed.rotate();
    person.await_reach(PROTECTED);
    bed.bastion.gates(|gates| gates.close(&person.peer));
    let planned = text(&bed.agent(&["rotate", "--dry-run"]).stdout);
    assert_eq!(planned, "app-gw/devices:justins-laptop: would close prod: the bastion has no grant any more\n");
    bed.rotate();
    assert!(!person.reaches(PROTECTED));
}

#[test]
fn root_opens_the_gate_puts_it_up_at_boot_and_takes_it_away() {
    let mut bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    bed.rotate();
    bed.bastion.stop();
    let out = bed.agent(&["override", "justins-laptop", "--reason", "bastion is down", "--for", "1h"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(text(&out.stdout), "app-gw/devices:justins-laptop: open for 1h; then it is closed again\n");
    person.await_reach(PROTECTED);
    bed.flush_rules();
    assert!(bed.agent(&["lock"]).status.success());
    assert!(bed.has_gate() && !person.reaches(PROTECTED));
    assert!(bed.agent(&["stand-down", "--reason", "migration"]).status.success());
    assert!(!bed.has_gate());
    person.await_reach(PROTECTED);
    bed.bastion.resume();
    bed.rotate();
    assert!(bed.has_gate() && !person.reaches(PROTECTED));
    let reasons: Vec<_> = bed.bastion.events().into_iter().map(|(event, _)| event).collect();
    for event in ["override", "closed", "lock", "stand-down"] {
        assert!(reasons.iter().any(|told| told == event), "{event} in {reasons:?}");
    }
}

#[test]
fn a_grant_without_a_handshake_is_over_and_the_bastion_is_told() {
    let bed = Bed::with_gate(0);
    let person = held_back(&bed, 1, "justins-laptop");
    bed.bastion.gates(|gates| gates.peers.get_mut(&person.peer).unwrap().idle_timeout = Some(2));
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    wait_until("it is closed", || bed.log().contains(": prod closed: no handshake for 2 s\n"));
    let told = ("closed".to_owned(), "no handshake for 2 s".to_owned());
    wait_until("the bastion to be told", || bed.bastion.events().contains(&told));
}

#[test]
fn a_peer_that_is_new_is_held_back_and_reported_at_once() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    let stranger = bed.person(2);
    wait_until("a report with it", || {
        bed.bastion.heard().iter().any(|heard| match &heard.message {
            FromAgent::Report { interfaces, .. } => {
                interfaces.iter().flat_map(|one| &one.peers).any(|peer| peer.public_key == stranger.peer.public_key)
            }
            _ => false,
        })
    });
    assert_eq!(stranger.talk().hears(), "error: no code opens anything for you");
    assert!(!stranger.reaches(PROTECTED));
    bed.bastion.gates(|gates| gates.free.push(stranger.peer.clone()));
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("it is free", || stranger.reaches(PROTECTED));
}

#[test]
fn an_interface_that_is_made_anew_is_gated_and_listened_on_again() {
    let mut bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    bed.remove_interface();
    bed.add_interface(&bed.interface.clone());
    bed.set_from_file();
    bed.add_peer(&person);
    bed.set_addresses();
    person.joins(&bed); // instead of waiting until it finds that the other side has forgotten the session
    drop(person.talk_to_when_open());
    wait_until("the grant", || person.reaches(PROTECTED));
}

impl Bed {
    /// `nft flush ruleset`, as a site's own reload does it.
    pub fn flush_rules(&self) {
        let ended = Command::new("ip").args(["netns", "exec", self.namespace(), "nft", "flush", "ruleset"]).status();
        assert!(ended.unwrap().success());
    }

    pub fn has_gate(&self) -> bool {
        let words = ["netns", "exec", self.namespace(), "nft", "list", "table", "inet", "wgmfa"];
        Command::new("ip").args(words).output().unwrap().status.success()
    }
}
