//! The state folder: the state, the keys that were configured before wgmfa, and the lock that one agent holds.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{PresharedKey, exposed};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_system::trusted::{self, Readers};
use zeroize::Zeroizing;

use crate::clock;
use crate::state::State;

/// The state folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// Whoever holds this is the only agent that changes anything.
#[derive(Debug)]
pub struct OnlyAgent(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// What was configured for each peer before wgmfa took it over; none: no preshared key.
pub type ConfiguredKeys = BTreeMap<PeerRef, Option<PresharedKey>>;

#[derive(Serialize, Deserialize)]
struct ConfiguredRow {
    #[serde(flatten)]
    peer: PeerRef,
    preshared_key: Option<Exposed>,
}

#[derive(Serialize, Deserialize)]
struct Exposed(#[serde(with = "exposed")] PresharedKey);

impl Store {
    /// Opens the folder, or makes it, for root alone.
    ///
    /// # Errors
    /// It cannot be made, or others can put files into it.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failed(folder, &error).hint("run it as root"))?;
        trusted::folder(folder, Readers::Anyone)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder, whether or not it is there: for reading alone.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where a resident agent listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// Tries to become the only agent; none: another one runs.
    ///
    /// # Errors
    /// The lock file cannot be opened.
    pub fn try_lock(&self) -> Result<Option<OnlyAgent>, Failure> {
        let path = self.folder.join("lock");
        let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed(&path, &error).hint("run it as root"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(OnlyAgent(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(failed(&path, &errno.into())),
        }
    }

    /// What was remembered, in the boot that runs now; nothing when there is no state yet.
    ///
    /// # Errors
    /// The file is damaged, open to others, or of a newer program. It is never thrown away: it says which peers to lock.
    pub fn load(&self) -> Result<State, Failure> {
        let path = self.folder.join("state.json");
        let boot = clock::boot_id()?;
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(State::new(boot));
        }
        let text = trusted::read_own(&path)?;
        let damaged = |what: String| {
            Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
                .hint("move it away: the next round then locks every peer under a policy and begins anew")
        };
        let state: State = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("damaged at line {} column {}", error.line(), error.column())))?;
        if !state.is_readable() {
            return Err(damaged("written by another version of wgmfa-agent".to_owned()));
        }
        Ok(state.in_boot(boot))
    }

    /// Remembers, durably.
    ///
    /// # Errors
    /// The disk is full or cannot be written; the old state is then whole.
    pub fn save(&self, state: &State) -> Result<(), Failure> {
        let path = self.folder.join("state.json");
        let text = serde_json::to_vec(state).expect("the state is plain data");
        trusted::replace(&path, &text).map_err(|error| failed(&path, &error).hint("is the disk full?"))
    }

    /// The keys that were configured before wgmfa.
    ///
    /// # Errors
    /// The file is damaged or open to others.
    pub fn configured_keys(&self) -> Result<ConfiguredKeys, Failure> {
        let path = self.folder.join("configured-keys");
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(ConfiguredKeys::new());
        }
        let text = trusted::read_own(&path)?;
        let rows: Vec<ConfiguredRow> = serde_json::from_str(&text).map_err(|error| {
            Failure::new(Exit::Usage, format!("{}: damaged at line {}", path.display(), error.line()))
        })?;
        Ok(rows.into_iter().map(|row| (row.peer, row.preshared_key.map(|key| key.0))).collect())
    }

    /// Remembers the keys that were configured before wgmfa, for root alone.
    ///
    /// # Errors
    /// The disk is full or cannot be written.
    pub fn save_configured_keys(&self, keys: &ConfiguredKeys) -> Result<(), Failure> {
        let row = |(peer, key): (&PeerRef, &Option<PresharedKey>)| ConfiguredRow {
            peer: peer.clone(),
            preshared_key: key.clone().map(Exposed),
        };
        let rows: Vec<_> = keys.iter().map(row).collect();
        let path = self.folder.join("configured-keys");
        let text = Zeroizing::new(serde_json::to_vec(&rows).expect("keys are plain data"));
        trusted::replace(&path, &text).map_err(|error| failed(&path, &error))
    }
}

/// A file of the folder that could not be used.
pub(crate) fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", path.display(), error.to_string().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use wgmfa_core::boottime::BootId;
    use wgmfa_core::key::PublicKey;

    use super::*;

    #[test]
    fn one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let held = store.try_lock().unwrap();
        assert!(held.is_some() && store.try_lock().unwrap().is_none());
        drop(held);
        assert!(store.try_lock().unwrap().is_some());
    }

    #[test]
    fn a_damaged_state_stops_the_agent_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(store.load().unwrap().peers.is_empty());
        store.save(&State::new(BootId("x".to_owned()))).unwrap();
        assert!(store.load().is_ok());
        let path = folder.path().join("state.json");
        trusted::replace(&path, b"{\"version\":1,").unwrap();
        let failure = store.load().unwrap_err();
        assert_eq!(failure.error, format!("{}: damaged at line 1 column 13", path.display()));
        assert!(path.exists());
    }

    #[test]
    fn configured_keys_come_back_with_those_that_were_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let peer = |seed| PeerRef { interface: "wg0".parse().unwrap(), public_key: PublicKey::from_bytes([seed; 32]) };
        let key = PresharedKey::from_bytes([7; 32]).unwrap();
        let keys = ConfiguredKeys::from([(peer(1), Some(key)), (peer(2), None)]);
        store.save_configured_keys(&keys).unwrap();
        assert_eq!(store.configured_keys().unwrap(), keys);
    }
}
