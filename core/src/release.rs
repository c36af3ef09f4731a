//! Whether a login may have keys, and for each connection of its device whether it gets one.
//!
//! The keeper fills in the facts from its store and its own memory of the login, asks, and carries out the answer in
//! one transaction with its audit lines.

use jiff::{SignedDuration, Timestamp};

use crate::message::sync::PolicyRef;
use crate::name::TierName;

/// How long after its code was accepted a login may release, in seconds (design rule 5).
pub const RELEASE_WINDOW_SECONDS: i64 = 60;

/// A login this soon after a release, in seconds, gets the same generation: its line was lost, or it is another try.
pub const SAME_GENERATION_SECONDS: i64 = 60;

/// Whether a session whose key was last released at that time, and is renewed now, should change to another generation
/// in place. `same_for`: as [`SAME_GENERATION_SECONDS`].
pub fn is_next_due(released: Option<Timestamp>, now: Timestamp, same_for: SignedDuration) -> bool {
    released.is_some_and(|released| now.duration_since(released) >= same_for)
}

/// What the store knows about one login whose code it has accepted (or for which none was required).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginFacts {
    /// Since when its time runs: when its code was accepted, or, without one, when it passed.
    pub since: Timestamp,
    /// Whether it has released before.
    pub released: bool,
    /// Whether its code was spent on an administrator's act.
    pub acted: bool,
}

/// May a login have keys, or pay for an act?
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Yes.
    Admit,
    /// No, and why.
    Refuse(&'static str),
}

/// May a login have its keys now, or may its code be spent on an administrator's act? It is one or the other, and once.
/// `login` is none when the store knows of none that has passed.
pub fn may_spend(login: Option<LoginFacts>, now: Timestamp) -> Admission {
    match login {
        None => Admission::Refuse("this login has not passed"),
        Some(LoginFacts { released: true, .. }) => Admission::Refuse("this login has already had its keys"),
        Some(LoginFacts { acted: true, .. }) => {
            Admission::Refuse("the code of this login has already paid for an administrator's act")
        }
        Some(LoginFacts { since, .. })
            if now.duration_since(since) > SignedDuration::from_secs(RELEASE_WINDOW_SECONDS) =>
        {
            Admission::Refuse("this login is more than 60 s old")
        }
        Some(_) => Admission::Admit,
    }
}

/// What the bastion knows about one connection of the device that a login names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the policies say.
    pub cover: Cover,
    /// Why nobody may come in, when an administrator has cut off the person, the device or the host.
    pub cut_off: Option<String>,
    /// The newest generation.
    pub newest: Option<Newest>,
    /// For how many seconds the server side was not heard, none: it never was.
    pub unheard: Option<u64>,
    /// Whether the server side will hear that a running session is prolonged.
    pub hears: Hears,
    /// When the server side's agent is expected next, in words (`next round of db-gw expected by 14:56`).
    pub next_round: String,
}

/// Whether a server side will hear that a running session is prolonged. One that does not locks at the old deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hears {
    /// Its agent is connected, and is asked to confirm it.
    Asked,
    /// Its agent comes by, and is not overdue: it asks the bastion before it locks.
    ComesBy,
    /// It is not reached; the host's name.
    NotReached(String),
}

/// Until when a person may be told that a granted generation is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    /// As long as it is granted.
    Whole,
    /// As long as it is granted if the server side confirms that; else until the deadline that it knows.
    IfConfirmed {
        /// That deadline.
        else_until: Timestamp,
    },
    /// It is not prolonged, and why.
    NotProlonged(String),
}

/// Why a session is not prolonged at a host, in words for the person.
pub fn not_prolonged(host: &str) -> String {
    format!("{host} is not reached, so not prolonged")
}

/// What the policies say about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    /// An MFA policy covers it, and this device is its client side.
    Mfa {
        /// The policy.
        policy: PolicyRef,
        /// Its rotation interval, in seconds.
        rotation_interval: u64,
    },
    /// An MFA policy enforces by the firewall alone: this device is its client side, and no key is asked for.
    Firewall {
        /// The policy.
        policy: PolicyRef,
        /// The tier that it gives.
        tier: TierName,
        /// Its rotation interval, in seconds.
        rotation_interval: u64,
    },
    /// The policies contradict each other here.
    Conflict(String),
    /// The sides are others now, but a session from before runs: until its deadline the other end is its server side.
    SessionAtOtherEnd {
        /// Its deadline, in words for people (`15:55`).
        until: String,
    },
    /// An MFA policy covers it, and the other end is its server side.
    ClientSide,
    /// Nothing is released here: no policy, or one without a second factor.
    NotReleased,
}

