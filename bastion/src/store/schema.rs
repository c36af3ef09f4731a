//! The tables, and how a store of an older program is brought forward.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use wgmfa_core::exit::{Exit, Failure};

use super::StoreError;

/// The version of the tables that this program knows.
pub const VERSION: usize = MIGRATIONS.len();

/// Stands in the file's header (`PRAGMA application_id`): `wgmf` in ASCII.
pub const APPLICATION_ID: i32 = 0x7767_6d66;

/// What brings version n to n + 1, beginning with an empty file. Only ever appended to.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// Sets what SQLite forgets with each connection.
pub fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    // else SQLite plans many statements anew whenever they are run with other values
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes the tables, or brings them to this program's version; `fill` is called in the same transaction on a new file.
///
/// # Errors
/// The file is another program's, or a newer version's; it is left as it is.
pub fn bring_forward(
    connection: &Connection,
    shown: &str,
    fill: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
) -> Result<(), Failure> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(broken(shown))?;
    let pragma = |name: &str| tx.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(broken(shown));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let empty = application == 0
        && version == 0
        && tx.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0)).map_err(broken(shown))?;
    if !empty && application != APPLICATION_ID {
        return Err(Failure::new(Exit::Failed, format!("{shown}: not a store of wgmfa-bastion")));
    }
    let (found, ours) = (usize::try_from(version).unwrap_or(usize::MAX), MIGRATIONS.len());
    if found > ours {
        let error = format!("{shown}: made by a newer wgmfa-bastion (version {version}, this one knows {ours})");
        return Err(Failure::new(Exit::Failed, error).hint("install the newer program again, or restore a backup"));
    }
    if found == ours {
        return Ok(());
    }
    let migrate = || -> Result<(), StoreError> {
        for migration in &MIGRATIONS[found..] {
            tx.execute_batch(migration)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i32::try_from(ours).expect("few migrations"))?;
        if empty { fill(&tx) } else { Ok(()) }
    };
    migrate().map_err(Failure::from)?;
    tx.commit().map_err(|error| StoreError::from(error).into())
}

fn broken(shown: &str) -> impl Fn(rusqlite::Error) -> Failure + '_ {
    move |error| match StoreError::from(error) {
        StoreError::Broken(what) => Failure::new(Exit::Failed, format!("{shown}: {what}")),
        other => other.into(),
    }
}
