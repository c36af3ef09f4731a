//! The bastion's memory: people, hosts, devices, generations, logins and the audit log, in one SQLite file.
//!
//! Every change is one transaction that also writes its audit lines and records the time; a change that cannot be
//! written whole leaves nothing behind. No method waits for anything but the disk, so a caller on one thread that reads
//! and then writes without awaiting in between sees nothing change underneath.

mod after_restore;
mod around;
mod attempts;
mod audit;
mod backup;
mod column;
mod concern;
mod connections;
mod credentials;
mod deliveries;
mod devices;
mod error;
mod event;
mod export;
mod generations;
mod grants;
mod hand_back;
mod handouts;
mod handshakes;
mod heads;
mod hosts;
mod inventory;
mod location;
mod logins;
mod meta;
mod pairs;
mod password;
mod people;
mod person_keys;
mod places;
mod policies;
mod quota;
mod record;
mod release;
mod renewal;
mod report;
mod reseal;
mod restore;
mod schema;
mod seal;
mod states;
#[cfg(test)]
mod tests;
mod tunnel_codes;
mod verify;

#[allow(unused_imports, reason = "the face is whole, also where nobody names a type")]
pub use self::{
    attempts::Refusal,
    audit::{Filter, Head, Line},
    backup::{Backup, BackupHead, Copying},
    credentials::{Credentials, Password, PasswordKind},
    deliveries::ToDeliver,
    devices::DeviceRecord,
    error::StoreError,
    event::{Event, Note},
    export::{Exported, verify_export},
    generations::Ended,
    grants::{Grant, GrantedBy, WantedTier},
    handouts::{Enrolment, Handout},
    heads::LostHead,
    hosts::{HostRecord, PendingKey},
    logins::{Acceptance, CodeRule, Login, LoginId},
    pairs::Pair,
    password::{PasswordHash, PasswordVerdict, hash_password, verify_password},
    people::{NewPerson, Person},
    person_keys::PersonKey,
    record::{Generation, Place, Record},
    release::{Granted, Receiver, ReleaseOutcome, Wanted},
    renewal::{BeforeSet, Setting},
    report::{Report, ReportRefusal, Reported},
    reseal::new_key_path,
    restore::{RESTORING, Restored, restore},
    seal::SealingKey,
    states::{Found, Known},
    tunnel_codes::{TunnelCode, TunnelGuesses},
    verify::{Verification, Verified},
};

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::HostName;

use column::Time;

/// Makes sure of the state folder, making it if it is missing.
///
/// # Errors
/// It is a symbolic link, belongs to somebody else or can be reached by others.
pub fn prepare_folder(folder: &Path) -> Result<(), Failure> {
    location::folder(folder).map(drop)
}

/// The name of the database file in the state folder.
pub const FILE_NAME: &str = "wgmfa.db";

/// The bastion's memory, opened. All methods take `now`; a `now` below the last recorded time counts as that time.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    sealing: RefCell<SealingKey>,
    /// The last recorded time, as this connection knows it.
    last_time: Cell<Time>,
    /// No later time than this is recorded as the bastion's time; none: every time is.
    ceiling: Cell<Option<Time>>,
}

/// Who makes a change: goes into its audit line.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// `root`, or the administrator's or person's name; none: the bastion by itself.
    pub name: Option<&'a str>,
    /// Where the words came from; none: from the bastion itself.
    pub from: Option<&'a str>,
}

impl Actor<'static> {
    /// The bastion by itself.
    pub const BASTION: Self = Self { name: None, from: None };
    /// Root on the bastion.
    #[cfg(test)]
    pub const ROOT: Self = Self { name: Some("root"), from: None };
}

/// Whether a change that may be repeated did anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Made,
    /// All was so already.
    Unchanged,
}

/// A change that cuts people, hosts or devices off (or lets them in again).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CutOff {
    /// Whether anything changed.
    pub change: Change,
    /// The peers that are to be locked on their hosts at once (their keys are wiped here already), or that need new keys
    /// now because somebody is let in again.
    pub places: Vec<Place>,
    /// The peers for which gates are to be closed at once (their grants are over here already).
    pub gates: Vec<Place>,
    /// The hosts whose gates are to hear that somebody is let in again.
    pub hosts: BTreeSet<HostName>,
}

