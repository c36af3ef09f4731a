//! Rule 8: there is a way back for root on the server, and the bastion hears of it.

use wgmfa_core::message::agent::{FromAgent, ToAgent};

use crate::bed::{Bed, text, wait_until, wg_key};

fn reported(bed: &Bed) -> Vec<(String, String)> {
    let heard = bed.bastion.heard().into_iter();
    heard
        .flat_map(|heard| match heard.message {
            FromAgent::Report { events, .. } => events,
            _ => Vec::new(),
        })
        .map(|event| (event.event, event.reason))
        .collect()
}

#[test]
fn lock_needs_no_bastion_and_no_interface() {
    let mut bed = Bed::new(2);
    bed.rotate();
    bed.bastion.stop();
    let (keys, files) = ([bed.key_on(0), bed.key_on(1)], bed.keys_in_file());
    let out = bed.agent(&["lock"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    for number in 0..2 {
        assert_ne!(bed.key_on(number), keys[number]);
        assert_ne!(bed.keys_in_file()[number], files[number]);
    }
    let renamed = bed.file().with_file_name("gone.conf");
    std::fs::rename(bed.file(), &renamed).unwrap();
    assert!(bed.agent(&["lock"]).status.success());
    bed.bastion.resume();
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(0));
    assert!(bed.is_waiting(0) && bed.is_waiting(1));
    let told = || ("lock".to_owned(), "ordered by root".to_owned());
    assert_eq!(reported(&bed), [told(), told()]);
}

#[test]
fn override_opens_one_peer_for_a_time() {
    let mut bed = Bed::new(2);
    bed.rotate();
    bed.bastion.stop();
    let (key, other) = (wg_key(&["genpsk"], None), bed.key_on(1));
    let peer = bed.peers[0].public_key.to_string();
    let out = bed.agent_reads(&["override", &peer, "--reason", "bastion is down", "--for", "2s"], &format!("{key}\n"));
    assert!(out.status.success(), "{out:?}");
    assert!(text(&out.stdout).ends_with(": open for 2s; then it is locked again\n"), "{out:?}");
    assert_eq!((bed.key_on(0), bed.key_on(1)), (key.clone(), other));
    assert!(!bed.state_text().contains(&key));
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(5));
    wait_until("its time is over", || {
        bed.agent(&["rotate"]);
        bed.key_on(0) != key
    });
    bed.bastion.resume();
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(0));
    assert!(bed.is_waiting(0));
    assert_eq!(reported(&bed), [("override".to_owned(), "bastion is down".to_owned())]);
}

#[test]
fn the_bastion_hears_of_a_second_override_for_the_same_reason() {
    let mut bed = Bed::new(1);
    bed.rotate();
    bed.bastion.stop();
    let peer = bed.peers[0].public_key.to_string();
    for _ in 0..2 {
        let out = bed.agent_reads(&["override", &peer, "--reason", "bastion is down"], &wg_key(&["genpsk"], None));
        assert!(out.status.success(), "{out:?}");
    }
    bed.bastion.resume();
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(0));
    let told = || ("override".to_owned(), "bastion is down".to_owned());
    assert_eq!(reported(&bed), [told(), told()]);
}

#[test]
fn override_says_what_is_wrong_and_never_repeats_a_key() {
    let bed = Bed::new(2);
    bed.rotate();
    let words = |peer| ["override", peer, "--reason", "test"];
    let out = bed.agent_reads(&words("app-gw/devices:"), &wg_key(&["genpsk"], None));
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.starts_with("wgmfa-agent: error: several peers have that name: app-gw/devices:p"), "{said}");
    let out = bed.agent_reads(&words("nobody"), &wg_key(&["genpsk"], None));
    let line = "wgmfa-agent: error: no peer under a policy has that name here\nwgmfa-agent: hint: wgmfa-agent status lists them\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(1), line));
    let out = bed.agent_reads(&words("nobody"), "hunter2-is-no-key");
    let line = "wgmfa-agent: error: standard input: a key is 44 characters of base64 that decode to 32 bytes, as wg prints them\n\
                wgmfa-agent: hint: wg genpsk makes a key; pipe it in\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(2), line));
}