/// The newest generation of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a generation stands at the bastion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On disk here, not yet confirmed by the server side.
    Deposited,
    /// The server side accepts it, nobody has it.
    Applied,
    /// A person has it, until this moment.
    Released {
        /// The deadline.
        deadline: Timestamp,
    },
    /// It is past its time.
    Expired,
}

/// Whether a connection's key is released, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Release this generation.
    Grant {
        /// Its number.
        generation: u64,
        /// For how long from now, in seconds.
        seconds_left: u64,
        /// A session is running, and is prolonged as far as its server side hears of it.
        renewal: bool,
        /// What of it the person may be told.
        promise: Promise,
        /// The policy that gives it.
        policy: PolicyRef,
    },
    /// Open this tier: there is no key to release.
    Open {
        /// The tier.
        tier: TierName,
        /// For how long from now, in seconds.
        seconds_left: u64,
        /// The policy that gives it.
        policy: PolicyRef,
    },
    /// Do not release, and tell the person why.
    Refuse(String),
    /// Nothing of this connection concerns a login.
    Pass,
}

/// Why no tier opens where [`is_left_locked`] says so.
pub const LEFT_LOCKED: &str =
    "it is locked from when another policy covered it; an administrator puts a key there: wgmfa-bastion key set";

/// Whether a connection that the firewall alone enforces is kept shut by a key from when another policy covered it: nobody
/// makes another one for it any more, and no session runs with the one that stands there.
pub fn is_left_locked(newest: Option<Newest>, now: Timestamp) -> bool {
    match newest.map(|newest| newest.phase) {
        None => false,
        Some(Phase::Released { deadline }) => deadline <= now,
        Some(Phase::Deposited | Phase::Applied | Phase::Expired) => true,
    }
}

/// Why nobody gets a key of a connection whose sides are others now while a session from before runs until then.
pub fn sides_change(until: &str) -> String {
    format!("the sides of this connection change at the deadline of the session that runs, at {until}")
}

/// Decides about one connection.
pub fn decide(facts: &Facts, now: Timestamp) -> Decision {
    let (policy, rotation_interval) = match &facts.cover {
        Cover::SessionAtOtherEnd { until } => {
            return Decision::Refuse(format!("{}; log in after that", sides_change(until)));
        }
        Cover::NotReleased | Cover::ClientSide if facts.newest.is_none() => return Decision::Pass,
        Cover::NotReleased | Cover::ClientSide => {
            return Decision::Refuse(
                "no policy with a second factor covers it any more; it is locked, or soon".to_owned(),
            );
        }
        Cover::Conflict(reason) => return Decision::Refuse(format!("the policies contradict each other: {reason}")),
        Cover::Firewall { policy, tier, rotation_interval } => {
            return open(facts, policy, tier, *rotation_interval, now);
        }
        Cover::Mfa { policy, rotation_interval } => (policy.clone(), *rotation_interval),
    };
    if let Some(reason) = &facts.cut_off {
        return Decision::Refuse(reason.clone());
    }
    // a server that hears nothing takes a waiting key for released at its last contact, and has locked it by now
    if facts.unheard.is_none_or(|seconds| seconds >= rotation_interval) {
        return Decision::Refuse(facts.next_round.clone());
    }
    let grant = |generation, seconds_left, renewal, promise| Decision::Grant {
        generation,
        seconds_left,
        renewal,
        promise,
        policy,
    };
    match facts.newest {
        Some(Newest { generation, phase: Phase::Applied }) => {
            grant(generation, rotation_interval, false, Promise::Whole)
        }
        Some(Newest { generation, phase: Phase::Released { deadline } }) if deadline > now => match &facts.hears {
            Hears::ComesBy => grant(generation, rotation_interval, true, Promise::Whole),
            Hears::Asked => grant(generation, rotation_interval, true, Promise::IfConfirmed { else_until: deadline }),
            Hears::NotReached(host) => match u64::try_from(deadline.duration_since(now).as_secs()) {
                Ok(left) if left > 0 => grant(generation, left, true, Promise::NotProlonged(not_prolonged(host))),
                _ => Decision::Refuse(facts.next_round.clone()),
            },
        },
        _ => Decision::Refuse(facts.next_round.clone()),
    }
}

/// A tier is opened whether or not the gateway's agent is there to be told: it waits for nobody's key.
fn open(facts: &Facts, policy: &PolicyRef, tier: &TierName, rotation_interval: u64, now: Timestamp) -> Decision {
    if let Some(reason) = &facts.cut_off {
        return Decision::Refuse(reason.clone());
    }
    if is_left_locked(facts.newest, now) {
        return Decision::Refuse(LEFT_LOCKED.to_owned());
    }
    Decision::Open { tier: tier.clone(), seconds_left: rotation_interval, policy: policy.clone() }
}

#[cfg(test)]
mod tests;
