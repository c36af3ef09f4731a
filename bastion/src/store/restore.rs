//! Putting a backup in the place of the store. Nobody may serve it meanwhile.
//!
//! Everything is checked and changed in a file beside; then the store that was there is moved aside and the file takes its
//! name. While that happens a marker lies in the folder, so that a crash in between leaves nothing that would be served.

use std::fs::File;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use wgmfa_core::exit::{Exit, Failure};

use super::backup::{self, BackupHead};
use super::{FILE_NAME, SealingKey, Store, StoreError, Verified, location};
use crate::crash::crash_point;

/// The marker. While it is there the store must not be served.
pub const RESTORING: &str = "restoring";

/// The file beside.
const BESIDE: &str = "wgmfa.db.restoring";

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub head: BackupHead,
    /// Where the store lies that was there before; none: there was none.
    pub replaced: Option<PathBuf>,
}

/// Puts a backup in the place of the store in a state folder that nobody serves. Sessions, codes and recovery codes that
/// were good are not any more.
///
/// # Errors
/// It is no backup, is damaged, or was sealed with another key: then nothing was changed.
pub fn restore(folder: &Path, backup: impl BufRead, sealing: SealingKey, now: Timestamp) -> Result<Restored, Failure> {
    let folder = location::folder(folder)?;
    let beside = folder.join(BESIDE);
    let failed = |what: String| Failure::new(Exit::Failed, format!("the backup cannot be restored: {what}"));
    let head = prepare(&beside, backup, sealing, now).inspect_err(|_| remove(&beside))?;
    let io = |error: std::io::Error| failed(error.to_string().to_lowercase());
    let marker = folder.join(RESTORING);
    File::create(&marker).and_then(|file| file.sync_all()).map_err(io)?;
    sync(&folder).map_err(io)?;
    crash_point("restore-marked");
    let replaced = set_aside(&folder, now).map_err(io)?;
    crash_point("restore-set-aside");
    std::fs::rename(&beside, folder.join(FILE_NAME)).map_err(io)?;
    sync(&folder).map_err(io)?;
    crash_point("restore-renamed");
    std::fs::remove_file(&marker).map_err(io)?;
    sync(&folder).map_err(io)?;
    Ok(Restored { head, replaced })
}

/// Makes the store that will be served, in one file.
fn prepare(beside: &Path, backup: impl BufRead, sealing: SealingKey, now: Timestamp) -> Result<BackupHead, Failure> {
    let failed = |what: String| Failure::new(Exit::Failed, format!("the backup cannot be restored: {what}"));
    remove(beside);
    let head = backup::read(backup, beside).map_err(failed)?;
    let (needed, given) = (&head.sealing_key, sealing.name());
    if *needed != given {
        let error = format!("the backup was sealed with key {needed}, and the sealing key here is {given}");
        return Err(Failure::new(Exit::Failed, error).hint("put the key that belongs to the backup in its place"));
    }
    {
        let copy = rusqlite::Connection::open(beside).map_err(|error| failed(error.to_string()))?;
        backup::check(&copy).map_err(failed)?;
    }
    let store = Store::open_file(beside.to_owned(), sealing)?;
    match store.verify_log()? {
        Verified::Intact { head: last, .. } if last == head.log_head => {}
        Verified::Intact { .. } => return Err(failed("its audit log ends elsewhere than it says".to_owned())),
        Verified::Broken { seq, reason } => {
            return Err(failed(format!("its audit log is broken from line {seq} on: {reason}")));
        }
    }
    store.after_restore(now, head.made, &head.log_head)?;
    store.into_one_file()?;
    Ok(head)
}

impl Store {
    /// Closes the store so that all of it is in its one file.
    fn into_one_file(self) -> Result<(), StoreError> {
        self.connection.pragma_update(None, "journal_mode", "DELETE")?;
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }
}

/// Moves what is there to names that nobody reads, and that nothing has yet: the first of two restores in one second set
/// the store aside that people may want back.
fn set_aside(folder: &Path, now: Timestamp) -> std::io::Result<Option<PathBuf>> {
    const ENDS: [&str; 3] = ["-wal", "-shm", ""];
    let at = now.strftime("%Y%m%dT%H%M%SZ");
    let names = std::iter::once(format!("{FILE_NAME}.replaced-{at}"))
        .chain((2..).map(|number: u32| format!("{FILE_NAME}.replaced-{at}-{number}")));
    let is_free = |name: &String| ENDS.iter().all(|end| !folder.join(format!("{name}{end}")).exists());
    let aside = names.into_iter().find(is_free).unwrap_or_default();
    let mut replaced = None;
    for end in ENDS {
        let (from, to) = (folder.join(format!("{FILE_NAME}{end}")), folder.join(format!("{aside}{end}")));
        match std::fs::rename(&from, &to) {
            Ok(()) => replaced = Some(to),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(replaced)
}

fn remove(beside: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = beside.as_os_str().to_owned();
        name.push(end);
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
