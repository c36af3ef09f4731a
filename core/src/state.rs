//! Key states: the one place that computes them, with their names and colours.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::Fingerprint;
use crate::policy::Selection;

/// How a connection's key stands, in the words that people read everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// The policies contradict each other here.
    Conflict,
    /// Released or overridden, not yet seen to match.
    #[serde(rename = "Match Pending")]
    MatchPending,
    /// The deadline has passed or a rotation was ordered, and the server side has not confirmed.
    #[serde(rename = "Mismatch Pending")]
    MismatchPending,
    /// Any other change was ordered and is not confirmed.
    Pending,
    /// A policy applies, the ends are known to match, the deadline is ahead; firewall only: a grant is in force.
    #[serde(rename = "OK")]
    Ok,
    /// MFA: the client side does not hold the applied generation, a login is needed; firewall only: no grant.
    Expired,
    /// The ends differ: no policy, or a non-MFA policy.
    Mismatch,
    /// The ends match, and there is no policy.
    Match,
    /// Both ends are known, and there is no preshared key.
    #[serde(rename = "No Key Used")]
    NoKeyUsed,
    /// The other end is unmonitored, and no policy applies.
    Unmonitored,
}

/// The colour of a state on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Something is wrong, or a person is shut out.
    Red,
    /// On its way.
    Yellow,
    /// Good.
    Green,
    /// The terminal's own.
    Black,
}

impl KeyState {
    /// Every state, in the order in which they are looked for.
    pub const ALL: [Self; 10] = [
        Self::Conflict,
        Self::MatchPending,
        Self::MismatchPending,
        Self::Pending,
        Self::Ok,
        Self::Expired,
        Self::Mismatch,
        Self::Match,
        Self::NoKeyUsed,
        Self::Unmonitored,
    ];

    /// The name as people and programs read it: `Match Pending`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::MatchPending => "Match Pending",
            Self::MismatchPending => "Mismatch Pending",
            Self::Pending => "Pending",
            Self::Ok => "OK",
            Self::Expired => "Expired",
            Self::Mismatch => "Mismatch",
            Self::Match => "Match",
            Self::NoKeyUsed => "No Key Used",
            Self::Unmonitored => "Unmonitored",
        }
    }

    /// The colour.
    pub fn colour(self) -> Colour {
        match self {
            Self::Conflict | Self::Expired | Self::Mismatch => Colour::Red,
            Self::MatchPending | Self::MismatchPending | Self::Pending => Colour::Yellow,
            Self::Ok | Self::Match => Colour::Green,
            Self::NoKeyUsed | Self::Unmonitored => Colour::Black,
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A change that the bastion ordered and the server side has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// A new generation (`key rotate`, a login that renews).
    Rotation,
    /// Anything else, for example a lock; why, in words.
    Other(String),
}

/// The latest handshake of a connection that a gateway has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// When it was, by the bastion's clock: up to a second (and the report's way) later than it really was.
    pub at: Timestamp,
    /// It is another one than stood there when the gateway's key became the one that it uses now. After a re-add none
    /// stood there; after a change in place an old one may be the latest for two minutes more.
    pub with_this_key: bool,
}

impl Handshake {
    /// Whether it proves that both ends hold the key that was applied at this time (none: not by the bastion's order).
    fn proves(self, applied_at: Option<Timestamp>) -> bool {
        self.with_this_key && applied_at.is_none_or(|applied| self.at > applied)
    }
}

/// The state of a released key as its receiver knows it, who sees one end only.
///
/// `proved`: the latest handshake is another one than stood there when the key was put in.
pub fn received(seconds_left: u64, proved: bool) -> KeyState {
    match (seconds_left, proved) {
        (0, _) => KeyState::Expired,
        (_, true) => KeyState::Ok,
        (_, false) => KeyState::MatchPending,
    }
}

/// What one end says about the preshared key that it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// Nothing: it is a device or unmonitored, or it has not reported since its key was last changed.
    Nothing,
    /// That it uses none.
    NoKey,
    /// What stands for the key.
    Key(Fingerprint),
}

