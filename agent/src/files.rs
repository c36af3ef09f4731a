//! Lock keys in the configuration files of `wg-quick(8)`: what a peer comes up with after a reboot.
//!
//! A peer without a `PresharedKey` line would come up with no second factor, and one with an old key would come up open.

use std::collections::{BTreeMap, HashSet};

use wgmfa_core::key::{Fingerprint, PresharedKey, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::conf::StoredFile;

use crate::carry_out::random_key;
use crate::config::Config;
use crate::state::State;
use crate::store::ConfiguredKeys;

/// Which peers get a fresh lock key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renew {
    /// All of them.
    All,
    /// Those whose line is not the one that the agent wrote last.
    Changed,
}

/// Makes sure that each remembered peer has a lock key in its interface's file. What could not be done comes back in words.
pub fn keep_lock_keys(config: &Config, state: &mut State, renew: Renew) -> Vec<String> {
    let mut faults = Vec::new();
    if !config.manage_files {
        return faults;
    }
    for (interface, peers) in by_interface(state.peers.keys()) {
        let mut file = match StoredFile::open(&config.wireguard_dir, &interface) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(failure) => {
                faults.push(failure.error);
                continue;
            }
        };
        if file.config.save_config() {
            faults.push(save_config_fault(&file));
            continue;
        }
        let there: HashSet<PublicKey> = file.config.peers().into_iter().collect();
        let mut written = Vec::new();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            let stands = file.config.preshared_key(&peer.public_key).map(|key| file_fingerprint(&key, &peer));
            let ours = state.peers.get(&peer).and_then(|kept| kept.file_key);
            if renew == Renew::Changed && stands.is_some() && stands == ours {
                continue;
            }
            let key = random_key();
            if file.config.set_preshared_key(&peer.public_key, &key).is_ok() {
                let fingerprint = file_fingerprint(&key, &peer);
                written.push((peer, fingerprint));
            }
        }
        match file.write() {
            Ok(_) => {
                for (peer, fingerprint) in written {
                    state.peers.entry(peer).and_modify(|kept| kept.file_key = Some(fingerprint));
                }
            }
            Err(failure) => faults.push(failure.error),
        }
    }
    faults
}

/// What is wrong with a file that `wg-quick down` overwrites.
pub fn save_config_fault(file: &StoredFile) -> String {
    format!("{}: SaveConfig = true would write live keys to disk; take that line out", file.path().display())
}

/// Stands for a key in a file, where the interface's own public key is not known.
pub fn file_fingerprint(key: &PresharedKey, peer: &PeerRef) -> Fingerprint {
    key.fingerprint(&peer.public_key, &peer.public_key)
}

/// The keys that stand in the files for these peers; a peer that is in no file is missing.
pub fn configured<'a>(config: &Config, peers: impl Iterator<Item = &'a PeerRef>) -> ConfiguredKeys {
    let mut found = ConfiguredKeys::new();
    for (interface, peers) in by_interface(peers) {
        let Ok(Some(file)) = StoredFile::open(&config.wireguard_dir, &interface) else { continue };
        let there: HashSet<PublicKey> = file.config.peers().into_iter().collect();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            let key = file.config.preshared_key(&peer.public_key);
            found.insert(peer, key);
        }
    }
    found
}

/// Where the file of its interface expects a peer.
pub fn endpoint(config: &Config, peer: &PeerRef) -> Option<String> {
    let file = StoredFile::open(&config.wireguard_dir, &peer.interface).ok()??;
    file.config.endpoint(&peer.public_key)
}

/// Puts keys back into the files, and takes out the lines that were not there. Returns the peers that are in a file and
/// have their old line again; what could not be done is added to `faults`.
pub fn put_back(config: &Config, keys: &ConfiguredKeys, faults: &mut Vec<String>) -> HashSet<PeerRef> {
    let mut done = HashSet::new();
    if !config.manage_files {
        return done;
    }
    for (interface, peers) in by_interface(keys.keys()) {
        let mut file = match StoredFile::open(&config.wireguard_dir, &interface) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(failure) => {
                faults.push(failure.error);
                continue;
            }
        };
        let mut changed = Vec::new();
        for peer in peers {
            let outcome = match &keys[&peer] {
                Some(key) => file.config.set_preshared_key(&peer.public_key, key),
                None => file.config.remove_preshared_key(&peer.public_key),
            };
            if outcome.is_ok() {
                changed.push(peer);
            }
        }
        match file.write() {
            Ok(_) => done.extend(changed),
            Err(failure) => faults.push(failure.error),
        }
    }
    done
}

fn by_interface<'a>(peers: impl Iterator<Item = &'a PeerRef>) -> BTreeMap<InterfaceName, Vec<PeerRef>> {
    let mut sorted = BTreeMap::<_, Vec<_>>::new();
    for peer in peers {
        sorted.entry(peer.interface.clone()).or_default().push(peer.clone());
    }
    sorted
}
