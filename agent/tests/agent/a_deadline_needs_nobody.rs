//! Rule 3: the server locks by itself, also when the bastion is away.

use std::time::{Duration, Instant};

use wgmfa_core::message::agent::{FromAgent, ToAgent};

use crate::bed::{Bed, text, wait_until};

#[test]
fn a_resident_agent_locks_at_the_deadline_with_the_bastion_gone() {
    let mut bed = Bed::new(2);
    let _resident = bed.resident();
    wait_until("both keys wait", || bed.is_waiting(0) && bed.is_waiting(1));
    let (released, other) = (bed.key_on(0), bed.key_on(1));
    assert_eq!(bed.bastion.open(&bed.peers[0], 5), None);
    assert_eq!(bed.key_on(0), released, "open: the released generation is accepted");
    bed.bastion.stop();
    wait_until("the deadline", || bed.key_on(0) != released);
    assert_eq!(bed.key_on(1), other, "only the session that is over is locked");
    wait_until("the log", || bed.log().contains(": locked: the session's deadline has passed\n"));
    let status = bed.agent(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let of = |number: usize| {
        let key = bed.peers[number].public_key.to_string();
        status["peers"].as_array().unwrap().iter().find(|peer| peer["public_key"] == key.as_str()).unwrap().clone()
    };
    assert_eq!((&of(0)["hold"], &of(1)["hold"]), (&"locked".into(), &"waiting".into()));
    bed.bastion.resume();
    wait_until("a new key waits", || bed.is_waiting(0));
    assert_eq!(bed.bastion.connection(&bed.peers[0]).highest, 2);
}

/// Milliseconds since boot, as the agent counts them.
fn boottime() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000
}

#[test]
fn nothing_is_locked_before_its_deadline() {
    let bed = Bed::new(3);
    let _resident = bed.resident_with(&[("WGMFA_LEAD", "500")]); // so long before it locks are made ready
    wait_until("the keys wait", || (0..3).all(|peer| bed.is_waiting(peer)));
    let released = [0, 1, 2].map(|peer| bed.key_on(peer));
    for (peer, seconds) in [(0, 6), (1, 6), (2, 7)] {
        assert_eq!(bed.bastion.open(&bed.peers[peer], seconds), None);
    }
    let state: serde_json::Value = serde_json::from_str(&bed.state_text()).unwrap();
    let deadline = |peer: usize| {
        let key = bed.peers[peer].public_key.to_string();
        let kept = state["peers"].as_array().unwrap().iter().find(|kept| kept["public_key"] == key.as_str()).unwrap();
        kept["held"]["hold"]["deadline"].as_u64().unwrap_or_else(|| panic!("no session: {kept}"))
    };
    let deadlines = [0, 1, 2].map(deadline);
    wait_until("the locks", || {
        let keys = [0, 1, 2].map(|peer| bed.key_on(peer));
        let seen = boottime();
        let early = |peer: &usize| keys[*peer] != released[*peer] && seen < deadlines[*peer];
        assert_eq!((0..3).find(early), None, "locked before {deadlines:?}, at {seen}");
        (0..3).all(|peer| keys[peer] != released[peer])
    });
}

#[test]
fn a_round_after_the_deadline_locks_with_the_bastion_gone() {
    let mut bed = Bed::new(1);
    bed.rotate();
    let released = bed.key_on(0);
    let until = Instant::now() + Duration::from_secs(10);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.rotate();
    assert!(bed.state_text().contains("\"hold\":\"open\""), "the round has heard of the release");
    bed.bastion.stop();
    let out = bed.agent(&["rotate"]);
    assert_eq!(out.status.code(), Some(5));
    wait_until("the deadline", || Instant::now() > until);
    let out = bed.agent(&["rotate"]);
    assert_eq!((out.status.code(), out.stderr.is_empty()), (Some(5), true), "it has said so already: {out:?}");
    assert_ne!(bed.key_on(0), released);
}