/// A grant by which the firewall lets a peer through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierGrant {
    /// Until when.
    pub until: Timestamp,
    /// Why it is not known yet that the gateway lets the peer through, in words; none: it has confirmed that.
    pub unconfirmed: Option<String>,
}

/// What is known about a connection, from which its state follows. The server side is, where no MFA policy says which
/// end it is, the end that the connection's name puts first.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now, by the bastion's clock.
    pub now: Timestamp,
    /// What the policies say.
    pub selection: &'a Selection<'a>,
    /// The other end is neither a host's interface nor a registered device.
    pub unmonitored: bool,
    /// What was ordered and is not confirmed.
    pub ordered: Option<Ordered>,
    /// When the key in use stops being good. MFA: the deadline of the newest release or override; absent when nothing was
    /// ever released, and once the server side has confirmed a later generation or a lock. Non-MFA: when the newest
    /// generation is one interval old; absent when there is none.
    pub deadline: Option<Timestamp>,
    /// The server side has confirmed that it uses a lock key, or a generation that was never released: nobody comes in.
    pub locked: bool,
    /// What the firewall grants, if anything.
    pub grant: Option<TierGrant>,
    /// What the server side reports.
    pub server: Reported,
    /// What the other end reports.
    pub other: Reported,
    /// When the server side confirmed the generation that it uses; none: its key is no generation.
    pub applied_at: Option<Timestamp>,
    /// The latest handshake that a gateway reported.
    pub handshake: Option<Handshake>,
    /// Root on the server side has opened it (`wgmfa-agent override`) until the deadline, or its tier.
    pub opened_by_root: bool,
    /// Why no policy is enforced on the server side for the time being, in words.
    pub not_enforced: Option<String>,
    /// Why the last session was over before its deadline, in words.
    pub ended: Option<String>,
    /// Which end should have been heard by now, in words: what is said here of it is old.
    pub unheard: Option<String>,
}

/// What is known about the two ends' preshared keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Match,
    Differ,
    NoKey,
    Unknown,
}

impl Ends {
    fn of(facts: &Facts<'_>) -> Self {
        match (facts.server, facts.other) {
            (Reported::Key(one), Reported::Key(other)) if one == other => Self::Match,
            (Reported::Key(_), Reported::Key(_) | Reported::NoKey) | (Reported::NoKey, Reported::Key(_)) => {
                Self::Differ
            }
            (Reported::NoKey, _) => Self::NoKey,
            // an end that says it uses none cannot have proved a key
            (_, Reported::NoKey) => Self::Unknown,
            _ if facts.handshake.is_some_and(|handshake| handshake.proves(facts.applied_at)) => Self::Match,
            _ => Self::Unknown,
        }
    }
}

/// The state of a connection's key and, where a person would ask, why.
pub fn state(facts: &Facts<'_>) -> (KeyState, Option<String>) {
    let (state, reason) = state_as_heard(facts);
    let rests_on_reports = !matches!(state, KeyState::Conflict | KeyState::NoKeyUsed | KeyState::Unmonitored);
    match facts.unheard.as_ref().filter(|_| rests_on_reports) {
        None => (state, reason),
        Some(unheard) => (state, Some(reason.map_or(String::new(), |reason| reason + "; ") + unheard)),
    }
}

