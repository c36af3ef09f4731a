//! The last known state of each connection's key, and which of them may have changed since.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::name::HostName;
use wgmfa_core::state::KeyState;

use super::column::{Text, Time, text, time_or_none};
use super::{Event, Note, Place, Store, StoreError, Writing, connections};

/// The state of one connection, as it is found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The end that its name puts first, and the other one's public key.
    pub place: Place,
    /// The state.
    pub state: KeyState,
    /// Why, in words.
    pub reason: Option<String>,
    /// The generation that the server side accepts, or accepted last.
    pub generation: Option<u64>,
    /// When the key in use stops being good, or stopped.
    pub deadline: Option<Timestamp>,
}

/// What was known of a connection before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The state.
    pub state: KeyState,
    /// As in [`Found`].
    pub generation: Option<u64>,
    /// As in [`Found`].
    pub deadline: Option<Timestamp>,
}

/// Whatever a state follows from leaves its place in a table that is looked through.
pub(super) fn watch(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch(include_str!("touched.sql"))?)
}

impl Store {
    /// Takes the places, at most so many, whose state may be another one than the last known, also because its time has
    /// come. What is taken is not given again until something else happens there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn take_touched(&self, now: Timestamp, most: u32) -> Result<Vec<Place>, StoreError> {
        let sql = "INSERT INTO touched SELECT host, interface, peer FROM states WHERE look_again <= ?1 LIMIT ?2";
        self.connection.prepare_cached(sql)?.execute((Time::from(self.now(now)), most))?;
        let sql = "DELETE FROM touched WHERE rowid IN (SELECT rowid FROM touched ORDER BY rowid LIMIT ?1)
                   RETURNING host, interface, peer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let taken: BTreeSet<Place> = statement.query_map([most], place)?.collect::<Result<_, _>>()?;
        Ok(taken.into_iter().collect())
    }

    /// Has every connection of a host looked at.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn touch_host(&self, host: &HostName) -> Result<(), StoreError> {
        let sql = "INSERT INTO touched
                   SELECT host, name, value ->> 'public_key' FROM interfaces, json_each(peers) WHERE host = ?1 AND present
                   UNION SELECT host, interface, peer FROM states WHERE host = ?1";
        self.connection.prepare_cached(sql)?.execute([host.as_str()])?;
        Ok(())
    }

    /// Keeps the states that were found at these places; each that is another one than the last known leaves a line in
    /// the log. A connection that is seen for the first time leaves none. Answers with what was known before, in the
    /// order of `found`.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note_states(
        &self,
        now: Timestamp,
        looked_at: &[Place],
        found: &[Found],
    ) -> Result<Vec<Option<Known>>, StoreError> {
        let before = found.iter().map(|found| known(&self.connection, &found.place)).collect::<Result<Vec<_>, _>>()?;
        let still: BTreeSet<&Place> = found.iter().map(|found| &found.place).collect();
        let mut gone = Vec::new();
        for place in looked_at.iter().filter(|place| !still.contains(place)) {
            gone.extend(known(&self.connection, place)?.map(|known| (place, known)));
        }
        let is_same =
            |(found, before): (&Found, &Option<Known>)| *before == Some(Known::from(found)) && !found.is_due(now);
        if gone.is_empty() && found.iter().zip(&before).all(is_same) {
            return Ok(before);
        }
        self.write(now, |w| {
            for (place, known) in &gone {
                w.forget_state(place, known, found)?;
            }
            for (found, before) in found.iter().zip(&before) {
                w.note_state(found, before.as_ref())?;
            }
            Ok(())
        })?;
        Ok(before)
    }

    /// How many lines of each event were written to the log since the store was opened.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn count_lines(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT event, lines FROM counted")?;
        Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// How many connections have each state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn count_states(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT state, count(*) FROM states GROUP BY state")?;
        Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }
}

impl Found {
    fn is_due(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl From<&Found> for Known {
    fn from(found: &Found) -> Self {
        Self { state: found.state, generation: found.generation, deadline: found.deadline }
    }
}

impl Writing<'_> {
    fn note_state(&self, found: &Found, before: Option<&Known>) -> Result<(), StoreError> {
        let Found { place, state, reason, generation, deadline } = found;
        let deadline = deadline.map(Time::from);
        let sql = "INSERT OR REPLACE INTO states VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let InterfaceRef { host, interface } = &place.server_side;
        let look_again = deadline.filter(|deadline| *deadline > self.now);
        let name = (host.as_str(), interface.as_str(), Text(place.public_key));
        self.execute(sql, (name.0, name.1, name.2, state.name(), generation, deadline, look_again))?;
        let Some(before) = before.filter(|before| before.state != *state) else { return Ok(()) };
        let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let note = Note::new(Event::State).place(place).reason(format!("{} -> {state}{why}", before.state));
        self.audit(match generation {
            Some(generation) => note.generation(*generation),
            None => note,
        })
    }

    /// There is no such connection any more, or it goes by its other end now.
    fn forget_state(&self, place: &Place, before: &Known, found: &[Found]) -> Result<(), StoreError> {
        let InterfaceRef { host, interface } = &place.server_side;
        let sql = "DELETE FROM states WHERE host = ?1 AND interface = ?2 AND peer = ?3";
        self.execute(sql, (host.as_str(), interface.as_str(), Text(place.public_key)))?;
        let key = "SELECT public_key FROM interfaces WHERE host = ?1 AND name = ?2";
        let own = self.tx.prepare_cached(key)?.query_row((host.as_str(), interface.as_str()), |row| row.get(0));
        let (own, there) = (own.optional()?.map(|Text(key)| key), connections::interface(self.tx, &place.public_key)?);
        let its_other_end = own.zip(there).map(|(public_key, server_side)| Place { server_side, public_key });
        if found.iter().any(|found| Some(&found.place) == its_other_end.as_ref()) {
            return Ok(());
        }
        let reason = format!("{} -> none: no host reports this peer any more", before.state);
        self.audit(Note::new(Event::State).place(place).reason(reason))
    }
}

fn known(connection: &Connection, place: &Place) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT state, generation, deadline FROM states WHERE host = ?1 AND interface = ?2 AND peer = ?3";
    let InterfaceRef { host, interface } = &place.server_side;
    let parameters = (host.as_str(), interface.as_str(), Text(place.public_key));
    let found = connection
        .prepare_cached(sql)?
        .query_row(parameters, |row| Ok((row.get::<_, String>(0)?, row.get(1)?, time_or_none(row, "deadline")?)));
    let of = |(name, generation, deadline): (String, _, _)| {
        let state = serde_json::from_value(name.into()).ok()?;
        Some(Known { state, generation, deadline })
    };
    Ok(found.optional()?.and_then(of))
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    let server_side = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
    Ok(Place { server_side, public_key: text(row, "peer")? })
}
