//! Changing the sealing key: everything sealed is sealed anew in one transaction.
//!
//! The new key lies beside the old one before anything is sealed with it, and takes its name afterwards. The store itself
//! says which of the two fits (`meta.sealing_check`): whoever opens it tries both, so a crash in between loses nothing.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::UserName;
use wgmfa_system::trusted::io_words;

use super::column::text;
use super::generations::row_name;
use super::seal::Binding;
use super::{Actor, Event, Note, SealingKey, Store, StoreError, Writing, credentials, location, meta, places};
use crate::crash::crash_point;

/// What stands behind the name of the key file while the key is being changed.
const NEW: &str = ".new";

/// Where the new key lies while the key is being changed.
pub fn new_key_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    name.into()
}

impl Store {
    /// Opens the store with the key in a file, and finishes a change of the key that was cut short. Nobody else may have
    /// the store open.
    ///
    /// # Errors
    /// As [`SealingKey::read`] and [`Store::open`].
    pub fn open_with(state_folder: &Path, key: &Path) -> Result<Self, Failure> {
        let folder = location::folder(state_folder)?;
        if folder.join(super::RESTORING).exists() {
            let error = format!("{}: a restore was cut short", folder.display());
            return Err(Failure::new(Exit::Failed, error).hint("run wgmfa-bastion restore again"));
        }
        let (beside, sealing) = (new_key_path(key), SealingKey::read(key)?);
        if !beside.exists() {
            return Self::open(state_folder, sealing);
        }
        match Self::open(state_folder, sealing) {
            Ok(store) => {
                // nothing is sealed with it
                std::fs::remove_file(&beside).map_err(|error| cannot(&beside, &error))?;
                Ok(store)
            }
            Err(failure) => {
                let new = SealingKey::read(&beside)?;
                let store = Self::open(state_folder, new).map_err(|_| failure)?;
                put_in_place(key)?;
                Ok(store)
            }
        }
    }

    /// Makes a new key, seals everything with it and puts it in the place of the old one. Answers with the number of
    /// records. Whatever happens, one of the two files opens the store.
    ///
    /// # Errors
    /// The key's folder takes no file, or the store cannot be written: then the old key stays.
    pub fn change_sealing_key(&self, now: Timestamp, actor: Actor<'_>, key: &Path) -> Result<u64, Failure> {
        let beside = new_key_path(key);
        // one that lies there and that the store is sealed with must not be lost
        meta::check_sealing(&self.connection, &self.sealing.borrow(), &self.path.display().to_string())?;
        let new = SealingKey::random();
        write(&beside, &new).map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            cannot(&beside, &error).hint(
                "the sealing key must be a file whose folder can be written: a key that is a systemd credential is changed \
                 while the bastion is stopped, on a copy that sealing-key in bastion.toml names, and then encrypted anew",
            )
        })?;
        crash_point("sealing-key-written");
        // after a failure the next opening finds out which key fits, and removes the other
        let records = self.write(now, |w| {
            let records = w.reseal(&new)?;
            let reason = format!("{records} records, with key {} in the place of {}", new.name(), w.sealing.name());
            w.audit(Note::new(Event::Resealed).actor(actor).reason(reason))?;
            crash_point("sealing-key-resealing");
            Ok(records)
        })?;
        *self.sealing.borrow_mut() = new;
        crash_point("sealing-key-resealed");
        put_in_place(key)?;
        // what was sealed with the old key is not left in the journal
        let truncated = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        truncated.map_err(StoreError::from)?;
        Ok(records)
    }

    /// By which name the sealing key is known; it tells nothing about the key.
    pub fn sealing_key_name(&self) -> String {
        self.sealing.borrow().name()
    }
}

impl Writing<'_> {
    /// Seals everything with another key. Each table with a sealed column is named here.
    fn reseal(&self, new: &SealingKey) -> Result<u64, StoreError> {
        let again = |binding: Binding<'_>, sealed: &[u8]| -> Result<Vec<u8>, StoreError> {
            Ok(new.seal(binding, &self.sealing.unseal(binding, sealed)?))
        };
        let mut records = 0;
        for row in places::select(self.tx, "TRUE", [])? {
            let name = row_name(&row.place);
            let sql = "SELECT generation, sealed FROM generations WHERE place = ?1 AND sealed IS NOT NULL";
            let mut statement = self.tx.prepare_cached(sql)?;
            let found = statement.query_map([row.id], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            for (generation, sealed) in found.collect::<Result<Vec<_>, _>>()? {
                let sealed = again(Binding { table: "generations", row: &name, generation }, &sealed)?;
                let sql = "UPDATE generations SET sealed = ?3 WHERE place = ?1 AND generation = ?2";
                records += self.execute(sql, (row.id, generation, sealed))?;
            }
        }
        let mut statement = self
            .tx
            .prepare_cached("SELECT name, code_number, code_sealed FROM people WHERE code_sealed IS NOT NULL")?;
        let people = statement.query_map([], |row| {
            Ok((
                text::<UserName>(row, "name")?,
                row.get::<_, u64>("code_number")?,
                row.get::<_, Vec<u8>>("code_sealed")?,
            ))
        })?;
        for (name, number, sealed) in people.collect::<Result<Vec<_>, _>>()? {
            let sealed = again(credentials::code_binding(&name, number), &sealed)?;
            records += self.execute("UPDATE people SET code_sealed = ?2 WHERE name = ?1", (name.as_str(), sealed))?;
        }
        let check = meta::check(self.tx, new)?;
        records += self.execute("UPDATE meta SET sealing_check = ?1", [check])?;
        Ok(records as u64)
    }
}

fn write(path: &Path, key: &SealingKey) -> std::io::Result<()> {
    // one that a change left behind which was cut short: the store was opened with the other
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.expose_bytes())?;
    file.sync_all()?;
    sync_folder(path)
}

fn put_in_place(key: &Path) -> Result<(), Failure> {
    let beside = new_key_path(key);
    std::fs::rename(&beside, key).and_then(|()| sync_folder(key)).map_err(|error| cannot(&beside, &error))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", path.display(), io_words(error)))
}
