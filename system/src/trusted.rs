//! The one way to open a file whose content is trusted: configuration, policies, keys, state.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};
use zeroize::Zeroizing;

/// No configuration, policy or key file is larger, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Who else may read a trusted file, or look into a trusted folder. Nobody else may write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    Anyone,
    /// Only its owner.
    Owner,
}

/// Reads a file that only root (or, in a trial, the one who runs this program) can have written. No symbolic link is
/// followed.
///
/// # Errors
/// The file is missing, a symbolic link, no regular file, somebody else's, open to others, or larger than 1 MiB.
pub fn read(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (file, found) = open(path, readers)?;
    let bytes = contents(path, file.take(LARGEST + 1), found.len().min(LARGEST))?;
    if bytes.len() as u64 > LARGEST {
        return Err(fault(path, &format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn contents(path: &Path, mut file: impl Read, length: u64) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // it does not grow while it is read, so no part of a secret is left behind where it stood before
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`read`]; also when it is not UTF-8.
pub fn read_text(path: &Path, readers: Readers) -> Result<Zeroizing<String>, Failure> {
    text(path, read(path, readers)?)
}

/// The same of what this program itself has written, however long it has grown.
///
/// # Errors
/// As [`read_text`], but for the length.
pub fn read_own(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let (file, found) = open(path, Readers::Owner)?;
    text(path, contents(path, file, found.len())?)
}

fn text(path: &Path, mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Failure> {
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            *bytes = error.into_bytes(); // to be overwritten
            Err(fault(path, "not UTF-8"))
        }
    }
}

/// Makes sure that a file could be read so, without reading it.
///
/// # Errors
/// As [`read`].
pub fn file(path: &Path, readers: Readers) -> Result<(), Failure> {
    open(path, readers).map(drop)
}

/// Makes sure that only root (or, in a trial, the one who runs this program) can put files into a folder.
///
/// # Errors
/// It is missing, a symbolic link, no folder, somebody else's, or open to others.
pub fn folder(path: &Path, readers: Readers) -> Result<(), Failure> {
    let found = path.symlink_metadata().map_err(|error| unreadable(path, &error))?;
    if !found.is_dir() {
        return Err(fault(path, if found.is_symlink() { "is a symbolic link" } else { "not a folder" }));
    }
    refuse_foreign(path, &found, readers)
}

/// Opens without following a symbolic link, and looks at what was opened, not at what has that name by then.
fn open(path: &Path, readers: Readers) -> Result<(File, Metadata), Failure> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => fault(path, "is a symbolic link").hint("put the file itself there"),
        _ => unreadable(path, &error),
    })?;
    let found = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !found.is_file() {
        return Err(fault(path, "not a regular file"));
    }
    refuse_foreign(path, &found, readers)?;
    Ok((file, found))
}

fn refuse_foreign(path: &Path, found: &Metadata, readers: Readers) -> Result<(), Failure> {
    let shown = path.display();
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        let what = format!("belongs to user id {}, not to root", found.uid());
        return Err(fault(path, &what).hint(format!("chown root {shown}")));
    }
    let (mode, forbidden, chmod) = match readers {
        Readers::Anyone => (found.mode() & 0o7777, 0o022, "go-w"),
        Readers::Owner => (found.mode() & 0o7777, 0o077, "go-rwx"),
    };
    if mode & forbidden != 0 {
        let rights = if mode & 0o022 != 0 { "others can write to it" } else { "others can read it" };
        return Err(fault(path, &format!("mode {mode:04o}: {rights}")).hint(format!("chmod {chmod} {shown}")));
    }
    Ok(())
}

fn fault(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = fault(path, &io_words(error));
    match error.kind() {
        // nothing is wrong with what is there
        ErrorKind::PermissionDenied => Failure { exit: Exit::Failed, ..failure }.hint("run it as root"),
        _ => failure,
    }
}

/// What the system says about a file, in our voice.
pub fn io_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file or folder".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

/// Replaces a file in one step, readable by its owner only: after a crash or with a full disk the old one is whole.
///
/// # Errors
/// The folder cannot be written, or the disk is full.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_for(path, content, 0o600)
}

/// The same for other readers: with these rights, whatever the umask is.
///
/// # Errors
/// As [`replace`].
pub fn replace_for(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = write_beside(path, content, mode)?;
    std::fs::rename(&fresh, path)?;
    sync_folder_of(path)
}

