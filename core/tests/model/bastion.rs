//! The bastion: what its store keeps, in the types in which core decides, and what its keeper does with them
//! (`bastion/src/store/`, `bastion/src/keeper/`). A store's change happens whole or not at all; between two changes the
//! keeper may be killed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::code::Step;
use wgmfa_core::guessing::{PairRecord, PersonRecord, Source};
use wgmfa_core::key::Fingerprint;
use wgmfa_core::release::{LoginFacts, Newest, Phase};
use wgmfa_core::rotation::{Assignment, Standing};
use wgmfa_core::standing::{Facts, standing};

use super::host::Died;
use super::key::Key;
use super::ledger::Happened;
use super::login::Login;
use super::network::{Down, Up};
use super::site::{Place, Site};

/// True time 0.
const BEGINNING: i64 = 1_800_000_000;

/// One generation in the store.
#[derive(Debug, Clone)]
pub struct Generation {
    pub generation: u64,
    pub key: Key,
    pub phase: Phase,
    applied_at: Option<Timestamp>,
}

/// What the store keeps of a place.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub highest: u64,
    pub current: Option<Generation>,
    pub deposited: Option<Generation>,
    ordered: Option<String>,
}

impl Record {
    /// The generation that counts: a running session, else the newest.
    pub fn newest(&self) -> Option<Newest> {
        let running = self.current.as_ref().filter(|current| matches!(current.phase, Phase::Released { .. }));
        let newest = running.or(self.deposited.as_ref()).or(self.current.as_ref())?;
        Some(Newest { generation: newest.generation, phase: newest.phase })
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
    last_time: Timestamp,
    pub records: BTreeMap<Place, Record>,
    /// Deadlines of sessions, also of some that are over.
    deadlines: BTreeSet<(Timestamp, Place)>,
    pub people: Vec<Person>,
    pub disabled_devices: Vec<bool>,
    pub disabled_hosts: Vec<bool>,
    last_seen: Vec<Option<Timestamp>>,
    next_round: Vec<Option<Timestamp>>,
    pub logins: BTreeMap<u64, LoginRow>,
}

/// A process of the keeper.
#[derive(Debug)]
pub struct Keeper {
    /// Which set of policies is in force.
    pub policies: usize,
    heard: Vec<Option<Timestamp>>,
    /// Deadlines as they were first seen: when by the bastion's time, and when by a clock that nobody can set.
    sessions: BTreeMap<Place, (Timestamp, Timestamp, u64)>,
    pub next_id: u64,
    pub logins: Vec<Login>,
}

#[derive(Debug)]
pub struct Bastion {
    /// How far its machine's clock is ahead of the true time, in milliseconds.
    pub ahead: i64,
    pub store: Store,
    pub keeper: Option<Keeper>,
    /// Which set of policies lies in its folder.
    pub policies_on_disk: usize,
    /// When the keeper is started again, in true milliseconds.
    pub starts: u64,
    /// The keeper is killed before so many changes of the store more.
    pub fuse: Option<u32>,
}

impl Bastion {
    pub fn new(site: &Site) -> Self {
        let store = Store {
            last_time: Timestamp::from_second(BEGINNING).unwrap(),
            records: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            people: vec![Person::default(); site.owners.iter().max().map_or(0, |highest| highest + 1)],
            disabled_devices: vec![false; site.owners.len()],
            disabled_hosts: vec![false; site.peers.len()],
            last_seen: vec![None; site.peers.len()],
            next_round: vec![None; site.peers.len()],
            logins: BTreeMap::new(),
        };
        Self { ahead: 0, store, keeper: None, policies_on_disk: 0, starts: 0, fuse: None }
    }

    /// The bastion's time at a true time: its clock's, never below the last recorded one.
    pub fn time(&self, now: u64) -> Timestamp {
        self.clock(now).max(self.store.last_time)
    }

    /// What its machine's clock says.
    pub fn clock(&self, now: u64) -> Timestamp {
        let millis = i64::try_from(now).unwrap() + self.ahead;
        Timestamp::from_second(BEGINNING).unwrap() + SignedDuration::from_millis(millis)
    }

    pub fn start(&mut self, site: &Site, now: u64, happened: &mut Vec<Happened>) -> Result<(), Died> {
        let heard = vec![None; site.peers.len()];
        let policies = self.policies_on_disk;
        self.keeper = Some(Keeper { policies, heard, sessions: BTreeMap::new(), next_id: 0, logins: Vec::new() });
        // a clock that was set back would let every session last longer by as much
        if self.time(now).duration_since(self.clock(now)) >= SignedDuration::from_secs(5) {
            let places: Vec<_> = self.store.records.keys().copied().collect();
            for place in places {
                let running = |current: &Generation| matches!(current.phase, Phase::Released { .. });
                if self.store.records[&place].current.as_ref().is_some_and(running) {
                    self.order_rotation(place, "the clock was set back", now, happened)?;
                }
            }
        }
        Ok(())
    }

