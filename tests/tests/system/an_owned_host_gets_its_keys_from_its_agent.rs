//! A person's machine with an agent: its keys go to that agent, whoever asks for them from wherever, and nobody sees them.

use std::sync::Arc;
use std::time::SystemTime;

use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::{USER, policy};
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::pair::{FIRST, IN_TUNNEL, Pair, SECOND};
use wgmfa_tests::ping::{Pings, is_answered};
use wgmfa_tests::program::{Ended, says_an_hour};
use wgmfa_tests::tunnel::{Keys, Tunnel, genkey};
use wgmfa_tests::wait::{LONG, until};

/// A login right after a release changes the generation too: a test need not wait for a minute.
const AT_ONCE: (&str, &str) = ("WGMFA_SAME_GENERATION_FOR", "0");
/// What a reboot changes.
const AFTER_THE_REBOOT: (&str, &str) = ("WGMFA_BOOT_ID", "after the reboot");

/// A gateway, a workstation that its person owns, and that person's phone.
struct Site {
    phone: Laptop,
    pair: Pair,
}

impl Site {
    /// A key waits on the gateway; the workstation's agent runs if it is to.
    #[track_caller]
    fn new(workstation_runs: bool) -> Self {
        let mut pair = Pair::new("1h");
        let machine = Arc::new(Machine::new(&format!("{}p", unique())));
        pair.wire.plug(&machine);
        let authenticator = pair.bastion.add_user(USER);
        let tunnel = Tunnel { name: machine.namespace().to_owned(), keys: Keys::generate(), address: String::new() };
        let phone = Laptop::of(&machine, tunnel, USER, authenticator, &pair.bastion);
        let key = pair.second.agent(&["init", "--print-key"]).ok().stdout;
        pair.bastion.admin(&["host", "remove", SECOND]).ok();
        pair.bastion.admin_with(&["host", "add", SECOND, "--key", "-", "--owner", USER], key.as_bytes()).ok();
        pair.bastion.policy("101-infra.toml", &policy("1h", &pair.first.interface()));
        pair.bastion.stop();
        pair.bastion.start_with(&[AT_ONCE]);
        pair.second.start();
        let there = |pair: &Pair| pair.bastion.keys().iter().any(|row| row["connection"] == pair.connection().as_str());
        pair.second.await_contact(&pair.bastion);
        pair.first.start();
        until("a waiting generation", LONG, || {
            let row = there(&pair).then(|| pair.bastion.key(&pair.connection()))?;
            (row["generation"].as_u64() > Some(0) && row["released_at"].is_null()).then_some(())
        });
        if !workstation_runs {
            pair.second.agent.as_mut().expect("it was started").stop();
        }
        Self { phone, pair }
    }

    fn bastion(&self) -> &Bastion {
        &self.pair.bastion
    }

    fn push(&mut self) -> Ended {
        self.phone.ssh(&["wgmfa-sync", "--push", SECOND])
    }

    fn generation(&self) -> u64 {
        self.bastion().key(&self.pair.connection())["generation"].as_u64().expect("a generation")
    }

    #[track_caller]
    fn assert_same_keys(&self) -> String {
        let [first, second] = self.pair.preshared_keys().map(|key| key.expect("a preshared key"));
        assert_eq!(first, second);
        first
    }

    fn await_connected(&self) {
        until("an answered ping", LONG, || is_answered(&self.pair.second.machine, IN_TUNNEL[0]).then_some(()));
        self.bastion().await_state(&self.pair.connection(), "OK");
    }
}

#[test]
fn a_login_from_a_phone_opens_its_side() {
    let mut site = Site::new(true);
    site.bastion().await_state(&site.pair.connection(), "Expired");
    let pushed = site.push().ok();
    assert_eq!(pushed.stdout, "", "no key is printed");
    assert!(says_an_hour(&pushed.stderr, &format!("{}: OK, ", site.pair.first.interface())), "{pushed:#?}");
    let key = site.assert_same_keys();
    site.await_connected();
    let status = site.pair.second.status();
    let peer = &status["peers"][0];
    assert_eq!((&peer["hold"], &peer["generation"]), (&"delivered".into(), &site.generation().into()), "{status:#}");
    assert!(peer["seconds_left"].as_u64() > Some(3000), "{status:#}");
    for file in std::fs::read_dir(site.pair.second.machine.path("agent-state")).unwrap().flatten() {
        let text = std::fs::read(file.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(&key), "{} holds the key", file.path().display());
    }
    let other = site.phone.ssh(&["wgmfa-sync", "--push", FIRST]).expect(1);
    assert!(other.stderr.contains("--push: you own no host of that name"), "{other:#?}");
    assert!(other.stderr.contains(&format!("hint: yours: {SECOND}\n")), "{other:#?}");
}

#[test]
fn a_push_in_a_session_changes_both_ends_in_place() {
    let mut site = Site::new(true);
    site.push().ok();
    site.await_connected();
    let (before, generation) = (site.assert_same_keys(), site.generation());
    let pings = Pings::every(&site.pair.second.machine, IN_TUNNEL[0], "0.01");
    pings.first_reply_after(SystemTime::now());
    for renewal in 1..=2 {
        site.push().ok();
        assert_ne!(site.assert_same_keys(), before);
        assert_eq!(site.generation(), generation + renewal);
        pings.first_reply_after(SystemTime::now());
    }
    assert_eq!(pings.lost(), [0; 0]);
    site.bastion().await_state(&site.pair.connection(), "OK");
}

