//! Two servers without a person: what one end does so that both change their preshared key together.
//!
//! The first end (the one that the connection's name puts first) makes a generation and deposits it; the second end gets
//! it from the bastion and keeps it beside the one in use; then the first end uses it, then the second. Each end changes
//! its peer's key in place, so that the session that runs goes on, and the next handshake finds the same key on both
//! ends. The first end stays on its newest key. The second end never needs more than two, and when no handshake comes it
//! tries them in turn: so the pair finds together again whatever was cut short, also without the bastion.

use serde::{Deserialize, Serialize};

use crate::boottime::Boottime;
use crate::key::{Fingerprint, PresharedKey, exposed};
use crate::message::agent::PeerRef;
use crate::message::sync::PolicyRef;

mod standing;

pub use standing::{Facts, InUse, standing};

/// When a handshake is so old, in seconds, the next one has failed: with traffic, WireGuard begins one after 120 s
/// (REKEY_AFTER_TIME) and tries again every 5 s (REKEY_TIMEOUT; WireGuard whitepaper, section 6.1). Sessions live for
/// 180 s (REJECT_AFTER_TIME), so the other key is tried while packets still pass.
pub const STALE_AFTER: u64 = 130;

/// How long the second end tries one of its two keys, in seconds: long enough for four attempts of WireGuard.
pub const TRY_FOR: u64 = 20;

/// A handshake that was under way when a key was changed ends within this time, in seconds (REKEY_TIMEOUT, and a
/// second on each side of it): what comes later was made with the new key.
pub const IN_FLIGHT: u64 = 7;

/// Which end of the connection a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairEnd {
    /// The end that sorts first: it makes the generations, and uses each one first.
    First,
    /// The other one.
    Second,
}

/// What the bastion says about one peer of a host when both ends rotate together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairAssignment {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// The connection's name, for people.
    pub connection: String,
    /// The policy that covers it.
    pub policy: PolicyRef,
    /// How old a generation may become, in seconds.
    pub rotation_interval: u64,
    /// Which end this host is.
    pub end: PairEnd,
    /// The highest generation that the bastion has ever seen for this connection; 0: none.
    pub highest_generation: u64,
    /// The generation that the first end uses, as far as the bastion knows; 0: none.
    pub applied_generation: u64,
    /// Where the newest generation stands.
    pub standing: PairStanding,
    /// The newest generation itself, as long as this end has not said that it holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<GivenKey>,
}

impl PairAssignment {
    /// No generation of this connection was ever in use: what stands on the interface was configured.
    pub fn is_untouched(&self) -> bool {
        let first = matches!(self.standing, PairStanding::Deposited { .. } | PairStanding::Staged { .. });
        self.highest_generation == 0 || (first && self.highest_generation == 1)
    }
}

/// A generation that the bastion hands to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenKey {
    /// Its number.
    pub generation: u64,
    /// The preshared key.
    #[serde(with = "exposed")]
    pub preshared_key: PresharedKey,
}

/// Where the newest generation of a pair stands, as the bastion knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum PairStanding {
    /// There is none, or another one is wanted: the first end makes it.
    Missing {
        /// Why, in words.
        reason: String,
    },
    /// On the bastion's disk; the second end has not said that it holds it.
    Deposited {
        /// Its number.
        generation: u64,
    },
    /// The second end holds it: the first end may use it.
    Staged {
        /// Its number.
        generation: u64,
    },
    /// The first end uses it, the second end has not said so.
    Applied {
        /// Its number.
        generation: u64,
    },
    /// Both ends have said that they use it.
    Settled {
        /// Its number.
        generation: u64,
        /// How long ago the first end began to use it, in seconds.
        age_seconds: u64,
    },
}

impl PairStanding {
    /// The newest generation's number.
    fn generation(&self) -> Option<u64> {
        match self {
            Self::Missing { .. } => None,
            Self::Deposited { generation }
            | Self::Staged { generation }
            | Self::Applied { generation }
            | Self::Settled { generation, .. } => Some(*generation),
        }
    }
}

