//! Changing the SSH host key without a moment in which somebody in the middle could put in a key of theirs.
//!
//! Three steps, each an administrator's act, days apart if people need them. *Rotate* makes the next key beside the one in
//! use (`KEY.next`); it is announced over connections that the key in use authenticates. *Switch* puts it in the place of
//! the key in use, which stays beside it (`KEY.old`) and is still announced, so that nobody forgets it before its time.
//! *Retire* deletes it. Wherever the steps are cut short, the file of the key in use is there, and the step may be repeated.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted::io_words;
use zeroize::Zeroizing;

use super::{one_line, public_half, public_key};
use crate::config::Config;
use crate::crash::crash_point;

/// Where the key lies that comes next.
pub fn next_path(path: &Path) -> PathBuf {
    with_end(path, ".next")
}

/// Where the key lies that was in use before.
pub fn old_path(path: &Path) -> PathBuf {
    with_end(path, ".old")
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is no change.
    Settled,
    /// The next keys are announced.
    Announced,
    /// They are in use, and the old ones are still announced.
    Switched,
}

/// The host keys beside those in use.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Those that come next.
    pub next: Vec<PublicKey>,
    /// Those that were in use before.
    pub old: Vec<PublicKey>,
}

impl Beside {
    /// Looks what lies beside the keys in use.
    ///
    /// # Errors
    /// As [`public_key`].
    pub fn look(config: &Config) -> Result<Self, Failure> {
        let those = |path: fn(&Path) -> PathBuf| {
            let there = config.host_keys.iter().map(|key| path(key)).filter(|path| is_there(path));
            there.map(|path| public_key(&path)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { next: those(next_path)?, old: those(old_path)? })
    }

    /// How far the change has come. One that was cut short between two files counts as not having begun the next step.
    pub fn stage(&self) -> Stage {
        match (self.next.is_empty(), self.old.is_empty()) {
            (false, _) => Stage::Announced,
            (true, false) => Stage::Switched,
            (true, true) => Stage::Settled,
        }
    }
}

/// Every path beside a host key that exists: a PAM worker must not see them either.
pub fn secret_paths(config: &Config) -> impl Iterator<Item = PathBuf> {
    config.host_keys.iter().flat_map(|key| [next_path(key), old_path(key)]).filter(|path| is_there(path))
}

/// Makes the next keys, each of the same kind as the one that it follows. One that is there stays.
///
/// # Errors
/// A key in use cannot be read, or the folder takes no file.
pub fn make_next(config: &Config) -> Result<(), Failure> {
    for path in &config.host_keys {
        let next = next_path(path);
        if is_there(&next) {
            continue;
        }
        let algorithm = match public_key(path)?.algorithm() {
            algorithm @ (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) => algorithm,
            _ => Algorithm::Ed25519,
        };
        let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", next.display()));
        let mut key = PrivateKey::random(&mut rand::rng(), algorithm).map_err(failed)?;
        key.set_comment("wgmfa-bastion");
        let text = key.to_openssh(LineEnding::LF).map_err(failed)?;
        // its name shows a whole key or none
        let unfinished = with_end(&next, ".new");
        let _ = std::fs::remove_file(&unfinished);
        let written = write(&unfinished, text.as_bytes(), 0o600).and_then(|()| std::fs::rename(&unfinished, &next));
        written.and_then(|()| sync_folder(&next)).map_err(|error| {
            let _ = std::fs::remove_file(&unfinished);
            cannot(&next, &error).hint("the folder of the host keys must be writable for the bastion")
        })?;
    }
    Ok(())
}

/// Puts the next keys in the place of those in use, which stay beside.
///
/// # Errors
/// The folder takes no file; what was done already is done when it is repeated.
pub fn switch(config: &Config) -> Result<(), Failure> {
    for path in &config.host_keys {
        let (next, old) = (next_path(path), old_path(path));
        if !is_there(&next) {
            continue;
        }
        let _ = std::fs::remove_file(&old); // of a switch that was cut short: the same key, by a second name
        let linked = std::fs::hard_link(path, &old);
        crash_point("host-key-kept");
        linked
            .and_then(|()| std::fs::rename(&next, path))
            .and_then(|()| sync_folder(path))
            .map_err(|error| cannot(path, &error))?;
        crash_point("host-key-switched");
    }
    public_halves(config)
}

/// Deletes the keys that are not in use: the old ones, or before the switch the next ones.
///
/// # Errors
/// One of them cannot be removed.
pub fn retire(config: &Config) -> Result<(), Failure> {
    for path in secret_paths(config) {
        std::fs::remove_file(&path).and_then(|()| sync_folder(&path)).map_err(|error| cannot(&path, &error))?;
    }
    public_halves(config)
}

/// Has the files of the public halves, where there are such, follow the keys in use.
fn public_halves(config: &Config) -> Result<(), Failure> {
    for path in &config.host_keys {
        let (public, line) = (public_half(path), one_line(&public_key(path)?));
        if std::fs::read_to_string(&public).is_ok_and(|text| !text.starts_with(&line)) {
            let unfinished = with_end(&public, ".new");
            let _ = std::fs::remove_file(&unfinished);
            let text = format!("{line} wgmfa-bastion\n");
            let replaced =
                write(&unfinished, text.as_bytes(), 0o644).and_then(|()| std::fs::rename(&unfinished, &public));
            replaced.map_err(|error| cannot(&public, &error))?;
        }
    }
    Ok(())
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let content = Zeroizing::new(content.to_vec());
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(&content)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", path.display(), io_words(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::host_key::{known_hosts, public_keys};

    fn config(folder: &Path) -> Config {
        let mut config = Config::parse(Path::new("/e/bastion.toml"), "").unwrap();
        let path = folder.join("key");
        let mut keygen = std::process::Command::new("ssh-keygen");
        assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap().success());
        config.host_keys = vec![path];
        config
    }

