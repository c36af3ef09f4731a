//! Places found by who stands at them, and what happens to all of them at once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::{HostName, InterfaceName, UserName};

use super::column::{Repeated, Text, text};
use super::{Event, Note, Place, Store, StoreError, Writing};

/// A row of `places`.
#[derive(Debug, Clone)]
pub(super) struct PlaceRow {
    pub id: i64,
    pub place: Place,
    pub highest: u64,
    pub ordered: Option<String>,
    pub kept_locked: Option<String>,
    pub set_free: bool,
}

/// The columns of a [`PlaceRow`]. There may be very many rows, so columns are found by their numbers.
pub(super) const PLACE: &str = "id, host, interface, peer, highest, ordered, kept_locked, set_free";

/// So many there are.
pub(super) const PLACE_COLUMNS: usize = 8;

/// Where a person's devices or hosts take part.
pub(super) const OF_PERSON: &str = "
    (host IN (SELECT name FROM hosts WHERE owner = ?1)
    OR peer IN (SELECT public_key FROM devices WHERE owner = ?1
        UNION ALL SELECT interfaces.public_key FROM interfaces JOIN hosts ON hosts.name = interfaces.host
            WHERE hosts.owner = ?1))";

/// The places that fulfil a condition, sorted.
pub(super) fn select(
    connection: &Connection,
    condition: &str,
    parameters: impl Params,
) -> Result<Vec<PlaceRow>, StoreError> {
    let sql = format!("SELECT {PLACE} FROM places WHERE {condition} ORDER BY host, interface, peer");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut names = RowNames::default();
    Ok(statement.query_map(parameters, |row| place_row(row, &mut names))?.collect::<Result<_, _>>()?)
}

/// The row of one place.
pub(super) fn find(connection: &Connection, place: &Place) -> Result<Option<PlaceRow>, StoreError> {
    let sql = format!("SELECT {PLACE} FROM places WHERE host = ?1 AND interface = ?2 AND peer = ?3");
    let InterfaceRef { host, interface } = &place.server_side;
    let parameters = (host.as_str(), interface.as_str(), Text(place.public_key));
    let row = |row: &Row<'_>| place_row(row, &mut RowNames::default());
    Ok(connection.prepare_cached(&sql)?.query_row(parameters, row).optional()?)
}

/// The names in the row before.
#[derive(Default)]
pub(super) struct RowNames {
    host: Repeated<HostName>,
    interface: Repeated<InterfaceName>,
}

/// A row that begins with the columns of [`PLACE`].
pub(super) fn place_row(row: &Row<'_>, names: &mut RowNames) -> rusqlite::Result<PlaceRow> {
    let server_side = InterfaceRef { host: names.host.text(row, 1)?, interface: names.interface.text(row, 2)? };
    Ok(PlaceRow {
        id: row.get(0)?,
        place: Place { server_side, public_key: text(row, 3)? },
        highest: row.get(4)?,
        ordered: row.get(5)?,
        kept_locked: row.get(6)?,
        set_free: row.get(7)?,
    })
}

/// Where a host is the server side, or one of its interfaces is the peer.
pub(super) const OF_HOST: &str =
    "(host = ?1 OR peer IN (SELECT public_key FROM interfaces WHERE interfaces.host = ?1))";

impl Store {
    /// Remembers these places before there is a generation: from now on what cuts off an end of their connections finds
    /// them. Repeating it is harmless.
    pub fn remember(&self, now: Timestamp, places: &[Place]) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        self.write(now, |w| places.iter().try_for_each(|place| w.remember_place(place)))
    }
}

