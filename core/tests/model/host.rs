//! A host: an interface with its peers, a disk, and an agent that may die at any effect. It does what the agent's edge
//! does (`agent/src/agent/`); what is to be done is decided by [`wgmfa_core::rotation::plan`].

mod kept;
mod lock;
mod orders;
mod round;

use std::collections::{BTreeMap, BTreeSet};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::Fingerprint;
use wgmfa_core::rotation::{Action, Contact, Hold, plan};

use super::key::{Key, Keys, Kind};
use super::ledger::Happened;
use super::network::{Down, Up};

pub use kept::{Kept, Memory};

/// As in the agent: a resident one reports at least this often, in seconds.
const ROUND_EVERY: u64 = 60;

/// As in the agent: so long one that comes by waits for the bastion's word on sessions that are over, in milliseconds.
const SOON: u64 = 5000;

/// What the world lends a host while it acts.
pub struct Around<'a> {
    /// The true time, in milliseconds.
    pub now: u64,
    pub keys: &'a mut Keys,
    pub happened: &'a mut Vec<Happened>,
}

/// The agent was killed in between.
#[derive(Debug)]
pub struct Died;

#[derive(Debug)]
pub enum Step {
    Idle,
    /// Meanwhile these peers have changed to another generation: the answer may be older than that.
    Reported {
        asked: Boottime,
        told: usize,
        overtaken: BTreeSet<usize>,
    },
    Deposited {
        asked: Boottime,
        fresh: Vec<Fresh>,
    },
    Confirmed {
        asked: Boottime,
    },
}

#[derive(Debug, Clone)]
pub struct Fresh {
    peer: usize,
    generation: u64,
    rotation_interval: u64,
    key: Key,
}

/// A process of the agent.
#[derive(Debug)]
pub struct Agent {
    pub memory: Memory,
    pub step: Step,
    connected: Boottime,
    /// Generations that renew a session, until the bastion says to change to them; nowhere but here.
    next: BTreeMap<usize, (u64, Key)>,
    pub next_round: Boottime,
    /// When it was started, in true time.
    begun: u64,
    /// By which intervals keys rotate, as this round has said.
    intervals: Vec<(usize, u64)>,
    /// The round is over: a cron agent ends.
    pub finished: bool,
}

#[derive(Debug)]
pub struct Host {
    pub number: usize,
    pub resident: bool,
    /// When it was booted, in true milliseconds.
    booted: u64,
    boot: u32,
    /// What stands on the interface, for each peer.
    pub slots: Vec<Option<Key>>,
    /// When each peer last shook hands since it was added, in true milliseconds.
    handshakes: Vec<Option<u64>>,
    disk: Memory,
    pub disk_full: bool,
    pub agent: Option<Agent>,
    /// When the machine, or a resident agent, is started (again).
    pub starts: u64,
    /// The agent dies before so many effects more.
    pub fuse: Option<u32>,
}

type Living<T> = Result<T, Died>;

impl Host {
    pub fn new(number: usize, resident: bool, peers: usize, keys: &mut Keys) -> Self {
        let slots = (0..peers).map(|_| Some(keys.fresh(Kind::Foreign))).collect();
        let handshakes = vec![None; peers];
        let (disk, disk_full, agent, fuse) = (Memory::default(), false, None, None);
        Self { number, resident, booted: 0, boot: 0, slots, handshakes, disk, disk_full, agent, starts: 0, fuse }
    }

    pub fn clock(&self, now: u64) -> Boottime {
        Boottime::from_millis(now - self.booted)
    }

    /// The true time of a moment of this boot.
    pub fn true_time(&self, moment: Boottime) -> u64 {
        moment.as_millis().saturating_add(self.booted)
    }

    /// Starts the agent with what is on its disk.
    pub fn start(&mut self, around: &mut Around<'_>) {
        let mut memory = self.disk.clone();
        if memory.boot != self.boot {
            (memory.boot, memory.last_contact) = (self.boot, None);
            memory.peers.values_mut().for_each(|kept| kept.same_boot = false);
        }
        let now = self.clock(around.now);
        let (step, next, intervals, finished) = (Step::Idle, BTreeMap::new(), Vec::new(), false);
        let begun = around.now;
        self.agent = Some(Agent { memory, step, connected: now, next, next_round: now, begun, intervals, finished });
        self.remembers_contact(around);
    }