/// What an end remembers about its peer. It is on disk before the interface is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which end this host is.
    pub end: PairEnd,
    /// The generations that it holds: two at most. 0 is the key of before the first one.
    pub keys: Vec<HeldKey>,
    /// The one that is to be on the interface; none: what stands there is left alone.
    pub used: Option<u64>,
    /// Since when.
    pub since: Boottime,
}

/// A generation without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey {
    /// Its number.
    pub generation: u64,
    /// What stands for the key; none: it is no preshared key.
    pub fingerprint: Option<Fingerprint>,
}

impl Held {
    fn key(&self, generation: u64) -> Option<&HeldKey> {
        self.keys.iter().find(|key| key.generation == generation)
    }
}

/// The latest handshake of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// How long ago it was, in seconds.
    pub age_seconds: u64,
    /// Whether it is another one than stood there when the key was last changed.
    pub changed: bool,
}

/// How patient an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// As [`STALE_AFTER`].
    pub stale_after: u64,
    /// As [`TRY_FOR`].
    pub try_for: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stale_after: STALE_AFTER, try_for: TRY_FOR }
    }
}

/// What an end sees of its peer, and what it knows.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Now, in this boot.
    pub now: Boottime,
    /// What it remembers.
    pub held: &'a Held,
    /// The key that stands on the interface now; none: no preshared key.
    pub observed: Option<Fingerprint>,
    /// The latest handshake; none: there was none since the peer was added.
    pub handshake: Option<Handshake>,
    /// What the bastion says in this contact; none: it is not reached, or does not name the peer.
    pub said: Option<&'a PairAssignment>,
    /// How patient this end is.
    pub patience: Patience,
}

