//! The one way to open a file whose content is trusted: configuration, keys, state.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};
use zeroize::Zeroizing;

/// Who else may read a trusted file. Nobody else may write it.
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
/// The file is missing, a symbolic link, no regular file, not UTF-8, somebody else's, or open to others.
pub fn read(path: &Path, readers: Readers) -> Result<Zeroizing<String>, Failure> {
    let shown = path.display();
    let fault = |what: String| Failure::new(Exit::Usage, format!("{shown}: {what}"));
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => fault("no such file".to_owned()),
        Some(Errno::ELOOP) => fault("is a symbolic link".to_owned()).hint("put the file itself there"),
        _ => fault(error.to_string().to_lowercase()),
    })?;
    let found = file.metadata().map_err(|error| fault(error.to_string()))?;
    if !found.is_file() {
        return Err(fault("not a regular file".to_owned()));
    }
    refuse_foreign(path, &found)?;
    let mode = found.mode() & 0o7777;
    if readers == Readers::Owner && mode & 0o077 != 0 {
        return Err(fault(format!("mode {mode:04o}: others can read it")).hint(format!("chmod go-rwx {shown}")));
    }
    let mut text = Zeroizing::new(String::with_capacity(found.len() as usize + 1));
    file.read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    Ok(text)
}

/// Makes sure that only root (or, in a trial, the one who runs this program) can put files into a folder.
///
/// # Errors
/// It is missing, a symbolic link, no folder, somebody else's, or open to others.
pub fn folder(path: &Path) -> Result<(), Failure> {
    let fault = |what: &str| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let found = path.symlink_metadata().map_err(|error| fault(&error.to_string().to_lowercase()))?;
    if found.is_symlink() {
        return Err(fault("is a symbolic link"));
    }
    if !found.is_dir() {
        return Err(fault("not a folder"));
    }
    refuse_foreign(path, &found)
}

fn refuse_foreign(path: &Path, found: &Metadata) -> Result<(), Failure> {
    let shown = path.display();
    let fault = |what: String| Failure::new(Exit::Usage, format!("{shown}: {what}"));
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(
            fault(format!("belongs to user id {}, not to root", found.uid())).hint(format!("chown root {shown}"))
        );
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(fault(format!("mode {mode:04o}: others can write to it")).hint(format!("chmod go-w {shown}")));
    }
    Ok(())
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
    let fresh = beside(path);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_trusted_file_is_regular_and_others_have_no_hand_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let shown = path.display();
        let error = |readers| read(&path, readers).unwrap_err().error;
        assert_eq!(error(Readers::Anyone), format!("{shown}: no such file"));
        write(&path, "x").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(*read(&path, Readers::Anyone).unwrap(), "x");
        assert_eq!(error(Readers::Owner), format!("{shown}: mode 0644: others can read it"));
        set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        assert_eq!(error(Readers::Anyone), format!("{shown}: mode 0664: others can write to it"));
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link, Readers::Anyone).unwrap_err().error, format!("{}: is a symbolic link", link.display()));
    }

    #[test]
    fn a_trusted_folder_takes_files_from_nobody_else() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state");
        let shown = path.display();
        std::fs::create_dir(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(folder(&path), Ok(()));
        set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
        let failure = folder(&path).unwrap_err();
        assert_eq!(failure.error, format!("{shown}: mode 0770: others can write to it"));
        assert_eq!(failure.hint, Some(format!("chmod go-w {shown}")));
        let link = temporary.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(folder(&link).unwrap_err().error, format!("{}: is a symbolic link", link.display()));
    }

    #[test]
    fn a_replaced_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"1").unwrap();
        replace(&path, b"2").unwrap();
        assert_eq!(*read(&path, Readers::Owner).unwrap(), "2");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