#[test]
fn stand_down_puts_back_what_was_configured_and_the_next_round_begins_again() {
    let bed = Bed::new(2);
    let mut file = std::fs::read_to_string(bed.file()).unwrap();
    let line = format!("PresharedKey = {}\n", bed.configured);
    file.replace_range(file.rfind(&line).unwrap()..file.rfind(&line).unwrap() + line.len(), "");
    std::fs::write(bed.file(), &file).unwrap();
    bed.set_from_file();
    bed.rotate();
    assert_eq!(bed.keys_in_file().len(), 2, "the peer without a key has a lock key now");

    let out = bed.agent(&["stand-down", "--reason", "migration"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(text(&out.stdout), "nothing is enforced here now; wgmfa-agent run or rotate begins again\n");
    assert_eq!(std::fs::read_to_string(bed.file()).unwrap(), file);
    assert_eq!((bed.key_on(0).as_str(), bed.key_on(1).as_str()), (bed.configured.as_str(), "(none)"));
    assert_eq!(bed.agent(&["status"]).status.code(), Some(6));
    let out = bed.agent(&["lock"]);
    assert_eq!(text(&out.stderr), "wgmfa-agent: root has had it stand down; nothing is locked\n");
    assert_eq!(bed.key_on(0), bed.configured);

    let state = bed.state_text();
    let out = bed.agent(&["rotate", "--dry-run"]);
    assert!(out.status.success(), "{out:?}");
    let told = bed.bastion.heard().into_iter().filter_map(|heard| match heard.message {
        FromAgent::Report { stood_down, .. } => Some(stood_down),
        _ => None,
    });
    assert_eq!(told.last(), Some(true), "a look begins nothing again");
    assert_eq!(bed.state_text(), state);

    bed.rotate();
    assert!(bed.is_waiting(0) && bed.is_waiting(1));
    let reasons: Vec<_> = reported(&bed).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["migration", "enforcing begins again"]);
}

#[test]
fn standing_down_twice_changes_nothing_and_forgets_no_key() {
    let bed = Bed::new(1);
    std::fs::remove_file(bed.file()).unwrap(); // the configured key stands nowhere but on the interface
    let stand_down = |reason: &str| {
        let out = bed.agent(&["stand-down", "--reason", reason]);
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        assert_eq!(text(&out.stdout), "nothing is enforced here now; wgmfa-agent run or rotate begins again\n");
        assert_eq!(bed.key_on(0), bed.configured);
    };
    bed.rotate();
    assert_ne!(bed.key_on(0), bed.configured);
    stand_down("migration");
    let state = bed.state_text();
    stand_down("once more");
    assert_eq!(bed.state_text(), state);
    bed.rotate();
    assert_ne!(bed.key_on(0), bed.configured);
    stand_down("to the end");
    bed.rotate();
    let reasons: Vec<_> = reported(&bed).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["migration", "enforcing begins again", "to the end", "enforcing begins again"]);
}

#[test]
fn an_override_is_no_longer_than_on_the_bastion() {
    let bed = Bed::new(1);
    bed.rotate();
    let (key, before) = (wg_key(&["genpsk"], None), bed.key_on(0));
    let peer = bed.peers[0].public_key.to_string();
    let open = |time: &str| bed.agent_reads(&["override", &peer, "--reason", "test", "--for", time], &key);
    for time in ["0s", "100d", "30d1s"] {
        let out = open(time);
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        assert_eq!(text(&out.stderr), "wgmfa-agent: error: --for: write a time of at most 30d\n");
    }
    assert_eq!(bed.key_on(0), before);
    assert!(open("30d").status.success());
    assert_eq!(bed.key_on(0), key);
}

#[test]
fn a_resident_agent_carries_out_what_root_orders() {
    let bed = Bed::new(1);
    let mut resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let key = wg_key(&["genpsk"], None);
    let peer = bed.peers[0].public_key.to_string();
    let out = bed.agent_reads(&["override", &peer, "--reason", "test"], &key);
    assert!(out.status.success() && bed.key_on(0) == key, "{out:?}");
    let out = bed.agent(&["lock"]);
    assert!(out.status.success(), "{out:?}");
    wait_until("a key waits again", || bed.key_on(0) != key && bed.is_waiting(0));
    let out = bed.agent(&["stand-down", "--reason", "test"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(bed.key_on(0), bed.configured);
    assert_eq!(resident.0.wait().unwrap().code(), Some(0), "there is nothing to stay for");
    assert_eq!(bed.key_on(0), bed.configured);
}

#[test]
fn what_root_does_while_a_report_is_on_its_way_is_told_by_the_next_one() {
    let bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    bed.bastion.forget_heard();
    bed.bastion.talk_nonsense(b""); // no answer yet
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("a report", || !bed.bastion.heard().is_empty());
    let peer = bed.peers[0].public_key.to_string();
    let out = bed.agent_reads(&["override", &peer, "--reason", "in between"], &wg_key(&["genpsk"], None));
    assert!(out.status.success(), "{out:?}");
    bed.bastion.send(ToAgent::Assignments {
        assignments: Vec::new(),
        uncovered: Vec::new(),
        deliveries: Vec::new(),
        log_head: None,
        pairs: Vec::new(),
        gates: Vec::new(),
        free: Vec::new(),
        gated: Vec::new(),
        restored: Vec::new(),
        host_keys: Vec::new(),
    });
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("the next report tells of it", || reported(&bed) == [("override".to_owned(), "in between".to_owned())]);
}
