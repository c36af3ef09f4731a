//! What a server does about one peer under an MFA policy: lock it, rotate its key, take over a deadline, or wait.
//!
//! [`plan`] is called by the agent for each peer, in each round and whenever something happened; it never asks the
//! world. The agent carries out the actions in their order.

use serde::{Deserialize, Serialize};

use crate::boottime::Boottime;
use crate::interval::Interval;
use crate::key::Fingerprint;
use crate::message::agent::PeerRef;
use crate::message::sync::PolicyRef;

/// What the bastion says about one peer of a host that is its server side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// The connection's name, for people.
    pub connection: String,
    /// The policy that covers it now; none: it was covered once, and stays locked.
    pub policy: Option<PolicyRef>,
    /// How long a released generation is good for, in seconds.
    pub rotation_interval: u64,
    /// After how long without a new handshake a session is over, in seconds; none: it lasts until its deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u64>,
    /// The highest generation that the bastion has ever seen for this connection; 0: none.
    pub highest_generation: u64,
    /// Where the newest generation stands.
    pub standing: Standing,
}

/// Where the newest generation of a connection stands, as the bastion knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// There is none that could be released: make one.
    Missing {
        /// Why, in words.
        reason: String,
    },
    /// Applied, and nobody has it.
    Waiting {
        /// Its number.
        generation: u64,
        /// How long ago it was applied, in seconds.
        age_seconds: u64,
    },
    /// A person has it.
    Released {
        /// Its number.
        generation: u64,
        /// How long it is still good for, in seconds.
        seconds_left: u64,
    },
    /// Nobody may come in here: lock, and make no generation.
    KeepLocked {
        /// Why, in words.
        reason: String,
    },
}

/// What the agent remembers about a peer. It is saved before the interface is changed, so that after a crash in between
/// the key on the interface does not match, and the peer is locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The highest generation that this host ever made for the peer; 0: none.
    pub generation: u64,
    /// What stands for the key that the agent has put on the peer.
    pub fingerprint: Fingerprint,
    /// What kind of key that is.
    pub hold: Hold,
    /// The rotation interval of the policy that applied, in seconds.
    pub rotation_interval: u64,
}

/// What kind of key the agent has put on a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum Hold {
    /// A generation that nobody has, as far as this host knows.
    Waiting {
        /// When it was applied.
        since: Boottime,
    },
    /// A generation that a person has.
    Open {
        /// When it stops being accepted.
        deadline: Boottime,
    },
    /// A key that root put there (`wgmfa-agent override`).
    Override {
        /// When it stops being accepted.
        deadline: Boottime,
    },
    /// A lock key.
    Locked {
        /// Why, in words.
        reason: String,
    },
}

/// What the agent sees of a peer, and what it knows.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Now, in this boot.
    pub now: Boottime,
    /// Whether `held` was written in this boot.
    pub same_boot: bool,
    /// The key that stands on the interface now; none: no preshared key.
    pub observed: Option<Fingerprint>,
    /// What the agent remembers.
    pub held: Option<&'a Held>,
    /// When the peer's session is over for want of handshakes; none: its policy does not say, or none was seen to begin.
    pub idle: Option<Idle>,
    /// What the bastion said in this contact, or the contact that is still open.
    pub contact: Contact<'a>,
}

/// A session that needs handshakes to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// When it was opened, or when its latest handshake was seen to change.
    pub since: Boottime,
    /// How long it goes on without another one, in seconds.
    pub timeout: u64,
}

impl Idle {
    /// When it is over, if no handshake is seen until then.
    pub fn over(&self) -> Boottime {
        self.since.plus_seconds(self.timeout)
    }

    /// Why it is over then: `no handshake for 15 min`.
    pub fn reason(&self) -> String {
        match (self.timeout / 60, self.timeout % 60) {
            (minutes, 0) => format!("no handshake for {minutes} min"),
            _ => format!("no handshake for {} s", self.timeout),
        }
    }
}

impl View<'_> {
    /// Why the session on the peer is over for want of handshakes, if it is.
    pub fn idled(&self) -> Option<String> {
        let open = self.held.is_some_and(|held| matches!(held.hold, Hold::Open { .. }));
        self.idle.filter(|idle| open && idle.over() <= self.now).map(|idle| idle.reason())
    }

    /// When a session with this deadline is over if nothing happens.
    fn session_ends(&self, deadline: Boottime) -> Option<Boottime> {
        Some(self.idle.map_or(deadline, |idle| idle.over().min(deadline)))
    }
}

