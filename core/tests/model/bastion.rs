//! The bastion: what its store keeps, in the types in which core decides, and what its keeper does with them
//! (`bastion/src/keeper/`). A store's change happens whole or not at all; between two changes the
//! keeper may be killed.

mod rounds;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::key::Fingerprint;
use wgmfa_core::release::Phase;

use super::host::Died;
use super::ledger::Happened;
use super::login::Login;
use super::site::{Place, Site};

use store::{Generation, Person};
pub use store::{LoginRow, Store};

/// True time 0.
const BEGINNING: i64 = 1_800_000_000;

/// A process of the keeper.
#[derive(Debug)]
pub struct Keeper {
    /// Which set of policies is in force.
    pub policies: usize,
    heard: Vec<Option<Timestamp>>,
    /// Deadlines as they were first seen: when by the bastion's time, and when by a clock that nobody can set.
    sessions: BTreeMap<Place, (Timestamp, Timestamp, u64)>,
    next_id: u64,
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

    /// A number for an order.
    pub fn next_id(&mut self) -> u64 {
        let keeper = self.keeper();
        keeper.next_id += 1;
        keeper.next_id
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
            current.expect("it is past its deadline").end(*place, happened);
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
            record.order_rotation(place, reason, happened);
        }
        Ok(())
    }

    /// Wipes every key of these places: somebody was cut off there.
    pub fn end_all(&mut self, places: &[Place], happened: &mut Vec<Happened>) {
        for place in places {
            if let Some(record) = self.store.records.get_mut(place) {
                record.end_all(*place, happened);
            }
        }
    }

    /// The session that runs at a place: its generation, and until when, in true time.
    pub fn session(&self, place: Place, now: u64) -> Option<(u64, u64)> {
        let Generation { generation, phase, .. } = self.store.records.get(&place)?.current.as_ref()?;
        let Phase::Released { deadline } = phase else { return None };
        let left = u64::try_from(deadline.duration_since(self.time(now)).as_millis()).ok()?;
        Some((*generation, now + left))
    }

    /// A generation is released, until this moment.
    pub fn release(&mut self, place: Place, deadline: Timestamp, time: Timestamp) {
        self.store.deadlines.insert((deadline, place));
        if let Some(current) = self.store.records.get_mut(&place).and_then(|record| record.current.as_mut()) {
            (current.phase, current.renewed_at) = (Phase::Released { deadline }, Some(time));
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
