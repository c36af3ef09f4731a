//! Reading a folder of policy files.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wgmfa_core::diagnostic::{Fault, Faults};
use wgmfa_core::exit::Failure;
use wgmfa_core::policy::PolicySet;
use wgmfa_system::trusted::{self, Readers};

/// Whether the files decide about real connections, or are only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Folder and files must be such that only root can have written them.
    Required,
    /// Anybody's files will do: they are only tried out.
    NotNeeded,
}

/// Reads the policies that are to be in force, all or nothing.
///
/// # Errors
/// Folder or files cannot be trusted, or have faults: all of them are named.
pub fn load(folder: &Path) -> Result<PolicySet, Failure> {
    Ok(read(folder, Trust::Required)?)
}

/// Reads the `*.toml` files of a folder; faults name each file as `FOLDER/FILE`.
///
/// # Errors
/// Every fault of every file, and of the folder.
pub fn read(folder: &Path, trust: Trust) -> Result<PolicySet, Faults> {
    let of_failure = |failure: Failure| Fault::of_file(folder.display().to_string(), without_name(&failure, folder));
    if trust == Trust::Required {
        trusted::folder(folder, Readers::Anyone).map_err(of_failure)?;
    }
    let paths =
        files(folder).map_err(|error| Fault::of_file(folder.display().to_string(), trusted::io_words(&error)))?;
    if paths.is_empty() {
        let message = "there is no policy file (*.toml) here, and nothing would be protected";
        return Err(Fault::of_file(folder.display().to_string(), message).into());
    }
    let (mut texts, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        match text(&path, trust) {
            Ok(text) => texts.push((name, text)),
            Err(message) => faults.push(Fault::of_file(name, message)),
        }
    }
    match PolicySet::parse(&texts) {
        Ok(set) if faults.is_empty() => Ok(set),
        // with no readable file at all, the unreadable ones say enough
        _ if texts.is_empty() => Err(Faults::new(faults)),
        Ok(_) => Err(Faults::new(faults)),
        Err(more) => {
            faults.extend(more.into_vec());
            Err(Faults::new(faults))
        }
    }
}

/// The policy files of a folder, sorted; what begins with a dot belongs to somebody's editor.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|end| end == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A file's text, or why not, without its name.
fn text(path: &Path, trust: Trust) -> Result<String, String> {
    match trust {
        Trust::Required => trusted::read_text(path, Readers::Anyone)
            .map(|text| text.to_string())
            .map_err(|failure| without_name(&failure, path)),
        Trust::NotNeeded => match std::fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()),
            Err(error) => Err(trusted::io_words(&error)),
        },
    }
}

/// What is wrong with a file or folder, and in parentheses what mends it.
fn without_name(failure: &Failure, path: &Path) -> String {
    let what = failure.error.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&failure.error);
    match &failure.hint {
        Some(hint) => format!("{what} ({hint})"),
        None => what.to_owned(),
    }
}

/// What tells one set of policies from another: SHA-256 over all of it, in lower-case hexadecimal.
pub fn digest(set: &PolicySet) -> String {
    let hash = Sha256::digest(format!("{:?}", set.policies()));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
