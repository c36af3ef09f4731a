//! What the agent remembers between rounds, restarts and reboots. No preshared key is among it, only what stands for one.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::exit::Exit;
use wgmfa_core::gate::grants::{Closing, Grants};
use wgmfa_core::key::Fingerprint;
use wgmfa_core::message::agent::{LocalEvent, LogHead, MOST_EVENTS, PeerRef};
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::order::Interrupted;
use wgmfa_core::rotation::{Contact, Held, Hold, Idle, View};
use wgmfa_wireguard::is_same_handshake;

/// The version of the state file.
const VERSION: u32 = 1;

/// Of what comes by itself, no more than this many unreported events are kept: what goes on for longer has been said often
/// enough.
const MOST_KEPT: usize = 1000;

/// What the agent remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    version: u32,
    /// The boot in which it was written.
    pub boot: BootId,
    /// When the newest question that the bastion has answered was asked, in this boot. Never later than the truth.
    pub last_contact: Option<Boottime>,
    /// Root has ordered to enforce nothing.
    #[serde(default)]
    pub stood_down: bool,
    /// Every peer that a policy has ever covered here.
    #[serde(with = "as_list")]
    pub peers: BTreeMap<PeerRef, Kept>,
    /// Peers whose keys the bastion has delivered: here this host is the client side.
    #[serde(default, with = "as_list")]
    pub delivered: BTreeMap<PeerRef, Delivered>,
    /// What happened here and the bastion has not been told.
    #[serde(default)]
    pub events: Vec<Event>,
    /// How the last round went.
    #[serde(default)]
    pub last_round: Option<LastRound>,
    /// How far apart rounds are, in seconds, when somebody else (cron) decides on that.
    #[serde(default)]
    pub period: Option<u64>,
    /// Peers without a second factor on interfaces that an MFA policy covers.
    #[serde(default)]
    pub uncovered: Vec<PeerRef>,
    /// Complaints that stand and that people have already read.
    #[serde(default)]
    pub spoken: Vec<String>,
    /// The same of those who order rounds from a resident agent, as cron does: what it says itself, they do not read.
    #[serde(default)]
    pub answered: Vec<String>,
    /// The newest line of the bastion's audit log that it told of.
    #[serde(default)]
    pub log_head: Option<LogHead>,
    /// The last line that it told of and then had no longer.
    #[serde(default)]
    pub lost_log_head: Option<LogHead>,
    /// Peers that a policy enforces by the firewall, with their grants.
    #[serde(default)]
    pub grants: Grants,
    /// Peers of the same interfaces that nothing holds back.
    #[serde(default)]
    pub free: BTreeSet<PeerRef>,
    /// The interfaces whose peers are held back.
    #[serde(default)]
    pub gated: BTreeSet<InterfaceName>,
    /// A gate was put up and not taken away.
    #[serde(default)]
    pub gate_stands: bool,
    /// What was wrong with the gate when it was last looked at.
    #[serde(default)]
    pub gate_fault: Option<String>,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// What stands on it.
    pub held: Held,
    /// Whether `held` was written in this boot.
    pub same_boot: bool,
    /// The connection's name, for people; empty: never heard.
    #[serde(default)]
    pub connection: String,
    /// The policy that covers it, as last heard.
    #[serde(default)]
    pub policy: Option<PolicyRef>,
    /// What stood on the peer before `held`, as long as the change may have been cut short.
    #[serde(default)]
    pub before: Option<Fingerprint>,
    /// The latest handshake that stood there when the key was last changed in place; none after a re-add, which leaves
    /// none. As long as it is the latest, nothing proves the new key.
    #[serde(default)]
    pub handshake_before: Option<SystemTime>,
    /// What stands for the lock key in the interface's configuration file.
    #[serde(default)]
    pub file_key: Option<Fingerprint>,
    /// After how long without a new handshake a session is over, in seconds, by the policy that applied when it began.
    #[serde(default)]
    pub idle_timeout: Option<u64>,
    /// The latest handshake of the session that runs.
    #[serde(default)]
    pub alive: Option<Alive>,
    /// While it is locked: the generation that it would accept but for a reboot or a reload.
    #[serde(default)]
    pub interrupted: Option<Interrupted>,
}

/// When a session last gave a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// When it was opened, or its latest handshake was seen to change, in this boot.
    pub since: Boottime,
    /// The latest handshake as WireGuard tells it; only whether it is another one counts.
    pub handshake: Option<SystemTime>,
}

