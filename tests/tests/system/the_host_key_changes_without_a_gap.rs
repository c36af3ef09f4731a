//! The bastion gets another SSH host key: hosts and people learn it ahead, over connections that the old one authenticates;
//! whoever slept through it is told what to do, and nothing is told to a key that nobody announced.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::{Bastion, PORT};
use wgmfa_tests::wait::{LONG, until};

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The keys that the bastion names for known_hosts, without names in front.
fn announced(bastion: &Bastion) -> Vec<String> {
    let told = bastion.admin(&["host-key"]).ok().stdout;
    told.lines().filter_map(|line| line.split_once(' ')).map(|(_, key)| key.to_owned()).collect()
}

/// Waits until a file has exactly these keys for the bastion.
#[track_caller]
fn await_keys(path: &Path, bastion: &Bastion, keys: &[String]) {
    let mut expected: Vec<String> = keys.iter().map(|key| format!("[{}]:{PORT} {key}", bastion.address)).collect();
    expected.sort();
    until(&format!("{} host keys in {}", keys.len(), path.display()), LONG, || {
        let mut found = lines(path);
        found.sort();
        (found == expected).then_some(())
    });
}

#[test]
fn hosts_and_people_follow_to_the_next_key_and_forget_the_old_one() {
    let mut lab = Lab::with_resident_agent("1h");
    // where ssh follows servers, wgmfa sync follows the bastion
    let config = std::fs::read_to_string(lab.laptop.ssh_config()).unwrap();
    lab.laptop.machine.write("ssh_config", &format!("{config}  UpdateHostKeys yes\n"));
    let (of_host, of_person) = (lab.gateway.machine.path("known_hosts"), lab.laptop.machine.path("known_hosts"));
    let slept = std::fs::read(&of_host).unwrap();
    let first = announced(&lab.bastion);
    lab.bastion.admin(&["host-key", "switch"]).expect(1);

    let told = lab.bastion.admin(&["host-key", "rotate"]).ok().stdout;
    assert!(told.starts_with("the next host key is announced"), "{told}");
    let both = announced(&lab.bastion);
    assert!(both.len() == 2 && both[0] == first[0], "{both:?}");
    await_keys(&of_host, &lab.bastion, &both);
    until("the host's word that it knows the next key", LONG, || {
        let again = lab.bastion.admin(&["--json", "host-key", "rotate"]).ok().json();
        assert_eq!((&again["changed"], &again["stage"]), (&false.into(), &"announced".into()));
        again["without_next"].as_array()?.is_empty().then_some(())
    });
    lab.log_in();
    await_keys(&of_person, &lab.bastion, &both);
    // stock ssh: over a connection that the key in use authenticates
    let address = lab.bastion.address.clone();
    let printed = lab.laptop.ssh(&["wgmfa-host-key", &address]).ok().stdout;
    let expected: Vec<String> = both.iter().map(|key| format!("[{address}]:{PORT} {key}")).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);

    lab.bastion.admin(&["host-key", "switch"]).ok();
    assert_eq!(announced(&lab.bastion), both[1..]);
    lab.gateway.agent.take().expect("it runs").stop();
    lab.gateway.start();
    lab.gateway.await_contact(&lab.bastion);
    lab.log_in();
    // nobody forgets the old one before it is retired
    assert_eq!(lines(&of_host).len(), 2);

    lab.bastion.admin(&["host-key", "retire"]).ok();
    await_keys(&of_host, &lab.bastion, &both[1..]);
    lab.log_in();
    await_keys(&of_person, &lab.bastion, &both[1..]);
    assert_eq!(lab.bastion.admin(&["host-key", "retire"]).ok().stdout.lines().next(), Some("unchanged"));
    for event in ["host-key-announced", "host-key-switched", "host-key-retired"] {
        assert_eq!(lab.bastion.log(event).len(), 1, "{event}");
    }

    // a restart finds the new key, and a host that slept is told what to do and tells nothing
    lab.gateway.agent.take().expect("it runs").stop();
    lab.bastion.stop();
    lab.bastion.start();
    std::fs::write(&of_host, slept).unwrap();
    for words in [&["rotate"][..], &["check"]] {
        let said = lab.gateway.agent(words).expect(5).stderr;
        assert!(said.contains("its host key is not the one in "), "{said}");
        assert!(said.contains("compare with wgmfa-bastion host-key on the bastion, then: rm "), "{said}");
    }
    assert_eq!(lines(&of_host).len(), 1, "nothing was learned");
}

#[test]
fn the_switch_waits_for_hosts_that_do_not_know_the_key() {
    let lab = Lab::with_resident_agent("1h");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    lab.bastion.add_host("asleep", key);
    let before = announced(&lab.bastion);
    lab.bastion.admin(&["host-key", "rotate"]).ok();
    await_keys(&lab.gateway.machine.path("known_hosts"), &lab.bastion, &announced(&lab.bastion));
    until("all but one to know it", LONG, || {
        let said = lab.bastion.admin(&["host-key", "switch"]).expect(1).stderr;
        said.contains("hosts that do not know the next host key yet: asleep\n").then_some(())
    });
    // given up: the next key is gone, and forgotten
    lab.bastion.admin(&["host-key", "retire"]).ok();
    assert_eq!(announced(&lab.bastion), before);
    await_keys(&lab.gateway.machine.path("known_hosts"), &lab.bastion, &before);
    lab.bastion.admin(&["host-key", "rotate"]).ok();
    lab.bastion.admin(&["host-key", "switch", "--force"]).ok();
    assert_ne!(announced(&lab.bastion), before);
}

#[test]
fn a_bastion_that_is_killed_in_a_switch_has_one_key_and_finishes_it() {
    for point in ["host-key-kept", "host-key-switched"] {
        let mut lab = Lab::with_resident_agent("1h");
        lab.bastion.admin(&["host-key", "rotate"]).ok();
        let both = announced(&lab.bastion);
        await_keys(&lab.gateway.machine.path("known_hosts"), &lab.bastion, &both);
        lab.bastion.stop();
        lab.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
        lab.bastion.admin(&["host-key", "switch", "--force"]).expect(5);
        let mut serve = lab.bastion.serve.take().expect("it was started");
        assert_eq!(serve.await_end().signal(), Some(9), "it is killed at {point}: {}", serve.said());
        until("the end of front and workers", LONG, || lab.bastion.machine.pids().is_empty().then_some(()));
        lab.bastion.start();
        lab.gateway.await_contact(&lab.bastion);
        lab.bastion.admin(&["host-key", "switch", "--force"]).ok();
        assert_eq!(announced(&lab.bastion), both[1..], "{point}");
        lab.bastion.admin(&["host-key", "retire"]).ok();
        await_keys(&lab.gateway.machine.path("known_hosts"), &lab.bastion, &both[1..]);
    }
}