fn state_as_heard(facts: &Facts<'_>) -> (KeyState, Option<String>) {
    let because = |state, reason: &str| (state, Some(reason.to_owned()));
    let ends = Ends::of(facts);
    let policy = match facts.selection {
        Selection::Conflict { policy, reason } => {
            return (KeyState::Conflict, Some(format!("in policy {} {reason}", policy.ordinal)));
        }
        Selection::Applies { policy, .. } => Some(policy),
        Selection::None => None,
    };
    if let Some(reason) = facts.not_enforced.as_ref().filter(|_| policy.is_some()) {
        return (KeyState::Pending, Some(reason.clone()));
    }
    let by_firewall = policy.is_some_and(|policy| !policy.enforce.rotates());
    if let Some((state, reason)) = pending(facts, ends).filter(|_| !by_firewall) {
        return (state, Some(reason));
    }
    if let Some(Ordered::Other(reason)) = &facts.ordered {
        return (KeyState::Pending, Some(reason.clone()));
    }
    match policy {
        Some(_) if by_firewall && facts.locked => {
            because(KeyState::Expired, "the server side keeps it locked from when another policy covered it (key set)")
        }
        Some(_) if by_firewall => match facts.grant.as_ref().filter(|grant| grant.until > facts.now) {
            Some(TierGrant { unconfirmed: None, .. }) if facts.opened_by_root => because(KeyState::Ok, OPENED_BY_ROOT),
            Some(TierGrant { unconfirmed: None, .. }) => (KeyState::Ok, None),
            Some(TierGrant { unconfirmed: Some(why), .. }) => (KeyState::Pending, Some(why.clone())),
            None => because(KeyState::Expired, "a one-time code is needed"),
        },
        Some(policy) if policy.mfa() => match (facts.locked, facts.deadline, ends) {
            (_, _, Ends::NoKey) => {
                because(KeyState::Pending, "the server side uses no preshared key: no second factor")
            }
            (false, Some(_), Ends::Match) if facts.opened_by_root => because(KeyState::Ok, OPENED_BY_ROOT),
            (false, Some(_), Ends::Match) => (KeyState::Ok, None),
            (false, None, _) => because(KeyState::Pending, "the server side has not applied a generation yet"),
            _ if facts.unmonitored => because(KeyState::Expired, "an administrator has to carry the key (key show)"),
            _ => (KeyState::Expired, Some(login_needed(facts))),
        },
        Some(_) if facts.locked => because(KeyState::Mismatch, "one end uses a key that nobody holds"),
        Some(_) => match (facts.deadline, ends) {
            (None, _) | (_, Ends::NoKey) => because(KeyState::Pending, "the ends have not applied a generation yet"),
            (_, Ends::Match) => (KeyState::Ok, None),
            (_, Ends::Differ | Ends::Unknown) => because(KeyState::Mismatch, "the ends use different preshared keys"),
        },
        None => match ends {
            _ if facts.locked => {
                because(KeyState::Mismatch, "no policy, and the server side uses a key that nobody holds")
            }
            _ if facts.unmonitored => (KeyState::Unmonitored, None),
            Ends::Match => (KeyState::Match, None),
            Ends::Differ => because(KeyState::Mismatch, "the ends use different preshared keys"),
            Ends::NoKey => (KeyState::NoKeyUsed, None),
            Ends::Unknown => because(KeyState::MatchPending, "not yet seen to match"),
        },
    }
}

/// Why a key is good that nobody released.
const OPENED_BY_ROOT: &str = "opened by root on the server side";

fn login_needed(facts: &Facts<'_>) -> String {
    match &facts.ended {
        None => "a login is needed".to_owned(),
        Some(why) => format!("a login is needed: {why}"),
    }
}

/// What was released or ordered and has not shown itself.
fn pending(facts: &Facts<'_>, ends: Ends) -> Option<(KeyState, String)> {
    let because = |state, reason: &str| Some((state, reason.to_owned()));
    let rotation = matches!(facts.ordered, Some(Ordered::Rotation));
    let together = matches!(facts.selection, Selection::Applies { policy, .. } if !policy.mfa());
    match facts.deadline.filter(|_| !facts.locked) {
        Some(deadline) if deadline <= facts.now && facts.opened_by_root => {
            because(KeyState::MismatchPending, "root's override is over, and the server side has not confirmed")
        }
        Some(deadline) if deadline <= facts.now => {
            because(KeyState::MismatchPending, "the deadline has passed, and the server side has not confirmed")
        }
        _ if rotation && !facts.opened_by_root => {
            because(KeyState::MismatchPending, "a rotation was ordered, and the server side has not confirmed")
        }
        Some(_) if facts.opened_by_root && ends != Ends::Match => {
            Some((KeyState::MatchPending, format!("{OPENED_BY_ROOT}, not yet seen to match")))
        }
        Some(_) if ends == Ends::Unknown => because(KeyState::MatchPending, "not yet seen to match"),
        // one end may have reported before it got the released key; two servers change theirs together
        Some(_) if ends == Ends::Differ && !together => {
            because(KeyState::MatchPending, "released, not yet seen to match")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
