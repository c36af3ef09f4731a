//! Lines of the audit log that hosts have seen: one that is not here shows that the log was cut off, written anew, or
//! restored from a backup.

use std::fmt;

use jiff::Timestamp;
use rusqlite::Connection;
use wgmfa_core::name::HostName;

use super::column::{text, time};
use super::verify::hash_of;
use super::{Actor, Change, Event, Head, Note, Store, StoreError};

/// A line that a host has seen and that the log does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostHead {
    /// The host.
    pub host: HostName,
    /// The line that it has seen.
    pub head: Head,
    /// The last line of the log when that was found.
    pub last_seq: u64,
    /// When that was.
    pub found_at: Timestamp,
}

impl fmt::Display for LostHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, head: Head { seq, hash }, last_seq, .. } = self;
        write!(f, "host {host} saw line {seq} (hash {hash}), ")?;
        if seq > last_seq {
            write!(f, "this log ended at {last_seq}")
        } else {
            f.write_str("this log has another line there")
        }
    }
}

impl Store {
    /// Compares the newest line that a host has seen with the log. One that is missing is recorded until
    /// [`Store::accept_lost_heads`], and audited.
    pub fn heard_head(&self, now: Timestamp, host: &HostName, seen: &Head) -> Result<(), StoreError> {
        if !seen.is_well_formed() || self.has_line(seen)? {
            return Ok(());
        }
        self.write(now, |w| {
            let known = lost(w.tx)?.into_iter().find(|lost| lost.host == *host);
            if known.is_some_and(|known| known.head == *seen || known.head.seq > seen.seq) {
                return Ok(());
            }
            let (last_seq, restored): (u64, Option<u64>) =
                w.tx.query_row("SELECT log_seq, restored_seq FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            w.execute(
                "INSERT OR REPLACE INTO lost_heads (host, seq, hash, last_seq, found_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (host.as_str(), seen.seq, &seen.hash, last_seq, w.now),
            )?;
            let found =
                LostHead { host: host.clone(), head: seen.clone(), last_seq, found_at: w.now.into() }.to_string();
            // what was written since the backup stands in the place of what is missing
            let common = restored.unwrap_or(last_seq);
            let reason = match seen.seq.checked_sub(common) {
                Some(missing) if missing > 0 => format!("{found}: at least {missing} lines after {common} are missing"),
                _ => found,
            };
            w.audit_for_host(host, Note::new(Event::LogLost).host(host).reason(reason))
        })
    }

    /// Whether the log has this line, as far as it is kept: what was exported and removed is not asked for any more.
    fn has_line(&self, head: &Head) -> Result<bool, StoreError> {
        let beginning = self.log_beginning()?;
        if head.seq <= beginning.seq {
            return Ok(head.seq < beginning.seq || head.hash == beginning.hash);
        }
        Ok(hash_of(&self.connection, head.seq)?.as_ref() == Some(&head.hash))
    }

    /// The lines that hosts have seen and that are not in the log, by host.
    pub fn lost_heads(&self) -> Result<Vec<LostHead>, StoreError> {
        lost(&self.connection)
    }

    /// An administrator knows why lines are missing: they are named no longer.
    pub fn accept_lost_heads(&self, now: Timestamp, actor: Actor<'_>, reason: &str) -> Result<Change, StoreError> {
        self.write(now, |w| {
            let lost = lost(w.tx)?;
            for lost in &lost {
                let note = Note::new(Event::LogLossAccepted).host(&lost.host).actor(actor);
                w.audit(note.reason(format!("{lost}: {reason}")))?;
            }
            w.execute("DELETE FROM lost_heads", [])?;
            Ok(if lost.is_empty() { Change::Unchanged } else { Change::Made })
        })
    }
}

fn lost(connection: &Connection) -> Result<Vec<LostHead>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM lost_heads ORDER BY host")?;
    let found = statement.query_map([], |row| {
        let head = Head { seq: row.get("seq")?, hash: row.get("hash")? };
        Ok(LostHead {
            host: text(row, "host")?,
            head,
            last_seq: row.get("last_seq")?,
            found_at: time(row, "found_at")?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