/// What an end does about its peer. Each says why, in words for sysadmins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Keep the generation that the bastion gives, and besides it only this one.
    Stage {
        /// The given one.
        generation: u64,
        /// The one to keep.
        beside: Option<u64>,
    },
    /// Generate this one, keep it beside the one in use, deposit it.
    Make {
        /// Its number.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// Put a generation that is held on the peer, in place.
    Put {
        /// Its number.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// The same, to see whether a handshake comes.
    Try {
        /// Its number.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// Tell the bastion that this end uses this generation.
    Confirm {
        /// Its number.
        generation: u64,
    },
    /// Forget every other generation than this one.
    Forget {
        /// The one that is kept.
        but: u64,
    },
    /// Nothing more to do now.
    Wait {
        /// When to look again even if nothing happens; none: only when something happens.
        until: Option<Boottime>,
        /// Why.
        reason: String,
    },
}

/// What to do about one peer, in this order.
pub fn plan(view: &View<'_>) -> Vec<Action> {
    let Some(said) = view.said else { return alone(view) };
    let held = view.held;
    let mut actions = Vec::new();
    if said.standing.generation().is_some_and(|newest| held.used.is_some_and(|used| newest < used)) {
        // it was restored from a backup
        let reason = "the bastion knows an older key alone".to_owned();
        return if held.end == PairEnd::First { vec![make(view, said, reason)] } else { alone(view) };
    }
    let given = said.key.as_ref().map(|key| key.generation).filter(|given| held.key(*given).is_none());
    if let Some(generation) = given {
        let beside = held.key(said.applied_generation).map(|key| key.generation).or(held.used);
        actions.push(Action::Stage { generation, beside });
        if let Some(beside) = beside.filter(|beside| held.used.is_some_and(|used| used != *beside)) {
            actions.push(Action::Put { generation: beside, reason: "the other end uses it".to_owned() });
            return actions;
        }
    }
    let has = |generation| given == Some(generation) || held.key(generation).is_some();
    let first = held.end == PairEnd::First;
    let waits = |until, reason: &str| Action::Wait { until, reason: reason.to_owned() };
    match &said.standing {
        PairStanding::Missing { reason } if first => actions.push(make(view, said, reason.clone())),
        PairStanding::Missing { .. } => actions.extend(alone(view)),
        PairStanding::Deposited { .. } if first => {
            actions.extend(put_back(view));
            actions.push(waits(None, "the other end does not hold the next key yet"));
        }
        PairStanding::Deposited { .. } | PairStanding::Staged { .. } if !first && given.is_some() => {
            actions.push(waits(None, "the other end uses the next key first"));
        }
        PairStanding::Deposited { .. } | PairStanding::Staged { .. } if !first => actions.extend(alone(view)),
        PairStanding::Deposited { generation }
        | PairStanding::Staged { generation }
        | PairStanding::Applied { generation }
        | PairStanding::Settled { generation, .. }
            if !has(*generation) =>
        {
            actions.push(waits(None, "the bastion cannot give the newest key"));
        }
        PairStanding::Deposited { generation } | PairStanding::Staged { generation } => {
            actions.extend(put(view, *generation, "the other end holds it"));
            actions.push(Action::Confirm { generation: *generation });
        }
        PairStanding::Applied { generation } => {
            actions.extend(put(view, *generation, "the other end uses it"));
            if !first {
                actions.push(Action::Confirm { generation: *generation });
            }
        }
        PairStanding::Settled { generation, age_seconds } => {
            actions.extend(put(view, *generation, "both ends use it"));
            if held.keys.iter().any(|key| key.generation != *generation) {
                actions.push(Action::Forget { but: *generation });
            }
            actions.push(match said.rotation_interval.checked_sub(*age_seconds).filter(|left| *left > 0) {
                Some(left) => waits(first.then(|| view.now.plus_seconds(left)), "both ends use the same key"),
                None if first => make(view, said, "the key is one interval old".to_owned()),
                None => waits(None, "the other end makes the next key"),
            });
        }
    }
    actions
}

fn make(view: &View<'_>, said: &PairAssignment, reason: String) -> Action {
    let highest = view.held.keys.iter().map(|key| key.generation).max().unwrap_or_default();
    Action::Make { generation: highest.max(said.highest_generation).saturating_add(1), reason }
}

/// Puts a generation on the interface if it is not the one that stands there and that is remembered as used.
fn put(view: &View<'_>, generation: u64, reason: &str) -> Option<Action> {
    let stands = view.held.key(generation).is_some_and(|key| key.fingerprint == view.observed);
    let remembered = view.held.used == Some(generation);
    (!stands || !remembered).then(|| Action::Put { generation, reason: reason.to_owned() })
}

/// The key in use, if another one stands on the interface.
fn put_back(view: &View<'_>) -> Option<Action> {
    let used = view.held.used.and_then(|used| view.held.key(used))?;
    (used.fingerprint != view.observed)
        .then(|| Action::Put { generation: used.generation, reason: "another key stood on the interface".to_owned() })
}

/// What an end does by itself.
fn alone(view: &View<'_>) -> Vec<Action> {
    let held = view.held;
    let wait = |until, reason: &str| Action::Wait { until, reason: reason.to_owned() };
    if let Some(back) = put_back(view) {
        return vec![back];
    }
    let other = held.keys.iter().find(|key| held.used != Some(key.generation));
    let Some(other) = other.filter(|_| held.end == PairEnd::Second) else {
        return vec![wait(None, "this end stays on its key")];
    };
    let tried = view.now.since(held.since).as_secs();
    match view.handshake {
        Some(handshake) if handshake.age_seconds < view.patience.stale_after => {
            let proved = handshake.changed && handshake.age_seconds + IN_FLIGHT <= tried;
            match held.used {
                Some(used) if proved && used > other.generation => vec![Action::Forget { but: used }],
                _ => vec![wait(None, "the handshakes are fresh")],
            }
        }
        _ if held.used.is_some() && tried < view.patience.try_for => {
            let left = view.patience.try_for - tried;
            vec![wait(Some(view.now.plus_seconds(left)), "no handshake with this key yet")]
        }
        _ => {
            let reason = "no handshake with the other end, which may use this one".to_owned();
            vec![Action::Try { generation: other.generation, reason }]
        }
    }
}

#[cfg(test)]
mod tests;
