//! Taking the oldest lines of the audit log away: exported with the hash of the line before each, so that they can be
//! verified without this store, and then removed by the hash of the last one, which only an export shows.

use std::io::BufRead;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::{self, chained};
use super::column::Time;
use super::verify::{hash_of, up_to};
use super::{Actor, Event, Head, Line, Note, Store, StoreError, Verified};

/// Longest line of an export that is read back, in bytes: none that was written is longer.
const LONGEST: u64 = 64 * 1024;

/// A line of an export: a line of the log, and the hash of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The line.
    #[serde(flatten)]
    pub line: Line,
    /// The hash of the line before; of the first line of all: the name of the bastion's instance.
    pub previous: String,
}

impl Store {
    /// The last line of all those, from the oldest on, that were written before a time; none: there is no such line.
    pub fn last_before(&self, time: Timestamp) -> Result<Option<Head>, StoreError> {
        // the first line that is not older ends it, also where the time of lines once ran backwards
        let sql = "SELECT seq, hash FROM log WHERE seq < coalesce(
                       (SELECT min(seq) FROM log WHERE time >= ?1), (SELECT max(seq) + 1 FROM log))
                   ORDER BY seq DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([Time::from(time)], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))?;
        Ok(found.last().transpose()?)
    }

    /// The next lines after one and up to another, at most so many.
    pub fn exported(&self, after: &Head, until: &Head, limit: u64) -> Result<Vec<Exported>, StoreError> {
        let sql = "SELECT * FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
        let mut previous = after.hash.clone();
        let mut statement = self.connection.prepare_cached(sql)?;
        let lines = statement.query_map((after.seq, until.seq, limit), audit::line)?;
        lines
            .map(|line| {
                let line = line?;
                let previous = std::mem::replace(&mut previous, line.hash.clone());
                Ok(Exported { line, previous })
            })
            .collect()
    }

    /// Removes the oldest lines up to one that is named by its hash. The chain goes on from that hash, and a line says so.
    ///
    /// # Errors
    /// No line with this number has this hash.
    pub fn prune_log(&self, now: Timestamp, actor: Actor<'_>, until: &Head) -> Result<u64, StoreError> {
        self.write(now, |w| {
            if hash_of(w.tx, until.seq)?.as_ref() != Some(&until.hash) {
                return Err(StoreError::refused("no line of the audit log has this number and this hash")
                    .hint("`log export --before TIME` tells both when it is done"));
            }
            w.execute("UPDATE meta SET removed_seq = ?1, removed_hash = ?2", (until.seq, &until.hash))?;
            let removed = w.execute("DELETE FROM log WHERE seq <= ?1", [until.seq])?;
            let reason = format!("{removed} exported lines were removed, {}", up_to(until));
            w.audit(Note::new(Event::LogPruned).actor(actor).reason(reason))?;
            Ok(removed as u64)
        })
    }
}

/// Verifies an export by itself. An export that begins with the first line of the log also shows that nothing stood
/// before it; of another one the `previous` of its first line must be the hash of the last line of the export before.
///
/// # Errors
/// It cannot be read, or is no export; with the number of the line in it.
pub fn verify_export(mut lines: impl BufRead) -> Result<Verified, String> {
    let (mut first, mut before) = (None::<Head>, None::<Head>);
    for number in 1.. {
        let mut text = Vec::new();
        let read = std::io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut text);
        read.map_err(|error| error.to_string().to_lowercase())?;
        if text.is_empty() {
            break;
        }
        let Ok(Exported { line, previous }) = serde_json::from_slice(&text) else {
            return Err(format!("line {number}: not a line of an export"));
        };
        let broken = |seq, reason: &str| Ok(Verified::Broken { seq, reason: reason.to_owned() });
        let start = Head { seq: line.seq.saturating_sub(1), hash: previous.clone() };
        let expected = before.get_or_insert_with(|| start.clone());
        first.get_or_insert_with(|| start.clone());
        if line.seq != expected.seq + 1 {
            return broken(expected.seq + 1, "the line is missing, or stands elsewhere");
        }
        if previous != expected.hash || line.hash != chained(&previous, &line) {
            return broken(line.seq, "the line was changed, or stands where another stood");
        }
        before = Some(Head { seq: line.seq, hash: line.hash });
    }
    let nothing = || Head { seq: 0, hash: String::new() };
    Ok(Verified::Intact { after: first.unwrap_or_else(nothing), head: before.unwrap_or_else(nothing) })
}
