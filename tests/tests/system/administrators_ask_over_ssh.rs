//! `ssh bastion wgmfa-bastion …`: an administrator types the same words as on the bastion and reads the same answers.
//! What opens, shows or destroys something costs a code of its own.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::tunnel::Keys;
use wgmfa_tests::wait::{LONG, until};

use super::site::{Person, Site};

const PROGRAM: &str = "wgmfa-bastion";

/// A site with the administrator ann.
fn site() -> (Site, Person) {
    let mut site = Site::new();
    let ann = site.administrator("ann");
    (site, ann)
}

#[test]
fn the_same_words_give_the_same_answers() {
    let (site, mut ann) = site();
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let master = ann.master();
    for words in [
        &["key", "list"][..],
        &["--json", "key", "list", "justin"],
        &["user", "list", "--json"],
        &["--json", "device", "list"],
        &["policy", "explain"],
        &["log", "--event", "user-added"],
        &["why", "justin"],
        &["key", "list", "--help"],
        // wrong usage, with its hint and its exit status
        &["key"],
        &[],
        &["user", "disable"],
        &["user", "shwo", "justin"],
        &["key", "rotate", "laptop"],
        &["device", "show", "nobodys"],
        &["why", "nobody"],
    ] {
        let here = site.bastion.admin(words);
        let there = master.ssh(&[&["bastion", PROGRAM], words].concat());
        let told = |ended: &wgmfa_tests::program::Ended| (ended.code(), ended.stdout.clone(), ended.stderr.clone());
        assert_eq!(told(&there), told(&here), "{words:?}");
    }
    // without a command there is one name more than for others
    let bare = master.ssh(&["bastion"]).ok().stdout;
    assert!(bare.contains(&format!(", {PROGRAM} (ssh bastion wgmfa-sync)\n")), "{bare}");
}

#[test]
fn an_act_stands_in_the_log_with_who_and_from_where() {
    let (site, mut ann) = site();
    let said = ann.ssh(&[PROGRAM, "user", "disable", "justin"]).ok();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("disabled justin\n", ""));
    let line = &site.bastion.log("user-disabled")[0];
    assert_eq!((&line["user"], &line["actor"]), (&"justin".into(), &"ann".into()), "{line}");
    let from = line["from"].as_str().expect("an address");
    assert!(from.starts_with("10.99.0.") && from != site.bastion.address, "{line}");
}

#[test]
fn who_cuts_themself_off_hears_the_answer_first() {
    let (site, mut ann) = site();
    let master = ann.master();
    assert_eq!(master.ssh(&["bastion", PROGRAM, "user", "disable", "ann"]).ok().stdout, "disabled ann\n");
    until("the end of the connection", LONG, || (master.ssh(&["-O", "check", "bastion"]).code() != 0).then_some(()));
    drop(master);
    site.bastion.admin(&["user", "enable", "ann"]).ok();
    let reset = ann.ssh_with(&[PROGRAM, "user", "reset", "ann", "--password-stdin"], b"another password\n");
    assert!(reset.ok().stdout.contains("otpauth://totp/"), "the new secret, shown once");
}

#[test]
fn nobody_else_may() {
    let (mut site, _ann) = site();
    let master = site.justin.master();
    for command in ["wgmfa-bastion key list", "wgmfa-bastion --json user list", "wgmfa-bastion user add eve --admin"] {
        let refused = master.ssh(&["bastion", command]).expect(1);
        let line = "wgmfa-bastion: error: only an administrator may ask for this\n";
        assert_eq!((refused.stdout.as_str(), refused.stderr.as_str()), ("", line), "{command}");
    }
    drop(master);
    let log = site.bastion.log("act-refused");
    let reasons: Vec<_> = log.iter().map(|line| line["reason"].as_str().unwrap_or_default()).collect();
    let whys = ["key list", "user list", "user add"].map(|act| format!("{act}: not an administrator"));
    assert_eq!(reasons, whys);
    assert!(log.iter().all(|line| line["user"] == "justin" && line["from"].is_string()), "{log:?}");
}

#[test]
fn what_only_the_one_at_the_machine_may_ask_for_is_refused() {
    let (_site, mut ann) = site();
    let master = ann.master();
    for (words, what) in [
        ("init", "init"),
        ("serve", "serve"),
        ("check --config /etc/shadow", "--config"),
        ("host add app-gw --key /etc/shadow", "a file other than -"),
        ("policy check /etc", "a folder other than -"),
        ("policy explain --inventory /etc/shadow", "a file other than -"),
        ("policy explain --inventory - --policy-dir /etc", "a folder other than -"),
    ] {
        let refused = master.ssh(&["bastion", &format!("{PROGRAM} {words}")]).expect(2);
        let error = format!("wgmfa-bastion: error: {what} is refused here\n");
        assert_eq!((refused.stdout.as_str(), refused.stderr.starts_with(&error)), ("", true), "{refused:?}");
    }
}

