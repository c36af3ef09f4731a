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
    /// Until when the firewall lets the peer through, if a grant was given.
    pub grant: Option<Timestamp>,
    /// What the server side reports.
    pub server: Reported,
    /// What the other end reports.
    pub other: Reported,
    /// A gateway reported a latest handshake that is another one than stood there when it confirmed (or, for a key that
    /// came from elsewhere, first reported) the key that it uses now. After a re-add none stands there, so any is another
    /// one. A change within the rounding of reported ages is none.
    pub handshake_since_apply: bool,
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
            _ if facts.handshake_since_apply => Self::Match,
            _ => Self::Unknown,
        }
    }
}

/// The state of a connection's key and, where a person would ask, why.
pub fn state(facts: &Facts<'_>) -> (KeyState, Option<String>) {
    let because = |state, reason: &str| (state, Some(reason.to_owned()));
    let ends = Ends::of(facts);
    let policy = match facts.selection {
        Selection::Conflict { policy, reason } => {
            return (KeyState::Conflict, Some(format!("in policy {} {reason}", policy.ordinal)));
        }
        Selection::Applies { policy, .. } => Some(policy),
        Selection::None => None,
    };
    let by_firewall = policy.is_some_and(|policy| !policy.enforce.rotates());
    if let Some((state, reason)) = pending(facts, ends).filter(|_| !by_firewall) {
        return (state, Some(reason));
    }
    if let Some(Ordered::Other(reason)) = &facts.ordered {
        return (KeyState::Pending, Some(reason.clone()));
    }
    match policy {
        Some(_) if by_firewall => match facts.grant {
            Some(until) if until > facts.now => (KeyState::Ok, None),
            _ => because(KeyState::Expired, "a one-time code is needed"),
        },
        Some(policy) if policy.mfa() => match (facts.locked, facts.deadline, ends) {
            (_, _, Ends::NoKey) => {
                because(KeyState::Pending, "the server side uses no preshared key: no second factor")
            }
            (false, Some(_), Ends::Match) => (KeyState::Ok, None),
            (false, None, _) => because(KeyState::Pending, "the server side has not applied a generation yet"),
            _ if facts.unmonitored => because(KeyState::Expired, "an administrator has to carry the key (key show)"),
            _ => because(KeyState::Expired, "a login is needed"),
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

/// What was released or ordered and has not shown itself.
fn pending(facts: &Facts<'_>, ends: Ends) -> Option<(KeyState, String)> {
    let because = |state, reason: &str| Some((state, reason.to_owned()));
    let rotation = matches!(facts.ordered, Some(Ordered::Rotation));
    let together = matches!(facts.selection, Selection::Applies { policy, .. } if !policy.mfa());
    match facts.deadline.filter(|_| !facts.locked) {
        Some(deadline) if deadline <= facts.now => {
            because(KeyState::MismatchPending, "the deadline has passed, and the server side has not confirmed")
        }
        _ if rotation => {
            because(KeyState::MismatchPending, "a rotation was ordered, and the server side has not confirmed")
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