impl Writing<'_> {
    pub(super) fn remember_place(&self, place: &Place) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO places (host, interface, peer, highest) VALUES (?1, ?2, ?3, 0)";
        let InterfaceRef { host, interface } = &place.server_side;
        self.execute(sql, (host.as_str(), interface.as_str(), Text(place.public_key))).map(drop)
    }

    /// Where a public key is the peer.
    pub(super) fn places_of_key(&self, key: &PublicKey) -> Result<Vec<PlaceRow>, StoreError> {
        select(self.tx, "peer = ?1", [Text(key)])
    }

    /// Where a host is the server side, or one of its interfaces is the peer.
    pub(super) fn places_of_host(&self, host: &HostName) -> Result<Vec<PlaceRow>, StoreError> {
        select(self.tx, OF_HOST, [host.as_str()])
    }

    /// Where an interface is the server side.
    pub(super) fn places_of_interface(
        &self,
        host: &HostName,
        interface: &InterfaceName,
    ) -> Result<Vec<PlaceRow>, StoreError> {
        select(self.tx, "host = ?1 AND interface = ?2", (host.as_str(), interface.as_str()))
    }

    /// Where a person's devices or hosts take part.
    pub(super) fn places_of_person(&self, person: &UserName) -> Result<Vec<PlaceRow>, StoreError> {
        select(self.tx, OF_PERSON, [person.as_str()])
    }

    /// Ends every generation at these places, and answers with the places.
    pub(super) fn end_all(&self, rows: &[PlaceRow], reason: &str) -> Result<Vec<Place>, StoreError> {
        for row in rows {
            let sql = "SELECT generation FROM generations WHERE place = ?1 AND phase <> 'ended'";
            let mut statement = self.tx.prepare_cached(sql)?;
            let live = statement.query_map([row.id], |row| row.get(0))?.collect::<Result<Vec<u64>, _>>()?;
            for generation in live {
                self.end(row, generation, Event::Ended, reason)?;
            }
        }
        Ok(rows.iter().map(|row| row.place.clone()).collect())
    }

    /// Ends every generation at these places if somebody is cut off there; answers with the places.
    pub(super) fn cut_or_let_in(&self, rows: Vec<PlaceRow>, cut: bool, reason: &str) -> Result<Vec<Place>, StoreError> {
        if cut { self.end_all(&rows, reason) } else { Ok(rows.into_iter().map(|row| row.place).collect()) }
    }

    /// As [`Writing::end_all`], and nobody may come in there again until what was removed is registered anew.
    pub(super) fn keep_locked(&self, rows: &[PlaceRow], reason: &str) -> Result<Vec<Place>, StoreError> {
        for row in rows {
            self.execute("UPDATE places SET kept_locked = ?2 WHERE id = ?1", (row.id, reason))?;
        }
        self.end_all(rows, reason)
    }

    /// A public key is registered (again): what was kept locked because it had gone is free.
    pub(super) fn registered(&self, key: &PublicKey) -> Result<(), StoreError> {
        let sql =
            "UPDATE places SET kept_locked = NULL WHERE peer = ?1 AND kept_locked <> 'host ' || host || ' was removed'";
        self.execute(sql, [Text(key)]).map(drop)
    }

    /// A host reports a public key as its interface's. That frees what was kept locked because a host had gone, and never
    /// the peer of a removed device or person: any host could claim its key.
    pub(super) fn reported(&self, key: &PublicKey) -> Result<(), StoreError> {
        let sql = "UPDATE places SET kept_locked = NULL
                   WHERE peer = ?1 AND kept_locked LIKE 'host %' AND kept_locked <> 'host ' || host || ' was removed'";
        self.execute(sql, [Text(key)]).map(drop)
    }

    /// Ends a generation: its key is wiped. One that was never applied leaves no row.
    pub(super) fn end(&self, row: &PlaceRow, generation: u64, event: Event, reason: &str) -> Result<(), StoreError> {
        let gone = "DELETE FROM generations WHERE place = ?1 AND generation = ?2 AND phase = 'deposited'";
        let ended =
            "UPDATE generations SET phase = 'ended', sealed = NULL, deadline = min(deadline, ?3), ended_at = ?3,
                         ended_because = ?4
                     WHERE place = ?1 AND generation = ?2 AND phase IN ('applied', 'released')";
        let changed =
            self.execute(gone, (row.id, generation))? + self.execute(ended, (row.id, generation, self.now, reason))?;
        if changed == 0 {
            return Ok(());
        }
        self.audit(Note::new(event).place(&row.place).generation(generation).reason(reason))
    }
}