#[test]
fn an_act_costs_a_fresh_code() {
    let (site, mut ann) = site();
    let key = Keys::generate().public;
    let add = ["bastion", PROGRAM, "device", "add", "tablet", "--owner", "justin", "--public-key", &key];
    let master = ann.master();
    // looking and cutting off are free, and leave the code unspent
    master.ssh(&["bastion", PROGRAM, "device", "list"]).ok();
    master.ssh(&["bastion", PROGRAM, "device", "disable", "justins-laptop"]).ok();
    assert_eq!(master.ssh(&add).ok().stdout, "added tablet\n");
    for words in ["device enable tablet", "user unlock justin", "user add eve --system-password --admin"] {
        let refused = master.ssh(&["bastion", &format!("{PROGRAM} {words}")]).expect(1);
        let lines = "wgmfa-bastion: error: the code of this login has already paid for an administrator's act\n\
                     wgmfa-bastion: hint: log in again: each act of this kind costs a fresh code\n";
        assert_eq!((refused.stdout.as_str(), refused.stderr.as_str()), ("", lines), "{words}");
    }
    master.ssh(&["bastion", PROGRAM, "device", "show", "tablet"]).ok();
    let keys = master.ssh(&["bastion", "wgmfa-sync"]);
    assert_eq!(keys.stdout, "", "a login that paid for an act has no keys");
    drop(master);
    let [paid] = &site.bastion.log("act-allowed")[..] else { panic!("one act was paid for") };
    assert_eq!((&paid["actor"], &paid["reason"]), (&"ann".into(), &"device add".into()));
    assert_eq!(site.count("act-refused"), 3);
    assert_eq!(site.bastion.admin(&["--json", "user", "list"]).json()["users"].as_array().map(Vec::len), Some(2));
    ann.ssh(&[PROGRAM, "device", "remove", "tablet"]).ok();
}

#[test]
fn a_login_that_had_its_keys_pays_for_no_act() {
    let (site, mut ann) = site();
    let device = ann.public_key().to_owned();
    site.host("app-gw").connect(false).wait_with_keys(&[&device], 1);
    let master = ann.master();
    assert_eq!(master.ssh(&["bastion", "wgmfa-sync"]).ok().stdout.lines().count(), 1);
    let refused = master.ssh(&["bastion", PROGRAM, "user", "remove", "justin"]).expect(1);
    assert!(refused.stderr.contains("error: this login has already had its keys\n"), "{refused:?}");
    drop(master);
    assert_eq!(site.count("act-allowed"), 0);
}

#[test]
fn what_a_command_reads_comes_through_the_channel() {
    let (site, mut ann) = site();
    let added = ann.ssh_with(&[PROGRAM, "user", "add", "bob", "--password-stdin"], format!("{PASSWORD}\n").as_bytes());
    assert!(added.ok().stdout.contains("otpauth://totp/"));
    let log = site.bastion.admin(&["log", "--json"]).ok().stdout;
    assert!(!log.contains(PASSWORD));
    let refused = ann.ssh_with(&[PROGRAM, "host", "add", "app-gw", "--key", "-"], "x".repeat(1_100_000).as_bytes());
    assert_eq!(refused.code(), 1, "{refused:?}");
    let lines = format!("{}\n", "x".repeat(60_000)).repeat(18);
    let refused = ann.ssh_with(&[PROGRAM, "host", "add", "app-gw", "--key", "-"], lines.as_bytes()).expect(1);
    assert!(refused.stderr.contains("standard input: longer than 1 MiB"), "{refused:?}");
    // a command that reads nothing does not wait for the end of its input
    let mut open = ann.start(&["bastion", PROGRAM, "host", "list"]);
    assert_eq!(open.hear().as_deref(), Some("no hosts"));
    assert!(open.end().0.success());
}

