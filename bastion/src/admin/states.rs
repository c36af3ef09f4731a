//! The states of some connections as the keeper keeps them, computed as `key list` computes them.

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::connection::Connection;
use wgmfa_core::release::Phase;
use wgmfa_core::state::KeyState;

use super::Context;
use super::key_row::{KeyRow, states};
use super::site::{Site, places};
use crate::store::{Found, Known, Place, StoreError};

/// A connection's state, and what happened there that is measured.
#[derive(Debug)]
pub struct Look {
    /// The state.
    pub found: Found,
    /// How late the generation in use was made, from when it was due.
    rotation_lag: Option<SignedDuration>,
    /// Since when nobody comes in, if so.
    locked_since: Option<Timestamp>,
}

/// Looks at the connections at these places.
///
/// # Errors
/// The store cannot be read.
pub fn look(wanted: &[Place], context: &Context<'_>) -> Result<Vec<Look>, StoreError> {
    let site = Site::around(context.store, wanted)?;
    let all: Vec<&Connection> = site.connections.iter().collect();
    Ok(states(&site, &all, context)?.iter().map(|row| Look::of(row, context.now)).collect())
}

impl Look {
    fn of(row: &KeyRow<'_>, now: Timestamp) -> Self {
        let current = row.current();
        let found = Found {
            place: places(row.connection).remove(0),
            state: row.state,
            reason: row.reason.clone(),
            generation: current.map(|current| current.generation),
            deadline: row.deadline,
        };
        let applied_at = current.and_then(|current| current.applied_at);
        let locked_since = row.locked.then(|| match current {
            Some(current) if current.phase == Phase::Applied => current.applied_at.unwrap_or(now),
            _ => now,
        });
        Self { found, rotation_lag: applied_at.zip(due(row)).map(|(at, due)| at.duration_since(due)), locked_since }
    }

    /// How late a new generation was made; none: there is none, or it is the first.
    pub fn rotation_lag(&self, before: Option<&Known>) -> Option<SignedDuration> {
        before?.generation.filter(|before| Some(*before) < self.found.generation)?;
        self.rotation_lag.map(|lag| lag.max(SignedDuration::ZERO))
    }

    /// From the deadline of a session to the server's word that nobody comes in any more; none: no session has come to
    /// its deadline.
    pub fn deadline_to_lock(&self, before: Option<&Known>) -> Option<SignedDuration> {
        let before = before?;
        let was_open = matches!(before.state, KeyState::Ok | KeyState::MatchPending | KeyState::MismatchPending);
        let (deadline, since) = before.deadline.filter(|_| was_open).zip(self.locked_since)?;
        let late = since.duration_since(deadline);
        // the server counts from when it was told, a moment before the deadline was recorded
        (late > SignedDuration::from_secs(-1)).then(|| late.max(SignedDuration::ZERO))
    }
}

/// When the generation in use was due: when the one before it was over.
fn due(row: &KeyRow<'_>) -> Option<Timestamp> {
    let previous = row.record?.previous.as_deref()?;
    match row.selection.policy() {
        Some(policy) if !policy.mfa() => {
            let interval = i64::try_from(policy.rotation_interval.as_seconds()).ok()?;
            previous.applied_at?.checked_add(SignedDuration::from_secs(interval)).ok()
        }
        _ => previous.ended_at,
    }
}