/// What the bastion said about a peer.
#[derive(Debug, Clone, Copy)]
pub enum Contact<'a> {
    /// The bastion is not reached; this is when it last was, in this boot.
    Lost(Option<Boottime>),
    /// The bastion is being asked at this moment, by an agent that only comes by: it may have prolonged a session that
    /// this host takes for over, so only what no answer can mend is acted upon. Not for longer than the question takes.
    Asking,
    /// The bastion is reached and names the peer.
    Assigned(&'a Assignment),
    /// The bastion is reached and does not name the peer.
    Unassigned,
}

/// What to do about one peer. Each says why, in words for sysadmins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Remove the peer and add it again with a lock key, in one update.
    Lock {
        /// Why.
        reason: String,
    },
    /// Generate, deposit, apply (remove and add again), confirm.
    Rotate {
        /// The new generation's number.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// The generation on the peer is released: arm the timer for its deadline.
    Adopt {
        /// When it stops being accepted.
        deadline: Boottime,
        /// Why.
        reason: String,
    },
    /// Nothing to do now.
    Wait {
        /// When to look again even if nothing happens; none: only when something happens.
        until: Option<Boottime>,
        /// Why.
        reason: String,
    },
}

/// What to do about one peer, in this order. Empty when the peer is none of wgmfa's affair.
pub fn plan(view: &View<'_>) -> Vec<Action> {
    let Some(held) = view.held else {
        return match view.contact {
            Contact::Assigned(assignment) => first_contact(assignment),
            Contact::Lost(_) | Contact::Asking | Contact::Unassigned => Vec::new(),
        };
    };
    let locked = matches!(held.hold, Hold::Locked { .. });
    let distrust = if !view.same_boot {
        Some("this machine was rebooted".to_owned())
    } else if view.observed != Some(held.fingerprint) {
        Some("the key on the interface was changed from outside".to_owned())
    } else {
        passed(view, held)
    };
    match view.contact {
        Contact::Assigned(Assignment { standing: Standing::KeepLocked { reason }, .. }) => match distrust {
            None if locked => vec![Action::Wait { until: None, reason: format!("locked: {reason}") }],
            _ => vec![Action::Lock { reason: reason.clone() }],
        },
        Contact::Assigned(assignment) => match distrust {
            Some(reason) => vec![Action::Lock { reason: reason.clone() }, rotate(held, assignment, reason)],
            None => follow(view, held, assignment),
        },
        Contact::Lost(_) | Contact::Asking | Contact::Unassigned => match distrust {
            Some(reason) => vec![Action::Lock { reason }],
            None => hold_on(view, held),
        },
    }
}

/// The first time that this host hears that a policy covers the peer: the configured key must not stay.
fn first_contact(assignment: &Assignment) -> Vec<Action> {
    let reason = "a policy covers this peer for the first time here".to_owned();
    let lock = Action::Lock { reason: reason.clone() };
    match &assignment.standing {
        Standing::KeepLocked { reason } => vec![Action::Lock { reason: reason.clone() }],
        _ => vec![lock, Action::Rotate { generation: assignment.highest_generation.saturating_add(1), reason }],
    }
}

fn rotate(held: &Held, assignment: &Assignment, reason: String) -> Action {
    Action::Rotate { generation: held.generation.max(assignment.highest_generation).saturating_add(1), reason }
}