#[test]
fn a_session_that_was_prolonged_since_the_last_round_goes_on() {
    let bed = Bed::new(2);
    bed.rotate();
    let (prolonged, over) = (bed.key_on(0), bed.key_on(1));
    let until = Instant::now() + Duration::from_secs(10);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.bastion.change(&bed.peers[1], |connection| connection.released = Some((1, until)));
    bed.rotate();
    let later = until + Duration::from_secs(3600);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, later)));
    wait_until("the deadline", || Instant::now() > until);
    let out = bed.agent(&["rotate"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(bed.key_on(0), prolonged, "who has just logged in is not cut off");
    assert!(bed.key_on(1) != over && bed.is_waiting(1), "the other session is over");
    assert!(bed.state_text().contains("\"hold\":\"open\""));
}

#[test]
fn a_bastion_that_says_nothing_holds_no_session_open() {
    let bed = Bed::new(1);
    bed.rotate();
    let released = bed.key_on(0);
    let until = Instant::now() + Duration::from_secs(10);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.rotate();
    let later = until + Duration::from_secs(3600);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, later)));
    wait_until("the deadline", || Instant::now() > until);
    bed.bastion.talk_nonsense(b"");
    let mut asking = bed.command(&["rotate"]).spawn().unwrap();
    wait_until("the lock", || bed.key_on(0) != released);
    assert!(asking.try_wait().unwrap().is_none(), "it is locked although the answer may still come");
    asking.kill().unwrap();
    asking.wait().unwrap();
    let out = bed.agent(&["rotate"]);
    assert!(out.status.success(), "{out:?}");
    assert!(bed.is_waiting(0) && bed.key_on(0) != released, "a late word of the bastion revives nothing");
}

#[test]
fn a_bastion_that_never_stops_talking_keeps_no_deadline_waiting() {
    let bed = Bed::new(1);
    bed.rotate();
    let until = Instant::now() + Duration::from_secs(10);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.rotate();
    let (released, connected) = (bed.key_on(0), bed.bastion.connected());
    bed.bastion.talk_nonsense(b"");
    let mut asking = bed.command(&["rotate"]).spawn().unwrap();
    wait_until("the agent", || bed.bastion.connected() > connected);
    wait_until("the lock", || {
        bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
        bed.key_on(0) != released
    });
    assert!(asking.try_wait().unwrap().is_none(), "it goes on with the round");
    asking.kill().unwrap();
    asking.wait().unwrap();
}

#[test]
fn an_outage_is_told_once_and_its_end_once() {
    let mut bed = Bed::new(1);
    bed.rotate();
    bed.bastion.stop();
    let out = bed.agent(&["rotate"]);
    let port = bed.bastion.port();
    let lines = format!(
        "wgmfa-agent: error: bastion [127.0.0.1]:{port}: connection refused\n\
         wgmfa-agent: hint: try: ssh -p {port} agent@127.0.0.1\n"
    );
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(5), lines));
    assert_eq!(bed.agent(&["status"]).status.code(), Some(5));
    let out = bed.agent(&["rotate"]);
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(5), String::new()));
    bed.bastion.resume();
    let out = bed.agent(&["rotate"]);
    let line = format!("wgmfa-agent: bastion [127.0.0.1]:{port}: reached again\n");
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), line));
    bed.rotate();
}

#[test]
fn beside_a_resident_agent_an_outage_is_told_once_too() {
    let mut bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    bed.rotate();
    bed.bastion.stop();
    let out = bed.agent(&["rotate"]);
    assert!(out.status.code() == Some(5) && text(&out.stderr).starts_with("wgmfa-agent: error: "), "{out:?}");
    for _ in 0..2 {
        let out = bed.agent(&["rotate"]);
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(5), String::new()));
    }
    let out = bed.agent(&["rotate", "--dry-run"]);
    assert!(out.status.code() == Some(5) && !out.stderr.is_empty(), "who looks is answered: {out:?}");
    bed.bastion.resume();
    let out = bed.agent(&["rotate"]);
    let line = format!("wgmfa-agent: bastion [127.0.0.1]:{}: reached again\n", bed.bastion.port());
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), line));
    bed.rotate();
}

#[test]
fn after_a_reboot_everything_is_locked_until_the_bastion_speaks() {
    let mut bed = Bed::new(1);
    bed.rotate();
    let until = Instant::now() + Duration::from_secs(600);
    bed.bastion.change(&bed.peers[0], |connection| connection.released = Some((1, until)));
    bed.rotate();
    let released = bed.key_on(0);
    bed.bastion.stop();
    let rotate = || bed.command(&["rotate"]).env("WGMFA_BOOT_ID", "another").output().unwrap();
    assert_eq!(rotate().status.code(), Some(5));
    let locked = bed.key_on(0);
    assert_ne!(locked, released, "the same key on the interface is not trusted");
    assert_eq!(rotate().status.code(), Some(5));
    assert_eq!(bed.key_on(0), locked);
}