    fn lines(config: &Config) -> Vec<String> {
        public_keys(config).unwrap().iter().map(one_line).collect()
    }

    #[test]
    fn a_key_is_announced_then_used_then_the_old_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = lines(&config);
        assert_eq!(Beside::look(&config).unwrap().stage(), Stage::Settled);

        make_next(&config).unwrap();
        let beside = Beside::look(&config).unwrap();
        make_next(&config).unwrap();
        assert_eq!(Beside::look(&config).unwrap(), beside, "a key that waits is not made anew");
        assert_eq!((beside.stage(), lines(&config)), (Stage::Announced, first.clone()));
        let next: Vec<String> = beside.next.iter().map(one_line).collect();
        let known = known_hosts(&config, "b").unwrap();
        assert!(known.contains(&first[0]) && known.contains(&next[0]), "{known}");
        let mode = next_path(&config.host_keys[0]).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        switch(&config).unwrap();
        let beside = Beside::look(&config).unwrap();
        assert_eq!((beside.stage(), lines(&config)), (Stage::Switched, next.clone()));
        assert_eq!(beside.old.iter().map(one_line).collect::<Vec<_>>(), first);
        let public = std::fs::read_to_string(public_half(&config.host_keys[0])).unwrap();
        assert_eq!(public, format!("{} wgmfa-bastion\n", next[0]));
        assert!(!known_hosts(&config, "b").unwrap().contains(&first[0]), "nobody needs to learn the old one any more");

        retire(&config).unwrap();
        assert_eq!((Beside::look(&config).unwrap().stage(), lines(&config)), (Stage::Settled, next));
    }

    #[test]
    fn a_change_may_be_given_up_before_the_switch() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = lines(&config);
        make_next(&config).unwrap();
        retire(&config).unwrap();
        assert_eq!((Beside::look(&config).unwrap().stage(), lines(&config)), (Stage::Settled, first));
    }

    #[test]
    fn a_switch_that_was_cut_short_is_finished_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        make_next(&config).unwrap();
        let next = Beside::look(&config).unwrap().next;
        // the old key has its second name, and the new one is not in place
        std::fs::hard_link(&config.host_keys[0], old_path(&config.host_keys[0])).unwrap();
        assert_eq!(Beside::look(&config).unwrap().stage(), Stage::Announced);
        switch(&config).unwrap();
        assert_eq!(public_keys(&config).unwrap()[0].key_data(), next[0].key_data());
        assert_eq!(Beside::look(&config).unwrap().stage(), Stage::Switched);
    }
}
