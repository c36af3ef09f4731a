//! The audit log: append-only, each line bound to the one before it by a hash.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wgmfa_core::exit::sanitise;

/// The last line: its number (0: the log is empty) and its hash.
pub use wgmfa_core::message::agent::LogHead as Head;

use super::column::{self, Time};
use super::{Event, Note, Store, StoreError, Writing, connections};

/// The longest text in a line, in characters; the rest is left out.
const LONGEST: usize = 1000;

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written, by the bastion's time.
    pub time: Timestamp,
    /// The name of the [`Event`].
    pub event: String,
    /// Whom it is about.
    pub user: Option<String>,
    /// Who did it; none: the bastion by itself.
    pub actor: Option<String>,
    /// Where it came from.
    pub from: Option<String>,
    /// The host that it is about.
    pub host: Option<String>,
    /// The device that it is about.
    pub device: Option<String>,
    /// The connection that it is about, by its name at that time.
    pub connection: Option<String>,
    /// The generation that it is about.
    pub generation: Option<u64>,
    /// Why, in words.
    pub reason: Option<String>,
    /// SHA-256 over the hash of the line before, a newline and this line in JSON without its hash; in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// Which lines to read. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// About this person, or done by them.
    pub user: Option<String>,
    /// About this host, or about a connection of which it is an end.
    pub host: Option<String>,
    /// About this connection: any part of its name.
    pub connection: Option<String>,
    /// Of this event.
    pub event: Option<Event>,
    /// After the line with this number.
    pub after: Option<u64>,
    /// At most this many: the newest ones, oldest first; with `after`, the first ones.
    pub limit: Option<u32>,
}

impl Store {
    /// Writes a line about something that changes nothing in the store.
    pub fn note(&self, now: Timestamp, note: Note) -> Result<(), StoreError> {
        self.write(now, |w| w.audit(note))
    }

    /// Reads lines, oldest first.
    pub fn log(&self, filter: &Filter) -> Result<Vec<Line>, StoreError> {
        let sql = query(filter);
        let parameters = rusqlite::params![
            filter.since.map(Time::from),
            filter.until.map(Time::from),
            filter.user,
            filter.host,
            filter.connection,
            filter.event.map(Event::as_str),
            filter.after.unwrap_or(0),
            filter.limit.map_or(-1, i64::from),
        ];
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut lines = statement.query_map(parameters, line)?.collect::<Result<Vec<_>, _>>()?;
        if filter.after.is_none() {
            lines.reverse();
        }
        Ok(lines)
    }

    /// The last line.
    pub fn log_head(&self) -> Result<Head, StoreError> {
        let sql = "SELECT log_seq, log_hash FROM meta";
        Ok(self.connection.query_row(sql, [], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))?)
    }
}

/// The query for these lines. Conditions that do not hold for it are left out: else no index helps, and a log may be very
/// long. Each condition has the same number always.
pub(super) fn query(filter: &Filter) -> String {
    let wanted = [
        (filter.since.is_some(), "time >= ?1"),
        (filter.until.is_some(), "time < ?2"),
        (filter.user.is_some(), "(user = ?3 OR actor = ?3)"),
        (
            filter.host.is_some(),
            "(host = ?4 OR instr(connection, ?4 || '/') = 1 OR instr(connection, ':' || ?4 || '/') > 0)",
        ),
        (filter.connection.is_some(), "instr(connection, ?5) > 0"),
        (filter.event.is_some(), "event = ?6"),
    ];
    let wanted = wanted.into_iter().filter_map(|(is_given, condition)| is_given.then_some(condition));
    let conditions: String = wanted.map(|condition| format!(" AND {condition}")).collect();
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    // the planner does not know that a span of time is few of the lines
    let by_time =
        filter.event.is_none() && filter.after.is_none() && (filter.since.is_some() || filter.until.is_some());
    let index = if by_time { " INDEXED BY log_by_time" } else { "" };
    format!("SELECT * FROM log{index} WHERE seq > ?7{conditions} ORDER BY seq {order} LIMIT ?8")
}

impl Writing<'_> {
    /// Adds a line to the log.
    pub(super) fn audit(&self, note: Note) -> Result<(), StoreError> {
        let connection = match &note.place {
            Some(place) => Some(connections::name(self.tx, place)?.to_string()),
            None => None,
        };
        let sql = "SELECT log_seq, log_hash FROM meta";
        let (seq, before): (u64, String) =
            self.tx.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut new = Line {
            seq: seq + 1,
            time: self.now.into(),
            event: note.event.as_str().to_owned(),
            user: note.user.map(plain),
            actor: note.actor.map(plain),
            from: note.from.map(plain),
            host: note.host.map(plain),
            device: note.device.map(plain),
            connection,
            generation: note.generation,
            reason: note.reason.map(plain),
            hash: String::new(),
        };
        new.hash = chained(&before, &new);
        self.execute(
            "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            rusqlite::params![
                new.seq,
                self.now,
                new.event,
                new.user,
                new.actor,
                new.from,
                new.host,
                new.device,
                new.connection,
                new.generation,
                new.reason,
                new.hash,
            ],
        )?;
        self.execute("UPDATE meta SET log_seq = ?1, log_hash = ?2", (new.seq, &new.hash))?;
        Ok(())
    }
}

/// One bounded line that steers no terminal: some of it comes from the other side.
fn plain(text: String) -> String {
    sanitise(&text).chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The hash of a line: SHA-256 over the hash of the line before (of the first: the instance's name), a newline, and the
/// line in JSON without its hash.
pub(super) fn chained(before: &str, line: &Line) -> String {
    let body = Line { hash: String::new(), ..line.clone() };
    let json = serde_json::to_vec(&body).expect("a line is plain text");
    let hash = Sha256::new().chain_update(before).chain_update("\n").chain_update(json).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn line(row: &rusqlite::Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        seq: row.get("seq")?,
        time: column::time(row, "time")?,
        event: row.get("event")?,
        user: row.get("user")?,
        actor: row.get("actor")?,
        from: row.get("source")?,
        host: row.get("host")?,
        device: row.get("device")?,
        connection: row.get("connection")?,
        generation: row.get("generation")?,
        reason: row.get("reason")?,
        hash: row.get("hash")?,
    })
}
