//! Five wrong answers lock a person from the source that gave them, and from no other. Nobody learns from a refusal why
//! it was one.

use std::time::Instant;

use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::program::Ended;

use super::site::{Person, REFUSAL, REFUSAL_AFTER, Site};

/// One login with these answers is refused; gives what the person saw.
#[track_caller]
fn refused(person: &Person, user: &str, password: &str, code: &str) -> (Vec<String>, String) {
    person.laptop.set_password(password);
    person.laptop.set_code(code);
    let asked = person.laptop.asked().len();
    let begun = Instant::now();
    let Ended { stdout, stderr, .. } = person.laptop.ssh_as_set(&["-l", user, "wgmfa-sync"]).expect(255);
    assert!(begun.elapsed() > REFUSAL_AFTER, "a refusal that comes at once tells its reason");
    assert_eq!(stdout, "");
    person.laptop.set_password(PASSWORD);
    let said = stderr.lines().filter(|line| !line.contains("Permission denied (")).collect();
    let prompts = person.laptop.asked().split_off(asked);
    let prompts = prompts.iter().filter_map(|prompt| prompt.split_once(") ")).map(|(_, prompt)| prompt.to_owned());
    (prompts.collect(), said)
}

/// Wrong answers, until the bastion looks at no more of them.
fn guess(person: &Person) {
    std::thread::scope(|scope| {
        for _ in 0..5 {
            // the same source from several connections at once
            scope.spawn(|| drop(person.laptop.ssh_as_set(&["wgmfa-sync"]).expect(255)));
        }
    });
}

#[test]
fn the_lock_outlives_the_keeper_and_an_administrator_lifts_it() {
    let mut site = Site::new();
    site.justin.laptop.set_password("wrong");
    site.justin.laptop.set_code("000000");
    guess(&site.justin);
    site.justin.laptop.set_password(PASSWORD);
    assert!(site.justin.ssh(&["wgmfa-status"]).expect(255).stderr.contains(REFUSAL), "all right, and locked");
    // the same person from another address
    let address = std::process::id() % 100 + 100;
    let elsewhere = format!("10.99.0.{address}");
    site.justin.laptop.machine.ip(&["addr", "add", &format!("{elsewhere}/24"), "dev", "eth0"]);
    site.justin.ssh(&["-b", &elsewhere, "wgmfa-status"]).ok();
    assert!(
        site.justin.ssh(&["wgmfa-status"]).expect(255).stderr.contains(REFUSAL),
        "a success elsewhere lifts nothing"
    );

    site.bastion.kill();
    site.bastion.start();
    assert!(site.justin.ssh(&["wgmfa-status"]).expect(255).stderr.contains(REFUSAL));
    let locked = site.bastion.log("login-refused");
    let reason = locked.last().unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("locked from this source until "), "{reason}");
    assert!(site.bastion.admin(&["why", "justin"]).said().contains("unlock"));

    for changed in [true, false] {
        assert_eq!(site.bastion.admin(&["--json", "user", "unlock", "justin"]).ok().json()["changed"], changed);
    }
    site.justin.ssh(&["wgmfa-status"]).ok();
    assert_eq!(site.count("user-unlocked"), 1);
}

#[test]
fn every_refusal_reads_alike() {
    let mut site = Site::new();
    let alice = site.person("alice");
    site.bastion.admin(&["user", "disable", "alice"]).ok();
    let code = site.justin.fresh_code();
    let mut seen = vec![
        refused(&site.justin, "justin", "wrong", &code),
        refused(&site.justin, "justin", PASSWORD, "000000"),
        refused(&site.justin, "justin", PASSWORD, ""),
        refused(&site.justin, "nobody-here", PASSWORD, &code),
        refused(&site.justin, "Not A Name!", PASSWORD, &code),
        refused(&alice, "alice", PASSWORD, "000000"),
    ];
    site.justin.laptop.set_password("wrong");
    guess(&site.justin);
    seen.push(refused(&site.justin, "justin", PASSWORD, &code)); // locked
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    let (prompts, said) = seen.remove(0);
    assert_eq!(prompts, ["Password: ", "One-time code: "]);
    assert_eq!(said, REFUSAL);
    // an administrator sees the reasons
    let reasons: Vec<_> = site.bastion.log("login-refused").into_iter().map(|line| line["reason"].clone()).collect();
    for reason in ["password wrong", "code wrong", "no such person", "the person is disabled"] {
        assert!(reasons.iter().any(|logged| logged == reason), "{reason}: {reasons:?}");
    }
    assert!(!reasons.iter().any(|reason| reason.to_string().contains("Not A Name")), "it may be a password");
}