#[test]
fn a_rebooted_machine_brings_its_interface_up_locked() {
    let mut bed = Bed::new(1);
    bed.rotate();
    let released = bed.key_on(0);
    bed.bastion.stop();
    bed.remove_interface();
    let out = bed.command(&["lock"]).env("WGMFA_BOOT_ID", "another").output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "before any interface is up: {out:?}");
    let interface = bed.interface.clone();
    bed.add_interface(&interface);
    bed.set_from_file();
    assert!(bed.key_on(0) != released && bed.key_on(0) != bed.configured);
    bed.bastion.resume();
    bed.bastion.forget_heard();
    let out = bed.command(&["rotate"]).env("WGMFA_BOOT_ID", "another").output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(bed.is_waiting(0) && bed.key_on(0) != released);
    let events = bed.bastion.heard().into_iter().find_map(|heard| match heard.message {
        FromAgent::Report { events, .. } => Some(events),
        _ => None,
    });
    assert!(events.unwrap().iter().all(|event| event.event == "lock"), "nobody changed anything from outside");
}

#[test]
fn a_waiting_key_is_locked_one_interval_after_the_last_contact() {
    let mut bed = Bed::new(1);
    bed.bastion.cover(&bed.peers, 5);
    bed.rotate();
    let waiting = bed.key_on(0);
    bed.bastion.stop();
    wait_until("one interval", || {
        bed.agent(&["rotate"]);
        bed.key_on(0) != waiting
    });
    assert!(
        bed.state_text().contains("the bastion was not reached for 5s, and the waiting key may have been released")
    );
}

#[test]
fn a_shorter_interval_counts_for_a_key_that_waits_already() {
    let mut bed = Bed::new(1);
    bed.rotate();
    bed.bastion.cover(&bed.peers, 5);
    bed.rotate();
    let waiting = bed.key_on(0);
    bed.bastion.stop();
    wait_until("the new interval", || {
        bed.agent(&["rotate"]);
        bed.key_on(0) != waiting
    });
    assert!(bed.state_text().contains("the bastion was not reached for 5s"), "{}", bed.state_text());
}

#[test]
fn only_the_report_of_a_round_counts_as_contact() {
    let bed = Bed::new(1);
    bed.rotate();
    let state: serde_json::Value = serde_json::from_str(&bed.state_text()).unwrap();
    let (contact, applied) = (&state["last_contact"], &state["peers"][0]["held"]["hold"]["since"]);
    let asked_before = contact.as_u64().unwrap() < applied.as_u64().unwrap();
    assert!(asked_before, "who comes by is not told of a release after the report: {state}");
}

#[test]
fn a_session_without_a_handshake_is_locked_and_the_bastion_is_told() {
    let bed = Bed::new(1);
    bed.bastion.change(&bed.peers[0], |connection| connection.idle_timeout = Some(2));
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let released = bed.key_on(0);
    assert_eq!(bed.bastion.open(&bed.peers[0], 3600), None);
    wait_until("the lock", || bed.key_on(0) != released);
    wait_until("the log", || bed.log().contains(": locked: no handshake for 2 s\n"));
    wait_until("the bastion to be told", || {
        bed.bastion.heard().iter().any(|heard| match &heard.message {
            FromAgent::Report { events, .. } => {
                events.iter().any(|event| event.event == "idle" && event.generation == Some(1))
            }
            _ => false,
        })
    });
}

#[test]
fn a_round_remembers_since_when_a_session_is_idle() {
    let mut bed = Bed::new(1);
    bed.bastion.change(&bed.peers[0], |connection| connection.idle_timeout = Some(2));
    bed.rotate();
    let released = bed.key_on(0);
    let open = Some((1, Instant::now() + Duration::from_secs(3600)));
    bed.bastion.change(&bed.peers[0], |connection| connection.released = open);
    bed.rotate();
    let since = Instant::now();
    assert_eq!(bed.key_on(0), released, "the round has heard of the release");
    // another policy from now on: the session goes on as it began
    bed.bastion.change(&bed.peers[0], |connection| connection.idle_timeout = Some(7200));
    bed.bastion.stop();
    wait_until("the timeout", || since.elapsed() > Duration::from_secs(2));
    bed.agent(&["rotate"]);
    assert_ne!(bed.key_on(0), released);
    assert!(bed.state_text().contains("\"reason\":\"no handshake for 2 s\""));
}
