//! Deadlines: when the timer rings, and who is past their time then.
//!
//! At ten thousand peers looking, computing and remembering take a third of a second. So the timer rings before a deadline
//! that is foreseen, and the peers are locked at that moment itself.

use std::time::{Duration, Instant};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::rotation::{Action, Contact, plan};

use super::Agent;
use crate::clock;
use crate::seen::Seen;
use crate::state::Kept;

/// What is done before a lock takes about as long as so many looks.
const LOOKS_AHEAD: u32 = 4;

/// No lock is made ready longer before its deadline: whoever prolongs a session meanwhile is too late.
const MOST_AHEAD: Duration = Duration::from_millis(500);

impl Agent {
    /// As [`Agent::enforce`], shortly before a deadline if one is near: what is past its time then is locked at that moment,
    /// and not before.
    pub fn enforce_at_deadline(&mut self) {
        let now = clock::now();
        let foreseen = self.state.peers.values().filter(|kept| is_foreseen(kept));
        let next = foreseen.filter_map(|kept| self.deadline(kept, now)).min();
        let near = next.filter(|deadline| deadline.before(self.lead()) <= now);
        self.enforce_in(Contact::Lost(self.state.last_contact), near.unwrap_or(now));
    }

    /// When [`Agent::enforce_at_deadline`] has something to do even if nothing happens.
    pub fn next_deadline(&self) -> Option<Boottime> {
        let now = clock::now();
        let begin = |kept: &Kept| {
            let deadline = self.deadline(kept, now)?;
            Some(if is_foreseen(kept) { deadline.before(self.lead()) } else { deadline })
        };
        self.state.peers.values().filter_map(begin).chain(self.next_at_gate(now)).min()
    }

    /// How long before a deadline its locks are made ready.
    fn lead(&self) -> Duration {
        clock::lead((self.look_takes * LOOKS_AHEAD).min(MOST_AHEAD))
    }

    /// Looks at every interface, and measures how long that takes.
    pub(super) fn look(&mut self) -> Seen {
        let since = Instant::now();
        let seen = Seen::now(&self.config);
        self.look_takes = since.elapsed();
        seen
    }

    /// The peers that are past their time, and why.
    pub(super) fn due(&self, contact: Contact<'_>, seen: &Seen, now: Boottime) -> Vec<(PeerRef, String)> {
        self.due_ahead(contact, seen, now, now)
    }

    /// Those that are past it at a moment, or now where that is not foreseen.
    pub(super) fn due_ahead(
        &self,
        contact: Contact<'_>,
        seen: &Seen,
        now: Boottime,
        moment: Boottime,
    ) -> Vec<(PeerRef, String)> {
        // What is not there lets nobody in, and is looked at when it comes back.
        let here = self.state.peers.iter().filter(|(peer, _)| seen.peer(peer).is_some());
        let due = here.flat_map(|(peer, kept)| {
            let at = if is_foreseen(kept) { moment } else { now };
            let actions = plan(&kept.view(at, seen.fingerprint(peer), contact));
            actions.into_iter().filter_map(|action| match action {
                Action::Lock { reason } => Some((peer.clone(), reason)),
                _ => None,
            })
        });
        due.collect()
    }

    /// When a peer is past its time. A moment that has passed was acted upon; if that failed, the next look tries again.
    fn deadline(&self, kept: &Kept, now: Boottime) -> Option<Boottime> {
        let view = kept.view(now, Some(kept.held.fingerprint), Contact::Lost(self.state.last_contact));
        let until = plan(&view).into_iter().filter_map(|action| match action {
            Action::Wait { until, .. } => until,
            _ => None,
        });
        until.filter(|moment| *moment > now).min()
    }
}

/// Whether it is known beforehand when a peer is past its time: a handshake would prolong a session that needs them.
fn is_foreseen(kept: &Kept) -> bool {
    kept.idle_timeout.is_none()
}
