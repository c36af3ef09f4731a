//! Keys of running sessions that their server side asks for: a reboot has taken them, and it writes none to its disk.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::message::agent::{Deposit, PeerGeneration};
use wgmfa_core::name::HostName;

use super::{Event, Note, Place, Store, StoreError, generations, places};

impl Store {
    /// The keys of these generations of a host's, as it has deposited them: of those that are released and before their
    /// deadline. Each is audited.
    pub fn hand_back(
        &self,
        now: Timestamp,
        host: &HostName,
        wanted: &[PeerGeneration],
    ) -> Result<Vec<Deposit>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.write(now, |w| {
            let mut found = Vec::new();
            for which in wanted {
                let place = Place::new(host, &which.peer);
                let Some(row) = places::find(w.tx, &place)? else { continue };
                let sql = "SELECT sealed FROM generations
                           WHERE place = ?1 AND generation = ?2 AND phase = 'released' AND deadline > ?3";
                let mut statement = w.tx.prepare_cached(sql)?;
                let sealed = statement.query_row((row.id, which.generation, w.now), |row| row.get::<_, Vec<u8>>(0));
                let Some(sealed) = sealed.optional()? else { continue };
                let preshared_key = generations::open(w.sealing, &place, which.generation, &sealed)?;
                let note = Note::new(Event::HandedBack).place(&place).generation(which.generation);
                w.audit_for_host(host, note.reason("its server side has lost the key, and the session goes on"))?;
                found.push(Deposit { which: which.clone(), preshared_key });
            }
            Ok(found)
        })
    }
}
