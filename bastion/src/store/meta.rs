//! The one row about the store itself.

use rusqlite::{Connection, Transaction};
use wgmfa_core::exit::{Exit, Failure};

use super::column::Time;
use super::seal::{Binding, SealingKey};
use super::{Event, Note, StoreError, Writing};

/// Sealed when the store is made: whoever opens it can tell whether the key is the right one.
const CHECK: &[u8] = b"wgmfa";

/// Fills the row of a new store and begins its audit log.
pub fn begin(tx: &Transaction<'_>, sealing: &SealingKey) -> Result<(), StoreError> {
    let instance: String = rand::random::<[u8; 16]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let check = sealing.seal(check_binding(&instance), CHECK);
    let now = Time::from(jiff::Timestamp::now());
    tx.execute(
        "INSERT INTO meta (id, instance, sealing_check, last_time, log_hash) VALUES (1, ?1, ?2, ?3, ?1)",
        (&instance, check, now),
    )?;
    Writing { tx, sealing, now }.audit(Note::new(Event::Begun))
}

/// Makes sure that the store was sealed with this key.
pub fn check_sealing(connection: &Connection, sealing: &SealingKey, shown: &str) -> Result<(), Failure> {
    let row = connection.query_row("SELECT instance, sealing_check FROM meta", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let (instance, check) =
        row.map_err(|error| Failure::new(Exit::Failed, format!("{shown}: the store is damaged: {error}")))?;
    match sealing.unseal(check_binding(&instance), &check) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::new(Exit::Failed, format!("{shown}: sealed with another key than the one given"))
            .hint("put back the sealing key that belongs to this store, or restore a backup with its key")),
    }
}

/// What another key has to open: it takes the place of what the one before it opened.
pub fn check(connection: &Connection, sealing: &SealingKey) -> Result<Vec<u8>, StoreError> {
    let instance: String = connection.query_row("SELECT instance FROM meta", [], |row| row.get(0))?;
    Ok(sealing.seal(check_binding(&instance), CHECK))
}

/// The last recorded time.
pub fn last_time(connection: &Connection) -> Result<Time, StoreError> {
    Ok(connection.query_row("SELECT last_time FROM meta", [], |row| row.get(0))?)
}

/// Records the time, which never runs backwards, and answers with it.
pub fn record_time(tx: &Transaction<'_>, now: Time) -> Result<Time, StoreError> {
    let sql = "UPDATE meta SET last_time = max(last_time, ?1) RETURNING last_time";
    Ok(tx.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
}

fn check_binding(instance: &str) -> Binding<'_> {
    Binding { table: "meta", row: instance, generation: 0 }
}
