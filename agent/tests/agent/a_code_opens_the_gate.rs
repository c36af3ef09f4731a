//! Conversations inside real tunnels.

use wgmfa_core::gate::CodeVerdict;
use wgmfa_core::message::agent::{FromAgent, ToAgent};

use crate::bed::{Bed, wait_until};
use crate::gates::CODE;
use crate::person::{GATEWAY6, PROTECTED, Person, TIERS};

const BANNER: &str = "wgmfa app-gw: one-time code for justins-laptop:";

/// A person who is held back by a resident agent.
pub fn held_back(bed: &Bed, number: u8, name: &str) -> Person {
    let person = bed.person(number);
    bed.bastion.gates(|gates| gates.hold_back(&person.peer, name));
    person
}

/// `ok: prod until 15:55 (60 min)` and the like, without the time of day.
pub fn untimed(line: &str) -> String {
    let Some((before, rest)) = line.split_once(" until ") else { return line.to_owned() };
    let (time, left) = rest.split_once(" (").unwrap();
    assert!(time.len() == 5 || time.len() == 16, "{line}"); // the second: over midnight
    format!("{before} ({left}")
}

#[test]
fn a_good_code_opens_the_tier_and_logout_closes_it() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let other = held_back(&bed, 2, "justins-phone");
    let _resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), BANNER);
    assert!(!person.reaches(PROTECTED));
    assert_eq!(talk.asks("status"), "closed: a one-time code is needed");
    assert_eq!(talk.asks("654321"), "wrong code, 4 tries left");
    bed.bastion.gates(|gates| gates.verdicts.push_back(CodeVerdict::Locked { seconds: 30 }));
    assert_eq!(talk.asks("654321"), "locked for 30 s");
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
    person.await_reach(PROTECTED); // it is open before anybody is told
    assert!(!other.reaches(PROTECTED), "nobody else's device is");
    let left = untimed(&talk.asks("status"));
    assert!(["prod (60 min)", "prod (59 min)"].contains(&left.as_str()), "{left}");
    let out = bed.agent(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let rows = status["gate"]["peers"].as_array().unwrap();
    let open: Vec<_> = rows.iter().filter(|row| !row["open"].as_array().unwrap().is_empty()).collect();
    assert_eq!(open.len(), 1, "{status}");
    assert_eq!(open[0]["connection"], "app-gw/devices:justins-laptop");
    assert_eq!((out.status.code(), &status["gate"]["fault"]), (Some(0), &serde_json::Value::Null));
    assert_eq!(talk.asks("logout"), "ok: logged out");
    assert_eq!(talk.hears(), "", "it hangs up when nothing more comes");
    assert!(!person.reaches(PROTECTED));
    wait_until("the bastion to be told", || {
        bed.bastion.heard().iter().any(|heard| match &heard.message {
            FromAgent::Report { events, .. } => {
                events.iter().any(|event| (event.event.as_str(), event.reason.as_str()) == ("closed", "logged out"))
            }
            _ => false,
        })
    });
    assert!(!bed.log().contains(CODE) && !bed.state_text().contains(CODE));
}

#[test]
fn a_step_up_is_asked_for_and_falls_back() {
    let bed = Bed::with_gate(0);
    let (_protected, _more) = (bed.serve(PROTECTED), bed.serve("10.2.0.5"));
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), BANNER);
    assert_eq!(talk.asks("tier nothing"), "no such tier");
    assert_eq!(talk.asks("tier admin"), "wgmfa app-gw: one-time code for justins-laptop, tier admin:");
    assert_eq!(untimed(&talk.asks(CODE)), "ok: admin (10 min)");
    let wishes = bed.bastion.gates(|gates| gates.asked.last().unwrap().1.clone());
    let wishes: Vec<_> = wishes.iter().map(|wish| (wish.tier.as_str(), wish.lifetime)).collect();
    assert_eq!(wishes, [("prod", None), ("admin", Some(600))]);
    person.await_reach(PROTECTED);
    person.await_reach("10.2.0.5");
    assert!(talk.asks("status").starts_with("admin until "), "the highest first");
    assert!(talk.hears().starts_with("prod until "));

    assert_eq!(bed.bastion.revoke(&person.peer, "test"), None);
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 3600), None);
    assert_eq!(bed.bastion.grant(&person.peer, "admin", 2), None);
    wait_until("the end of the upper tier", || !person.reaches("10.2.0.5"));
    person.await_reach(PROTECTED);
    wait_until("the log", || bed.log().contains(": admin closed: its time is over\n"));
}

