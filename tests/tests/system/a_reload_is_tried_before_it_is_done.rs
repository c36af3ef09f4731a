//! Policies in force change only by a whole set without faults, and one can ask first for whom.

use std::process::Command;

use nix::sys::signal::Signal;
use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::{USER, policy};
use wgmfa_tests::program::{Ended, run};

use super::site::{Host, INTERFACE, Site, device_of};

/// The policies in force name two devices only.
const TWO: &str = "description = \"Two\"\nrotation-interval = \"1h\"\nmfa = true\n\
                   client-peers = [\"justins-laptop\", \"tablet-00\"]\n";

/// So many peers does a host lock or rotate.
#[track_caller]
fn assigned(host: &Host, peers: &[&str]) -> usize {
    let answer = host.connect(false).report(peers, Some(3600));
    answer["assignments"].as_array().map_or(0, Vec::len)
}

fn loads(bastion: &Bastion) -> usize {
    bastion.log("policies-loaded").len()
}

#[test]
fn a_dry_run_says_what_would_change_and_for_whom_and_changes_nothing() {
    let site = Site::with(|_| {}, |bastion| bastion.policy("101-devices.toml", TWO));
    let host = site.host("app-gw");
    let mut keys: Vec<String> = (0..20).map(|n| site.device(&format!("tablet-{n:02}"), USER)).collect();
    keys.push(site.justin.public_key().to_owned());
    let peers: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(assigned(&host, &peers), 2);
    let (loaded, before) = (loads(&site.bastion), site.bastion.keys());

    site.bastion.policy("101-devices.toml", &policy("30m", &format!("app-gw/{INTERFACE}")));
    let tried = site.bastion.admin(&["reload", "--dry-run"]).ok().stdout;
    let mut lines = tried.lines();
    assert_eq!(lines.next(), Some("19 connections lock now, 2 change policy"), "{tried}");
    assert_eq!(lines.next(), Some("lock now (1 person's):"), "{tried}");
    let line = |device: &str, step: &str| format!("  app-gw/{INTERFACE}:{device} ({USER}): {step}\n");
    assert!(tried.contains(&line("tablet-01", "no policy -> policy 101")), "{tried}");
    assert!(tried.contains("change policy (1 person's):\n"), "{tried}");
    assert!(tried.contains(&line(&device_of(USER), "policy 101, edited")), "{tried}");
    assert_eq!(tried.lines().count(), 1 + (1 + 19) + (1 + 2), "{tried}");
    let object = site.bastion.admin(&["--json", "reload", "--dry-run"]).ok().json();
    assert_eq!(
        (&object["changed"], &object["lock_now"], &object["change_policy"]),
        (&false.into(), &19.into(), &2.into())
    );
    assert_eq!(site.bastion.keys(), before);
    assert_eq!(loads(&site.bastion), loaded);
    assert_eq!(assigned(&host, &peers), 2, "nothing has changed");

    assert_eq!(site.bastion.admin(&["reload"]).ok().stdout, tried, "it says the same and does it");
    assert_eq!(loads(&site.bastion), loaded + 1);
    assert_eq!(assigned(&host, &peers), 21);
}

#[test]
fn a_broken_file_leaves_the_running_set_in_force() {
    let site = Site::new();
    let host = site.host("app-gw");
    let peers = [site.justin.public_key()];
    assert_eq!(assigned(&host, &peers), 1);
    site.bastion.policy("050-new.toml", &policy("1x", "db-gw/wg0"));
    std::fs::remove_file(site.bastion.folder().join("policy.d/101-devices.toml")).expect("the site writes it");
    let serve = site.bastion.serve.as_ref().expect("it runs");
    for words in [&["reload"][..], &["reload", "--dry-run"]] {
        let refused = site.bastion.admin(words).expect(2);
        assert!(refused.stderr.contains("050-new.toml:2:21: "), "{refused:#?}");
        assert!(refused.stderr.contains("hint: the policies in force stay as they are"), "{refused:#?}");
    }
    serve.signal(Signal::SIGHUP);
    serve.await_line("wgmfa-bastion: reload: hint: the policies in force stay as they are");
    assert!(serve.said().contains("050-new.toml:2:21: "), "{}", serve.said());
    assert_eq!(site.count("policies-refused"), 2, "one for each that was no dry run");
    assert_eq!(assigned(&host, &peers), 1, "the running set stays");

    site.bastion.policy("050-new.toml", &policy("1h", "db-gw/wg0"));
    serve.signal(Signal::SIGHUP);
    serve.await_line("1 connection stays locked after its deadline");
}

#[test]
fn it_does_not_start_with_a_broken_set_or_with_none() {
    let mut site = Site::new();
    site.bastion.stop();
    let start = |bastion: &Bastion| -> Ended {
        let mut serve: Command = bastion.machine.command("timeout");
        serve.arg("20").arg(wgmfa_tests::program::ours("wgmfa-bastion"));
        run(serve.arg("--config").arg(bastion.folder().join("bastion.toml")).arg("serve"), b"")
    };
    site.bastion.policy("050-new.toml", &policy("1x", "db-gw/wg0"));
    let refused = start(&site.bastion).expect(2);
    assert!(refused.stderr.contains("050-new.toml:2:21: "), "{refused:#?}");
    for name in ["050-new.toml", "101-devices.toml"] {
        std::fs::remove_file(site.bastion.folder().join("policy.d").join(name)).expect("it is there");
    }
    let refused = start(&site.bastion).expect(2);
    assert!(
        refused.stderr.contains("there is no policy file (*.toml) here, and nothing would be protected"),
        "{refused:#?}"
    );
}