    /// Begins a change of the store; answers with its time.
    pub fn write(&mut self, now: u64) -> Result<Timestamp, Died> {
        match &mut self.fuse {
            Some(0) => return Err(Died),
            Some(left) => *left -= 1,
            None => {}
        }
        self.store.last_time = self.time(now);
        Ok(self.store.last_time)
    }

    pub fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("the keeper runs")
    }

    /// Why nobody may come in at a place.
    pub fn cut_off(&self, site: &Site, place: Place) -> Option<String> {
        let device = site.device(place);
        let disabled = |what: &str| Some(format!("{what} is disabled"));
        match &self.store {
            store if store.disabled_hosts[place.0] => disabled("the host"),
            store if store.disabled_devices[device] => disabled("the device"),
            store if store.people[site.owners[device]].disabled => disabled("the person"),
            _ => None,
        }
    }

    /// For how many seconds a host was not heard.
    pub fn unheard(&self, host: usize, now: u64) -> Option<u64> {
        let heard = self.keeper.as_ref()?.heard[host].or(self.store.last_seen[host])?;
        Some(u64::try_from(self.time(now).duration_since(heard).as_secs()).unwrap_or(0))
    }

    /// Whether a host's agent comes by as it has said that it would; one that stays has said nothing.
    pub fn is_on_time(&self, host: usize, now: u64) -> bool {
        self.store.next_round[host].is_some_and(|next| next + SignedDuration::from_secs(15) > self.time(now))
    }

    /// A connected agent pinged, or said something.
    pub fn heard(&mut self, host: usize, now: u64) {
        let time = self.time(now);
        if let Some(keeper) = &mut self.keeper {
            keeper.heard[host] = Some(time);
        }
    }

    fn end(generation: &mut Generation, place: Place, happened: &mut Vec<Happened>) {
        if generation.phase != Phase::Expired {
            generation.phase = Phase::Expired;
            happened.push(Happened::Ended { place, generation: generation.generation });
        }
    }

    /// Ends what is past its deadline; answers with the hosts that are to be told.
    pub fn expire(&mut self, now: u64, happened: &mut Vec<Happened>) -> Result<Vec<usize>, Died> {
        let time = self.time(now);
        let over = |place: &Place| match self.store.records[place].current {
            Some(Generation { phase: Phase::Released { deadline }, .. }) => deadline <= time,
            _ => false,
        };
        let passed = self.store.deadlines.iter().take_while(|(deadline, _)| *deadline <= time);
        let due: BTreeSet<_> = passed.map(|(_, place)| *place).filter(over).collect();
        if !due.is_empty() || time.duration_since(self.store.last_time) >= SignedDuration::from_mins(1) {
            self.write(now)?;
            self.store.deadlines.retain(|(deadline, _)| *deadline > time);
        }
        for place in &due {
            let current = self.store.records.get_mut(place).and_then(|record| record.current.as_mut());
            Self::end(current.expect("it is past its deadline"), *place, happened);
        }
        Ok(due.into_iter().map(|(host, _)| host).collect())
    }