/// What is remembered of a key that the bastion has delivered; never the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The connection's name, for people.
    pub connection: String,
    /// The key's generation.
    pub generation: u64,
    /// What stands for it.
    pub fingerprint: Fingerprint,
    /// Until when the other side accepts it; none: that is not known since this machine's boot.
    pub deadline: Option<Boottime>,
}

/// Something that happened here and that the bastion did not order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// As in [`LocalEvent`].
    pub event: String,
    /// The peer it was about.
    pub peer: Option<PeerRef>,
    /// Why, in words.
    pub reason: String,
    /// The generation that is over with it.
    #[serde(default)]
    pub generation: Option<u64>,
    /// The tier that is closed with it; none: all of the peer's, if it is about tiers.
    #[serde(default)]
    pub tier: Option<TierName>,
    /// When, in this boot.
    pub at: Boottime,
}

/// How a round went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRound {
    /// When it ended, in this boot.
    pub at: Boottime,
    /// The exit status that it deserves.
    pub exit: u8,
    /// What went wrong, in words.
    pub faults: Vec<String>,
}

impl State {
    /// Nothing is remembered yet.
    pub fn new(boot: BootId) -> Self {
        Self {
            version: VERSION,
            boot,
            last_contact: None,
            stood_down: false,
            peers: BTreeMap::new(),
            delivered: BTreeMap::new(),
            events: Vec::new(),
            last_round: None,
            period: None,
            uncovered: Vec::new(),
            spoken: Vec::new(),
            answered: Vec::new(),
            log_head: None,
            lost_log_head: None,
            grants: Grants::default(),
            free: BTreeSet::new(),
            gated: BTreeSet::new(),
            gate_stands: false,
            gate_fault: None,
        }
    }

    /// The same in the boot that runs now: moments of another boot mean nothing, and no key of before is trusted.
    #[must_use]
    pub fn in_boot(mut self, boot: BootId) -> Self {
        if self.boot == boot {
            return self;
        }
        self.boot = boot;
        self.last_contact = None;
        self.last_round = None;
        self.peers.values_mut().for_each(|kept| kept.same_boot = false);
        self.delivered.values_mut().for_each(|delivered| delivered.deadline = None);
        self.grants.rebooted();
        let not_yet = || "the gate was not put up since this machine's boot".to_owned();
        self.gate_fault = (!self.gated.is_empty()).then(not_yet);
        // It was at least as long ago as this boot is.
        self.events.iter_mut().for_each(|event| event.at = Boottime::from_millis(0));
        self
    }

    /// Whether this program can read what was stored.
    pub fn is_readable(&self) -> bool {
        self.version == VERSION
    }

    /// Notes an event for the bastion. What root has ordered is noted each time, what comes by itself once while it is
    /// unreported.
    pub fn happened(&mut self, event: &str, peer: Option<PeerRef>, reason: &str, at: Boottime) {
        self.note(Event { event: event.to_owned(), peer, reason: reason.to_owned(), generation: None, tier: None, at });
    }

    /// Tiers were closed before their time.
    pub fn closed(&mut self, closing: &Closing, at: Boottime) {
        for tier in &closing.tiers {
            let (event, peer, reason) = ("closed".to_owned(), Some(closing.peer.clone()), closing.reason.clone());
            self.note(Event { event, peer, reason, generation: None, tier: Some(tier.clone()), at });
        }
    }

    /// Somebody inside the tunnel has logged out: every tier is closed, and the session of this generation is over.
    pub fn logged_out(&mut self, peer: &PeerRef, generation: Option<u64>, at: Boottime) {
        let (event, peer, reason) = ("closed".to_owned(), Some(peer.clone()), "logged out".to_owned());
        self.note(Event { event, peer, reason, generation, tier: None, at });
    }

    /// Peers of which something was closed that the bastion does not know yet.
    pub fn untold_closings(&self) -> impl Iterator<Item = &PeerRef> {
        self.events.iter().filter(|event| event.event == "closed").filter_map(|event| event.peer.as_ref())
    }

    /// A session was over for want of handshakes.
    pub fn idled(&mut self, peer: &PeerRef, generation: u64, reason: String, at: Boottime) {
        let (event, peer) = ("idle".to_owned(), Some(peer.clone()));
        self.note(Event { event, peer, reason, generation: Some(generation), tier: None, at });
    }

