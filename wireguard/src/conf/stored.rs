//! A file on disk that holds keys: trusted before it is read, replaced whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};
use zeroize::Zeroizing;

use super::attributes;
use crate::crash::crash_point;

/// A file as it was when it was read.
#[derive(Debug)]
pub(super) struct Stored {
    path: PathBuf,
    seen: Seen,
    /// Whether everybody here can read it.
    pub exposed: bool,
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that is larger is no configuration file.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What a file's content is.
pub(super) type Content = Zeroizing<Vec<u8>>;

impl Stored {
    /// Opens and reads a file; none: there is no such file. Refuses a symbolic link, and a file or folder that belongs to
    /// somebody else or that others may write.
    pub fn open(path: &Path) -> Result<Option<(Self, Content)>, Failure> {
        match open_trusted(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                let folder = folder_of(path);
                let open_to_all = check_folder(folder).map_err(|error| failure(folder, &error))?;
                let (file, seen) = opened.map_err(|error| failure(path, &error))?;
                let read = || Ok((file.metadata()?.mode() & 0o004 != 0, content(file, seen.size)?));
                let (exposed, content) = read().map_err(|error| failure(path, &error))?;
                let exposed = exposed && open_to_all;
                Ok(Some((Self { path: path.to_owned(), seen, exposed }, content)))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file if this is not its content already; says whether. Through a temporary file in the same folder with the
    /// same owner, mode and attributes, so that a crash or a full disk leaves the old file whole. Refuses when the file was
    /// changed by somebody else since it was opened.
    pub fn replace(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        self.try_replace(bytes).map_err(|error| failure(&self.path, &error))
    }

    fn try_replace(&mut self, bytes: &[u8]) -> io::Result<bool> {
        // one writer of ours at a time: the lock vanishes with its process
        let folder = File::open(folder_of(&self.path))?;
        folder.lock()?;
        let (old, seen) = open_trusted(&self.path)?;
        if seen != self.seen {
            return Err(io::Error::other("the file was changed by another program meanwhile, try again"));
        }
        let old_file = old.try_clone()?;
        if *content(old, seen.size)? == *bytes {
            return Ok(false);
        }
        write_whole(&self.path, bytes, |new| {
            let metadata = old_file.metadata()?;
            fchown(new, Some(metadata.uid()), Some(metadata.gid()))?;
            attributes::copy(&old_file, new)?;
            new.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))
        })?;
        folder.sync_all()?;
        self.seen = open_trusted(&self.path)?.1;
        Ok(true)
    }
}

/// Makes a file that was not there, with this mode and group.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32, group: Option<u32>) -> Result<(), Failure> {
    let make = || {
        check_folder(folder_of(path))?;
        let folder = File::open(folder_of(path))?;
        folder.lock()?;
        if path.symlink_metadata().is_ok() {
            return Err(io::Error::other("the file was made by another program meanwhile, try again"));
        }
        write_whole(path, bytes, |new| {
            fchown(new, None, group)?;
            new.set_permissions(Permissions::from_mode(mode))
        })?;
        folder.sync_all()
    };
    make().map_err(|error| failure(path, &error))
}

/// Removes a file that holds a key.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).and_then(|()| File::open(folder_of(path))?.sync_all()).map_err(|error| failure(path, &error))
}

/// The new content goes into a hidden file, which NetworkManager and networkd pass over, and takes the old one's place when it
/// is on disk.
fn write_whole(path: &Path, bytes: &[u8], dress: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or(OsStr::new("wgmfa")));
    name.push(".wgmfa-new");
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, bytes, dress).and_then(|()| {
        crash_point("conf-written");
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // the failure counts; a left-over is removed by the next write
        let _ = fs::remove_file(&temporary);
    } else {
        crash_point("conf-renamed");
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], dress: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    dress(&file)?;
    crash_point("conf-begun");
    file.write_all(bytes)?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file for reading that nobody but its owner, root or the caller, can have written.
fn open_trusted(path: &Path) -> io::Result<(File, Seen)> {
    // O_NONBLOCK: a named pipe must not make the caller wait
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP) => io::Error::other("it is a symbolic link, which wgmfa does not follow"),
            Some(Errno::ENXIO) => io::Error::other("it is a socket, not a regular file"),
            _ => error,
        }
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    check_owner(&metadata)?;
    let seen = Seen {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    if seen.size > LARGEST {
        return Err(io::Error::other("it is too large for a configuration file"));
    }
    Ok((file, seen))
}

/// Whether everybody may pass through a folder that nobody else may write.
fn check_folder(folder: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(folder)?;
    check_owner(&metadata)?;
    Ok(metadata.mode() & 0o001 != 0)
}

/// Who may write here may read the interface's private key or take the second factor away.
fn check_owner(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user id {}, not to root", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write it: mode {:04o}", metadata.mode() & 0o7777)));
    }
    Ok(())
}

fn content(mut file: File, size: u64) -> io::Result<Content> {
    // room for all and one more: a vector that does not grow leaves no secret behind
    let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    (&mut file).take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of which nothing is known yet, through a symbolic link too, to see what it configures; none: there is none, or
/// it is no regular file.
pub(super) fn peek(path: &Path) -> Result<Option<Content>, Failure> {
    let read = || {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.size() > LARGEST {
            return Ok(None);
        }
        content(file, metadata.size()).map(Some)
    };
    match read() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ELOOP | Errno::ENXIO)) => {
            Ok(None)
        }
        read => read.map_err(|error| failure(path, &error)),
    }
}

pub(super) fn failure(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "lsattr shows whether it is immutable; the file was left as it is",
        Some(Errno::EROFS) => "its file system is mounted read-only; the file was left as it is",
        Some(Errno::EACCES) => "run it with sudo",
        Some(Errno::ENOSPC | Errno::EDQUOT) => "make room on the disk; the file is as it was",
        _ => "the file was left as it is",
    };
    Failure::new(Exit::Failed, format!("{}: {error}", path.display())).hint(hint)
}
