//! Under the site's own sshd a code opens the very session that it was given in, once: not another process of the same
//! Unix user, not a session by an SSH key alone, not another person.

use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::wait::{LONG, until};

use super::site::{REFUSAL, Site};
use super::sshd::{self, CODE, Master, Sshd};

const SYNC: &str = "/usr/local/bin/wgmfa-sync";

/// Nothing was handed out, and the text is the one for every reason.
#[track_caller]
fn refused(ended: Ended) {
    let ended = ended.expect(3);
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(
        ended.stderr.contains("wgmfa-sync: error: this session has no fresh login with a one-time code\n"),
        "{ended:?}"
    );
}

/// A site with a key that waits for justin; the agent must stay.
#[track_caller]
fn with_a_waiting_key(site: &Site) {
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
}

#[track_caller]
fn reasons(site: &Site, reason: &str) -> usize {
    let lines = site.bastion.log("release-refused");
    lines.iter().filter(|line| line["reason"] == format!("wgmfa-sync on this machine: {reason}")).count()
}

fn lines(ended: &Ended) -> usize {
    ended.stdout.lines().count()
}

#[test]
fn a_process_outside_of_it_gets_nothing() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    let master = sshd.master(&mut site.justin);
    // as cron starts it, while the code of a session is fresh
    refused(run(sshd.as_user("justin").args([SYNC, "--format", "tsv"]), b""));
    assert_eq!(reasons(&site, "the process descends from no session that was opened here lately"), 1);
    // what the session left behind belongs to nobody
    let left = "while [ ! -e /run/everybody/go ]; do sleep 0.02; done; wgmfa-sync --format tsv >/run/everybody/said 2>&1; \
                echo $? >/run/everybody/status.new; mv /run/everybody/status.new /run/everybody/status";
    master.ssh(&["bastion", &format!("setsid sh -c '{left}' </dev/null >/dev/null 2>&1 & true")]).ok();
    run(sshd.inside().args(["touch", "/run/everybody/go"]), b"").ok();
    let read = |name: &str| run(sshd.inside().args(["cat", &format!("/run/everybody/{name}")]), b"").stdout;
    until("the end of what was left behind", LONG, || Some(read("status")).filter(|status| !status.is_empty()));
    assert_eq!(read("status"), "3\n", "{}", read("said"));
    assert_eq!(reasons(&site, "the process descends from no session that was opened here lately"), 2);
    assert_eq!(site.count("released"), 0);
    // and all that has cost the session nothing
    assert_eq!(lines(&master.ssh(&["bastion", "wgmfa-sync"]).ok()), 1);
}

#[test]
fn a_session_by_a_key_alone_gets_nothing() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    sshd.add_key(&site.justin.laptop);
    let _master = sshd.master(&mut site.justin);
    sshd.ssh_by_key(&site.justin.laptop, &["true"]).ok();
    refused(sshd.ssh_by_key(&site.justin.laptop, &["wgmfa-sync"]));
    refused(sshd.ssh_by_key(&site.justin.laptop, &["wgmfa-sync", "--push", "app-gw"]));
    assert_eq!(reasons(&site, "its session came in without a one-time code"), 2);
    assert_eq!(site.count("released"), 0);
}

#[test]
fn another_person_gets_nothing_by_it() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    let mut alice = site.person("alice");
    alice.laptop.set_password(sshd::PASSWORD);
    let _master = sshd.master(&mut site.justin);
    refused(run(sshd.as_user("alice").args([SYNC, "--device", "justins-laptop"]), b""));
    let hers = sshd.ssh(&mut alice, CODE, &["bastion", "wgmfa-sync", "--device", "justins-laptop"]).expect(1);
    assert!(hers.stderr.contains("wgmfa-sync: error: --device: you have no device of that name\n"), "{hers:?}");
    // whoever becomes her in his session is neither of them
    assert_eq!(site.count("released"), 0);
}

#[test]
fn it_gets_them_once() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    let master = sshd.master(&mut site.justin);
    assert_eq!(lines(&master.ssh(&["bastion", "wgmfa-sync"]).ok()), 1);
    let again = master.ssh(&["bastion", "wgmfa-sync"]).expect(1);
    assert_eq!(again.stdout, "");
    assert!(again.stderr.contains("wgmfa-sync: error: this login has already had its keys\n"), "{again:?}");
    let subsystem = master.ssh(&["-s", "bastion", "wgmfa-sync"]).expect(1);
    assert_eq!(subsystem.stdout, "");
    assert_eq!((site.count("released"), site.count("renewed")), (1, 0));
}