/// Why the key on the peer is past its time, if it is.
fn passed(view: &View<'_>, held: &Held) -> Option<String> {
    match held.hold {
        Hold::Open { deadline } if deadline <= view.now && !may_be_prolonged(view, held) => {
            Some("the session's deadline has passed".to_owned())
        }
        Hold::Override { deadline } if deadline <= view.now => Some("the override's time is over".to_owned()),
        // a login is a sign of life too
        Hold::Open { deadline } if !is_told_prolonged(view, held, deadline) => view.idled(),
        Hold::Waiting { since } => match view.contact {
            Contact::Lost(last) if released_at_worst(since, last, held) <= view.now => Some(format!(
                "the bastion was not reached for {}, and the waiting key may have been released",
                Interval::from_seconds(held.rotation_interval)
            )),
            Contact::Unassigned => Some("the bastion names no policy for this peer".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a session whose deadline has passed here goes on by the bastion's word: somebody has logged in since it last
/// told this host. What was locked meanwhile stays locked.
fn may_be_prolonged(view: &View<'_>, held: &Held) -> bool {
    match view.contact {
        Contact::Asking => true,
        Contact::Assigned(Assignment { standing: Standing::Released { generation, seconds_left }, .. }) => {
            *generation == held.generation && *seconds_left > 0
        }
        _ => false,
    }
}

/// Whether the bastion says, or may be about to say, that somebody has logged in since it last told this host of a session.
fn is_told_prolonged(view: &View<'_>, held: &Held, deadline: Boottime) -> bool {
    match view.contact {
        Contact::Asking => true,
        Contact::Assigned(Assignment { standing: Standing::Released { generation, seconds_left }, .. }) => {
            *generation == held.generation && prolongs(view.now.plus_seconds(*seconds_left), deadline)
        }
        _ => false,
    }
}

/// Whether a deadline that is told is another one: seconds are what is told.
fn prolongs(told: Boottime, deadline: Boottime) -> bool {
    told.since(deadline).as_secs() >= 1
}

/// The deadline of a waiting generation if it was released right after the last contact.
fn released_at_worst(since: Boottime, last_contact: Option<Boottime>, held: &Held) -> Boottime {
    last_contact.map_or(since, |last| last.max(since)).plus_seconds(held.rotation_interval)
}

/// In contact, and the key on the interface is the one that the agent put there.
fn follow(view: &View<'_>, held: &Held, assignment: &Assignment) -> Vec<Action> {
    let wait = |until, reason: &str| vec![Action::Wait { until, reason: reason.to_owned() }];
    let new_session = |reason: &str| {
        let lock = Action::Lock { reason: reason.to_owned() };
        vec![lock, rotate(held, assignment, reason.to_owned())]
    };
    match (&held.hold, &assignment.standing) {
        (Hold::Override { deadline }, _) => wait(Some(*deadline), "opened by root on this host"),

        (Hold::Waiting { .. }, Standing::Released { generation, seconds_left }) if *generation == held.generation => {
            let deadline = view.now.plus_seconds(*seconds_left);
            vec![Action::Adopt { deadline, reason: "released".to_owned() }]
        }
        (Hold::Open { deadline }, Standing::Released { generation, seconds_left })
            if *generation == held.generation =>
        {
            let told = view.now.plus_seconds(*seconds_left);
            if prolongs(told, *deadline) {
                vec![Action::Adopt { deadline: told, reason: "prolonged".to_owned() }]
            } else {
                wait(view.session_ends(*deadline), "a session is running")
            }
        }
        (Hold::Open { .. }, Standing::Released { .. }) => {
            new_session("the released generation is not the one on this server")
        }

        (Hold::Waiting { .. }, Standing::Waiting { generation, age_seconds }) if *generation == held.generation => {
            match assignment.rotation_interval.checked_sub(*age_seconds).filter(|left| *left > 0) {
                Some(left) => wait(Some(view.now.plus_seconds(left)), "a key is waiting for its person"),
                None => vec![rotate(held, assignment, "the waiting key is one interval old".to_owned())],
            }
        }
        // opened, but the bastion stopped before it could record the release: nobody has the key, the time runs all the same
        (Hold::Open { deadline }, Standing::Waiting { generation, .. }) if *generation == held.generation => {
            wait(view.session_ends(*deadline), "opened, and not yet recorded as released")
        }
        (Hold::Open { .. }, Standing::Waiting { .. }) => new_session("the bastion waits with another generation"),
        (Hold::Open { .. }, Standing::Missing { reason }) => new_session(reason),

        // it may have been released and be over since: lock first, because the new one may fail to come
        (Hold::Waiting { .. }, Standing::Missing { reason }) => new_session(reason),
        (Hold::Waiting { .. }, Standing::Waiting { .. } | Standing::Released { .. }) => {
            new_session("the bastion holds another generation than this server")
        }
        (Hold::Locked { .. }, Standing::Missing { reason }) => vec![rotate(held, assignment, reason.clone())],
        (Hold::Locked { reason }, Standing::Waiting { .. } | Standing::Released { .. }) => {
            vec![rotate(held, assignment, format!("locked since: {reason}"))]
        }
        (_, Standing::KeepLocked { reason }) => vec![Action::Lock { reason: reason.clone() }],
    }
}

/// Out of contact, or not named by the bastion, and the key on the interface is still good.
fn hold_on(view: &View<'_>, held: &Held) -> Vec<Action> {
    let (until, reason) = match &held.hold {
        Hold::Open { deadline } => (view.session_ends(*deadline), "a session is running".to_owned()),
        Hold::Override { deadline } => (Some(*deadline), "opened by root on this host".to_owned()),
        Hold::Locked { reason } => (None, format!("locked: {reason}")),
        Hold::Waiting { since } => {
            let last = if let Contact::Lost(last) = view.contact { last } else { None };
            (Some(released_at_worst(*since, last, held)), "a key is waiting, the bastion is not reached".to_owned())
        }
    };
    vec![Action::Wait { until, reason }]
}

#[cfg(test)]
mod tests;