#[test]
fn a_host_that_is_away_gets_its_keys_when_it_comes_and_again_after_a_reboot() {
    let mut site = Site::new(false);
    let pushed = site.push().expect(6);
    let line = format!(
        "{}: {SECOND} is not connected; it gets the key at its next contact, until ",
        site.pair.first.interface()
    );
    assert!(pushed.stdout.is_empty() && pushed.stderr.contains(&line), "{pushed:#?}");
    site.pair.second.start();
    site.await_connected();
    let key = site.assert_same_keys();

    site.pair.second.agent.as_mut().expect("it was started").kill();
    let machine = Arc::clone(&site.pair.second.machine);
    let peer = site.pair.first.tunnel.keys.public.clone();
    site.pair.second.tunnel.readd(&machine, &peer, &genkey());
    site.pair.second.start_with(&[AFTER_THE_REBOOT]);
    until("the same key again", LONG, || (site.pair.second.preshared_key(&peer)? == key).then_some(()));
    site.await_connected();
}

#[test]
fn stock_tools_get_the_keys_of_an_owned_host_as_of_a_device() {
    let mut site = Site::new(false);
    let said = site.phone.ssh(&["wgmfa-sync"]).ok();
    let [waiting, _] = site.pair.preshared_keys();
    assert_eq!(said.stdout, format!("{}\t{}\n", site.pair.first.tunnel.keys.public, waiting.expect("a key")));
}

#[test]
fn an_administrator_overrides_until_the_next_rotation() {
    let mut site = Site::new(true);
    let connection = site.pair.connection();
    site.bastion().admin(&["override", &connection]).expect(2);
    let answer = site.bastion().admin(&["--json", "override", &connection, "--reason", "phone lost"]).ok().json();
    assert_eq!((&answer["changed"], &answer["connections"][0]), (&true.into(), &connection.as_str().into()));
    site.assert_same_keys();
    site.await_connected();
    let row = site.bastion().key(&connection);
    assert_eq!(row["reason"], "override by root: phone lost", "{row:#}");
    let table = site.bastion().admin(&["key", "list"]).ok().stdout;
    assert!(table.contains("override by root: phone lost"), "{table}");
    let line = &site.bastion().log("overridden")[0];
    assert_eq!((&line["actor"], &line["connection"]), (&"root".into(), &connection.as_str().into()), "{line:#}");

    let generation = site.generation();
    site.bastion().admin(&["key", "rotate", &connection, "--reason", "enough"]).ok();
    site.bastion().await_generation(&connection, generation + 1);
    site.bastion().await_state(&connection, "Expired");

    site.pair.second.agent.as_mut().expect("it runs").stop();
    let late = site.bastion().admin(&["override", &connection, "--for", "2h", "--reason", "again"]).expect(6);
    assert!(
        late.stderr.contains(&format!("{SECOND} is not connected; it gets the key at its next contact")),
        "{late:#?}"
    );
    site.pair.second.start();
    site.await_connected();
    assert!(site.pair.first.status()["peers"][0]["seconds_left"].as_u64() > Some(7000));
}

#[test]
fn an_administrator_sets_a_key() {
    let mut site = Site::new(true);
    let (connection, key) = (site.pair.connection(), genkey());
    let words = ["key", "set", connection.as_str(), "--reason", "agreed by telephone"];
    let broken = site.bastion().admin_with(&words, b"not a key\n").expect(2);
    assert!(!broken.stderr.contains("not a key"), "{broken:#?}");
    let waiting = site.generation();
    site.bastion().admin_with(&words, format!("{key}\n").as_bytes()).ok();
    assert_eq!(site.assert_same_keys(), key);
    site.await_connected();
    assert_eq!(site.generation(), waiting + 1);
    assert_eq!(site.bastion().log("key-set").len(), 1);
    let again = site.bastion().admin_with(&words, format!("{key}\n").as_bytes()).expect(1);
    let used = "this key was used before\nwgmfa-bastion: hint: wg genpsk makes a new one\n";
    assert!(again.stderr.contains(used), "{again:#?}");

    // without a policy it is for everybody and for good
    site.bastion().policy("101-infra.toml", &policy("1h", "elsewhere/wg0"));
    site.bastion().policy("103-infra.toml", &policy("1h", "elsewhere/wg1"));
    site.bastion().admin(&["reload"]).ok();
    let free = genkey();
    site.bastion().admin_with(&words, free.as_bytes()).ok();
    assert_eq!(site.assert_same_keys(), free);
    site.bastion().await_state(&connection, "Match");
    for gateway in [&site.pair.first, &site.pair.second] {
        assert_eq!(gateway.status()["peers"].as_array().map(Vec::len), Some(0));
    }
    site.pair.first.agent(&["rotate"]).ok();
    assert_eq!(site.assert_same_keys(), free, "nobody locks it again");

    // and a policy takes it over again
    site.bastion().policy("101-infra.toml", &policy("1h", &site.pair.first.interface()));
    site.bastion().admin(&["reload"]).ok();
    site.bastion().await_state(&connection, "Expired");
    site.push().ok();
    site.await_connected();

    site.pair.first.agent.as_mut().expect("it runs").stop();
    let alone = site.bastion().admin_with(&words, genkey().as_bytes()).expect(1);
    assert!(alone.stderr.contains(&format!("no resident agent of {FIRST} is connected")), "{alone:#?}");
}