#[test]
fn its_commands_take_turns() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    let master = sshd.master(&mut site.justin);
    let mut first = master.converse(&["-s", "bastion", "wgmfa-sync"]);
    first.say(b"{\"version\": 1}\n");
    assert_eq!(first.hear_json()["keys"].as_array().map(Vec::len), Some(1));
    let second = master.ssh(&["bastion", "wgmfa-sync"]).expect(1);
    assert!(second.stderr.contains("wgmfa-sync: error: another command runs on this connection\n"), "{second:?}");
    first.hush();
    first.end();
    assert_eq!(site.count("released"), 1);
}

#[test]
fn a_wrong_code_opens_none() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    site.justin.laptop.set_code("000000");
    let wrong = sshd.ssh_as_set(&site.justin.laptop, CODE, &["bastion", "wgmfa-sync"]).expect(255);
    assert!(wrong.stdout.is_empty() && wrong.stderr.contains(REFUSAL), "{wrong:?}");
    // and a code is good for one session
    let code = site.justin.fresh_code();
    site.justin.laptop.set_code(&code);
    sshd.ssh_as_set(&site.justin.laptop, CODE, &["bastion", "true"]).ok();
    sshd.ssh_as_set(&site.justin.laptop, CODE, &["bastion", "wgmfa-sync"]).expect(255);
    assert_eq!(site.count("released"), 0);
}

#[test]
fn a_disabled_person_gets_nothing() {
    let (mut site, sshd) = sshd::site();
    with_a_waiting_key(&site);
    sshd.add_key(&site.justin.laptop);
    let master = sshd.master(&mut site.justin);
    disable(&site);
    refused(master.ssh(&["bastion", "wgmfa-sync"]));
    assert_eq!(reasons(&site, "the person is disabled"), 1);
    // the account hook refuses what has no code to refuse
    sshd.ssh_by_key(&site.justin.laptop, &["true"]).expect(255);
    let login = sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync"]).expect(255);
    assert_eq!(login.stdout, "");
    assert_eq!(site.count("released"), 0);
}

#[track_caller]
fn disable(site: &Site) {
    site.bastion.admin(&["user", "disable", "justin"]).expect(6); // the host is not there to confirm
}

#[test]
fn a_session_from_before_a_reset_sets_no_new_secrets() {
    let (mut site, sshd) = sshd::site();
    let master = sshd.master(&mut site.justin);
    let codes = |master: &Master<'_>| master.ssh(&["bastion", "bash -c 'exec -a wgmfa-codes wgmfa-sync'"]);
    codes(&master).ok();
    site.bastion.admin_with(&["user", "reset", "justin", "--password-stdin"], b"another password\n").ok();
    let refused = codes(&master).expect(1);
    assert_eq!(refused.stdout, "", "{refused:?}");
    assert!(refused.stderr.contains("this login does not count any more"), "{refused:?}");
    assert_eq!(site.count("recovery-replaced"), 1);
}

#[test]
fn a_bastion_without_the_group_serves_nobody_and_says_so() {
    let mut site = Site::with(
        |machine| {
            sshd::own_people(machine);
            let group = std::path::Path::new("/etc/netns").join(machine.namespace()).join("group");
            let text = std::fs::read_to_string(&group).unwrap().replace("wgmfa-sync:", "other:");
            std::fs::write(group, text).unwrap();
        },
        sshd::by_sshd,
    );
    assert!(!site.bastion.folder().join("run/people.sock").exists());
    let words = "people-group: there is no group wgmfa-sync on this machine: who comes by sshd gets no keys";
    let checked = site.bastion.admin(&["check"]).expect(2);
    assert!(checked.stdout.contains(words), "{checked:?}");
    let status = site.bastion.admin(&["status"]).expect(1);
    assert!(status.stdout.contains(words), "{status:?}");
    site.bastion.configure("people-group", "\"other\"");
    site.bastion.stop();
    site.bastion.start();
    let sshd = Sshd::start_with_group(&site.bastion, "other");
    site.justin.laptop.set_password(sshd::PASSWORD);
    with_a_waiting_key(&site);
    assert_eq!(lines(&sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync"]).ok()), 1);
}