impl CutOff {
    fn nothing() -> Self {
        Self { change: Change::Unchanged, places: Vec::new(), gates: Vec::new(), hosts: BTreeSet::new() }
    }

    /// What another change cuts off too, each place once.
    fn add(&mut self, other: Self) {
        for (own, others) in [(&mut self.places, other.places), (&mut self.gates, other.gates)] {
            own.extend(others);
            own.sort();
            own.dedup();
        }
        self.hosts.extend(other.hosts);
    }

    /// Somebody is let in again at these hosts.
    fn made_for(hosts: BTreeSet<HostName>) -> Self {
        Self { change: Change::Made, hosts, ..Self::nothing() }
    }

    fn made(places: Vec<Place>) -> Self {
        Self { change: Change::Made, places, ..Self::nothing() }
    }
}

impl Store {
    /// Opens the store in a state folder, making folder and file if they are missing, and brings an older one forward.
    ///
    /// # Errors
    /// The folder or file is a symbolic link, belongs to somebody else or can be reached by others; the file is no
    /// store, is from a newer program, or was sealed with another key.
    pub fn open(state_folder: &Path, sealing: SealingKey) -> Result<Self, Failure> {
        let path = location::prepare(state_folder, FILE_NAME)?;
        Self::open_file(path, sealing)
    }

    fn open_file(path: PathBuf, sealing: SealingKey) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        schema::refuse_others(&path, &shown)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|error| Failure::new(Exit::Failed, format!("{shown}: {error}")))?;
        let unusable = |error: StoreError| Failure::new(Exit::Failed, format!("{shown}: {error}"));
        schema::configure(&connection).map_err(unusable)?;
        schema::bring_forward(&connection, &shown, |tx| meta::begin(tx, &sealing))?;
        meta::check_sealing(&connection, &sealing, &shown)?;
        states::watch(&connection).map_err(unusable)?;
        let last_time = Cell::new(meta::last_time(&connection).map_err(unusable)?);
        Ok(Self { connection, path, sealing: RefCell::new(sealing), last_time, ceiling: Cell::default() })
    }

    /// The bastion's time: the system's, but never below the last recorded one. Whole milliseconds.
    pub fn now(&self, system: Timestamp) -> Timestamp {
        Time::from(system).max(self.last_time.get()).into()
    }

    /// No later time than this is recorded: a clock that has jumped ahead must not bind the bastion once it is mended.
    pub fn limit_time(&self, ceiling: Timestamp) {
        self.ceiling.set(Some(ceiling.into()));
    }

    /// Whether [`Store::limit_time`] holds: it does not before its first call, and after [`Store::reset_time`].
    pub fn is_time_limited(&self) -> bool {
        self.ceiling.get().is_some()
    }

    /// The last recorded time.
    pub fn recorded_time(&self) -> Timestamp {
        self.last_time.get().into()
    }

    /// Random text by which this bastion's memory is told from another's, made with the store.
    #[cfg(test)]
    pub fn instance_id(&self) -> Result<String, StoreError> {
        Ok(self.connection.query_row("SELECT instance FROM meta", [], |row| row.get(0))?)
    }

    /// Grows with every change of what is stored.
    pub fn changes(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Runs `change` in one transaction that records the time; on an error nothing of it stays.
    fn write<T>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Writing<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let now = Time::from(now);
        let recorded = meta::record_time(&tx, self.ceiling.get().map_or(now, |ceiling| now.min(ceiling)))?;
        let answer = change(&Writing { tx: &tx, sealing: &self.sealing.borrow(), now: now.max(recorded) })?;
        tx.commit()?;
        self.last_time.set(recorded);
        Ok(answer)
    }
}

/// A transaction in progress.
struct Writing<'a> {
    tx: &'a Connection,
    sealing: &'a SealingKey,
    /// The bastion's time of this transaction.
    now: Time,
}

impl Writing<'_> {
    /// Runs one statement and answers with the number of rows that it changed.
    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.tx.prepare_cached(sql)?.execute(parameters)?)
    }

    /// Keys or names are not what they were: hosts whose reports were refused in part are heard anew.
    fn inventory_changed(&self) -> Result<(), StoreError> {
        self.execute("UPDATE hosts SET report_digest = NULL WHERE refused <> '[]'", []).map(drop)
    }
}