#[test]
fn it_speaks_over_ipv6_too_and_ends_with_the_other_side() {
    let bed = Bed::with_gate(0);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    let mut talk = person.talk_to(GATEWAY6, 7777).unwrap();
    assert_eq!(talk.hears(), BANNER);
    talk.says(CODE.as_bytes()); // without a newline, and then nothing more
    talk.says_no_more();
    let rest = talk.rest();
    assert!(rest.starts_with("ok: prod until ") && rest.ends_with(" (60 min)\n"), "{rest}");
}

#[test]
fn without_the_bastion_no_code_is_good_and_a_grant_goes_on() {
    let mut bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), BANNER);
    bed.bastion.gates(|gates| gates.is_silent = true);
    assert_eq!(talk.asks(CODE), "error: the bastion is not reached, try again later");
    assert_eq!(talk.hears(), "");
    bed.bastion.gates(|gates| gates.is_silent = false);
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    bed.bastion.stop();
    wait_until("it says so", || bed.log().contains("wgmfa-agent: error: "));
    let mut talk = person.talk();
    assert_eq!(talk.hears(), BANNER);
    assert_eq!(talk.asks(CODE), "error: the bastion is not reached, try again later");
    person.await_reach(PROTECTED);
}

#[test]
fn the_bastion_closes_what_it_does_not_list_and_whom_it_cuts_off() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600), None);
    assert_eq!(bed.bastion.grant(&person.peer, "nothing", 600).as_deref(), Some("agent.toml has no tier nothing"));
    person.await_reach(PROTECTED);
    bed.bastion.gates(|gates| gates.close(&person.peer));
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("it is closed", || !person.reaches(PROTECTED));
    wait_until("the log", || bed.log().contains(": prod closed: the bastion has no grant any more\n"));
    bed.bastion.gates(|gates| gates.peers.get_mut(&person.peer).unwrap().cut_off = Some("device disabled".to_owned()));
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("it is cut off", || person.talk().hears() == "error: cut off: device disabled");
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 600).as_deref(), Some("cut off: device disabled"));
}

#[test]
fn with_a_key_the_gate_opens_and_closes_with_its_session() {
    let mut bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    bed.peers.push(person.peer.clone());
    bed.bastion.cover(&bed.peers, 3600);
    bed.bastion.gates(|gates| gates.peers.get_mut(&person.peer).unwrap().with_key = true);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    assert_eq!(bed.bastion.open(&person.peer, 600), None);
    let released = bed.key_on(0);
    person.set_key(&bed, &released);
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), BANNER);
    person.await_reach(PROTECTED);
    assert_eq!(untimed(&talk.asks("tier admin")), "wgmfa app-gw: one-time code for justins-laptop, tier admin:");
    assert_eq!(untimed(&talk.asks(CODE)), "ok: admin (10 min)");
    assert_eq!(talk.asks("logout"), "ok: logged out", "said before the tunnel is gone");
    wait_until("the lock", || bed.key_on(0) != released);
    wait_until("the bastion to be told", || {
        bed.bastion.heard().iter().any(|heard| match &heard.message {
            FromAgent::Report { events, open, .. } => {
                let ended =
                    |generation| events.iter().any(|event| event.event == "closed" && event.generation == generation);
                ended(Some(1)) && open.is_empty()
            }
            _ => false,
        })
    });
}

#[test]
fn routing_rules_carry_the_gate_out_too() {
    let bed = Bed::with_gate(0);
    bed.configure(&format!("gate = \"ip-rule\"\n{TIERS}"));
    let _protected = bed.serve(PROTECTED);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), BANNER);
    assert!(!person.reaches(PROTECTED));
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
    person.await_reach(PROTECTED);
    assert_eq!(talk.asks("logout"), "ok: logged out");
    assert!(!person.reaches(PROTECTED));
    assert_eq!(bed.bastion.grant(&person.peer, "prod", 10), None);
    person.await_reach(PROTECTED);
    // they have no time of their own: the agent closes them
    wait_until("the deadline", || !person.reaches(PROTECTED));
}
