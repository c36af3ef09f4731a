//! Sessions that change to their next generation, and keys that an administrator sets: what a deposited generation
//! becomes as soon as the server side has confirmed it.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::key::{Fingerprint, PublicKey};
use wgmfa_core::message::agent::{Deposit, PeerGeneration};
use wgmfa_core::name::HostName;

use super::column::{Text, Time};
use super::generations::USED_BEFORE;
use super::places::PlaceRow;
use super::{Actor, Event, Note, Place, Store, StoreError, Writing, connections, places, report};

/// A key that an administrator sets.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// For whom: the other end, by name.
    pub device: &'a str,
    /// Until when it is accepted.
    pub deadline: Timestamp,
    /// Why, in words.
    pub reason: &'a str,
}

/// What a place was before an administrator set a key there that is to stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BeforeSet {
    set_free: bool,
    kept_locked: Option<String>,
}

impl Store {
    /// Takes the next generation of a session that runs: deposited while the one before it stays released. When the server
    /// side confirms it, it takes the session over.
    ///
    /// # Errors
    /// It could not be recorded, or may not be: then the session goes on as it is.
    pub fn deposit_next(&self, now: Timestamp, host: &HostName, deposit: &Deposit) -> Result<(), StoreError> {
        self.write(now, |w| w.deposit_for(host, deposit, "renew"))
    }

