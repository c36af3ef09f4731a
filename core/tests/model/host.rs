//! A host: an interface with its peers, a disk, and an agent that may die at any effect. It does what the agent's edge
//! does (`agent/src/agent/`); what is to be done is decided by [`wgmfa_core::rotation::plan`].

mod round;

use std::collections::BTreeMap;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::Fingerprint;
use wgmfa_core::rotation::{Action, Contact, Held, Hold, View, plan};

use super::key::{Key, Keys, Kind};
use super::ledger::Happened;
use super::network::{Down, Up};

/// As in the agent: a resident one reports at least this often, in seconds.
const ROUND_EVERY: u64 = 60;

/// As in the agent: an order that comes this long after the last contact is dated back to it, in seconds.
pub const LATE: u64 = 15;

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

#[derive(Debug, Clone)]
pub struct Kept {
    pub held: Held,
    same_boot: bool,
}

/// What an agent remembers; what is on its disk is one of these.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    boot: u32,
    pub last_contact: Option<Boottime>,
    pub peers: BTreeMap<usize, Kept>,
}

#[derive(Debug)]
pub enum Step {
    Idle,
    Reported { asked: Boottime },
    Deposited { asked: Boottime, fresh: Vec<Fresh> },
    Confirmed { asked: Boottime },
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
        let (disk, disk_full, agent, fuse) = (Memory::default(), false, None, None);
        Self { number, resident, booted: 0, boot: 0, slots, disk, disk_full, agent, starts: 0, fuse }
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
        let (step, intervals, finished) = (Step::Idle, Vec::new(), false);
        let begun = around.now;
        self.agent = Some(Agent { memory, step, connected: now, next_round: now, begun, intervals, finished });
        self.remembers_contact(around);
    }

    /// Reboots; the interface comes up with what its file says.
    pub fn reboot(&mut self, now: u64, slots: Vec<Option<Key>>) {
        (self.agent, self.fuse, self.booted, self.slots) = (None, None, now, slots);
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

    fn put(&mut self, peer: usize, key: Key) -> Living<()> {
        self.effect()?;
        self.slots[peer] = Some(key);
        Ok(())
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.agent.as_mut().expect("an agent runs").memory
    }

    fn observed(&self, peer: usize) -> Option<Fingerprint> {
        self.slots[peer].map(|key| key.fingerprint)
    }

    fn plans(&self, contact: Contact<'_>, peer: usize, now: u64) -> Vec<Action> {
        let memory = &self.agent.as_ref().expect("an agent runs").memory;
        let (now, observed) = (self.clock(now), self.observed(peer));
        plan(&match memory.peers.get(&peer) {
            Some(kept) => {
                View { now, same_boot: kept.same_boot, observed, held: Some(&kept.held), idle: None, contact }
            }
            None => View { now, same_boot: true, observed, held: None, idle: None, contact },
        })
    }

    /// Looks at the interface and locks what must be locked.
    pub fn enforce(&mut self, around: &mut Around<'_>) -> Living<()> {
        let peers = self.memory().peers.keys().copied().collect();
        self.enforce_on(peers, around)?;
        let (slots, at) = (self.slots.clone(), around.now);
        around.happened.push(Happened::Looked { host: self.number, slots, at });
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

    /// When [`Host::enforce`] has something to do even if nothing happens, in true time.
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        let memory = &self.agent.as_ref()?.memory;
        let contact = Contact::Lost(memory.last_contact);
        let clock = self.clock(now);
        let moments = memory.peers.values().flat_map(|Kept { held, same_boot }| {
            let observed = Some(held.fingerprint);
            plan(&View { now: clock, same_boot: *same_boot, observed, held: Some(held), idle: None, contact })
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
        agent.step = Step::Reported { asked };
        let fingerprints = self.slots.iter().map(|key| key.map(|key| key.fingerprint)).collect();
        Up::Report { fingerprints, comes_again: (!self.resident).then_some(super::world::CRON) }
    }

    fn lock(&mut self, due: Vec<(usize, String)>, around: &mut Around<'_>) -> Living<()> {
        let mut changes = Vec::new();
        for (peer, reason) in due {
            let key = around.keys.fresh(Kind::Lock);
            let hold = Hold::Locked { reason };
            let kept = self.memory().peers.entry(peer).or_insert_with(|| Kept {
                held: Held { generation: 0, fingerprint: key.fingerprint, hold: hold.clone(), rotation_interval: 0 },
                same_boot: true,
            });
            (kept.held.hold, kept.held.fingerprint, kept.same_boot) = (hold, key.fingerprint, true);
            changes.push((peer, key));
        }
        let remembered = self.save()?; // a full disk keeps nobody in
        for (peer, key) in changes {
            self.put(peer, key)?;
            around.happened.push(Happened::Locked { place: (self.number, peer), remembered });
        }
        self.effect()
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

    fn open(
        &mut self,
        peer: usize,
        generation: u64,
        seconds_left: u64,
        around: &mut Around<'_>,
    ) -> Living<Result<(), String>> {
        let now = self.clock(around.now);
        let agent = self.agent.as_ref().expect("an agent runs");
        let (connected, last_contact) = (agent.connected, agent.memory.last_contact);
        let Some(kept) = agent.memory.peers.get(&peer) else { return Ok(Err("no key was made".to_owned())) };
        if kept.held.generation != generation {
            return Ok(Err(format!("this server holds generation {}", kept.held.generation)));
        }
        let first = self.plans(Contact::Lost(last_contact), peer, around.now).into_iter().next();
        if let Some(Action::Lock { reason }) = first {
            self.enforce(around)?;
            return Ok(Err(reason));
        }
        let heard = last_contact.map_or(connected, |contact| contact.max(connected));
        let sent = if now.since(heard).as_secs() < LATE { now } else { heard };
        if sent < now {
            self.want_round(around.now);
        }
        let told = sent.plus_seconds(seconds_left);
        if told <= now {
            return Ok(Err("the order came too late".to_owned()));
        }
        let kept = self.memory().peers.get_mut(&peer).expect("it was there just now");
        let (deadline, fresh) = match &kept.held.hold {
            Hold::Waiting { .. } => (told, true),
            Hold::Open { deadline } => (told.max(*deadline), false),
            Hold::Override { .. } => return Ok(Err("opened by root".to_owned())),
            Hold::Locked { reason } => return Ok(Err(reason.clone())),
        };
        let before = std::mem::replace(&mut kept.held.hold, Hold::Open { deadline });
        if !self.save()? {
            self.memory().peers.entry(peer).and_modify(|kept| kept.held.hold = before);
            return Ok(Err("the disk is full".to_owned()));
        }
        if fresh {
            self.put(peer, self.slots[peer].expect("its fingerprint was the one remembered"))?;
        }
        self.effect()?;
        let (place, until) = ((self.number, peer), self.true_time(told));
        around.happened.push(Happened::Opened { place, generation, until });
        Ok(Ok(()))
    }

    /// Root's way in without the bastion. False: nothing was opened.
    pub fn open_by_root(&mut self, peer: usize, seconds: u64, around: &mut Around<'_>) -> Living<bool> {
        let deadline = self.clock(around.now).plus_seconds(seconds);
        let before = self.memory().peers.clone();
        let Some(kept) = self.memory().peers.get_mut(&peer) else { return Ok(false) };
        let key = around.keys.fresh(Kind::Foreign);
        kept.held.hold = Hold::Override { deadline };
        (kept.held.fingerprint, kept.same_boot) = (key.fingerprint, true);
        if !self.save()? {
            self.memory().peers = before;
            return Ok(false);
        }
        self.put(peer, key)?;
        self.want_round(around.now);
        Ok(true)
    }
}