    pub fn order_rotation(
        &mut self,
        place: Place,
        reason: &str,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<(), Died> {
        self.write(now)?;
        if let Some(record) = self.store.records.get_mut(&place) {
            record.ordered = Some(reason.to_owned());
            if let Some(current) = &mut record.current {
                Self::end(current, place, happened);
            }
        }
        Ok(())
    }

    /// Wipes every key of these places: somebody was cut off there.
    pub fn end_all(&mut self, places: &[Place], happened: &mut Vec<Happened>) {
        for place in places {
            let Some(record) = self.store.records.get_mut(place) else { continue };
            record.deposited = None;
            if let Some(current) = &mut record.current {
                Self::end(current, *place, happened);
            }
        }
    }

    /// Hears what a host's agent says.
    ///
    /// # Errors
    /// Killed in between. Otherwise none means: hang up.
    pub fn hear(
        &mut self,
        site: &Site,
        host: usize,
        message: Up,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Option<Vec<Down>>, Died> {
        self.heard(host, now);
        match message {
            Up::Report { fingerprints, comes_again } => {
                if self.store.disabled_hosts[host] {
                    return Ok(None);
                }
                let time = self.write(now)?;
                self.store.last_seen[host] = Some(time);
                self.store.next_round[host] =
                    comes_again.map(|millis| time + SignedDuration::from_millis(i64::try_from(millis).unwrap()));
                self.expire(now, happened)?;
                let stands = |(place, record): (&Place, &Record)| {
                    let deposited = record.deposited.as_ref().filter(|_| place.0 == host)?;
                    let same = fingerprints[place.1] == Some(deposited.key.fingerprint);
                    same.then_some((place.1, deposited.generation))
                };
                let applied: Vec<_> = self.store.records.range((host, 0)..(host + 1, 0)).filter_map(stands).collect();
                self.applied(host, &applied, now, happened)?;
                Ok(Some(vec![Down::Assignments(self.assignments(site, host, now, happened)?)]))
            }
            Up::Deposit(deposits) => {
                self.write(now)?;
                let mut stored = Vec::new();
                for (peer, generation, key) in deposits {
                    if self.deposit(site, (host, peer), generation, key, happened) {
                        stored.push((peer, generation));
                    }
                }
                Ok(Some(vec![Down::Stored(stored)]))
            }
            Up::Applied(applied) => {
                self.applied(host, &applied, now, happened)?;
                Ok(Some(vec![Down::Noted]))
            }
            Up::Opened { id, refused } => {
                let again = refused.is_some();
                for login in &mut self.keeper().logins {
                    login.answered(id, refused.as_deref(), happened);
                }
                Ok(Some(if again { vec![Down::Round] } else { Vec::new() }))
            }
        }
    }

    fn deposit(&mut self, site: &Site, place: Place, generation: u64, key: Key, happened: &mut Vec<Happened>) -> bool {
        if self.cut_off(site, place).is_some() {
            return false;
        }
        let record = self.store.records.entry(place).or_default();
        if generation <= record.highest {
            return false;
        }
        record.highest = generation;
        record.deposited = Some(Generation { generation, key, phase: Phase::Deposited, applied_at: None });
        happened.push(Happened::Stored { place, generation });
        true
    }

    fn applied(
        &mut self,
        host: usize,
        applied: &[(usize, u64)],
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<(), Died> {
        let time = self.write(now)?;
        for (peer, generation) in applied {
            let place = (host, *peer);
            let Some(record) = self.store.records.get_mut(&place) else { continue };
            let Some(deposited) = record.deposited.take_if(|deposited| deposited.generation == *generation) else {
                continue;
            };
            if let Some(current) = &mut record.current {
                Self::end(current, place, happened);
            }
            record.current = Some(Generation { phase: Phase::Applied, applied_at: Some(time), ..deposited });
            record.ordered = None;
        }
        Ok(())
    }

    fn assignments(
        &mut self,
        site: &Site,
        host: usize,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Vec<(usize, Assignment)>, Died> {
        let time = self.time(now);
        let policies = self.keeper().policies;
        let (mut assignments, mut refused) = (Vec::new(), Vec::new());
        for peer in 0..site.peers[host].len() {
            let place = (host, peer);
            let record = self.store.records.get(&place).cloned();
            let served = &site.served[policies][host][peer];
            if !served.is_covered() && record.is_none() {
                continue;
            }
            let record = record.unwrap_or_default();
            let facts = Facts {
                cover: served.cover.clone(),
                cut_off: self.cut_off(site, place),
                newest: record.newest(),
                applied_at: record.current.as_ref().and_then(|current| current.applied_at),
                rotation_ordered: record.ordered.clone(),
            };
            let told = standing(&facts, self.session_time(place, &record, time, now));
            let waits = record.current.as_ref().is_some_and(|current| current.phase == Phase::Applied);
            if waits && matches!(told, Standing::KeepLocked { .. }) {
                refused.push(place);
            }
            let assignment = Assignment {
                peer: site.names[host][peer].clone(),
                connection: String::new(),
                policy: served.policy.clone(),
                rotation_interval: served.rotation_interval,
                idle_timeout: None,
                highest_generation: record.highest,
                standing: told,
            };
            assignments.push((peer, assignment));
        }
        for place in refused {
            self.order_rotation(place, "the server was told to lock", now, happened)?;
        }
        Ok(assignments)
    }

    /// The time by which to say what is left of a session: the bastion's own may stand still.
    fn session_time(&mut self, place: Place, record: &Record, time: Timestamp, now: u64) -> Timestamp {
        let Some(Generation { phase: Phase::Released { deadline }, .. }) = record.current else { return time };
        let seen = self.keeper().sessions.entry(place).or_insert((deadline, time, now));
        if seen.0 != deadline {
            *seen = (deadline, time, now);
        }
        time.max(seen.1 + SignedDuration::from_millis(i64::try_from(now - seen.2).unwrap()))
    }

    /// The session that runs at a place: its generation, and until when, in true time.
    pub fn session(&self, place: Place, now: u64) -> Option<(u64, u64)> {
        let Generation { generation, phase, .. } = self.store.records.get(&place)?.current.as_ref()?;
        let Phase::Released { deadline } = phase else { return None };
        let left = u64::try_from(deadline.duration_since(self.time(now)).as_millis()).ok()?;
        Some((*generation, now + left))
    }

    /// A generation is released, until this moment.
    pub fn release(&mut self, place: Place, deadline: Timestamp) {
        self.store.deadlines.insert((deadline, place));
        if let Some(current) = self.store.records.get_mut(&place).and_then(|record| record.current.as_mut()) {
            current.phase = Phase::Released { deadline };
        }
    }

    /// Whether a session is over and its place has no key to release yet.
    pub fn is_between_keys(&self, place: Place) -> bool {
        let current = self.store.records.get(&place).and_then(|record| record.current.as_ref());
        current.is_none_or(|current| current.phase == Phase::Expired)
    }

    /// What stands for the key that the server side has confirmed.
    pub fn fingerprint(&self, place: Place) -> Option<Fingerprint> {
        let record = self.store.records.get(&place)?;
        record.current.as_ref().map(|current| current.key.fingerprint)
    }
}
