//! Computing the hash chain of the audit log anew, slice by slice: whoever serves others meanwhile does not have to wait.

use rusqlite::OptionalExtension;

use super::audit::{self, chained};
use super::{Event, Head, Store, StoreError};

/// So many lines are computed at once: a few milliseconds.
const SLICE: u64 = 1000;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verified {
    /// Every line is as it was written.
    Intact {
        /// The line after which the log begins here: what stood before it was exported and removed. Its number is 0 if
        /// nothing was.
        after: Head,
        /// The last line.
        head: Head,
    },
    /// From this line on the log is not as it was written.
    Broken {
        /// The number of the first line that is wrong or missing.
        seq: u64,
        /// What is wrong with it, in words.
        reason: String,
    },
}

/// A verification in progress.
#[derive(Debug)]
pub struct Verification {
    /// Where the log began.
    after: Head,
    /// The last line that was found good.
    before: Head,
    /// The last line when the verification began: what comes later was bound to it by this program.
    until: Head,
    /// Whether a line says that everything up to `after` was exported.
    removal_is_named: bool,
}

impl Store {
    /// Begins to verify.
    pub fn verification(&self) -> Result<Verification, StoreError> {
        let after = self.log_beginning()?;
        let removal_is_named = after.seq == 0;
        Ok(Verification { before: after.clone(), after, until: self.log_head()?, removal_is_named })
    }

    /// The line after which the log begins here; number 0 if nothing was removed.
    pub fn log_beginning(&self) -> Result<Head, StoreError> {
        let sql = "SELECT removed_seq, coalesce(removed_hash, instance) FROM meta";
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row([], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))?)
    }

    /// Computes every hash again, at once.
    pub fn verify_log(&self) -> Result<Verified, StoreError> {
        let mut verification = self.verification()?;
        loop {
            if let Some(verified) = verification.go_on(self)? {
                return Ok(verified);
            }
        }
    }
}

impl Verification {
    /// Computes one slice; answers when the last one is done.
    pub fn go_on(&mut self, store: &Store) -> Result<Option<Verified>, StoreError> {
        let broken = |seq, reason: &str| Ok(Some(Verified::Broken { seq, reason: reason.to_owned() }));
        let beginning = store.log_beginning()?;
        if beginning.seq > self.before.seq {
            // exported and removed meanwhile
            (self.before, self.after, self.removal_is_named) = (beginning.clone(), beginning, false);
        }
        let mut statement =
            store.connection.prepare_cached("SELECT * FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let (slice, mut read) = (statement.query_map((self.before.seq, SLICE), audit::line)?, 0);
        for found in slice {
            read += 1;
            let Ok(found) = found else { return broken(self.before.seq + 1, "the line cannot be read") };
            if found.seq != self.before.seq + 1 {
                return broken(self.before.seq + 1, "the line is missing");
            }
            if found.hash != chained(&self.before.hash, &found) {
                return broken(found.seq, "the line was changed, or stands where another stood");
            }
            self.removal_is_named |= found.event == Event::LogPruned.as_str()
                && found.reason.is_some_and(|reason| reason.ends_with(&up_to(&self.after)));
            self.before = Head { seq: found.seq, hash: found.hash };
        }
        if read == SLICE {
            return Ok(None);
        }
        // nothing is written between this look at the last line and the one above: one thread has the store
        let recorded = store.log_head()?;
        if self.until.seq.max(recorded.seq) > self.before.seq {
            return broken(self.before.seq + 1, "the log was cut off before this line");
        }
        if recorded != self.before {
            return broken(recorded.seq + 1, "the line was added by somebody else");
        }
        if !self.removal_is_named {
            return broken(
                self.after.seq,
                "the lines up to this one are gone, and no line says that they were exported",
            );
        }
        Ok(Some(Verified::Intact { after: self.after.clone(), head: recorded }))
    }
}

/// How the line about a removal names the last line that was removed.
pub(super) fn up_to(head: &Head) -> String {
    format!("up to line {} ({})", head.seq, head.hash)
}

/// The hash of a line that is kept; none: it was removed, or never was.
pub(super) fn hash_of(store: &rusqlite::Connection, seq: u64) -> Result<Option<String>, StoreError> {
    let mut statement = store.prepare_cached("SELECT hash FROM log WHERE seq = ?1")?;
    Ok(statement.query_row([seq], |row| row.get(0)).optional()?)
}
