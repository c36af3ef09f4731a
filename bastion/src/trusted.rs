//! The one way to open a file whose content is trusted: configuration, policies, keys.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};
use zeroize::Zeroizing;

/// No configuration, policy or key file is larger, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reads a file that only root (or, in a trial without root, the one who runs this program) can have written.
///
/// # Errors
/// The file is missing, a symbolic link, no regular file, owned by somebody else, or writable by group or others.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = open(path, 0o022, "go-w")?;
    contents(file, path)
}

/// Reads a file that, besides, nobody else can read: a private key.
///
/// # Errors
/// As [`read`]; also when group or others have any right to the file.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let file = open(path, 0o077, "go-rwx")?;
    contents(file, path).map(Zeroizing::new)
}

/// Makes sure that nobody else can read or write a file.
///
/// # Errors
/// As [`read_secret`].
pub fn secret(path: &Path) -> Result<(), Failure> {
    open(path, 0o077, "go-rwx").map(drop)
}

/// Reads a trusted file as text.
///
/// # Errors
/// As [`read`]; also when the file is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?).map_err(|_| Failure::new(Exit::Usage, format!("{}: not UTF-8", path.display())))
}

/// Makes sure that only root (or the one who runs this program) can put files into a folder.
///
/// # Errors
/// The folder is missing, a symbolic link, no folder, owned by somebody else, or writable by group or others.
pub fn folder(path: &Path) -> Result<(), Failure> {
    folder_without(path, 0o022, "go-w")
}

/// Makes sure that nobody else can so much as look into a folder.
///
/// # Errors
/// As [`folder`]; also when group or others have any right to it.
pub fn secret_folder(path: &Path) -> Result<(), Failure> {
    folder_without(path, 0o077, "go-rwx")
}

fn folder_without(path: &Path, forbidden: u32, chmod: &str) -> Result<(), Failure> {
    let found = path.symlink_metadata().map_err(|error| unreadable(path, &error))?;
    if !found.is_dir() {
        let what = if found.is_symlink() { "is a symbolic link" } else { "not a folder" };
        return Err(Failure::new(Exit::Usage, format!("{}: {what}", path.display())));
    }
    refuse_foreign(path, &found, forbidden, chmod)
}

/// Opens without following a symbolic link, and looks at what was opened, not at what has that name by then.
fn open(path: &Path, forbidden: u32, chmod: &str) -> Result<File, Failure> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => Failure::new(Exit::Usage, format!("{}: is a symbolic link", path.display()))
            .hint("put the file itself there"),
        _ => unreadable(path, &error),
    })?;
    let found = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !found.is_file() {
        return Err(Failure::new(Exit::Usage, format!("{}: not a regular file", path.display())));
    }
    refuse_foreign(path, &found, forbidden, chmod)?;
    Ok(file)
}

fn refuse_foreign(path: &Path, found: &Metadata, forbidden: u32, chmod: &str) -> Result<(), Failure> {
    let (shown, own) = (path.display(), geteuid().as_raw());
    if found.uid() != 0 && found.uid() != own {
        let error = format!("{shown}: belongs to user id {}, not to root", found.uid());
        return Err(Failure::new(Exit::Usage, error).hint(format!("chown root {shown}")));
    }
    let mode = found.mode() & 0o7777;
    if mode & forbidden != 0 {
        let rights = if mode & 0o022 != 0 { "others can write to it" } else { "others can read it" };
        let error = format!("{shown}: mode {mode:04o}: {rights}");
        return Err(Failure::new(Exit::Usage, error).hint(format!("chmod {chmod} {shown}")));
    }
    Ok(())
}

fn contents(file: File, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(file.metadata().map_or(0, |found| found.len().min(LARGEST) as usize + 1));
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(Exit::Usage, format!("{}: larger than {LARGEST} bytes", path.display())));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{}: {}", path.display(), io_words(error)))
}

/// What the system says about a file, in our voice.
pub fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_trusted_file_is_regular_and_nobody_else_can_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let shown = path.display();
        assert_eq!(read(&path).unwrap_err().error, format!("{shown}: no such file or folder"));
        write(&path, "x").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap(), b"x");

        assert_eq!(read_secret(&path).unwrap_err().error, format!("{shown}: mode 0644: others can read it"));
        set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let failure = read(&path).unwrap_err();
        assert_eq!(failure.error, format!("{shown}: mode 0664: others can write to it"));
        assert_eq!(failure.hint, Some(format!("chmod go-w {shown}")));

        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link).unwrap_err().error, format!("{}: is a symbolic link", link.display()));
        let failure = read(folder.path()).unwrap_err();
        assert_eq!(failure.error, format!("{}: not a regular file", folder.path().display()));
    }

    #[test]
    fn a_trusted_folder_takes_files_from_nobody_else() {
        let temporary = tempfile::tempdir().unwrap();
        assert_eq!(folder(temporary.path()), Ok(()));
        set_permissions(temporary.path(), Permissions::from_mode(0o777)).unwrap();
        let failure = folder(temporary.path()).unwrap_err();
        assert_eq!(failure.error, format!("{}: mode 0777: others can write to it", temporary.path().display()));
        set_permissions(temporary.path(), Permissions::from_mode(0o755)).unwrap();
        let failure = secret_folder(temporary.path()).unwrap_err();
        assert_eq!(failure.error, format!("{}: mode 0755: others can read it", temporary.path().display()));
        assert_eq!(failure.hint, Some(format!("chmod go-rwx {}", temporary.path().display())));
    }
}