#[test]
fn a_followed_log_goes_on_until_the_caller_leaves() {
    let (site, mut ann) = site();
    let mut follower = ann.start(&["bastion", PROGRAM, "log", "--follow", "--json"]);
    let hear = |event: &str| {
        let mut lines = std::iter::from_fn(|| follower.hear());
        let found = lines.find(|line| serde_json::from_str::<Value>(line).expect("a JSON line")["event"] == event);
        assert!(found.is_some(), "{event}");
    };
    hear("login-accepted");
    site.bastion.admin(&["user", "disable", "justin"]).ok();
    hear("user-disabled");
    site.bastion.admin(&["user", "enable", "justin"]).ok();
    hear("user-enabled");
    // cut off, she hears nothing more
    site.bastion.admin(&["user", "disable", "ann"]).ok();
    assert!(!follower.end().0.success());
    assert_eq!(follower.hear_within(Duration::from_millis(200)).filter(|line| line.contains("user-enabled")), None);
}

#[test]
fn a_connection_runs_one_command_at_a_time() {
    let (_site, mut ann) = site();
    let master = ann.master();
    let follower = master.start(&["bastion", PROGRAM, "log", "--follow"]);
    assert!(follower.hear().is_some_and(|line| line.contains("EVENT")));
    let refused = master.ssh(&["bastion", PROGRAM, "user", "list"]).expect(1);
    assert!(refused.stderr.starts_with("wgmfa: error: another command runs on this connection\n"), "{refused:?}");
    drop(follower);
    until("the end of the first command", LONG, || {
        (master.ssh(&["bastion", PROGRAM, "user", "list"]).code() == 0).then_some(())
    });
}

#[test]
fn a_long_answer_arrives_whole_however_slowly_it_is_read() {
    let (site, mut ann) = site();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    let peers: Vec<String> = (0..16_000u32).map(public_key).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let list = [PROGRAM, "--json", "key", "list"];
    agent.report(&peers, Some(3600));
    let here = site.bastion.admin(&list[1..]).ok().stdout;
    assert!(here.len() > 8 * 1024 * 1024, "{}", here.len());
    assert!(ann.ssh(&list).ok().stdout == here, "the same, in pieces");
    // one that nobody reads holds up nobody else, and is not cut off
    let ssh = format!("ssh -F {} bastion {} | (head -c 1; ", ann.laptop.ssh_config().display(), list.join(" "));
    let wait = "while [ ! -e \"$0\" ]; do sleep 0.05; done; cat)";
    let (code, read_on) = (ann.fresh_code(), ann.laptop.machine.path("read-on"));
    ann.laptop.set_code(&code);
    let mut late = ann.laptop.command("sh");
    let late = late.args(["-c", &format!("{ssh}{wait}")]).arg(&read_on).stdin(Stdio::null()).stdout(Stdio::piped());
    let late = late.spawn().expect("sh can be started");
    until("the second login", LONG, || (site.count("login-accepted") == 2).then_some(()));
    ann.ssh(&[PROGRAM, "host", "list"]).ok();
    std::fs::write(read_on, "").expect("it can be written");
    let read = late.wait_with_output().expect("it ends");
    assert!(read.stdout == here.as_bytes(), "{} of {} bytes", read.stdout.len(), here.len());
}

#[test]
fn policies_are_tried_on_an_inventory_from_the_channel() {
    let (site, mut ann) = site();
    let host = site.host("app-gw");
    host.connect(false).report(&[site.justin.public_key()], Some(3600));
    let inventory = site.bastion.admin(&["inventory", "--json"]).ok().stdout;
    let edited = inventory.replace("app-gw", "db-gw");
    let words = [PROGRAM, "policy", "explain", "--inventory", "-", "--at", "2026-11-21T15:55:00Z", "--json"];
    let tried = ann.ssh_with(&words, edited.as_bytes()).ok().json();
    assert_eq!(tried["connections"][0]["connection"], "db-gw/wg0:justins-laptop", "{tried}");
    assert_eq!(tried["connections"][0]["winner"], 101, "{tried}");
    let config = site.bastion.folder().join("bastion.toml");
    let mut here = site.bastion.command();
    let here = wgmfa_tests::program::run(here.arg("--config").arg(config).args(&words[1..]), edited.as_bytes());
    assert_eq!(here.ok().json(), tried, "the same words on the bastion itself");
    let broken = ann.ssh_with(&words, b"{\"version\": 1,\n").expect(2);
    assert!(broken.stderr.starts_with("wgmfa-bastion: error: standard input:2:0: "), "{broken:?}");
    let checked = ann.ssh(&[PROGRAM, "policy", "check", "-"]).ok().stdout;
    assert_eq!(checked, site.bastion.admin(&["policy", "check"]).ok().stdout);
}

/// A public key that stands for a number.
fn public_key(number: u32) -> String {
    let digits = format!("{number:08}");
    format!("{}{}A=", digits, "A".repeat(34))
}
