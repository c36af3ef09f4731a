//! Generations: deposited, applied, released, over. Their numbers only go up.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::{Deposit, PeerGeneration, PeerRef};
use wgmfa_core::name::HostName;
use zeroize::Zeroizing;

use super::column::{Repeated, Text, Time, text};
use super::places::{self, PlaceRow};
use super::seal::{Binding, SealingKey};
use super::{Actor, Event, Note, Place, Store, StoreError, Writing, connections, hosts, report};

/// A generation whose key was wiped just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Where it was used.
    pub place: Place,
    /// Its number.
    pub generation: u64,
}

/// How far the recorded time may lie behind, in milliseconds, when nothing else is written.
const TIME_IS_RECORDED_EVERY: i64 = 60_000;

/// Why a generation is over whose time has come.
pub(super) const DEADLINE_PASSED: &str = "the deadline has passed";

/// Why a generation is over when the next one is applied, after its number.
pub(super) const TAKEN: &str = "has taken its place";

/// Why a key is no new generation.
pub(super) const USED_BEFORE: &str = "this key was used before";

/// JSON numbers are exact up to here in every program; nobody gets that far.
const HIGHEST: u64 = 1 << 53;

impl Store {
    /// Takes new generations of a host, sealed, all in one transaction; they are on disk when this returns. Answers with
    /// those that were stored: one is refused (and audited) if its number is not above the highest ever, if the host did
    /// not report such a peer, if its key was used before, or if somebody is cut off there.
    pub fn deposit(
        &self,
        now: Timestamp,
        host: &HostName,
        deposits: &[Deposit],
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        self.deposit_of(now, host, deposits, false)
    }

    /// The same of generations that another host will use too, if `together`.
    pub fn deposit_of(
        &self,
        now: Timestamp,
        host: &HostName,
        deposits: &[Deposit],
        together: bool,
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        self.write(now, |w| {
            let interfaces = report::interfaces_of(w.tx, host)?;
            let mut stored = Vec::new();
            for deposit in deposits {
                let which = &deposit.which;
                let place = Place::new(host, &which.peer);
                let own_key = interfaces
                    .get(&which.peer.interface)
                    .and_then(|(key, peers)| peers.contains(&which.peer.public_key).then_some(key));
                match w.deposit_one(&place, own_key, deposit, together)? {
                    None => stored.push(which.clone()),
                    Some(reason) => {
                        let note = Note::new(Event::DepositRefused).place(&place);
                        w.audit_for_host(host, note.generation(which.generation.min(HIGHEST)).reason(reason))?;
                    }
                }
            }
            Ok(stored)
        })
    }

    /// Notes which generations the server side accepts; answers with those that were noted. Only the newest deposited
    /// one can be; older ones are over, also when a person has them. Repeating it is harmless.
    pub fn applied(
        &self,
        now: Timestamp,
        host: &HostName,
        applied: &[PeerGeneration],
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        self.write(now, |w| {
            let mut noted = Vec::new();
            for which in applied {
                if w.applied_one(&Place::new(host, &which.peer), which.generation)? {
                    noted.push(which.clone());
                }
            }
            Ok(noted)
        })
    }

