//! A configuration file on disk: trusted before it is read, replaced whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::InterfaceName;
use zeroize::Zeroizing;

use super::ConfigFile;

/// An interface's configuration file on disk.
#[derive(Debug)]
pub struct StoredFile {
    /// Its content; change it, then call [`StoredFile::write`].
    pub config: ConfigFile,
    path: PathBuf,
    folder: PathBuf,
    /// How the file was when it was read.
    seen: Seen,
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

impl StoredFile {
    /// Opens `FOLDER/NAME.conf`; none: there is no such file. Refuses a symbolic link, and a file or folder that belongs
    /// to somebody else or that others may write.
    pub fn open(folder: &Path, name: &InterfaceName) -> Result<Option<Self>, Failure> {
        let path = folder.join(format!("{name}.conf"));
        match open_trusted(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                check_folder(folder)?;
                let (file, seen) = opened.map_err(|error| failure(&path, &error))?;
                let config = ConfigFile::parse(&content(file, seen.size).map_err(|error| failure(&path, &error))?);
                Ok(Some(Self { config, path, folder: folder.to_owned(), seen }))
            }
        }
    }

    /// Writes the file if its content was changed; says whether. Through a temporary file in the same folder with the same
    /// owner and mode, so that a crash or a full disk leaves the old file whole. Refuses when the file was changed by
    /// somebody else since it was opened.
    pub fn write(&mut self) -> Result<bool, Failure> {
        self.replace().map_err(|error| failure(&self.path, &error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn replace(&mut self) -> io::Result<bool> {
        // one writer of ours at a time: the lock vanishes with its process
        let folder = File::open(&self.folder)?;
        folder.lock()?;
        let (old, seen) = open_trusted(&self.path)?;
        if seen != self.seen {
            return Err(io::Error::other("the file was changed by another program meanwhile, try again"));
        }
        let metadata = old.metadata()?;
        let bytes = self.config.render();
        if *content(old, seen.size)? == *bytes {
            return Ok(false);
        }
        let temporary = self.path.with_extension("conf.wgmfa-new");
        let written = write_whole(&temporary, &bytes, &metadata).and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            // the failure counts; a left-over is removed by the next write
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        folder.sync_all()?;
        self.seen = open_trusted(&self.path)?.1;
        Ok(true)
    }
}

fn write_whole(path: &Path, bytes: &[u8], like: &fs::Metadata) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fchown(&file, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens a file for reading that nobody but its owner, root or the caller, can have written.
fn open_trusted(path: &Path) -> io::Result<(File, Seen)> {
    // O_NONBLOCK: a named pipe must not make the caller wait
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::ELOOP as i32) {
            io::Error::other("it is a symbolic link, which wgmfa does not follow")
        } else {
            error
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

fn check_folder(folder: &Path) -> Result<(), Failure> {
    fs::metadata(folder).and_then(|metadata| check_owner(&metadata)).map_err(|error| failure(folder, &error))
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

fn content(mut file: File, size: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // room for all and one more: a vector that does not grow leaves no secret behind
    let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    (&mut file).take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", path.display())).hint(match error.kind() {
        io::ErrorKind::PermissionDenied => "run it with sudo",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk; the file is as it was",
        _ => "the file was left as it is",
    })
}
