//! The head of the audit log on its way out: to the journal, and to every agent at contact.

use std::cell::Cell;
use std::time::{Duration, Instant};

use wgmfa_core::message::agent::LogHead;
use wgmfa_core::name::HostName;

use super::{Keeper, say};

/// A head is said when so many lines have come since the last one.
const EVERY_LINES: u64 = 1000;

/// A head is said when anything has come since the last one, and so long has passed.
const EVERY: Duration = Duration::from_secs(600);

/// What was said last.
#[derive(Default)]
pub struct Said(Cell<Option<(u64, Instant)>>);

impl Keeper {
    /// The last line of the audit log, for an agent; none: it cannot be read.
    pub(super) fn log_head(&self) -> Option<LogHead> {
        self.store.log_head().ok()
    }

    /// Says the head on standard error, from where it goes to the journal.
    pub(super) fn say_head(&self) {
        if let Some(LogHead { seq, hash }) = self.log_head() {
            self.said_head.0.set(Some((seq, Instant::now())));
            say(&format!("audit log: line {seq}, hash {hash}"));
        }
    }

    /// The same, if it is time for it.
    pub(super) fn say_head_if_due(&self) {
        let (Some((seq, at)), Some(head)) = (self.said_head.0.get(), self.log_head()) else { return };
        let lines = head.seq.saturating_sub(seq);
        if lines >= EVERY_LINES || (lines > 0 && at.elapsed() >= EVERY) {
            self.say_head();
        }
    }

    /// Takes the newest line that a host says to have seen.
    pub(super) fn hear_head(&self, host: &HostName, seen: Option<&LogHead>) -> Result<(), String> {
        let Some(seen) = seen else { return Ok(()) };
        self.store.heard_head(self.now(), host, seen).map_err(|error| error.to_string())
    }
}
