//! What must not come back with an older state of the store, and with a bastion's time that was set back: sessions, codes
//! that were used since, keys that servers have replaced since.
//!
//! Each table that holds something which lets somebody in, or whose rows may only go up, is named here.

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::code::Step;

use super::column::Time;
use super::{Actor, Event, Head, Note, Store, StoreError, Writing, places};

/// Nothing that a clock wrote which was ahead may last longer than this from now, in milliseconds: the longest lock.
const LONGEST_LOCK: i64 = 3_600_000;

impl Store {
    /// After the file was put in the place of a newer one. The audit log names the backup.
    pub(super) fn after_restore(&self, now: Timestamp, made: Timestamp, head: &Head) -> Result<(), StoreError> {
        self.write(now, |w| {
            let Head { seq, hash } = head;
            let reason = format!(
                "restored from a backup of {made:.0} whose last line is {seq} ({hash}); what was written after it is missing"
            );
            w.audit(Note::new(Event::Restored).reason(reason))?;
            w.execute("UPDATE meta SET restored_seq = ?1", [seq])?;
            w.lock_everything("the bastion was restored from a backup")
        })
    }

    /// Ends every session and voids every code, because it is not known how long the sessions have lasted.
    pub fn end_all_sessions(&self, now: Timestamp, reason: &str) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.audit(Note::new(Event::ClockJumped).reason(reason))?;
            w.take_time_back()?;
            w.end_everything(reason)
        })
    }

    /// Sets the bastion's time back to this one, which may lie below the last recorded time.
    pub fn reset_time(&self, system: Timestamp, actor: Actor<'_>, reason: &str) -> Result<SignedDuration, StoreError> {
        let ahead = self.now(system).duration_since(system);
        let time = Time::from(system);
        self.ceiling.set(None);
        self.write(system, |w| {
            w.execute("UPDATE meta SET last_time = ?1, quota_hour = 0, quota_used = 0", [time])?;
            w.execute("DELETE FROM host_quotas", [])?;
            let w = Writing { now: time, ..*w };
            let note = Note::new(Event::ClockReset).actor(actor);
            w.audit(note.reason(format!("the bastion's time was {} s ahead of the clock: {reason}", ahead.as_secs())))?;
            w.take_time_back()?;
            w.lock_everything("the bastion's time was set back")
        })?;
        self.last_time.set(time);
        Ok(ahead)
    }
}

impl Writing<'_> {
    /// What a clock wrote that was ahead counts from now on: nobody stays locked, and nothing stays good, for as long as it
    /// was ahead.
    fn take_time_back(&self) -> Result<(), StoreError> {
        let (now, latest) = (self.now, Time(self.now.0 + LONGEST_LOCK));
        self.execute("UPDATE guesses SET locked_until = ?1 WHERE locked_until > ?1", [latest])?;
        self.execute("UPDATE code_guesses SET locked_until = ?1 WHERE locked_until > ?1", [latest])?;
        self.execute("UPDATE guesses SET last_success = ?1 WHERE last_success > ?1", [now])?;
        self.execute("UPDATE people SET day_began = ?1 WHERE day_began > ?1", [now])?;
        let sql = "UPDATE handouts SET expires_at = expires_at - issued_at + ?1, issued_at = ?1 WHERE issued_at > ?1";
        self.execute(sql, [now])?;
        // later ones are known by their times
        self.execute("UPDATE handshakes SET at = ?1 WHERE at > ?1", [now])?;
        self.execute("UPDATE hosts SET last_seen = min(last_seen, ?1), next_round = NULL", [now]).map(drop)
    }

    /// Locks all sessions and voids all codes.
    fn lock_everything(&self, reason: &str) -> Result<(), StoreError> {
        self.end_everything(reason)?;
        self.execute("DELETE FROM logins", [])?;
        // whatever code was accepted until now, none of them is again
        self.execute("UPDATE people SET last_step = ?1", [Step::last_before(self.now.into()).number()])?;
        self.execute("UPDATE recovery_codes SET used_at = ?1 WHERE used_at IS NULL", [self.now])?;
        // invitations and codes for the telephone
        self.execute("DELETE FROM handouts", [])?;
        self.execute("UPDATE hosts SET report_digest = NULL", []).map(drop)
    }

    /// Ends every generation; the servers are told at their next contact, and make new ones.
    fn end_everything(&self, reason: &str) -> Result<(), StoreError> {
        let rows = places::select(self.tx, "TRUE", [])?;
        self.execute("UPDATE places SET ordered = ?1", [reason])?;
        self.end_grants_where("TRUE", [], reason)?;
        self.end_all(&rows, reason).map(drop)
    }
}
