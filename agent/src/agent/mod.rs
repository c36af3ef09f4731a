//! What the agent does, apart from how it is connected: the same for one round (`rotate`) and for a resident agent (`run`).
//!
//! It hears messages and says messages; it never waits. What is to be done about a peer is decided by
//! [`wgmfa_core::rotation::plan`] alone.

mod by_root;
mod deadline;
mod evidence;
mod gate;
mod learn;
mod lock;
mod open;
mod pair;
mod parts;
mod put;
mod renew;
mod report;
mod restore;
mod round;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PresharedKey;
use wgmfa_core::message::agent::{FromAgent, PeerRef, ToAgent};
use wgmfa_core::name::InterfaceName;
use wgmfa_core::rotation::Contact;
use wgmfa_wireguard::is_same_handshake;

use self::gate::{AtGate, Told};
pub use self::gate::{Caller, LONGEST_ANSWER, NOT_REACHED};
use self::pair::Together;
use self::parts::{Confirmations, Deposits};
use crate::clock;
use crate::config::Config;
use crate::pairs::Pairs;
use crate::state::State;
use crate::store::Store;

/// A resident agent reports at least this often, in seconds.
const ROUND_EVERY: u64 = 60;

/// More changes at once than this are told as a number.
const MOST_LINES: usize = 20;

/// The agent: what it remembers and where it is in a round.
pub struct Agent {
    /// Its configuration.
    pub config: Config,
    /// What it remembers.
    pub state: State,
    store: Store,
    resident: bool,
    step: Step,
    /// What went wrong in the round that runs.
    faults: BTreeSet<String>,
    outcome: Option<Outcome>,
    /// What was changed, a line each.
    changes: Vec<String>,
    /// Opened peers and the latest handshake that they had then: one that differs proves the key.
    unproved: BTreeMap<PeerRef, Option<SystemTime>>,
    endpoints: watch::Endpoints,
    /// The peers whose key both ends change together.
    pub pairs: Pairs,
    /// Those whose two keys are tried in turn.
    trying: BTreeSet<PeerRef>,
    /// Generations that renew a session, until the bastion says to change to them.
    next: BTreeMap<PeerRef, renew::Next>,
    gate: AtGate,
    next_round: Boottime,
    /// How long the last look at every interface took.
    look_takes: Duration,
    /// When the connection that stands was made.
    connected: Boottime,
}

/// How a round went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// [`Exit::Done`] or [`Exit::Partly`].
    pub exit: Exit,
    /// What could not be done, and what has no second factor.
    pub faults: Vec<String>,
    /// What would be done, for `--dry-run`.
    pub planned: Vec<String>,
}

/// Where the agent is in a round, with what it must remember of it.
enum Step {
    /// No round runs.
    Idle,
    /// The report is out, with the first `told` of the events that are kept. Meanwhile the bastion has had another
    /// generation put on the `overtaken` peers, a tier of theirs was opened or closed, or their session was interrupted:
    /// what it answers about them may be older than that. It knows nothing of interfaces that were not `there`.
    Reported {
        asked: Boottime,
        dry_run: bool,
        told: usize,
        overtaken: BTreeSet<PeerRef>,
        there: BTreeSet<InterfaceName>,
    },
    /// New generations are on their way to the bastion's disk.
    Deposited { asked: Boottime, deposits: Deposits, fresh: Vec<Fresh>, together: Together },
    /// The interfaces accept them, and the bastion is being told.
    Confirmed { asked: Boottime, confirmations: Confirmations },
}

/// A generation that no interface has yet.
struct Fresh {
    peer: PeerRef,
    generation: u64,
    rotation_interval: u64,
    key: PresharedKey,
    reason: String,
}

