//! Generations that two servers use together: they stand at the place of the first end; the second one gets each from here.

use jiff::Timestamp;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::key::PresharedKey;

use super::column::Text;
use super::generations::open;
use super::places::{self, PlaceRow};
use super::{Event, Note, Place, Store, StoreError, Writing};

/// The places of two servers that rotate together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Of the end that makes the generations.
    pub first: Place,
    /// Of the other one.
    pub second: Place,
}

impl Store {
    /// Notes that the second end holds a generation that is deposited; answers whether it is one. Repeating it is harmless.
    pub fn staged(&self, now: Timestamp, pair: &Pair, generation: u64) -> Result<bool, StoreError> {
        self.write(now, |w| w.note_second(pair, generation, "staged_at", "'deposited', 'applied'", Event::Staged))
    }

    /// Notes that the second end uses a generation that the first one uses; answers whether it is one. Repeating it is
    /// harmless.
    pub fn applied_by_second(&self, now: Timestamp, pair: &Pair, generation: u64) -> Result<bool, StoreError> {
        self.write(now, |w| w.note_second(pair, generation, "other_applied_at", "'applied'", Event::Applied))
    }

    /// The key of a generation that two servers use together, for one that does not hold it.
    ///
    /// # Errors
    /// There is none that is deposited or in use, or it does not unseal.
    pub fn key_of_pair(&self, first: &Place, generation: u64) -> Result<PresharedKey, StoreError> {
        let sql = "SELECT sealed FROM generations JOIN places ON places.id = place
                   WHERE host = ?1 AND interface = ?2 AND peer = ?3 AND generation = ?4
                       AND together AND phase IN ('deposited', 'applied')";
        let InterfaceRef { host, interface } = &first.server_side;
        let parameters = (host.as_str(), interface.as_str(), Text(first.public_key), generation);
        let sealed: Vec<u8> = self.connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
        open(&self.sealing.borrow(), first, generation, &sealed)
    }
}

impl Writing<'_> {
    fn note_second(
        &self,
        pair: &Pair,
        generation: u64,
        column: &str,
        phases: &str,
        event: Event,
    ) -> Result<bool, StoreError> {
        let Some(row) = places::find(self.tx, &pair.first)? else { return Ok(false) };
        let condition = format!("place = ?1 AND generation = ?2 AND together AND phase IN ({phases})");
        let sql = format!("SELECT 1 FROM generations WHERE {condition}");
        if !self.tx.prepare_cached(&sql)?.exists((row.id, generation))? {
            return Ok(false);
        }
        let sql = format!("UPDATE generations SET {column} = ?3 WHERE {condition} AND {column} IS NULL");
        if self.execute(&sql, (row.id, generation, self.now))? > 0 {
            // from now on what cuts off an end of this pair finds both of them
            self.remember_place(&pair.second)?;
            self.audit(Note::new(event).place(&pair.second).generation(generation))?;
        }
        Ok(true)
    }

    /// Whether two servers use the current generation of a place together.
    pub(super) fn is_together(&self, row: &PlaceRow) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM generations WHERE place = ?1 AND phase = 'applied' AND together";
        Ok(self.tx.prepare_cached(sql)?.exists([row.id])?)
    }
}
