//! What failed logins cost the next one: locks of a person from one source, and the limit on a day's failures.
//!
//! An attempt is charged as a failure **before** its answers are looked at, and a success takes the charge back. So
//! attempts that race each other, and a keeper that is killed between judging and recording, gain no guess. The order at
//! the edge, for each login whose answers have come:
//!
//! 1. [`attempt`] on the two durable records. Refused: stop, change nothing.
//! 2. Store both records that [`Attempt::Judge`] carries; if they cannot be stored, the login fails.
//! 3. Judge password and code.
//! 4. Right: [`success`] on the records as they are now, stored together with the spent code. Wrong: nothing more.

mod source;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

pub use source::Source;

/// So many failures in a row lock a person from one source.
pub const FAILURES_TO_LOCK: u32 = 5;

/// Length of the first lock; each further one is twice as long.
pub const SHORTEST_LOCK: SignedDuration = SignedDuration::from_secs(30);

/// No lock is longer.
pub const LONGEST_LOCK: SignedDuration = SignedDuration::from_hours(1);

/// So many failures of a person within a day, from all sources together, restrict that person.
pub const FAILURES_TO_RESTRICT: u32 = 100;

/// The day over which a person's failures are counted; it begins with the first of them.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A source is known while its last success is younger than this.
pub const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is durable of a person from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairRecord {
    /// Failures in a row since the last success, lock or unlock.
    pub failures: u32,
    /// Locks since the last success or unlock.
    pub locks: u32,
    /// When the last lock ends or ended.
    pub locked_until: Option<Timestamp>,
    /// When this person last logged in from this source.
    pub last_success: Option<Timestamp>,
}

/// What is durable of a person from all sources together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonRecord {
    /// When the day that is counted began.
    pub day_began: Option<Timestamp>,
    /// Failures since then. Once they are too many, no new day begins before a success or an administrator resets them.
    pub failures: u32,
}

/// Whether the answers of a login are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// Store both records first, then judge the answers.
    Judge {
        /// The pair's record, this attempt charged.
        pair: PairRecord,
        /// The person's record, this attempt charged.
        person: PersonRecord,
    },
    /// Refuse whatever the answers are; the records stay as they are.
    Refuse(Refusal),
}

/// Why an attempt is refused unseen. For the log and the administrator, never for the person at the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many failures in a row from this source.
    Locked {
        /// When the lock ends.
        until: Timestamp,
    },
    /// Too many failures in a day: only known sources and recovery codes are let through.
    Restricted,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { until } => write!(f, "locked from this source until {until:.0}"),
            Self::Restricted => write!(
                f,
                "{FAILURES_TO_RESTRICT} failures in a day: only recovery codes, and sources with a success in the last \
                 30 days, are let through"
            ),
        }
    }
}

/// Decides whether an attempt may be judged, and charges it.
///
/// `recovery` says that the answer looks like a recovery code ([`crate::code::looks_like_recovery`]); then nothing but
/// a recovery code may be accepted for it.
pub fn attempt(pair: &PairRecord, person: &PersonRecord, recovery: bool, now: Timestamp) -> Attempt {
    if let Some(until) = pair.lock_at(now) {
        return Attempt::Refuse(Refusal::Locked { until });
    }
    if person.restricted() && !recovery && !pair.known(now) {
        return Attempt::Refuse(Refusal::Restricted);
    }
    Attempt::Judge { pair: pair.charged(now), person: person.charged(now) }
}

/// The records after a success: the pair begins anew, and is known from now on.
///
/// Of the person's count, a success takes back its own charge only, and all of it once the day is over: otherwise each of
/// the owner's logins would hand somebody who guesses from many sources another hundred tries. That hinders no source
/// that has had a success.
pub fn success(pair: &PairRecord, person: &PersonRecord, now: Timestamp) -> (PairRecord, PersonRecord) {
    let last_success = pair.last_success.max(Some(now));
    let person = match person.day_is_over(now) {
        true => PersonRecord::default(),
        false => PersonRecord { failures: person.failures.saturating_sub(1), ..person.clone() },
    };
    (PairRecord { last_success, ..PairRecord::default() }, person)
}

impl PairRecord {
    /// The record after an administrator's unlock. The person's record is then [`PersonRecord::default`].
    #[must_use]
    pub fn unlocked(&self) -> Self {
        Self { last_success: self.last_success, ..Self::default() }
    }

    /// The end of the lock that holds at this time, if one does.
    pub fn lock_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until.filter(|until| now < *until)
    }

    /// Whether this person has logged in from this source in the last 30 days.
    pub fn known(&self, now: Timestamp) -> bool {
        self.last_success.is_some_and(|last| now.duration_since(last) < KNOWN_FOR)
    }

    fn charged(&self, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        if failures < FAILURES_TO_LOCK {
            return Self { failures, ..self.clone() };
        }
        let until = now.saturating_add(lock_length(self.locks)).unwrap_or(Timestamp::MAX);
        Self { failures: 0, locks: self.locks.saturating_add(1), locked_until: Some(until), ..self.clone() }
    }
}

impl PersonRecord {
    /// Whether only known sources and recovery codes are let through.
    pub fn restricted(&self) -> bool {
        self.failures >= FAILURES_TO_RESTRICT
    }

    fn day_is_over(&self, now: Timestamp) -> bool {
        self.day_began.is_none_or(|began| now.duration_since(began) >= DAY)
    }

    fn charged(&self, now: Timestamp) -> Self {
        if self.day_is_over(now) && !self.restricted() {
            return Self { day_began: Some(now), failures: 1 };
        }
        Self { failures: self.failures.saturating_add(1), ..self.clone() }
    }
}

/// How long a lock is that follows so many others: 30 s, twice as long each time, at most an hour.
pub fn lock_length(locks_before: u32) -> SignedDuration {
    let doubled = 1_i32.checked_shl(locks_before).filter(|factor| *factor > 0).unwrap_or(i32::MAX);
    SHORTEST_LOCK.checked_mul(doubled).map_or(LONGEST_LOCK, |length| length.min(LONGEST_LOCK))
}

#[cfg(test)]
mod tests;
