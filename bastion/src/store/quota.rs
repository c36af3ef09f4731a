//! How much one host may write into the audit log: a host that was taken over cannot fill the disk.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::name::HostName;

use super::places::PlaceRow;
use super::{Event, Note, Place, Store, StoreError, Writing, hosts};

/// So many lines an hour for what a host does or tells by itself: connections, events, refusals. An agent tells at most
/// a thousand events of an outage.
const LINES_PER_HOUR: u64 = 2000;

/// So many new generations an hour of one peer: the shortest rotation interval makes 120.
const DEPOSITS_PER_HOUR: u64 = 600;

/// So many peers of one host that are registered to nobody are remembered (`unmonitored = true`).
const MOST_STRANGERS: u64 = 1000;

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

impl Store {
    /// Writes a line about something that a host did or told by itself, if its hour has room for it.
    pub fn note_of_host(&self, now: Timestamp, host: &HostName, note: Note) -> Result<(), StoreError> {
        self.write(now, |w| w.audit_for_host(host, note))
    }
}

impl Writing<'_> {
    /// Adds a line that a host has caused, if its hour has room for it. Of those that had none the number is written, with
    /// the first line of another hour.
    pub(super) fn audit_for_host(&self, host: &HostName, note: Note) -> Result<(), StoreError> {
        let hour = self.now.0 / HOUR;
        let sql = "SELECT hour, used FROM host_quotas WHERE host = ?1";
        let mut statement = self.tx.prepare_cached(sql)?;
        let known = statement.query_row([host.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)));
        let (counted, used) = known.optional()?.unwrap_or((hour, 0));
        let omitted = used.saturating_sub(LINES_PER_HOUR);
        if counted != hour && omitted > 0 {
            let reason = format!("{omitted} lines that this host caused in one hour were not listed");
            self.audit(Note::new(Event::HostLinesOmitted).host(host).reason(reason))?;
        }
        let used = if counted == hour { used } else { 0 };
        let sql = "INSERT OR REPLACE INTO host_quotas (host, hour, used) VALUES (?1, ?2, ?3)";
        self.execute(sql, (host.as_str(), hour, used.saturating_add(1)))?;
        if used == LINES_PER_HOUR {
            let reason =
                format!("this host has caused {used} lines in this hour: further ones are counted, not listed");
            self.audit(Note::new(Event::HostLinesOmitted).host(host).reason(reason))?;
        }
        if used < LINES_PER_HOUR { self.audit(note) } else { Ok(()) }
    }

    /// Whether a place would be one too many: it is remembered for ever, and a host can report any public key as a peer.
    pub(super) fn too_many_strangers(&self, place: &Place) -> Result<bool, StoreError> {
        if hosts::holder(self.tx, &place.public_key)?.is_some() {
            return Ok(false);
        }
        let sql = "SELECT count(*) FROM places WHERE host = ?1
                       AND NOT EXISTS (SELECT 1 FROM devices WHERE public_key = peer)
                       AND NOT EXISTS (SELECT 1 FROM interfaces WHERE public_key = peer)";
        let strangers: u64 =
            self.tx.prepare_cached(sql)?.query_row([place.server_side.host.as_str()], |row| row.get(0))?;
        Ok(strangers >= MOST_STRANGERS)
    }

    /// Counts a new generation of a place; whether its hour had room for it.
    pub(super) fn count_deposit(&self, row: &PlaceRow) -> Result<bool, StoreError> {
        let hour = self.now.0 / HOUR;
        let sql =
            "UPDATE places SET deposits = iif(deposit_hour = ?2, deposits, 0) + 1, deposit_hour = ?2 WHERE id = ?1
                   RETURNING deposits";
        let deposits: u64 = self.tx.prepare_cached(sql)?.query_row((row.id, hour), |row| row.get(0))?;
        Ok(deposits <= DEPOSITS_PER_HOUR)
    }
}
