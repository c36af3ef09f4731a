//! A copy of the store in one text: a first line that says what it is, the database in base64, and a last line with its
//! checksum. Secrets in it stay sealed; the sealing key is not in it.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Actor, Event, Head, Note, Store, StoreError, meta, schema};

/// The version of the format.
const FORMAT: u32 = 1;

/// So many bytes of the database are one line of the backup: a multiple of three, so that no line is padded but the last.
const BYTES_OF_A_LINE: usize = 48 * 1024;

/// Longest line of a backup, in bytes.
const LONGEST: u64 = 128 * 1024;

/// How copies in the state folder that are not finished are called.
const UNFINISHED: (&str, &str) = ("backup-", ".unfinished");

/// The first line of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The version of the format.
    #[serde(rename = "wgmfa-backup")]
    pub format: u32,
    /// When it was made, by the bastion's time.
    pub made: Timestamp,
    /// The store's own name.
    pub instance: String,
    /// The last line of the audit log that is in it.
    pub log_head: Head,
    /// Which sealing key belongs to it; the key is not in it.
    pub sealing_key: String,
    /// The version of its tables.
    pub tables: usize,
}

#[derive(Serialize, Deserialize)]
struct BackupEnd {
    bytes: u64,
    sha256: String,
}

/// A copy that is being made on a thread of its own. Dropping it throws the copy away.
#[derive(Debug)]
pub struct Copying {
    thread: Option<JoinHandle<Result<(), StoreError>>>,
    copy: Unfinished,
    made: Timestamp,
    sealing_key: String,
}

/// A finished copy, to be read line by line. Dropping it throws the copy away.
#[derive(Debug)]
pub struct Backup {
    /// Its first line.
    pub head: BackupHead,
    file: File,
    bytes: u64,
    sum: Sha256,
    _copy: Unfinished,
}

