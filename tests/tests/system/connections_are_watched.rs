//! `key list --watch` and `wgmfa-status --watch`: a new table when something has changed, until the reader leaves.

use serde_json::{Value, json};
use wgmfa_tests::tunnel::Keys;
use wgmfa_tests::wait::{LONG, until};

use super::conversation::Conversation;
use super::site::Site;

/// The next table of a watch without a terminal has this in its row.
#[track_caller]
fn next_table(watch: &Conversation, between: bool, state: &str) {
    let lines: Vec<_> = (0..2 + usize::from(between)).map(|_| watch.hear().expect("a table")).collect();
    let (blank, table) = lines.split_at(usize::from(between));
    assert!(blank.iter().all(String::is_empty), "{lines:?}");
    assert!(table[0].starts_with("HOST    INTERFACE"), "{lines:?}");
    assert!(table[1].starts_with("app-gw") && table[1].contains(state), "{lines:?}");
}

#[test]
fn a_person_reads_their_own_as_they_change() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let others = Keys::generate().public;
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    let mut watch = site.justin.start(&["bastion", "wgmfa-status", "--watch"]);
    assert_eq!(watch.hear().as_deref(), Some("no connections"));
    agent.report(&[&device], Some(3600));
    next_table(&watch, true, "Pending");
    agent.report(&[&device, &others], Some(3600)); // a stranger's is none of theirs
    agent.deposit(&[&device], 1);
    agent.applied(&[&device], 1);
    next_table(&watch, true, "Expired  a login is needed");
    site.justin.ssh(&["wgmfa-sync"]).ok();
    next_table(&watch, true, "Match Pending  ");
    site.bastion.admin(&["user", "disable", "justin"]).expect(6);
    let (status, said) = watch.end();
    assert!(!status.success(), "who is cut off reads nothing more: {said}");
}

#[test]
fn programs_read_json_lines() {
    let mut site = Site::new();
    let mut ann = site.administrator("ann");
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.report(&[&device], Some(3600));
    let mut here = site.bastion.command();
    here.arg("--config").arg(site.bastion.folder().join("bastion.toml")).args(["--json", "key", "list", "--watch"]);
    let watches = [
        Conversation::start(&mut here),
        ann.start(&["bastion", "wgmfa-bastion", "key", "list", "justin", "--watch", "--json"]),
        site.justin.start(&["bastion", "wgmfa-status", "--watch", "--json"]),
    ];
    let states = |state: &str| {
        for watch in &watches {
            let line = watch.hear_json();
            assert_eq!((&line["version"], &line["connections"][0]["state"]), (&json!(1), &json!(state)), "{line}");
        }
    };
    states("Pending");
    agent.deposit(&[&device], 1);
    agent.applied(&[&device], 1);
    states("Expired");
    site.bastion.admin(&["device", "disable", "justins-laptop"]).expect(6);
    let reasons: Vec<Value> =
        watches.iter().map(|watch| watch.hear_json()["connections"][0]["reason"].take()).collect();
    assert!(reasons.iter().all(|reason| reason == "justins-laptop is disabled"), "{reasons:?}");
}

#[test]
fn a_terminal_is_redrawn_in_place() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.report(&[&device], Some(3600));
    let mut watch = site.justin.start(&["-tt", "bastion", "wgmfa-status", "--watch"]);
    let first = watch.hear().expect("a clock");
    assert!(first.starts_with("\u{1b}[2J\u{1b}[H2") && first.ends_with("  Ctrl-C ends\u{1b}[K"), "{first:?}");
    assert_eq!(watch.hear().as_deref(), Some("\u{1b}[K"));
    assert!(watch.hear().is_some_and(|line| line.starts_with("HOST    INTERFACE")));
    assert!(watch.hear().is_some_and(|line| line.contains("\u{1b}[33mPending\u{1b}[0m  ")));
    agent.deposit(&[&device], 1);
    agent.applied(&[&device], 1);
    // what came in between is the rest of the first screen, and the clock alone
    let again = watch.hear().expect("a clock");
    assert!(again.starts_with("\u{1b}[J") && !again.contains("HOST"), "{again:?}");
    assert!(again.contains("\u{1b}[H2") && !again.contains("\u{1b}[2J"), "{again:?}");
    assert_eq!(watch.hear().as_deref(), Some("\u{1b}[K"));
    assert!(watch.hear().is_some_and(|line| line.starts_with("HOST    INTERFACE")));
    assert!(watch.hear().is_some_and(|line| line.contains("\u{1b}[31mExpired\u{1b}[0m  a login is needed\u{1b}[K")));
    assert!(watch.say(b"\x03"));
    assert_eq!(watch.end().0.code(), Some(130));
    // nothing is drawn for nobody
    until("the end of the connection", LONG, || {
        let sockets = site.bastion.machine.run("ss", &["-Htn", "state", "established", "sport", "=", ":2222"]).ok();
        (sockets.stdout.lines().count() == 1).then_some(()) // the agent's
    });
}