    /// Takes a key that an administrator has set, as a new generation that is released as soon as the server side
    /// confirms it.
    ///
    /// # Errors
    /// It could not be recorded, or may not be: then nothing has changed.
    pub fn deposit_set(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        host: &HostName,
        deposit: &Deposit,
        setting: Setting<'_>,
    ) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.deposit_for(host, deposit, "release")?;
            let place = Place::new(host, &deposit.which.peer);
            let generation = deposit.which.generation;
            if let Some(row) = places::find(w.tx, &place)? {
                // somebody holds it: it could come back when its generation is not remembered any more
                let sql = "INSERT INTO used_by_hand
                           SELECT place, fingerprint FROM generations WHERE place = ?1 AND generation = ?2";
                w.execute(sql, (row.id, generation))?;
            }
            let by = by(actor, setting.reason);
            let sql = "UPDATE generations SET released_at = ?3, renewed_at = ?3, released_for = ?4, deadline = ?5,
                           overridden = ?6
                       WHERE generation = ?2 AND place = (SELECT id FROM places
                           WHERE host = ?1 AND interface = ?7 AND peer = ?8)";
            w.execute(
                sql,
                (
                    host.as_str(),
                    generation,
                    w.now,
                    setting.device,
                    Time::from(setting.deadline),
                    &by,
                    place.server_side.interface.as_str(),
                    Text(place.public_key),
                ),
            )?;
            let note = Note::new(Event::KeySet).place(&place).generation(generation).actor(actor);
            w.audit(note.device(setting.device).reason(setting.reason))
        })
    }

    /// A key that an administrator has set does not stand on the server side: its generation is over.
    pub fn withdraw_set(&self, now: Timestamp, place: &Place, generation: u64, why: &str) -> Result<(), StoreError> {
        self.write(now, |w| match places::find(w.tx, place)? {
            Some(row) => {
                // nobody has ever come in with it
                let sql = "DELETE FROM used_by_hand WHERE place = ?1 AND fingerprint =
                               (SELECT fingerprint FROM generations WHERE place = ?1 AND generation = ?2)";
                w.execute(sql, (row.id, generation))?;
                w.end(&row, generation, Event::Ended, &format!("the server side refuses it: {why}"))
            }
            None => Ok(()),
        })
    }

    /// A key stands now where no policy applies: every generation there is over, and the peer is none of wgmfa's affair
    /// until a policy covers it again. Answers with what it was before.
    pub fn set_free(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        place: &Place,
        reason: &str,
    ) -> Result<BeforeSet, StoreError> {
        self.write(now, |w| {
            let mut before = BeforeSet::default();
            if let Some(row) = places::find(w.tx, place)? {
                w.end_all(std::slice::from_ref(&row), "an administrator has set a key")?;
                let sql = "UPDATE places SET set_free = 1, ordered = NULL, kept_locked = NULL WHERE id = ?1";
                w.execute(sql, [row.id])?;
                before = BeforeSet { set_free: row.set_free, kept_locked: row.kept_locked };
            }
            w.audit(Note::new(Event::KeySet).place(place).actor(actor).reason(reason))?;
            Ok(before)
        })
    }

    /// The key that was to stand there has not come to: the peer is as locked as it was before.
    pub fn not_set_free(&self, now: Timestamp, place: &Place, before: &BeforeSet, why: &str) -> Result<(), StoreError> {
        self.write(now, |w| {
            if let Some(row) = places::find(w.tx, place)? {
                let sql = "UPDATE places SET set_free = ?2, kept_locked = ?3 WHERE id = ?1";
                w.execute(sql, (row.id, before.set_free, &before.kept_locked))?;
            }
            w.audit(Note::new(Event::Noted).place(place).reason(format!("the key that was set is not there: {why}")))
        })
    }

    /// Locks stand now at these places: what an administrator has set there is gone.
    pub fn locked_again(&self, now: Timestamp, places: &[Place]) -> Result<(), StoreError> {
        let mut free = Vec::new();
        for place in places {
            free.extend(places::find(&self.connection, place)?.filter(|row| row.set_free));
        }
        if free.is_empty() {
            return Ok(());
        }
        self.write(now, |w| {
            for row in &free {
                w.execute("UPDATE places SET set_free = 0 WHERE id = ?1", [row.id])?;
                let reason = "a lock has taken the place of the key that an administrator had set";
                w.audit(Note::new(Event::Noted).place(&row.place).reason(reason))?;
            }
            Ok(())
        })
    }

    /// Notes that a client has put a key into its interface; with what stands for the key that it read back there.
    /// `public_key` and `peer` are the client's own and the server side's.
    pub fn client_applied(
        &self,
        now: Timestamp,
        note: Note,
        public_key: &PublicKey,
        peer: &PublicKey,
        which: (u64, Option<Fingerprint>),
    ) -> Result<(), StoreError> {
        let (generation, fingerprint) = which;
        self.write(now, |w| {
            let server_side = connections::interface(w.tx, peer)?;
            let place = server_side.map(|server_side| Place { server_side, public_key: *public_key });
            let note = note.generation(generation);
            let Some(place) = place else { return w.audit(note) };
            if let (Some(fingerprint), Some(row)) = (fingerprint, places::find(w.tx, &place)?) {
                let sql = "UPDATE generations SET client_fingerprint = ?3 WHERE place = ?1 AND generation = ?2";
                w.execute(sql, (row.id, generation, Text(fingerprint)))?;
            }
            w.audit(note.place(&place))
        })
    }
}

/// Who let somebody in without a login, and why, as people read it.
pub(super) fn by(actor: Actor<'_>, reason: &str) -> String {
    format!("{}: {reason}", actor.name.unwrap_or("the bastion"))
}

