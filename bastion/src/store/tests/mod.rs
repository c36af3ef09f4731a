//! The store for real: on files, with threads, with processes that are killed, on disks that are full.

mod audit;
mod backup;
mod concern;
mod crash;
mod evidence;
mod full;
mod generations;
mod grants;
mod handouts;
mod logins;
mod machines;
mod migration;
mod opening;
mod pairs;
mod people;
mod proof;
mod properties;
mod release;
mod reseal;
mod states;
mod tunnel_codes;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use wgmfa_core::code::{CodeSecret, Parameters};
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::guessing::Source;
use wgmfa_core::inventory::{Interface, Peer};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::{Deposit, HandshakeAge, PeerGeneration, PeerRef};
use wgmfa_core::name::{DeviceName, HostName, UserName};

use super::*;

/// Made for these tests alone.
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVqMhJp+u6ut7EBRfoRs2pEW0u9cGbDL6MxQ+yMBDqR";

/// A moment so many seconds after the beginning of these tests.
fn at(second: i64) -> Timestamp {
    // later than today, so that the store's own first line is not later than what the tests say
    Timestamp::from_second(4_000_000_000).unwrap() + SignedDuration::from_secs(second)
}

fn user() -> UserName {
    "justin".parse().unwrap()
}

fn host() -> HostName {
    "app-gw".parse().unwrap()
}

fn device() -> DeviceName {
    "justins-laptop".parse().unwrap()
}

/// The public key of the interface `app-gw/devices`.
const GATEWAY: u8 = 1;
/// The public key of the device.
const LAPTOP: u8 = 2;

fn public(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn key(seed: u64) -> PresharedKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    PresharedKey::from_bytes(bytes).unwrap()
}

fn peer(byte: u8) -> PeerRef {
    PeerRef { interface: "devices".parse().unwrap(), public_key: public(byte) }
}

fn place() -> Place {
    Place::new(&host(), &peer(LAPTOP))
}

fn which(generation: u64) -> PeerGeneration {
    PeerGeneration { peer: peer(LAPTOP), generation }
}

/// Each generation has a key of its own.
fn deposit(generation: u64) -> Deposit {
    Deposit { which: which(generation), preshared_key: key(generation) }
}

fn interface(name: &str, own: u8, peers: &[u8]) -> Interface {
    let peers = peers.iter().map(|byte| Peer {
        public_key: public(*byte),
        allowed_ips: vec!["10.0.0.2/32".to_owned()],
        has_preshared_key: true,
        fingerprint: None,
        latest_handshake: None,
        handshake_with_this_key: false,
        opened_by_root_for: None,
        opened_by_root_until: None,
        kept_locked: false,
        generation: None,
        rotated_at: None,
        released_at: None,
        deadline: None,
    });
    let (name, public_key) = (name.parse().unwrap(), public(own));
    Interface { name, public_key, listen_port: Some(51820), peers: peers.collect() }
}

/// How long ago this peer shook hands.
fn age(of: u8, seconds: u64) -> HandshakeAge {
    HandshakeAge { peer: peer(of), seconds, before_change: false }
}

fn report(interfaces: &[Interface]) -> Report<'_> {
    Report { interfaces, handshake_ages: &[], next_in_seconds: None, stood_down: false }
}

fn new_person(name: &UserName) -> NewPerson {
    NewPerson {
        name: name.clone(),
        admin: false,
        password: Password::Hashed(PasswordHash("$argon2id$x".to_owned())),
        code: Some((CodeSecret::from_random([9; 20]), Parameters::default())),
        recovery: vec![[1; 32], [2; 32]],
        invitation: None,
    }
}

fn login(user: &UserName) -> Login {
    let source = Source::from_rhost(Some("192.0.2.7"));
    Login { id: LoginId::random(), user: user.clone(), from: "192.0.2.7".to_owned(), source }
}

/// A login that has used a code and passed.
fn passed(store: &Store, now: Timestamp) -> Login {
    let login = login(&user());
    let step = wgmfa_core::code::Step::from_number(now.as_second().cast_unsigned());
    assert_eq!(store.accept_code(now, &login, step).unwrap(), Acceptance::Accept);
    assert_eq!(store.record_login(now, &login, CodeRule::Required).unwrap(), Acceptance::Accept);
    login
}

fn wanted(generation: u64, deadline: Timestamp) -> Wanted {
    Wanted { place: place(), generation, deadline }
}

fn open_at(folder: &Path) -> Store {
    Store::open(folder, SealingKey::from_bytes([3; 32])).unwrap()
}

/// An empty store.
fn empty() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(&folder.path().join("state"));
    (folder, store)
}

/// A store with a person, their device, and a gateway that has reported it as a peer.
fn furnished() -> (TempDir, Store) {
    let (folder, store) = empty();
    furnish(&store);
    (folder, store)
}

fn furnish(store: &Store) {
    store.add_person(at(0), Actor::ROOT, &new_person(&user())).unwrap();
    store.add_device(at(0), Actor::ROOT, &device(), &user(), &public(LAPTOP)).unwrap();
    store.add_host(at(0), Actor::ROOT, &host(), SSH_KEY, None).unwrap();
    let reported = store.report(at(0), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP])])).unwrap();
    assert_eq!(reported, Reported { changed: true, refused: Vec::new(), concerned: Vec::new() });
}

/// A furnished store in which a generation is applied.
fn with_applied(generation: u64) -> (TempDir, Store) {
    let (folder, store) = furnished();
    assert_eq!(store.deposit(at(1), &host(), &[deposit(generation)]).unwrap(), [which(generation)]);
    assert_eq!(store.applied(at(2), &host(), &[which(generation)]).unwrap(), [which(generation)]);
    (folder, store)
}

/// The names of the events in the log, after the one that begins it.
fn events(store: &Store) -> Vec<String> {
    store.log(&Filter { after: Some(1), ..Filter::default() }).unwrap().into_iter().map(|line| line.event).collect()
}

fn last_line(store: &Store) -> Line {
    store.log(&Filter { limit: Some(1), ..Filter::default() }).unwrap().remove(0)
}

fn assert_intact(store: &Store) {
    match store.verify_log().unwrap() {
        Verified::Intact { head, .. } => assert_eq!(head, store.log_head().unwrap()),
        Verified::Broken { seq, reason } => panic!("broken from line {seq} on: {reason}"),
    }
}

fn server_side() -> InterfaceRef {
    "app-gw/devices".parse().unwrap()
}