impl Agent {
    /// An agent with what it remembers. Enforcing begins again if root had it stand down.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load(config: Config, store: Store, resident: bool) -> Result<Self, Failure> {
        let mut agent = Self::as_it_was(config, store, resident)?;
        if std::mem::take(&mut agent.state.stood_down) {
            agent.state.happened("stand-down", None, "enforcing begins again", clock::now());
        }
        Ok(agent)
    }

    /// The same for an order that begins nothing again.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn as_it_was(config: Config, store: Store, resident: bool) -> Result<Self, Failure> {
        let state = store.load()?;
        let mut pairs = store.load_pairs()?;
        // cut short between the two files: what was locked stays so until the bastion says otherwise
        pairs.retain(|peer, _| !state.peers.contains_key(peer));
        Ok(Self {
            config,
            state,
            store,
            resident,
            step: Step::Idle,
            faults: BTreeSet::new(),
            outcome: None,
            changes: Vec::new(),
            unproved: BTreeMap::new(),
            endpoints: watch::Endpoints::default(),
            pairs,
            trying: BTreeSet::new(),
            next: BTreeMap::new(),
            gate: AtGate::default(),
            next_round: clock::now(),
            look_takes: Duration::ZERO,
            connected: clock::now(),
        })
    }

    /// Looks at the interfaces and locks what is past its time, changed from outside, or from before a reboot. Needs nobody.
    pub fn enforce(&mut self) {
        self.enforce_in(Contact::Lost(self.state.last_contact), clock::now());
    }

    /// The same while the bastion is being asked what it knows: a session that it may have prolonged is left, for the
    /// moment.
    pub fn enforce_before_asking(&mut self) {
        self.enforce_in(Contact::Asking, clock::now());
    }

    fn enforce_in(&mut self, contact: Contact<'_>, moment: Boottime) {
        let now = clock::now();
        let seen = self.look();
        for (peer, kept) in &mut self.state.peers {
            if let Some(here) = seen.peer(peer) {
                kept.see(here.latest_handshake, now);
            }
        }
        // what is past its time already waits for nothing
        let (mut at, mut due) = (now, self.due(contact, &seen, now));
        if due.is_empty() && moment > now {
            (at, due) = (moment, self.due_ahead(contact, &seen, now, moment));
        }
        if !due.is_empty() {
            self.lock_at(at, due, &seen);
            self.next_round = now;
        }
        self.lock_leaving(&seen, now);
        self.notice_interfaces(&seen, now);
        self.watch_endpoints(&seen, now);
        let proved = |peer: &PeerRef, before: &Option<SystemTime>| {
            let latest = seen.peer(peer).and_then(|peer| peer.latest_handshake);
            latest.is_some() && !is_same_handshake(*before, latest)
        };
        let waiting = self.unproved.len();
        self.unproved.retain(|peer, before| !proved(peer, before));
        if self.unproved.len() < waiting {
            self.next_round = now;
        }
        self.enforce_pairs(&seen);
        self.keep_gate(&seen);
    }

    /// Whether it is time for a round and none runs.
    pub fn is_round_due(&self) -> bool {
        self.is_between_rounds() && self.next_round <= clock::now()
    }

    /// Whether no round runs.
    pub fn is_between_rounds(&self) -> bool {
        matches!(self.step, Step::Idle)
    }

    /// Asks for a round as soon as none runs.
    pub fn want_round(&mut self) {
        self.next_round = clock::now();
    }

    /// Hears a message and says what is to be answered.
    pub fn hear(&mut self, message: ToAgent) -> Vec<FromAgent> {
        match message {
            ToAgent::Assignments {
                assignments,
                uncovered,
                deliveries,
                log_head,
                pairs,
                gates,
                free,
                gated,
                restored,
                ..
            } => {
                self.hear_head(log_head);
                self.take_deliveries(deliveries);
                self.assigned(assignments, restored, uncovered, &pairs, Told { gates, free, gated })
            }
            ToAgent::Stored { deposits } => self.stored(&deposits),
            ToAgent::Noted { applied, staged } => self.noted(&applied, &staged),
            ToAgent::Open { id, which, seconds_left } => {
                vec![FromAgent::Opened { id, refused: self.open(&which, seconds_left).err() }]
            }
            ToAgent::Lock { id, peer, reason } => {
                vec![FromAgent::Locked { id, failed: self.lock_ordered(&peer, &reason).err() }]
            }
            ToAgent::MakeNext { id, peer, above } => {
                let (deposit, refused) = match self.make_next(&peer, above) {
                    Ok(deposit) => (Some(deposit), None),
                    Err(reason) => (None, Some(reason)),
                };
                vec![FromAgent::Next { id, deposit, refused }]
            }
            ToAgent::ChangeTo { id, which, seconds_left } => {
                let refused = self.change_to(&which, seconds_left).err();
                vec![FromAgent::Changed { id, which, refused }]
            }
            ToAgent::Put { id, delivery } => vec![FromAgent::Put { id, refused: self.take_delivery(delivery).err() }],
            ToAgent::Grant { id, which, seconds_left } => {
                vec![FromAgent::Granted { id, refused: self.grant(&which, seconds_left).err() }]
            }
            ToAgent::Revoke { id, peer, reason } => {
                vec![FromAgent::Revoked { id, failed: self.revoke(&peer, &reason).err() }]
            }
            ToAgent::CodeChecked { id, verdict } => {
                self.code_checked(id, verdict);
                Vec::new()
            }
            ToAgent::Round { reason: _ } => {
                self.want_round();
                Vec::new()
            }
            // The conversation answers these itself.
            ToAgent::Challenge { .. } | ToAgent::Welcome { .. } | ToAgent::Pong | ToAgent::Refused { .. } => Vec::new(),
        }
    }

    /// The bastion has answered what was asked at this moment.
    pub fn reached(&mut self, asked: Boottime) {
        self.state.last_contact = self.state.last_contact.max(Some(asked));
    }

    /// There is a connection, and no order on it is older than this.
    pub fn connected(&mut self) {
        self.connected = clock::now();
        self.want_round();
    }

    /// The connection is gone: what it left half done, the next round finishes.
    pub fn disconnected(&mut self) {
        self.step = Step::Idle;
        self.next.clear();
        self.forget_questions();
        self.next_round = clock::now();
    }

    /// How the round went, once it is over.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// What could not be done since a round last began.
    pub fn faults(&self) -> &BTreeSet<String> {
        &self.faults
    }

    /// What was changed since this was last asked, a line each.
    pub fn take_changes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changes)
    }

    /// Remembers durably what needs no haste: contact, events, complaints.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save(&self) -> Result<(), Failure> {
        self.store.save(&self.state)
    }

    /// The bastion has had another generation put on a peer, a tier was opened or closed, or a session was interrupted: the
    /// answer to a report that is on its way may not know of it, and a generation that was made before is not to be used.
    fn overtake(&mut self, peer: &PeerRef) {
        match &mut self.step {
            Step::Reported { overtaken, .. } => _ = overtaken.insert(peer.clone()),
            Step::Deposited { fresh, .. } => {
                let all = fresh.len();
                fresh.retain(|one| one.peer != *peer);
                if fresh.len() < all {
                    self.want_round();
                }
            }
            Step::Idle | Step::Confirmed { .. } => {}
        }
    }

    /// What people call a peer.
    fn name_of(&self, peer: &PeerRef) -> String {
        self.pairs.get(peer).map_or_else(|| self.state.name_of(peer), |pair| pair.connection.clone())
    }

    /// These changes stand on the interface: what stood there before is of no interest any more.
    fn made(&mut self, done: &[(PeerRef, String)]) {
        for (peer, _) in done {
            self.state.peers.entry(peer.clone()).and_modify(|kept| kept.before = None);
        }
    }

    /// Notes changes for people, each peer by name, or only their number.
    fn changed(&mut self, what: &str, peers: &[(PeerRef, String)]) {
        if peers.len() > MOST_LINES {
            self.changes.push(format!("{} peers {what}", peers.len()));
            return;
        }
        for (peer, reason) in peers {
            self.changes.push(format!("{}: {what}: {reason}", self.state.name_of(peer)));
        }
    }
}