impl Writing<'_> {
    fn deposit_for(&self, host: &HostName, deposit: &Deposit, on_applied: &str) -> Result<(), StoreError> {
        let PeerGeneration { peer, generation } = &deposit.which;
        let place = Place::new(host, peer);
        let interfaces = report::interfaces_of(self.tx, host)?;
        let own_key =
            interfaces.get(&peer.interface).and_then(|(key, peers)| peers.contains(&peer.public_key).then_some(key));
        if let Some(reason) = self.deposit_one(&place, own_key, deposit, false)? {
            let is_used = reason == USED_BEFORE;
            let refused = StoreError::refused(reason);
            return Err(if is_used { refused.hint("wg genpsk makes a new one") } else { refused });
        }
        let row = places::find(self.tx, &place)?.ok_or_else(|| StoreError::refused("there is no such peer"))?;
        let sql = "UPDATE generations SET on_applied = ?3 WHERE place = ?1 AND generation = ?2";
        self.execute(sql, (row.id, generation, on_applied)).map(drop)
    }

    /// Whether a key was a generation of this place before: one of those that are remembered, or any that an administrator
    /// had set.
    pub(super) fn used_before(&self, row: &PlaceRow, fingerprint: &Fingerprint) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM generations WHERE place = ?1 AND fingerprint = ?2
                   UNION ALL SELECT 1 FROM used_by_hand WHERE place = ?1 AND fingerprint = ?2";
        Ok(self.tx.prepare_cached(sql)?.exists((row.id, Text(fingerprint)))?)
    }

    /// The server side has changed to a generation in a session that runs: it takes the session over, with its person and
    /// its deadline. What was given to a client may not wait for another login: without the session, it is over too.
    pub(super) fn take_over(&self, row: &PlaceRow, generation: u64) -> Result<bool, StoreError> {
        let sql =
            "SELECT generation, deadline FROM generations WHERE place = ?1 AND phase = 'released' AND deadline > ?2";
        let running = self.tx.prepare_cached(sql)?.query_row((row.id, self.now), |found| {
            Ok((found.get::<_, u64>("generation")?, found.get::<_, Time>("deadline")?))
        });
        let Some((before, deadline)) = running.optional()? else {
            self.end(row, generation, Event::Ended, "the session that it was to renew is over")?;
            return Ok(false);
        };
        let sql = "UPDATE generations SET (released_at, renewed_at, released_to, released_for, released_from, deadline,
                       overridden) = (SELECT renewed_at, renewed_at, released_to, released_for, released_from, deadline,
                       overridden FROM generations WHERE place = ?1 AND generation = ?3)
                   WHERE place = ?1 AND generation = ?2";
        self.execute(sql, (row.id, generation, before))?;
        self.end(row, before, Event::Ended, &format!("renewed: generation {generation} has taken its place"))?;
        self.become_released(row, generation)?;
        let until: Timestamp = deadline.into();
        let note = Note::new(Event::Renewed).place(&row.place).generation(generation);
        self.audit(note.reason(format!("in place of generation {before}, until {until:.0}")))?;
        Ok(true)
    }

    /// The server side has put a key that an administrator set.
    pub(super) fn release_set(&self, row: &PlaceRow, generation: u64) -> Result<bool, StoreError> {
        let sql = "SELECT deadline FROM generations WHERE place = ?1 AND generation = ?2 AND deadline > ?3";
        let deadline = self
            .tx
            .prepare_cached(sql)?
            .query_row((row.id, generation, self.now), |found| found.get::<_, Time>("deadline"));
        let Some(deadline) = deadline.optional()? else {
            self.end(row, generation, Event::Ended, "its deadline had passed before it was confirmed")?;
            return Ok(false);
        };
        self.end_accepted(row, Event::Ended, &format!("generation {generation} was set in its place"))?;
        self.become_released(row, generation)?;
        let until: Timestamp = deadline.into();
        let note = Note::new(Event::Released).place(&row.place).generation(generation);
        self.audit(note.reason(format!("until {until:.0}")))?;
        Ok(true)
    }

    /// Ends a generation that a person or an administrator has, and that the server side has not confirmed: what is over
    /// now must not begin with its confirmation.
    pub(super) fn end_promised(&self, row: &PlaceRow) -> Result<(), StoreError> {
        let sql =
            "SELECT generation FROM generations WHERE place = ?1 AND phase = 'deposited' AND on_applied IS NOT NULL";
        match self.tx.prepare_cached(sql)?.query_row([row.id], |row| row.get(0)).optional()? {
            Some(generation) => self.end(row, generation, Event::Ended, "a rotation was ordered"),
            None => Ok(()),
        }
    }

    fn become_released(&self, row: &PlaceRow, generation: u64) -> Result<(), StoreError> {
        let sql = "UPDATE generations SET phase = 'released', applied_at = ?3 WHERE place = ?1 AND generation = ?2";
        self.execute(sql, (row.id, generation, self.now)).map(drop)
    }
}
