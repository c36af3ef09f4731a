//! Where the store lies: a folder and a file that nobody else can touch.

use std::fs::{DirBuilder, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use wgmfa_core::exit::{Exit, Failure};

/// Makes sure of the folder, making it if it is missing; answers with its path, free of symbolic links.
pub fn folder(folder: &Path) -> Result<PathBuf, Failure> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    if let Err(error) = made
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(failed(folder, &error));
    }
    let found = folder.symlink_metadata().map_err(|error| failed(folder, &error))?;
    if !found.is_dir() {
        let what = if found.is_symlink() { "is a symbolic link" } else { "not a folder" };
        return Err(Failure::new(Exit::Usage, format!("{}: {what}", folder.display())));
    }
    refuse_foreign(folder, &found)?;
    folder.canonicalize().map_err(|error| failed(folder, &error))
}

/// Makes sure of the folder and of the database file in it, making what is missing; answers with the file's path, free
/// of symbolic links.
pub fn prepare(folder: &Path, file_name: &str) -> Result<PathBuf, Failure> {
    let path = self::folder(folder)?.join(file_name);
    // SQLite gives its two side files the owner and the mode of this one
    match File::options().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&path, &error)),
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        let beside = PathBuf::from(name);
        match beside.symlink_metadata() {
            Ok(found) if found.is_file() => refuse_foreign(&beside, &found)?,
            Ok(found) => {
                let what = if found.is_symlink() { "is a symbolic link" } else { "not a regular file" };
                return Err(Failure::new(Exit::Usage, format!("{}: {what}", beside.display())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&beside, &error)),
        }
    }
    Ok(path)
}

fn refuse_foreign(path: &Path, found: &Metadata) -> Result<(), Failure> {
    let (shown, own, mode) = (path.display(), geteuid(), found.mode() & 0o7777);
    if found.uid() != 0 && found.uid() != own.as_raw() {
        let error = format!("{shown}: mode {mode:04o}: belongs to user id {}", found.uid());
        return Err(Failure::new(Exit::Usage, error).hint(format!("chown {own} {shown}")));
    }
    if mode & 0o077 != 0 {
        let error = format!("{shown}: mode {mode:04o}: others can reach it");
        return Err(Failure::new(Exit::Usage, error).hint(format!("chmod go-rwx {shown}")));
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let what = match error.kind() {
        ErrorKind::NotFound => "no such folder".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    };
    Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
}
