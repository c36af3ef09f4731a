//! A reload that turns the sides of a connection around ends no session: it takes effect at the deadline, both ways.

use std::sync::Arc;

use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::lab::{USER, policy};
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::pair::{FIRST, IN_TUNNEL, Pair, SECOND};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::Ended;
use wgmfa_tests::tunnel::{Keys, Tunnel, genkey};
use wgmfa_tests::wait::{LONG, until};

/// The length of each session: long enough for what happens in one, and waited for twice.
const SESSION: &str = "40s";

/// Two machines with agents that one person owns, and that person's phone.
struct Site {
    phone: Laptop,
    /// Codes that are good for one login each: nobody has to wait for the next.
    codes: Vec<String>,
    pair: Pair,
}

impl Site {
    #[track_caller]
    fn new() -> Self {
        let mut pair = Pair::new("1h");
        let machine = Arc::new(Machine::new(&format!("{}p", unique())));
        pair.wire.plug(&machine);
        let words = ["--json", "user", "add", USER, "--password-stdin"];
        let added = pair.bastion.admin_with(&words, format!("{PASSWORD}\n").as_bytes()).ok().json();
        let codes = added["recovery_codes"].as_array().expect("recovery codes").iter();
        let codes = codes.map(|code| code.as_str().expect("a text").to_owned()).collect();
        let authenticator = Authenticator::from_url(added["otpauth_url"].as_str().expect("an otpauth URL"));
        for gateway in [&pair.first, &pair.second] {
            // a server drops the endpoint of what it locks, and finds it here when it is the client side
            gateway.write_configuration();
            let key = gateway.agent(&["init", "--print-key"]).ok().stdout;
            pair.bastion.admin(&["host", "remove", &gateway.name]).ok();
            pair.bastion
                .admin_with(&["host", "add", &gateway.name, "--key", "-", "--owner", USER], key.as_bytes())
                .ok();
        }
        let tunnel = Tunnel { name: machine.namespace().to_owned(), keys: Keys::generate(), address: String::new() };
        let phone = Laptop::of(&machine, tunnel, USER, authenticator, &pair.bastion);
        let mut site = Self { phone, codes, pair };
        site.serve(&site.pair.first.interface());
        site.pair.second.start();
        site.pair.second.await_contact(&site.pair.bastion);
        site.pair.first.start();
        site.await_waiting_key(1);
        site
    }

    /// Makes one end the server side.
    fn serve(&self, interface: &str) {
        self.pair.bastion.policy("103-infra.toml", &policy(SESSION, interface));
        self.pair.bastion.admin(&["reload"]).ok();
    }

    #[track_caller]
    fn await_waiting_key(&self, above: u64) {
        let connection = self.pair.connection();
        until("a waiting generation", LONG * 4, || {
            let rows = self.pair.bastion.keys(); // empty until an end has reported
            let row = rows.into_iter().find(|row| row["connection"] == connection.as_str())?;
            (row["generation"].as_u64() >= Some(above) && row["released_at"].is_null()).then_some(())
        });
    }

    /// The person opens a machine of theirs: both ends have the same key, and packets pass.
    #[track_caller]
    fn push(&mut self, host: &str) -> String {
        self.try_to_push(host).ok();
        self.await_connected(host);
        let [first, second] = self.pair.preshared_keys().map(|key| key.expect("a preshared key"));
        assert_eq!(first, second);
        first
    }

    #[track_caller]
    fn try_to_push(&mut self, host: &str) -> Ended {
        let code = self.codes.pop().expect("a person has ten recovery codes");
        self.phone.set_code(&code);
        self.phone.ssh_as_set(&["wgmfa-sync", "--push", host])
    }

    /// The client side begins.
    #[track_caller]
    fn await_connected(&self, client: &str) {
        let (from, to) = match client {
            FIRST => (&self.pair.first, IN_TUNNEL[1]),
            _ => (&self.pair.second, IN_TUNNEL[0]),
        };
        until("an answered ping", LONG, || is_answered(&from.machine, to).then_some(()));
    }

    /// Both agents have done another round.
    #[track_caller]
    fn rounds(&self) {
        self.pair.first.agent(&["rotate"]);
        self.pair.second.agent(&["rotate"]);
    }

    /// The session with this key goes on, and nobody gets another one meanwhile.
    #[track_caller]
    fn assert_waits(&mut self, key: &str) {
        self.rounds();
        for host in [FIRST, SECOND] {
            let said = self.try_to_push(host).expect(6);
            let line = "refused: the sides of this connection change at the deadline of the session that runs, at ";
            assert!(said.stderr.contains(line), "{said:#?}");
        }
        let connection = self.pair.connection();
        let late = self.pair.bastion.admin(&["override", &connection, "--reason", "now"]);
        assert!(late.stderr.contains("the sides of this connection change"), "{late:#?}");
        let set = ["key", "set", &connection, "--reason", "now"];
        let late = self.pair.bastion.admin_with(&set, genkey().as_bytes()).expect(1);
        assert!(late.stderr.contains("the sides of this connection change"), "{late:#?}");
        self.rounds();
        let goes_on = || is_answered(&self.pair.second.machine, IN_TUNNEL[0]).then_some(());
        until("the session goes on", LONG, goes_on);
        assert_eq!(self.pair.preshared_keys(), [Some(key.to_owned()), Some(key.to_owned())]);
    }

    /// The former server side has locked, the other end makes keys.
    #[track_caller]
    fn await_turned(&self, key: &str) {
        until("the lock at both ends", LONG * 4, || {
            self.pair.preshared_keys().iter().all(|now| now.as_deref() != Some(key)).then_some(())
        });
        assert!(!is_answered(&self.pair.second.machine, IN_TUNNEL[0]));
    }
}

#[test]
fn the_session_ends_on_the_old_server_side_and_the_next_begins_on_the_new_one() {
    let mut site = Site::new();
    let [first, second] = [site.pair.first.interface(), site.pair.second.interface()];
    let key = site.push(SECOND);
    site.serve(&second);
    site.assert_waits(&key);
    site.await_turned(&key);
    site.await_waiting_key(1);

    let key = site.push(FIRST);
    site.rounds();
    site.await_connected(FIRST);
    assert_eq!(site.pair.preshared_keys()[0].as_deref(), Some(&*key), "the former server side is the client now");

    // and back: the end that was the server side once is not locked in the middle of the other one's session
    site.serve(&first);
    site.assert_waits(&key);
    site.await_turned(&key);
    site.await_waiting_key(2);
    site.push(SECOND);
}

#[test]
fn an_ordered_rotation_ends_the_session_and_the_sides_change_at_once() {
    let mut site = Site::new();
    let (connection, second) = (site.pair.connection(), site.pair.second.interface());
    let key = site.push(SECOND);
    site.serve(&second);
    site.pair.bastion.admin(&["key", "rotate", &connection, "--reason", "now"]).ok();
    assert_ne!(site.pair.preshared_keys()[0].as_deref(), Some(&*key), "locked before the command returns");
    site.await_turned(&key);
    site.await_waiting_key(1);
    site.push(FIRST);
}
