//! Keys where the interfaces are configured: what a peer comes up with after a reboot.
//!
//! A peer under an MFA policy has a lock key there: without a preshared key it would come up with no second factor, and with an
//! old one it would come up open. One whose key both ends change together has the key that it uses.

use std::collections::{BTreeMap, HashSet};

use wgmfa_core::exit::Failure;
use wgmfa_core::key::{Fingerprint, PresharedKey, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::conf::Configuration;

use crate::carry_out::random_key;
use crate::config::Config;
use crate::pairs::Pairs;
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

/// Makes sure that each remembered peer has a lock key where its interface is configured. What could not be done comes back in
/// words.
pub fn keep_lock_keys(config: &Config, state: &mut State, renew: Renew) -> Vec<String> {
    let mut faults = Faults::default();
    for (interface, peers) in by_interface(state.peers.keys()) {
        let Some(mut file) = changeable(config, &interface, &mut faults) else { continue };
        let there: HashSet<PublicKey> = file.peers().into_iter().collect();
        let mut written = Vec::new();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            let stands = file.preshared_key(&peer.public_key).map(|key| file_fingerprint(&key, &peer));
            let ours = state.peers.get(&peer).and_then(|kept| kept.file_key);
            if renew == Renew::Changed && stands.is_some() && stands == ours {
                continue;
            }
            let key = random_key();
            match file.set_preshared_key(&peer.public_key, &key) {
                Ok(()) => {
                    let fingerprint = file_fingerprint(&key, &peer);
                    written.push((peer, fingerprint));
                }
                Err(failure) => faults.not_set(failure),
            }
        }
        match file.write() {
            Ok(_) => {
                for (peer, fingerprint) in written {
                    state.peers.entry(peer).and_modify(|kept| kept.file_key = Some(fingerprint));
                }
            }
            Err(failure) => faults.add(failure),
        }
        faults.next_interface();
    }
    faults.words
}

/// Makes sure that the key which both ends use stands where the interface is configured, so that the peer comes up with it. What
/// could not be done comes back in words.
pub fn keep_pair_keys(config: &Config, pairs: &Pairs) -> Vec<String> {
    let mut faults = Faults::default();
    for (interface, peers) in by_interface(pairs.keys()) {
        let Some(mut file) = changeable(config, &interface, &mut faults) else { continue };
        let there: HashSet<PublicKey> = file.peers().into_iter().collect();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            // generation 0 is the key of before, which is the file's own affair
            let used = pairs.get(&peer).and_then(|pair| pair.key(pair.used.filter(|used| *used > 0)?));
            let Some(key) = used.and_then(|used| used.preshared_key.as_ref()).map(|key| &key.0) else { continue };
            if file.preshared_key(&peer.public_key).as_ref() == Some(key) {
                continue;
            }
            let outcome = file.exposed(&peer.public_key).map_or(Ok(()), Err);
            if let Err(failure) = outcome.and_then(|()| file.set_preshared_key(&peer.public_key, key)) {
                faults.not_set(failure);
            }
        }
        if let Err(failure) = file.write() {
            faults.add(failure);
        }
        faults.next_interface();
    }
    faults.words
}

/// What configures an interface, if its keys are to be changed and can be.
fn changeable(config: &Config, interface: &InterfaceName, faults: &mut Faults) -> Option<Configuration> {
    if !config.manage_files {
        return None;
    }
    match Configuration::open(&config.folders, interface) {
        Ok(Some(file)) if file.save_config() => faults.words.push(save_config_fault(&file)),
        Ok(found) => return found,
        Err(failure) => faults.add(failure),
    }
    None
}

/// What could not be done, in words.
#[derive(Default)]
struct Faults {
    words: Vec<String>,
    /// How many peers of an interface were not done for a reason like the one that was told.
    more: usize,
    told: bool,
}

impl Faults {
    fn add(&mut self, failure: Failure) {
        self.words.push(match failure.hint {
            Some(hint) => format!("{} ({hint})", failure.error),
            None => failure.error,
        });
    }

    /// Of ten thousand peers whose keys cannot be set, one is told and the others are counted.
    fn not_set(&mut self, failure: Failure) {
        if std::mem::replace(&mut self.told, true) {
            self.more += 1;
        } else {
            self.add(failure);
        }
    }

    fn next_interface(&mut self) {
        if let Some(last) = self.words.last_mut().filter(|_| self.more > 0) {
            last.push_str(&format!("; {} more peers of that interface have no key there", self.more));
        }
        (self.more, self.told) = (0, false);
    }
}

/// What is wrong with a file that `wg-quick down` overwrites.
pub fn save_config_fault(file: &Configuration) -> String {
    format!("{}: SaveConfig = true would write live keys to disk; take that line out", file.path().display())
}

/// Stands for a key in a file, where the interface's own public key is not known.
pub fn file_fingerprint(key: &PresharedKey, peer: &PeerRef) -> Fingerprint {
    key.fingerprint(&peer.public_key, &peer.public_key)
}

/// The keys that are configured for these peers; a peer that is configured nowhere is missing.
pub fn configured<'a>(config: &Config, peers: impl Iterator<Item = &'a PeerRef>) -> ConfiguredKeys {
    let mut found = ConfiguredKeys::new();
    for (interface, peers) in by_interface(peers) {
        let Ok(Some(file)) = Configuration::open(&config.folders, &interface) else { continue };
        let there: HashSet<PublicKey> = file.peers().into_iter().collect();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            let key = file.preshared_key(&peer.public_key);
            found.insert(peer, key);
        }
    }
    found
}

/// Where the configuration of its interface expects a peer.
pub fn endpoint(config: &Config, peer: &PeerRef) -> Option<String> {
    Configuration::open(&config.folders, &peer.interface).ok()??.endpoint(&peer.public_key)
}

/// Puts keys back where the interfaces are configured, and takes out those that were not there. Returns the peers that are
/// configured and have their old key again; what could not be done is added to `faults`.
pub fn put_back(config: &Config, keys: &ConfiguredKeys, faults: &mut Vec<String>) -> HashSet<PeerRef> {
    let mut done = HashSet::new();
    if !config.manage_files {
        return done;
    }
    let mut failed = Faults::default();
    for (interface, peers) in by_interface(keys.keys()) {
        let mut file = match Configuration::open(&config.folders, &interface) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(failure) => {
                failed.add(failure);
                continue;
            }
        };
        let there: HashSet<PublicKey> = file.peers().into_iter().collect();
        let mut changed = Vec::new();
        for peer in peers.into_iter().filter(|peer| there.contains(&peer.public_key)) {
            // what could not be changed needs no putting back
            if file.preshared_key(&peer.public_key) == keys[&peer] {
                changed.push(peer);
                continue;
            }
            let outcome = match &keys[&peer] {
                Some(key) => file.set_preshared_key(&peer.public_key, key),
                None => file.remove_preshared_key(&peer.public_key),
            };
            match outcome {
                Ok(()) => changed.push(peer),
                Err(failure) => failed.not_set(failure),
            }
        }
        match file.write() {
            Ok(_) => done.extend(changed),
            Err(failure) => failed.add(failure),
        }
        failed.next_interface();
    }
    faults.extend(failed.words);
    done
}

fn by_interface<'a>(peers: impl Iterator<Item = &'a PeerRef>) -> BTreeMap<InterfaceName, Vec<PeerRef>> {
    let mut sorted = BTreeMap::<_, Vec<_>>::new();
    for peer in peers {
        sorted.entry(peer.interface.clone()).or_default().push(peer.clone());
    }
    sorted
}