    /// Reboots; the interface comes up with what its file says.
    pub fn reboot(&mut self, now: u64, slots: Vec<Option<Key>>) {
        (self.agent, self.fuse, self.booted, self.slots) = (None, None, now, slots);
        self.handshakes.fill(None);
        self.boot += 1;
    }

    /// Until when, in true time, an agent that comes by leaves to the bastion which session is over.
    pub fn asks_until(&self) -> Option<u64> {
        let asks = |agent: &&Agent| !self.resident && matches!(agent.step, Step::Idle | Step::Reported { .. });
        self.agent.as_ref().filter(asks).filter(|agent| !agent.finished).map(|agent| agent.begun + SOON)
    }

    fn effect(&mut self) -> Living<()> {
        match &mut self.fuse {
            Some(0) => Err(Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether it is on disk.
    fn save(&mut self) -> Living<bool> {
        self.effect()?;
        if !self.disk_full
            && let Some(agent) = &self.agent
        {
            self.disk = agent.memory.clone();
        }
        Ok(!self.disk_full)
    }

    /// Removes a peer and adds it again with this key.
    fn put(&mut self, peer: usize, key: Key) -> Living<()> {
        self.change_in_place(peer, key)?;
        self.handshakes[peer] = None;
        Ok(())
    }

    fn change_in_place(&mut self, peer: usize, key: Key) -> Living<()> {
        self.effect()?;
        self.slots[peer] = Some(key);
        Ok(())
    }

    /// A peer shakes hands with what it takes for the key.
    pub fn shake(&mut self, peer: usize, key: Option<Key>, now: u64) {
        let same = self.slots[peer].zip(key).is_some_and(|(here, there)| here.fingerprint == there.fingerprint);
        if same {
            self.handshakes[peer] = Some(now);
        }
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.agent.as_mut().expect("an agent runs").memory
    }

    fn observed(&self, peer: usize) -> Option<Fingerprint> {
        self.slots[peer].map(|key| key.fingerprint)
    }

    /// A peer as the plan sees it; by what the agent remembers it has put there, if nobody looks.
    fn plans(&self, contact: Contact<'_>, peer: usize, now: u64) -> Vec<Action> {
        let memory = &self.agent.as_ref().expect("an agent runs").memory;
        let kept = memory.peers.get(&peer);
        plan(&kept::view(kept, self.clock(now), self.observed(peer), contact))
    }

    /// Notes which sessions give a sign of life.
    fn see(&mut self, peers: &[usize], now: u64) {
        let clock = self.clock(now);
        let memory = &mut self.agent.as_mut().expect("an agent runs").memory;
        for peer in peers {
            memory.peers.entry(*peer).and_modify(|kept| kept.see(self.handshakes[*peer], clock));
        }
    }

    /// Looks at the interface and locks what must be locked.
    pub fn enforce(&mut self, around: &mut Around<'_>) -> Living<()> {
        let peers = self.memory().peers.keys().copied().collect();
        self.enforce_on(peers, around)?;
        let (slots, idle, at) = (self.slots.clone(), self.idle(), around.now);
        around.happened.push(Happened::Looked { host: self.number, slots, idle, at });
        Ok(())
    }

    /// The same for some peers.
    pub fn enforce_on(&mut self, peers: Vec<usize>, around: &mut Around<'_>) -> Living<()> {
        let contact = Contact::Lost(self.memory().last_contact);
        self.enforce_in(contact, peers, around)
    }

    /// Locks what no answer can mend, by an agent that comes by and asks the bastion at once.
    pub fn enforce_before_asking(&mut self, around: &mut Around<'_>) -> Living<()> {
        let peers = self.memory().peers.keys().copied().collect();
        self.enforce_in(Contact::Asking, peers, around)
    }

    fn enforce_in(&mut self, contact: Contact<'_>, peers: Vec<usize>, around: &mut Around<'_>) -> Living<()> {
        self.see(&peers, around.now);
        let due: Vec<_> = peers
            .into_iter()
            .flat_map(|peer| self.plans(contact, peer, around.now).into_iter().map(move |action| (peer, action)))
            .filter_map(|(peer, action)| match action {
                Action::Lock { reason } => Some((peer, reason)),
                _ => None,
            })
            .collect();
        if !due.is_empty() {
            self.lock(due, around)?;
            self.want_round(around.now);
        }
        Ok(())
    }

    /// When the session on each peer is over for want of handshakes, in true time, as far as the agent knows.
    pub fn idle(&self) -> Vec<(usize, u64)> {
        let kept = self.agent.iter().flat_map(|agent| &agent.memory.peers).filter(|(_, kept)| kept.same_boot);
        let over = |kept: &Kept| {
            let (alive, timeout) = kept.alive.zip(kept.idle_timeout)?;
            let open = matches!(kept.held.hold, Hold::Open { .. });
            open.then(|| self.true_time(alive.since) + timeout * 1000)
        };
        kept.filter_map(|(peer, kept)| Some((*peer, over(kept)?))).collect()
    }

    /// When [`Host::enforce`] has something to do even if nothing happens, in true time.
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        let memory = &self.agent.as_ref()?.memory;
        let contact = Contact::Lost(memory.last_contact);
        let clock = self.clock(now);
        let moments = memory.peers.values().flat_map(|kept| {
            let observed = Some(kept.held.fingerprint);
            plan(&kept::view(Some(kept), clock, observed, contact))
        });
        let moments = moments.filter_map(|action| match action {
            Action::Wait { until, .. } => until,
            _ => None,
        });
        moments.filter(|moment| *moment > clock).min().map(|moment| self.true_time(moment))
    }

    pub fn want_round(&mut self, now: u64) {
        let now = self.clock(now);
        if let Some(agent) = &mut self.agent {
            agent.next_round = now;
        }
    }

    /// The bastion has answered what was asked at this moment.
    pub fn reached(&mut self, asked: Boottime, around: &mut Around<'_>) {
        let memory = self.memory();
        memory.last_contact = memory.last_contact.max(Some(asked));
        if self.resident {
            self.remembers_contact(around);
        }
    }

    /// What an agent knows of its last contact, in its process or, when it only comes by, on its disk.
    fn remembers_contact(&self, around: &mut Around<'_>) {
        let last = self.agent.as_ref().and_then(|agent| agent.memory.last_contact);
        let at = last.map_or(self.booted, |last| self.true_time(last));
        around.happened.push(Happened::Contact { host: self.number, at });
    }

    pub fn connected(&mut self, now: u64) {
        let clock = self.clock(now);
        self.agent.as_mut().expect("an agent runs").connected = clock;
        self.want_round(now);
    }

    pub fn disconnected(&mut self, now: u64) {
        if let Some(agent) = &mut self.agent {
            agent.step = Step::Idle;
            agent.next.clear();
        }
        self.want_round(now);
    }

    pub fn is_round_due(&self, now: u64) -> bool {
        self.agent.as_ref().is_some_and(|agent| matches!(agent.step, Step::Idle) && agent.next_round <= self.clock(now))
    }

    pub fn begin_round(&mut self, now: u64) -> Up {
        let asked = self.clock(now);
        let agent = self.agent.as_mut().expect("an agent runs");
        agent.next_round = asked.plus_seconds(ROUND_EVERY);
        let idled = agent.memory.idled.clone();
        agent.step = Step::Reported { asked, told: idled.len(), overtaken: BTreeSet::new() };
        let fingerprints = self.slots.iter().map(|key| key.map(|key| key.fingerprint)).collect();
        Up::Report { fingerprints, comes_again: (!self.resident).then_some(super::world::CRON), idled }
    }

    /// Hears a message and says what is to be answered.
    pub fn hear(&mut self, message: Down, around: &mut Around<'_>) -> Living<Option<Up>> {
        match message {
            Down::Assignments(assignments) => self.assigned(assignments, around),
            Down::Stored(deposits) => self.stored(&deposits, around),
            Down::Noted => {
                let agent = self.agent.as_mut().expect("an agent runs");
                if let Step::Confirmed { asked } = std::mem::replace(&mut agent.step, Step::Idle) {
                    self.reached_after_report(asked, around);
                    self.finish(around)?;
                }
                Ok(None)
            }
            Down::Open { id, peer, generation, seconds_left } => {
                let refused = self.open(peer, generation, seconds_left, around)?.err();
                Ok(Some(Up::Opened { id, refused }))
            }
            Down::MakeNext { id, peer, above } => {
                let next = self.make_next(peer, above, around)?.ok();
                Ok(Some(Up::Next { id, peer, next }))
            }
            Down::ChangeTo { id, peer, generation, seconds_left } => {
                let refused = self.change_to(peer, generation, seconds_left, around)?.err();
                Ok(Some(Up::Changed { id, peer, generation, refused }))
            }
            Down::Lock { peer } => {
                self.lock(vec![(peer, "ordered".to_owned())], around)?;
                self.want_round(around.now);
                Ok(None)
            }
            Down::Round => {
                self.want_round(around.now);
                Ok(None)
            }
        }
    }
}
