//! The tables, and how a store of an older program is brought forward.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use wgmfa_core::exit::{Exit, Failure};

use super::StoreError;

/// The version of the tables that this program knows.
pub const VERSION: usize = MIGRATIONS.len();

/// How long to wait for another process that has the file.
const BUSY: Duration = Duration::from_secs(10);

/// Stands in the file's header (`PRAGMA application_id`): `wgmf` in ASCII.
pub const APPLICATION_ID: i32 = 0x7767_6d66;

/// What brings version n to n + 1, beginning with an empty file. Only ever appended to.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// Sets what SQLite forgets with each connection.
pub fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY)?;
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

/// Looks whose file it is, without a right to write: opening another program's, or a newer version's, for writing would
/// already change it (the journal's mode, and a journal that is left from a power cut).
///
/// # Errors
/// It is another program's, or a newer version's; it is left as it is, byte for byte.
pub fn refuse_others(path: &Path, shown: &str) -> Result<(), Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(broken(shown))?;
    connection.busy_timeout(BUSY).map_err(broken(shown))?;
    Found::look(&connection, shown)?.refuse_others(shown)
}

/// What a file says of itself.
struct Found {
    version: usize,
    application: i32,
    empty: bool,
}

impl Found {
    fn look(connection: &Connection, shown: &str) -> Result<Self, Failure> {
        let pragma =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(broken(shown));
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        let without_tables = "SELECT count(*) = 0 FROM sqlite_schema";
        let empty = application == 0
            && version == 0
            && connection.query_row(without_tables, [], |row| row.get(0)).map_err(broken(shown))?;
        Ok(Self { version: usize::try_from(version).unwrap_or(usize::MAX), application, empty })
    }

    fn refuse_others(&self, shown: &str) -> Result<(), Failure> {
        if !self.empty && self.application != APPLICATION_ID {
            return Err(Failure::new(Exit::Failed, format!("{shown}: not a store of wgmfa-bastion")));
        }
        let (found, ours) = (self.version, MIGRATIONS.len());
        if found > ours {
            let error = format!("{shown}: made by a newer wgmfa-bastion (version {found}, this one knows {ours})");
            return Err(Failure::new(Exit::Failed, error).hint("install the newer program again, or restore a backup"));
        }
        Ok(())
    }
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
    let file = Found::look(&tx, shown)?;
    file.refuse_others(shown)?;
    let (found, ours) = (file.version, MIGRATIONS.len());
    if found == ours {
        return Ok(());
    }
    let migrate = || -> Result<(), StoreError> {
        for migration in &MIGRATIONS[found..] {
            tx.execute_batch(migration)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i32::try_from(ours).expect("few migrations"))?;
        if file.empty { fill(&tx) } else { Ok(()) }
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
