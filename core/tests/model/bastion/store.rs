//! What the bastion's store keeps (`bastion/src/store/`), and what its changes make of the generations of a place.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use wgmfa_core::code::Step;
use wgmfa_core::guessing::{PairRecord, PersonRecord, Source};
use wgmfa_core::release::{LoginFacts, Newest, Phase};

use crate::key::Key;
use crate::ledger::Happened;
use crate::site::Place;

/// One generation in the store.
#[derive(Debug, Clone)]
pub struct Generation {
    pub generation: u64,
    pub key: Key,
    pub phase: Phase,
    pub applied_at: Option<Timestamp>,
    /// When it was last released.
    pub renewed_at: Option<Timestamp>,
    /// It is to take over the session that runs.
    pub renews: bool,
}

impl Generation {
    pub fn deposited(generation: u64, key: Key, renews: bool) -> Self {
        Self { generation, key, phase: Phase::Deposited, applied_at: None, renewed_at: None, renews }
    }

    /// It is over, if it was not before.
    pub fn end(&mut self, place: Place, happened: &mut Vec<Happened>) {
        if self.phase != Phase::Expired {
            self.phase = Phase::Expired;
            happened.push(Happened::Ended { place, generation: self.generation });
        }
    }
}

/// What the store keeps of a place.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub highest: u64,
    pub current: Option<Generation>,
    pub deposited: Option<Generation>,
    pub ordered: Option<String>,
}

impl Record {
    /// The generation that counts: a running session, else the newest.
    pub fn newest(&self) -> Option<Newest> {
        let running = self.current.as_ref().filter(|current| matches!(current.phase, Phase::Released { .. }));
        let newest = running.or(self.deposited.as_ref()).or(self.current.as_ref())?;
        Some(Newest { generation: newest.generation, phase: newest.phase })
    }
}

impl Record {
    /// Takes a new generation; answers whether it could be so.
    pub fn deposit(&mut self, place: Place, new: Generation, happened: &mut Vec<Happened>) -> bool {
        let generation = new.generation;
        if generation <= self.highest {
            return false;
        }
        if let Some(mut older) = self.deposited.replace(new) {
            older.end(place, happened);
        }
        self.highest = generation;
        happened.push(Happened::Stored { place, generation });
        true
    }

    /// The server side accepts a generation; answers whether that can be so.
    pub fn applied(&mut self, place: Place, generation: u64, time: Timestamp, happened: &mut Vec<Happened>) -> bool {
        let is_it = |one: &Generation| one.generation == generation;
        if let Some(current) = self.current.as_ref().filter(|current| is_it(current)) {
            return current.phase != Phase::Expired;
        }
        let Some(mut new) = self.deposited.take_if(|deposited| is_it(deposited)) else { return false };
        let running = self.current.as_ref().filter(|current| match current.phase {
            Phase::Released { deadline } => deadline > time,
            _ => false,
        });
        let (phase, renewed_at) = match running {
            Some(running) if new.renews => (running.phase, running.renewed_at),
            // what was given to a client may not wait for another login
            None if new.renews => {
                new.end(place, happened);
                self.current = Some(new);
                return false;
            }
            _ => {
                happened.push(Happened::Waits { place, generation });
                (Phase::Applied, None)
            }
        };
        if let Some(before) = &mut self.current {
            before.end(place, happened);
        }
        self.current = Some(Generation { phase, applied_at: Some(time), renewed_at, ..new });
        self.ordered = None;
        true
    }

    /// A new generation is ordered: what is accepted is over, and what a person has been given too.
    pub fn order_rotation(&mut self, place: Place, reason: &str, happened: &mut Vec<Happened>) {
        self.ordered = Some(reason.to_owned());
        if let Some(mut promised) = self.deposited.take_if(|deposited| deposited.renews) {
            promised.end(place, happened);
        }
        if let Some(current) = &mut self.current {
            current.end(place, happened);
        }
    }

    /// Every key is over.
    pub fn end_all(&mut self, place: Place, happened: &mut Vec<Happened>) {
        for mut one in self.deposited.take().into_iter() {
            one.end(place, happened);
        }
        if let Some(current) = &mut self.current {
            current.end(place, happened);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Person {
    pub disabled: bool,
    pub last_step: Option<Step>,
    pub used_recovery: Vec<u8>,
    pub pairs: BTreeMap<Source, PairRecord>,
    pub guesses: PersonRecord,
}

/// What the store keeps of a login whose code was accepted.
#[derive(Debug, Clone)]
pub struct LoginRow {
    pub user: usize,
    pub code_at: Timestamp,
    pub passed: bool,
    pub released: bool,
    pub acted: bool,
}

impl LoginRow {
    pub fn facts(&self) -> Option<LoginFacts> {
        self.passed.then_some(LoginFacts { since: self.code_at, released: self.released, acted: self.acted })
    }
}

#[derive(Debug)]
pub struct Store {
    pub last_time: Timestamp,
    pub records: BTreeMap<Place, Record>,
    /// Deadlines of sessions, also of some that are over.
    pub deadlines: BTreeSet<(Timestamp, Place)>,
    pub people: Vec<Person>,
    pub disabled_devices: Vec<bool>,
    pub disabled_hosts: Vec<bool>,
    pub last_seen: Vec<Option<Timestamp>>,
    pub next_round: Vec<Option<Timestamp>>,
    pub logins: BTreeMap<u64, LoginRow>,
}
