//! What an agent remembers (`agent/src/state.rs`).

use std::collections::BTreeMap;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::key::Fingerprint;
use wgmfa_core::rotation::{Contact, Held, Hold, Idle, View};

/// What is remembered of one peer.
#[derive(Debug, Clone)]
pub struct Kept {
    pub held: Held,
    pub(super) same_boot: bool,
    /// After how long without a handshake a session is over, in seconds, by the policy that applied when it began.
    pub idle_timeout: Option<u64>,
    pub(super) alive: Option<Alive>,
}

/// When a session last gave a sign of life.
#[derive(Debug, Clone, Copy)]
pub struct Alive {
    pub since: Boottime,
    /// The latest handshake, in true time; only whether it is another one counts.
    pub handshake: Option<u64>,
}

/// What an agent remembers; what is on its disk is one of these.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub(super) boot: u32,
    pub last_contact: Option<Boottime>,
    pub peers: BTreeMap<usize, Kept>,
    /// Sessions that were over for want of handshakes, and of which the bastion has not heard.
    pub(super) idled: Vec<(usize, u64)>,
}

impl Kept {
    pub(super) fn new(held: Held) -> Self {
        Self { held, same_boot: true, idle_timeout: None, alive: None }
    }

    /// Notes when the latest handshake of a session changes.
    pub(super) fn see(&mut self, handshake: Option<u64>, now: Boottime) {
        if !matches!(self.held.hold, Hold::Open { .. }) {
            self.alive = None;
        } else if self.alive.is_none_or(|alive| alive.handshake != handshake) {
            self.alive = Some(Alive { since: now, handshake });
        }
    }
}

/// A peer as the plan sees it.
pub(super) fn view<'a>(
    kept: Option<&'a Kept>,
    now: Boottime,
    observed: Option<Fingerprint>,
    contact: Contact<'a>,
) -> View<'a> {
    let Some(kept) = kept else { return View { now, same_boot: true, observed, held: None, idle: None, contact } };
    let alive = kept.alive.zip(kept.idle_timeout);
    let idle = alive.map(|(alive, timeout)| Idle { since: alive.since, timeout });
    View { now, same_boot: kept.same_boot, observed, held: Some(&kept.held), idle, contact }
}
