use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use wgmfa_core::key::PublicKey;

use super::*;

/// Writes down what is done with it.
#[derive(Default)]
struct Paper {
    done: Vec<String>,
    torn: Option<String>,
    broken: Option<String>,
    /// Only an empty gate can be made.
    only_empty: bool,
    /// Something fails when the gate stands.
    unfinished: Option<String>,
    bypassed: Option<String>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Paper>>);

impl Fake {
    fn write(&self, line: String) -> Result<(), String> {
        let mut paper = self.0.lock().unwrap();
        if let Some(why) = &paper.broken {
            return Err(why.clone());
        }
        paper.done.push(line);
        Ok(())
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().done)
    }
}

fn openings(openings: &[Opening]) -> String {
    let line = |one: &Opening| format!("{} {} {}s", one.addresses.network, one.tier, one.left.as_secs());
    openings.iter().map(line).collect::<Vec<_>>().join(", ")
}

impl Gate for Fake {
    fn install(&mut self, layout: &Layout, open: &[Opening]) -> Result<(), String> {
        let interfaces: Vec<_> = layout.interfaces.iter().map(InterfaceName::as_str).collect();
        let has_no_room = self.0.lock().unwrap().only_empty && !open.is_empty();
        let made = match has_no_room {
            true => Err("no room".to_owned()),
            false => self.write(format!("install {}: {}", interfaces.join(" "), openings(open))),
        };
        let mut paper = self.0.lock().unwrap();
        paper.torn = made.clone().err();
        made.and(paper.unfinished.clone().map_or(Ok(()), Err))
    }

    fn change(&mut self, open: &[Opening], close: &[(Addresses, TierName)]) -> Result<(), String> {
        let close: Vec<_> = close.iter().map(|(addresses, tier)| format!("{} {tier}", addresses.network)).collect();
        self.write(format!("open {}; close {}", openings(open), close.join(", ")))
    }

    fn intact(&mut self) -> Result<(), String> {
        self.0.lock().unwrap().torn.clone().map_or(Ok(()), Err)
    }

