//! The peers whose key both ends change together, and the keys that this end holds for them: at most two for each.
//!
//! No second factor is involved, so these keys may lie on this server's disk, for root alone: after a reboot, or when
//! another hand has changed the interface, the agent puts them back without the bastion.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{Fingerprint, PresharedKey, exposed};
use wgmfa_core::message::agent::{PeerGeneration, PeerRef};
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::tandem::{Held, HeldKey, PairEnd};
use wgmfa_system::trusted;
use zeroize::Zeroizing;

use crate::clock;
use crate::store::{Store, failed};

/// The version of the file.
const VERSION: u32 = 1;

/// What is remembered of all of them.
pub type Pairs = BTreeMap<PeerRef, Pair>;

/// What is remembered of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pair {
    /// The connection's name, for people.
    pub connection: String,
    /// The policy that covers it, as last heard; none: it stays as it is.
    pub policy: Option<PolicyRef>,
    /// Which end this host is.
    pub end: PairEnd,
    /// The keys, by generation; 0 is the one of before the first generation.
    pub keys: Vec<Key>,
    /// The generation that is to be on the interface.
    pub used: Option<u64>,
    /// Since when, in this boot.
    pub since: Boottime,
    /// The latest handshake that there was then, in seconds since 1970.
    pub handshake: Option<u64>,
    /// This machine was rebooted since: any key may stand there.
    #[serde(skip)]
    pub rebooted: bool,
}

/// A key that is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// Its generation.
    pub generation: u64,
    /// What stands for it.
    pub fingerprint: Option<Fingerprint>,
    /// The key; none: no preshared key.
    pub preshared_key: Option<Exposed>,
}

/// A preshared key as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exposed(#[serde(with = "exposed")] pub PresharedKey);

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    boot: BootId,
    pairs: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    peer: PeerRef,
    #[serde(flatten)]
    pair: Pair,
}

impl Pair {
    /// What the plan sees of it.
    pub fn held(&self) -> Held {
        let keys = self.keys.iter();
        let keys = keys.map(|key| HeldKey { generation: key.generation, fingerprint: key.fingerprint }).collect();
        Held { end: self.end, keys, used: self.used, since: self.since }
    }

    /// A key that is held.
    pub fn key(&self, generation: u64) -> Option<&Key> {
        self.keys.iter().find(|key| key.generation == generation)
    }

    /// Why the peer is not as it should be; `stands`: what stands for the key on the interface.
    pub fn fault(&self, stands: Option<Fingerprint>) -> Option<String> {
        let used = self.used.and_then(|used| self.key(used))?;
        (used.fingerprint != stands).then(|| format!("another key than generation {} stands there", used.generation))
    }
}

/// The generations that are held, for the report.
pub fn holds(pairs: &Pairs) -> Vec<PeerGeneration> {
    let of = |(peer, pair): (&PeerRef, &Pair)| {
        let peer = peer.clone();
        let generations: Vec<_> = pair.keys.iter().map(|key| key.generation).filter(|one| *one > 0).collect();
        generations.into_iter().map(move |generation| PeerGeneration { peer: peer.clone(), generation })
    };
    pairs.iter().flat_map(of).collect()
}

impl Store {
    /// The pairs, in the boot that runs now.
    ///
    /// # Errors
    /// The file is damaged, open to others, or of a newer program.
    pub fn load_pairs(&self) -> Result<Pairs, Failure> {
        let path = self.file("pairs");
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(Pairs::new());
        }
        let text = trusted::read_own(&path)?;
        let damaged = |what: String| {
            Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
                .hint("move it away: the bastion gives the keys of these peers again")
        };
        let file: File = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("damaged at line {} column {}", error.line(), error.column())))?;
        if file.version != VERSION {
            return Err(damaged("written by another version of wgmfa-agent".to_owned()));
        }
        let another_boot = file.boot != clock::boot_id()?;
        let now = clock::now();
        let here = |mut row: Row| {
            if another_boot {
                (row.pair.since, row.pair.handshake, row.pair.rebooted) = (now, None, true);
            }
            (row.peer, row.pair)
        };
        Ok(file.pairs.into_iter().map(here).collect())
    }

    /// Remembers the pairs and their keys, durably and for root alone.
    ///
    /// # Errors
    /// The disk is full or cannot be written; the old file is then whole.
    pub fn save_pairs(&self, pairs: &Pairs) -> Result<(), Failure> {
        let path = self.file("pairs");
        let row = |(peer, pair): (&PeerRef, &Pair)| Row { peer: peer.clone(), pair: pair.clone() };
        let file = File { version: VERSION, boot: clock::boot_id()?, pairs: pairs.iter().map(row).collect() };
        let text = Zeroizing::new(serde_json::to_vec(&file).expect("keys are plain data"));
        trusted::replace(&path, &text).map_err(|error| failed(&path, &error).hint("is the disk full?"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use wgmfa_core::key::PublicKey;

    use super::*;

    #[test]
    fn the_keys_come_back_and_are_for_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(store.load_pairs().unwrap().is_empty());
        let peer = PeerRef { interface: "wg0".parse().unwrap(), public_key: PublicKey::from_bytes([1; 32]) };
        let preshared_key = PresharedKey::from_bytes([7; 32]).unwrap();
        let fingerprint = Some(preshared_key.fingerprint(&peer.public_key, &PublicKey::from_bytes([2; 32])));
        let keys = vec![
            Key { generation: 0, fingerprint: None, preshared_key: None },
            Key { generation: 1, fingerprint, preshared_key: Some(Exposed(preshared_key)) },
        ];
        let pair = Pair {
            connection: "a/wg0:b/wg0".to_owned(),
            policy: None,
            end: PairEnd::Second,
            keys,
            used: Some(1),
            since: Boottime::from_millis(5),
            handshake: Some(9),
            rebooted: false,
        };
        let pairs = Pairs::from([(peer.clone(), pair)]);
        store.save_pairs(&pairs).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("pairs")).unwrap().mode() & 0o777, 0o600);
        let read = store.load_pairs().unwrap();
        assert_eq!(serde_json::to_string(&read[&peer]).unwrap(), serde_json::to_string(&pairs[&peer]).unwrap());
        assert_eq!(holds(&read), [PeerGeneration { peer: peer.clone(), generation: 1 }]);
        assert!(!format!("{read:?}").contains(&*PresharedKey::from_bytes([7; 32]).unwrap().expose_base64()));

        trusted::replace(&folder.path().join("pairs"), b"{\"version\":9").unwrap();
        assert!(store.load_pairs().is_err());
    }
}