    fn note(&mut self, event: Event) {
        if event.event == "closed" {
            // The bastion must hear of each one, or it would have the tier opened again: there is one for a tier of a peer,
            // however many there are. What was opened and closed again is over since the last time.
            let which = |one: &Event| (one.event.clone(), one.peer.clone(), one.tier.clone(), one.generation);
            let known = self.events.iter().position(|known| which(known) == which(&event));
            self.put_in_place_of(known, event);
            return;
        }
        let which = |one: &Event| (one.event.clone(), one.peer.clone(), one.reason.clone(), one.generation);
        let known = self.events.iter().position(|known| which(known) == which(&event));
        let comes_by_itself = |one: &&Event| matches!(one.event.as_str(), "changed-outside" | "two-endpoints");
        match event.event.as_str() {
            // each belongs in the audit log, however long the bastion is away
            "override" | "lock" | "stand-down" => self.events.push(event),
            "idle" => self.put_in_place_of(known, event),
            _ if known.is_some() || self.events.iter().filter(comes_by_itself).count() < MOST_KEPT => {
                self.put_in_place_of(known, event);
            }
            _ => {}
        }
    }

    /// An event that is known already has happened again: the bastion may be hearing of the first time now.
    fn put_in_place_of(&mut self, known: Option<usize>, event: Event) {
        match known {
            Some(place) => self.events[place] = event,
            None => self.events.push(event),
        }
    }

    /// The first of the unreported events as the bastion hears them, as many as one report may have.
    pub fn events_for_report(&self, now: Boottime) -> Vec<LocalEvent> {
        let tell = |event: &Event| LocalEvent {
            event: event.event.clone(),
            peer: event.peer.clone(),
            generation: event.generation,
            tier: event.tier.clone(),
            reason: event.reason.clone(),
            seconds_ago: now.since(event.at).as_secs(),
        };
        self.events.iter().take(MOST_EVENTS).map(tell).collect()
    }

    /// The bastion has heard a report of so many events, made at `asked`. What happened since is news for the next one,
    /// also where it took the place of an event that was in the report.
    pub fn reported(&mut self, mut events: usize, asked: Boottime) {
        self.events.retain(|event| {
            let was_there = events > 0;
            events = events.saturating_sub(1);
            !(was_there && event.at <= asked)
        });
    }
}

impl Kept {
    /// A peer of which nothing but this is known yet.
    pub fn new(held: Held) -> Self {
        Self {
            held,
            same_boot: true,
            connection: String::new(),
            policy: None,
            before: None,
            handshake_before: None,
            file_key: None,
            idle_timeout: None,
            alive: None,
            interrupted: None,
        }
    }

    /// The peer as the plan sees it.
    pub fn view<'a>(&'a self, now: Boottime, observed: Option<Fingerprint>, contact: Contact<'a>) -> View<'a> {
        let alive = self.alive.zip(self.idle_timeout);
        let idle = alive.map(|(alive, timeout)| Idle { since: alive.since, timeout });
        View { now, same_boot: self.same_boot, observed, held: Some(&self.held), idle, contact }
    }

    /// Notes when the latest handshake of a session changes.
    pub fn see(&mut self, handshake: Option<SystemTime>, now: Boottime) {
        if !matches!(self.held.hold, Hold::Open { .. }) {
            self.alive = None;
        } else if self.alive.is_none_or(|alive| !is_same_handshake(alive.handshake, handshake)) {
            self.alive = Some(Alive { since: now, handshake });
        }
    }
}

impl LastRound {
    /// Whether the bastion was reached and answered.
    pub fn is_good(&self) -> bool {
        self.exit == Exit::Done.code() || self.exit == Exit::Partly.code()
    }
}

/// A map whose keys are no strings, as a list of objects.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use wgmfa_core::message::agent::PeerRef;

    #[derive(Serialize)]
    struct Row<'a, T> {
        #[serde(flatten)]
        peer: &'a PeerRef,
        #[serde(flatten)]
        value: &'a T,
    }

    #[derive(Deserialize)]
    struct OwnedRow<T> {
        #[serde(flatten)]
        peer: PeerRef,
        #[serde(flatten)]
        value: T,
    }

    pub fn serialize<S: Serializer, T: Serialize>(
        peers: &BTreeMap<PeerRef, T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(peers.iter().map(|(peer, value)| Row { peer, value }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<PeerRef, T>, D::Error> {
        let rows = Vec::<OwnedRow<T>>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.peer, row.value)).collect())
    }
}

#[cfg(test)]
mod tests;