    fn changed(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn remove(&mut self) -> Result<(), String> {
        self.write("remove".to_owned())
    }

    fn bypassed(&mut self) -> Option<String> {
        self.0.lock().unwrap().bypassed.clone()
    }
}

fn at(seconds: u64) -> Boottime {
    Boottime::from_millis(seconds * 1000)
}

fn config() -> Config {
    Config::parse(Path::new("/e/agent.toml"), "bastion = \"b\"\nhost = \"app-gw\"\n").unwrap()
}

fn layout() -> Layout {
    Layout { interfaces: BTreeSet::from(["wg0".parse().unwrap(), "wg1".parse().unwrap()]), ..Layout::default() }
}

/// Interface, peer, tier, until when.
fn open(rows: &[(&str, u8, &str, u64)]) -> Open {
    let row = |(interface, number, tier, until): &(&str, u8, &str, u64)| {
        let interface: InterfaceName = interface.parse().unwrap();
        let addresses =
            Addresses { interface: interface.clone(), network: format!("10.7.0.{number}/32").parse().unwrap() };
        let peer = PeerRef { interface, public_key: PublicKey::from_bytes([*number; 32]) };
        ((addresses, tier.parse().unwrap()), (peer, at(*until)))
    };
    rows.iter().map(row).collect()
}

fn put_up() -> (PutUp, Fake) {
    let fake = Fake::default();
    (PutUp { backend: Some(Box::new(fake.clone())), ..PutUp::default() }, fake)
}

#[test]
fn only_what_changes_is_changed() {
    let (mut put_up, fake) = put_up();
    assert_eq!(put_up.refusal().as_deref(), Some("the gate does not stand"));
    let first = open(&[("wg0", 1, "prod", 60), ("wg0", 2, "prod", 60)]);
    assert_eq!(put_up.keep(&config(), layout(), first.clone(), at(0)), Found::default());
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.1/32 prod 60s, 10.7.0.2/32 prod 60s"]);
    assert_eq!(put_up.refusal(), None);
    put_up.keep(&config(), layout(), first, at(10));
    assert_eq!(fake.done(), Vec::<String>::new(), "all is as it was");
    put_up.keep(&config(), layout(), open(&[("wg0", 2, "prod", 90), ("wg0", 3, "prod", 50)]), at(10));
    assert_eq!(fake.done(), ["open 10.7.0.2/32 prod 80s, 10.7.0.3/32 prod 40s; close 10.7.0.1/32 prod"]);
    let other = Layout { code_port: 1, ..layout() };
    put_up.keep(&config(), other, open(&[("wg0", 2, "prod", 90)]), at(20));
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.2/32 prod 70s"]);
}

#[test]
fn what_somebody_tore_down_stands_again_with_what_is_left() {
    let (mut put_up, fake) = put_up();
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    put_up.keep(&config(), layout(), wanted.clone(), at(0));
    fake.0.lock().unwrap().torn = Some("the table is gone".to_owned());
    fake.done();
    let found = put_up.keep(&config(), layout(), wanted, at(20));
    assert_eq!(found.disturbed.as_deref(), Some("the table is gone"));
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.1/32 prod 40s"]);
}

#[test]
fn one_interface_is_changed_without_the_others() {
    let (mut put_up, fake) = put_up();
    assert_eq!(put_up.keep_one(&"wg0".parse().unwrap(), Open::new(), at(0)), Err("the gate does not stand".to_owned()));
    put_up.keep(&config(), layout(), open(&[("wg0", 1, "prod", 60), ("wg1", 2, "prod", 60)]), at(0));
    fake.done();
    put_up.keep_one(&"wg0".parse().unwrap(), open(&[("wg0", 3, "prod", 60)]), at(10)).unwrap();
    assert_eq!(fake.done(), ["open 10.7.0.3/32 prod 50s; close 10.7.0.1/32 prod"]);
    let tiers: Vec<_> = put_up.open_tiers().into_iter().map(|open| open.peer.interface.to_string()).collect();
    assert_eq!(tiers, ["wg0", "wg1"]);
}

#[test]
fn a_bypassed_gate_lets_nobody_through_and_closes_what_was_open() {
    let (mut put_up, fake) = put_up();
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    put_up.keep(&config(), layout(), wanted.clone(), at(0));
    fake.done();
    fake.0.lock().unwrap().bypassed = Some("flowtable inet x f takes packets past it".to_owned());
    let found = put_up.keep(&config(), layout(), wanted.clone(), at(1));
    let why = "the gate lets nobody through: flowtable inet x f takes packets past it";
    assert_eq!(found.news.as_deref(), Some(why));
    assert_eq!(fake.done(), ["open ; close 10.7.0.1/32 prod"]);
    assert_eq!(put_up.refusal().as_deref(), Some(why));
    assert_eq!(put_up.keep(&config(), layout(), wanted.clone(), at(2)).news, None, "told once");
    fake.0.lock().unwrap().bypassed = None;
    put_up.keep(&config(), layout(), wanted, at(3));
    assert_eq!(fake.done(), ["open 10.7.0.1/32 prod 57s; close "]);
}

#[test]
fn after_a_change_that_failed_all_of_it_is_made_anew() {
    let (mut put_up, fake) = put_up();
    put_up.keep(&config(), layout(), Open::new(), at(0));
    fake.0.lock().unwrap().broken = Some("no memory".to_owned());
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    let failed = put_up.keep_one(&"wg0".parse().unwrap(), wanted.clone(), at(0));
    assert_eq!(failed, Err("no memory".to_owned()));
    assert_eq!(put_up.refusal().as_deref(), Some("the gate does not stand: no memory"));
    assert!(put_up.open_tiers().is_empty());
    *fake.0.lock().unwrap() = Paper::default();
    put_up.keep(&config(), layout(), wanted, at(1));
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.1/32 prod 59s"]);
    assert_eq!(put_up.refusal(), None);
    put_up.remove(&config()).unwrap();
    assert_eq!(fake.done(), ["remove"]);
    assert!(put_up.refusal().is_some() && put_up.open_tiers().is_empty());
}

#[test]
fn of_a_gate_that_cannot_be_made_nobody_knows_whom_it_keeps_out() {
    let (mut put_up, fake) = put_up();
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    let (_, (peer, _)) = wanted.first_key_value().unwrap();
    assert!(!put_up.is_shut_for(peer), "another agent may have left it open");
    put_up.keep(&config(), layout(), wanted.clone(), at(0));
    assert!(!put_up.is_shut_for(peer));
    fake.0.lock().unwrap().broken = Some("no nft".to_owned());
    fake.0.lock().unwrap().torn = Some("it was touched".to_owned());
    put_up.keep(&config(), layout(), Open::new(), at(1));
    assert!(!put_up.is_shut_for(peer), "the old one stands");
    fake.0.lock().unwrap().broken = None;
    put_up.keep(&config(), layout(), Open::new(), at(2));
    assert!(put_up.is_shut_for(peer));
}

#[test]
fn when_nobody_can_be_let_through_everybody_is_kept_out() {
    let (mut put_up, fake) = put_up();
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    put_up.keep(&config(), layout(), wanted.clone(), at(0));
    fake.done();
    fake.0.lock().unwrap().only_empty = true;
    let other = Layout { code_port: 1, ..layout() };
    let found = put_up.keep(&config(), other.clone(), wanted.clone(), at(1));
    assert_eq!(found.news.as_deref(), Some("the gate does not stand: no room"));
    assert_eq!(fake.done(), ["install wg0 wg1: "]);
    let (_, (peer, _)) = wanted.first_key_value().unwrap();
    assert!(put_up.is_shut_for(peer) && put_up.refusal().is_some());
    fake.0.lock().unwrap().only_empty = false;
    put_up.keep(&config(), other, wanted, at(2));
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.1/32 prod 58s"]);
    assert_eq!(put_up.refusal(), None);
}

#[test]
fn a_gate_that_stands_closes_nothing_because_something_else_failed() {
    let (mut put_up, fake) = put_up();
    let wanted = open(&[("wg0", 1, "prod", 60)]);
    let (_, (peer, _)) = wanted.first_key_value().unwrap();
    fake.0.lock().unwrap().unfinished = Some("the disk is full".to_owned());
    put_up.keep(&config(), layout(), wanted.clone(), at(0));
    assert_eq!(fake.done(), ["install wg0 wg1: 10.7.0.1/32 prod 60s"]);
    assert!(!put_up.is_shut_for(peer) && put_up.refusal().is_some());
    put_up.keep(&config(), layout(), Open::new(), at(1));
    assert_eq!(fake.done(), ["install wg0 wg1: "]);
    assert!(put_up.is_shut_for(peer));
}