/// A file that is removed in the end, whatever happens.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Store {
    /// Begins to copy the store as it is now; others go on writing meanwhile.
    ///
    /// # Errors
    /// The state folder takes no file.
    pub fn begin_backup(&self, now: Timestamp) -> Result<Copying, StoreError> {
        let (begin, end) = UNFINISHED;
        let name = format!("{begin}{:016x}{end}", rand::random::<u64>());
        let copy = Unfinished(self.path.with_file_name(name));
        // SQLite writes into an empty file that is there, and leaves its mode as it is
        let made = File::options().write(true).create_new(true).mode(0o600).open(&copy.0);
        made.map_err(|error| StoreError::Broken(error.to_string()))?;
        let (from, to) = (self.path.clone(), copy.0.clone());
        let thread = std::thread::spawn(move || -> Result<(), StoreError> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            let connection = Connection::open_with_flags(from, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            // unlike a copy of the file this holds nothing that was deleted
            connection.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
            Ok(())
        });
        Ok(Copying { thread: Some(thread), copy, made: self.now(now), sealing_key: self.sealing_key_name() })
    }

    /// Notes that a backup was handed out.
    pub fn note_backup(&self, now: Timestamp, actor: Actor<'_>, head: &BackupHead) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.execute("UPDATE meta SET backed_up_at = ?1", [w.now])?;
            let Head { seq, hash } = &head.log_head;
            w.audit(Note::new(Event::BackedUp).actor(actor).reason(format!("up to line {seq} ({hash})")))
        })
    }

    /// When the last backup was made.
    pub fn backed_up_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT backed_up_at FROM meta";
        Ok(self.connection.query_row(sql, [], |row| super::column::time_or_none(row, "backed_up_at"))?)
    }

    /// Removes copies that a keeper left behind when it was killed.
    pub fn remove_unfinished_backups(&self) {
        let folder = self.path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        for entry in folder.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Copying {
    /// The copy once it is whole; none: it is still being made.
    ///
    /// # Errors
    /// It could not be made, or it is not known with which key the secrets in it are sealed.
    pub fn finish(&mut self, store: &Store) -> Result<Option<Backup>, StoreError> {
        match self.thread.take_if(|thread| thread.is_finished()).map(JoinHandle::join) {
            None => return Ok(None),
            Some(copied) => copied.map_err(|_| StoreError::Broken("the copy broke off".to_owned()))??,
        }
        if self.sealing_key != store.sealing_key_name() {
            return Err(StoreError::refused("the sealing key was changed meanwhile").hint("make the backup again"));
        }
        let broken = |error: std::io::Error| StoreError::Broken(error.to_string());
        let path = std::mem::take(&mut self.copy.0);
        let copy = Unfinished(path);
        let connection = Connection::open_with_flags(&copy.0, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let sql = "SELECT instance, log_seq, log_hash FROM meta";
        let (instance, log_head) = connection
            .query_row(sql, [], |row| Ok((row.get::<_, String>(0)?, Head { seq: row.get(1)?, hash: row.get(2)? })))?;
        drop(connection);
        let head = BackupHead {
            format: FORMAT,
            made: self.made,
            sealing_key: self.sealing_key.clone(),
            instance,
            log_head,
            tables: schema::VERSION,
        };
        let file = File::open(&copy.0).map_err(broken)?;
        Ok(Some(Backup { head, file, bytes: 0, sum: Sha256::new(), _copy: copy }))
    }
}

impl Backup {
    /// The first line, newline included.
    pub fn first_line(&self) -> String {
        format!("{}\n", serde_json::to_string(&self.head).expect("plain text and numbers"))
    }

    /// The next line, newline included; whether it is the last one.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn next_line(&mut self) -> Result<(String, bool), StoreError> {
        let mut bytes = Vec::with_capacity(BYTES_OF_A_LINE);
        let read = (&mut self.file).take(BYTES_OF_A_LINE as u64).read_to_end(&mut bytes);
        read.map_err(|error| StoreError::Broken(error.to_string()))?;
        if bytes.is_empty() {
            let end = BackupEnd { bytes: self.bytes, sha256: hex(&self.sum.clone().finalize()) };
            return Ok((format!("{}\n", serde_json::to_string(&end).expect("plain text and numbers")), true));
        }
        self.bytes += bytes.len() as u64;
        self.sum.update(&bytes);
        Ok((format!("{}\n", STANDARD.encode(&bytes)), false))
    }
}

/// Reads a backup, and writes the database in it to a file.
///
/// # Errors
/// It is no backup, was cut off or changed, or is of a newer program; in words.
pub(super) fn read(mut backup: impl BufRead, into: &Path) -> Result<BackupHead, String> {
    let mut number = 0;
    let mut line = || -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let read = Read::take(&mut backup, LONGEST).read_until(b'\n', &mut text);
        read.map_err(|error| error.to_string().to_lowercase())?;
        number += 1;
        if text.pop() == Some(b'\n') { Ok(text) } else { Err(format!("cut off in line {number}")) }
    };
    let head = line().ok().and_then(|line| serde_json::from_slice::<BackupHead>(&line).ok());
    let head = head.ok_or("not a backup of wgmfa-bastion")?;
    if head.format != FORMAT || head.tables > schema::VERSION {
        return Err("made by a newer wgmfa-bastion".to_owned());
    }
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(into);
    let file = file.as_mut().map_err(|error| format!("{}: {error}", into.display()))?;
    let (mut bytes, mut sum) = (0, Sha256::new());
    loop {
        let line = line()?;
        if line.first() == Some(&b'{') {
            let end: BackupEnd = serde_json::from_slice(&line).map_err(|_| "its last line is damaged")?;
            if end.bytes != bytes || end.sha256 != hex(&sum.finalize()) {
                return Err("its content is not what its checksum says".to_owned());
            }
            file.sync_all().map_err(|error| format!("{}: {error}", into.display()))?;
            return Ok(head);
        }
        let part = STANDARD.decode(&line).map_err(|_| "its content is damaged")?;
        bytes += part.len() as u64;
        sum.update(&part);
        file.write_all(&part).map_err(|error| format!("{}: {error}", into.display()))?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the file is a store of ours, undamaged.
pub(super) fn check(connection: &Connection) -> Result<(), String> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    match pragma("application_id") {
        Ok(id) if id == i64::from(schema::APPLICATION_ID) => {}
        _ => return Err("what is in it is not a store of wgmfa-bastion".to_owned()),
    }
    let found: rusqlite::Result<String> = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match found.as_deref() {
        Ok("ok") => meta::last_time(connection).map(drop).map_err(|error| error.to_string()),
        Ok(what) => Err(format!("the store in it is damaged: {what}")),
        Err(error) => Err(format!("the store in it is damaged: {error}")),
    }
}