    /// Takes over the highest generations that a host ever made where they are above what is known here: the store was
    /// restored from a backup. Whatever stood here is older, and over. A place that is not known is remembered if its
    /// peer is registered.
    pub fn raise_highest(&self, now: Timestamp, host: &HostName, made: &[PeerGeneration]) -> Result<(), StoreError> {
        let known = self.highest_of(host)?;
        let is_above = |made: &&PeerGeneration| {
            let highest = known.get(&made.peer).copied().unwrap_or(0);
            made.generation > highest && made.generation <= HIGHEST
        };
        let above: Vec<_> = made.iter().filter(is_above).collect();
        if above.is_empty() {
            return Ok(());
        }
        self.write(now, |w| {
            let interfaces = report::interfaces_of(w.tx, host)?;
            let mut raised = 0;
            for made in above {
                let place = Place::new(host, &made.peer);
                if let Some(row) = places::find(w.tx, &place)? {
                    w.end_all(std::slice::from_ref(&row), "the host has made newer generations")?;
                    w.execute("UPDATE places SET highest = ?2 WHERE id = ?1", (row.id, made.generation))?;
                } else {
                    let reported = interfaces.get(&made.peer.interface);
                    let reported = reported.is_some_and(|(_, peers)| peers.contains(&made.peer.public_key));
                    if !reported || hosts::holder(w.tx, &made.peer.public_key)?.is_none() {
                        continue;
                    }
                    let sql = "INSERT INTO places (host, interface, peer, highest) VALUES (?1, ?2, ?3, ?4)";
                    let InterfaceRef { host, interface } = &place.server_side;
                    w.execute(sql, (host.as_str(), interface.as_str(), Text(place.public_key), made.generation))?;
                }
                raised += 1;
            }
            if raised == 0 {
                return Ok(());
            }
            let reason = format!("of {raised} peers this host has made higher generations than were known here");
            w.audit_for_host(host, Note::new(Event::GenerationsRaised).host(host).reason(reason))
        })
    }