/// Makes a file that is not there yet, with these rights, whatever the umask is: after a crash or with a full disk it is
/// whole or not there, so that it can be made again.
///
/// # Errors
/// As [`replace`], or there is one.
pub fn make(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = write_beside(path, content, mode)?;
    let made = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh)?;
    made?;
    sync_folder_of(path)
}

fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let fresh = beside(path);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    let rights = PermissionsExt::from_mode(mode);
    let written = file.write_all(content).and_then(|()| file.set_permissions(rights)).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // what is half written may be half a key
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(fresh)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Where a file is written before it takes the place of another one.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_trusted_file_is_regular_and_others_have_no_hand_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let shown = path.display();
        let error = |readers| read_text(&path, readers).unwrap_err().error;
        assert_eq!(error(Readers::Anyone), format!("{shown}: no such file or folder"));
        write(&path, "x").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(*read_text(&path, Readers::Anyone).unwrap(), "x");
        assert_eq!(error(Readers::Owner), format!("{shown}: mode 0644: others can read it"));
        set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let failure = file(&path, Readers::Anyone).unwrap_err();
        assert_eq!(failure.error, format!("{shown}: mode 0664: others can write to it"));
        assert_eq!(failure.hint, Some(format!("chmod go-w {shown}")));
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link, Readers::Anyone).unwrap_err().error, format!("{}: is a symbolic link", link.display()));
        let failure = read(folder.path(), Readers::Anyone).unwrap_err();
        assert_eq!(failure.error, format!("{}: not a regular file", folder.path().display()));
    }

    #[test]
    fn only_what_a_program_has_written_itself_may_be_very_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        replace(&path, &vec![b'x'; LARGEST as usize]).unwrap();
        assert!(read(&path, Readers::Owner).is_ok());
        replace(&path, &vec![b'x'; LARGEST as usize + 1]).unwrap();
        let larger = format!("{}: larger than 1048576 bytes", path.display());
        assert_eq!(read_text(&path, Readers::Owner).unwrap_err().error, larger);
        assert_eq!(read_own(&path).unwrap().len() as u64, LARGEST + 1);
    }

    #[test]
    fn a_file_is_made_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write(beside(&path), "half of what a killed program wa").unwrap();
        make(&path, b"x", 0o644).unwrap();
        assert_eq!(make(&path, b"y", 0o644).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((*read_text(&path, Readers::Anyone).unwrap()).as_str(), "x");
        assert_eq!((path.metadata().unwrap().mode() & 0o777, path.metadata().unwrap().nlink()), (0o644, 1));
        assert!(!beside(&path).exists());
    }

    #[test]
    fn what_only_root_may_read_is_no_broken_configuration() {
        let failure = unreadable(Path::new("f"), &ErrorKind::PermissionDenied.into());
        assert_eq!(failure, Failure::new(Exit::Failed, "f: permission denied").hint("run it as root"));
        assert_eq!(unreadable(Path::new("f"), &ErrorKind::NotFound.into()).exit, Exit::Usage);
    }

    #[test]
    fn text_is_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        replace(&path, b"\xff").unwrap();
        assert_eq!(*read(&path, Readers::Owner).unwrap(), b"\xff");
        assert_eq!(read_text(&path, Readers::Owner).unwrap_err().error, format!("{}: not UTF-8", path.display()));
    }

    #[test]
    fn a_trusted_folder_takes_files_from_nobody_else() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state");
        let shown = path.display();
        std::fs::create_dir(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(folder(&path, Readers::Anyone), Ok(()));
        let failure = folder(&path, Readers::Owner).unwrap_err();
        assert_eq!(failure.error, format!("{shown}: mode 0755: others can read it"));
        assert_eq!(failure.hint, Some(format!("chmod go-rwx {shown}")));
        set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
        let failure = folder(&path, Readers::Anyone).unwrap_err();
        assert_eq!(failure.error, format!("{shown}: mode 0770: others can write to it"));
        assert_eq!(failure.hint, Some(format!("chmod go-w {shown}")));
        let link = temporary.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let failure = folder(&link, Readers::Anyone).unwrap_err();
        assert_eq!(failure.error, format!("{}: is a symbolic link", link.display()));
    }

    #[test]
    fn a_replaced_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"1").unwrap();
        replace(&path, b"2").unwrap();
        assert_eq!(*read_text(&path, Readers::Owner).unwrap(), "2");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