    /// The highest generation ever of each peer of a host.
    fn highest_of(&self, host: &HostName) -> Result<HashMap<PeerRef, u64>, StoreError> {
        let sql = "SELECT interface, peer, highest FROM places WHERE host = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut interfaces = Repeated::default();
        let found = statement.query_map([host.as_str()], |row| {
            let peer = PeerRef { interface: interfaces.text(row, 0)?, public_key: text(row, 1)? };
            Ok((peer, row.get(2)?))
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Ends every released generation whose deadline has come, and wipes its key. Costs next to nothing when there is
    /// none; then it only records the time once a minute.
    pub fn expire(&self, now: Timestamp) -> Result<Vec<Ended>, StoreError> {
        let due = "SELECT 1 FROM generations WHERE phase = 'released' AND deadline <= ?1";
        let time = Time::from(self.now(now));
        let idle = time.0 - self.last_time.get().0 < TIME_IS_RECORDED_EVERY;
        if idle && !self.connection.prepare_cached(due)?.exists([time])? {
            return Ok(Vec::new());
        }
        self.write(now, |w| {
            let condition = "id IN (SELECT place FROM generations WHERE phase = 'released' AND deadline <= ?1)";
            let mut ended = Vec::new();
            for row in places::select(w.tx, condition, [w.now])? {
                let sql = "SELECT generation FROM generations WHERE place = ?1 AND phase = 'released'";
                let generation = w.tx.prepare_cached(sql)?.query_row([row.id], |row| row.get(0))?;
                w.end(&row, generation, Event::Expired, DEADLINE_PASSED)?;
                ended.push(Ended { place: row.place, generation });
            }
            Ok(ended)
        })
    }

    /// The server side says that a session is over before its deadline. Nothing happens if this generation's already is.
    pub fn end_session(&self, now: Timestamp, place: &Place, generation: u64, reason: &str) -> Result<(), StoreError> {
        self.write(now, |w| {
            let Some(row) = places::find(w.tx, place)? else { return Ok(()) };
            let sql = "SELECT 1 FROM generations WHERE place = ?1 AND generation = ?2 AND phase = 'released'";
            if w.tx.prepare_cached(sql)?.exists((row.id, generation))? {
                w.end(&row, generation, Event::Expired, reason)?;
                // steps up from the tier that the key has opened
                w.end_grants(Actor::BASTION, place, None, None, reason)?;
            }
            Ok(())
        })
    }

    /// Orders a new generation: the current one is over at once, also when a person has it, but not when two servers use
    /// it together.
    ///
    /// # Errors
    /// There never was a generation at this place.
    pub fn order_rotation(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        place: &Place,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.order_rotations(now, actor, std::slice::from_ref(place), reason)
    }

    /// The same at several places, in one transaction.
    ///
    /// # Errors
    /// There never was a generation at one of them.
    pub fn order_rotations(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        places: &[Place],
        reason: &str,
    ) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        self.write(now, |w| places.iter().try_for_each(|place| w.order_one(actor, place, reason)))
    }

    /// The key of a generation that is applied, or released and before its deadline.
    ///
    /// # Errors
    /// It is in another state, or does not unseal.
    #[cfg(test)]
    pub fn unseal(&self, now: Timestamp, place: &Place, generation: u64) -> Result<PresharedKey, StoreError> {
        let now = self.now(now);
        let live = match places::find(&self.connection, place)? {
            Some(row) => sealed(&self.connection, &row, generation, now.into())?,
            None => None,
        };
        let Some(sealed) = live else {
            return Err(StoreError::refused(format!("generation {generation} is not one that may be looked at")));
        };
        open(&self.sealing.borrow(), place, generation, &sealed)
    }
}

/// The sealed key of a generation that the server side accepts now.
#[cfg(test)]
fn sealed(
    connection: &rusqlite::Connection,
    row: &PlaceRow,
    generation: u64,
    now: Time,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT sealed FROM generations WHERE place = ?1 AND generation = ?2
                   AND (phase = 'applied' OR (phase = 'released' AND deadline > ?3))";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row((row.id, generation, now), |row| row.get(0)).optional()?)
}

/// Unseals the key of a generation, which opens only in its place and under its number.
pub(super) fn open(
    sealing: &SealingKey,
    place: &Place,
    generation: u64,
    sealed: &[u8],
) -> Result<PresharedKey, StoreError> {
    let row = row_name(place);
    let secret = sealing.unseal(Binding { table: "generations", row: &row, generation }, sealed)?;
    let bytes = <[u8; 32]>::try_from(secret.as_slice()).map(Zeroizing::new);
    bytes
        .ok()
        .and_then(|bytes| PresharedKey::from_bytes(*bytes).ok())
        .ok_or_else(|| StoreError::Broken(format!("the sealed record of {row}, {generation} is no key")))
}

/// How a place is named where its keys are sealed.
pub(super) fn row_name(place: &Place) -> String {
    format!("{}:{}", place.server_side, place.public_key)
}

impl Writing<'_> {
    /// Stores a deposit, or answers why not.
    pub(super) fn deposit_one(
        &self,
        place: &Place,
        own_key: Option<&PublicKey>,
        deposit: &Deposit,
        together: bool,
    ) -> Result<Option<String>, StoreError> {
        let generation = deposit.which.generation;
        let Some(own_key) = own_key else {
            return Ok(Some("the host has not reported such a peer".to_owned()));
        };
        if let Some(reason) = connections::cut_off(self.tx, place)? {
            return Ok(Some(reason));
        }
        let found = places::find(self.tx, place)?;
        let highest = found.as_ref().map_or(0, |row| row.highest);
        if generation <= highest || generation > HIGHEST {
            return Ok(Some(format!("generation {highest} was there already")));
        }
        let fingerprint = deposit.preshared_key.fingerprint(own_key, &place.public_key);
        let id = if let Some(row) = found {
            if self.used_before(&row, &fingerprint)? {
                return Ok(Some(USED_BEFORE.to_owned()));
            }
            if !self.count_deposit(&row)? {
                return Ok(Some("too many new generations in one hour".to_owned()));
            }
            let waiting = "SELECT generation FROM generations WHERE place = ?1 AND phase = 'deposited'";
            if let Some(older) = self.tx.prepare_cached(waiting)?.query_row([row.id], |row| row.get(0)).optional()? {
                self.end(&row, older, Event::Ended, "a newer one was deposited")?;
            }
            let sql = "UPDATE places SET highest = ?2 WHERE id = ?1";
            self.execute(sql, (row.id, generation))?;
            row.id
        } else {
            if self.too_many_strangers(place)? {
                return Ok(Some("too many peers of this host belong to nobody".to_owned()));
            }
            let sql = "INSERT INTO places (host, interface, peer, highest) VALUES (?1, ?2, ?3, ?4)";
            let InterfaceRef { host, interface } = &place.server_side;
            self.execute(sql, (host.as_str(), interface.as_str(), Text(place.public_key), generation))?;
            self.tx.last_insert_rowid()
        };
        let binding = Binding { table: "generations", row: &row_name(place), generation };
        let sealed = self.sealing.seal(binding, deposit.preshared_key.expose_bytes());
        self.execute(
            "INSERT INTO generations (place, generation, phase, sealed, fingerprint, deposited_at, together)
             VALUES (?1, ?2, 'deposited', ?3, ?4, ?5, ?6)",
            (id, generation, sealed, Text(fingerprint), self.now, together),
        )?;
        self.audit(Note::new(Event::Deposited).place(place).generation(generation))?;
        Ok(None)
    }

    /// Notes that the server side accepts a generation; answers whether it can be so.
    fn applied_one(&self, place: &Place, generation: u64) -> Result<bool, StoreError> {
        let Some(row) = places::find(self.tx, place)? else { return Ok(false) };
        let sql = "SELECT phase, on_applied FROM generations WHERE place = ?1 AND generation = ?2";
        let found = self
            .tx
            .prepare_cached(sql)?
            .query_row((row.id, generation), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
        let Some((phase, on_applied)) = found.optional()? else { return Ok(false) };
        match (phase.as_str(), on_applied.as_deref()) {
            ("applied" | "released", _) => return Ok(true),
            ("deposited", Some("renew")) if !self.take_over(&row, generation)? => return Ok(false),
            ("deposited", Some("release")) if !self.release_set(&row, generation)? => return Ok(false),
            ("deposited", Some(_)) => {}
            ("deposited", None) => {
                self.end_accepted(&row, Event::Ended, &format!("generation {generation} {TAKEN}"))?;
                self.execute(
                    "UPDATE generations SET phase = 'applied', applied_at = ?3 WHERE place = ?1 AND generation = ?2",
                    (row.id, generation, self.now),
                )?;
            }
            _ => return Ok(false),
        }
        // the one before stays, so that people see how the last session ended
        self.execute(
            "DELETE FROM generations WHERE place = ?1 AND generation < (
                 SELECT max(generation) FROM generations WHERE place = ?1 AND generation < ?2)",
            (row.id, generation),
        )?;
        self.execute("UPDATE places SET ordered = NULL, set_free = 0 WHERE id = ?1", [row.id])?;
        if on_applied.as_deref() != Some("renew") {
            // the peer was removed and added again: only a handshake from now on proves that the ends match
            let InterfaceRef { host, interface } = &place.server_side;
            let sql = "DELETE FROM handshakes WHERE host = ?1 AND interface = ?2 AND peer = ?3";
            self.execute(sql, (host.as_str(), interface.as_str(), Text(place.public_key)))?;
        }
        self.audit(Note::new(Event::Applied).place(place).generation(generation))?;
        Ok(true)
    }

    fn order_one(&self, actor: Actor<'_>, place: &Place, reason: &str) -> Result<(), StoreError> {
        let Some(row) = places::find(self.tx, place)? else {
            return Err(StoreError::refused("there is no key of this connection yet"));
        };
        self.execute("UPDATE places SET ordered = ?2 WHERE id = ?1", (row.id, reason))?;
        self.audit(Note::new(Event::RotationOrdered).place(place).actor(actor).reason(reason))?;
        self.end_grants(actor, place, None, None, reason)?;
        if self.is_together(&row)? {
            return Ok(()); // both ends go on with it until the next one is on both
        }
        self.end_promised(&row)?;
        self.end_accepted(&row, Event::Ended, "a rotation was ordered")
    }

    /// Ends the generation that the server side accepts, if there is one.
    pub(super) fn end_accepted(&self, row: &PlaceRow, event: Event, reason: &str) -> Result<(), StoreError> {
        let sql = "SELECT generation FROM generations WHERE place = ?1 AND phase IN ('applied', 'released')";
        match self.tx.prepare_cached(sql)?.query_row([row.id], |row| row.get(0)).optional()? {
            Some(generation) => self.end(row, generation, event, reason),
            None => Ok(()),
        }
    }
}
