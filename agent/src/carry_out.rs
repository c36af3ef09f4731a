//! Putting preshared keys on peers that are there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rand::Rng as _;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{Change, EndpointRule, Error};

use crate::voice;

/// Which key each peer is to get, by interface.
pub type Changes = BTreeMap<InterfaceName, Vec<(PublicKey, PresharedKey)>>;

/// A peer that does not have its new key, and why.
pub type NotDone = BTreeMap<PeerRef, String>;

/// 32 bytes from the system's random number generator.
pub fn random_key() -> PresharedKey {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    PresharedKey::from_bytes(*bytes).expect("256 random bits are not all zero")
}

/// Removes peers and adds them again with a new key, in one update per interface, and reads back.
///
/// The others of an interface get their keys also when one has gone.
pub fn readd(changes: &Changes, endpoint: EndpointRule) -> NotDone {
    each(changes, |interface, wanted| Change::readd(interface, wanted, endpoint))
}

/// What [`readd`] does first: nothing is changed yet.
pub fn ready_to_readd(changes: &Changes, endpoint: EndpointRule) -> Ready {
    let mut ready = Ready::default();
    for (interface, wanted) in changes {
        ready.add(interface, wanted, |interface, wanted| Change::readd(interface, wanted, endpoint));
    }
    ready
}

/// Changes the keys of peers in place, and reads back: sessions that run go on, the next handshake needs the new key.
pub fn change_in_place(changes: &Changes) -> NotDone {
    each(changes, Change::in_place)
}

/// The same; no key: it is taken out.
pub fn set_in_place(changes: &BTreeMap<InterfaceName, Vec<(PublicKey, Option<PresharedKey>)>>) -> NotDone {
    let (mut set, mut not_done) = (Changes::new(), NotDone::new());
    for (interface, wanted) in changes {
        for (public_key, key) in wanted {
            match key {
                Some(key) => set.entry(interface.clone()).or_default().push((*public_key, key.clone())),
                None => {
                    if let Err(why) = take_key_out(interface, public_key) {
                        not_done.insert(PeerRef { interface: interface.clone(), public_key: *public_key }, why);
                    }
                }
            }
        }
    }
    not_done.extend(change_in_place(&set));
    not_done
}

/// Takes the preshared key of a peer out, with `wg(8)`.
///
/// # Errors
/// It is still there; in words.
pub fn take_key_out(interface: &InterfaceName, peer: &PublicKey) -> Result<(), String> {
    let peer = peer.to_string();
    let words = ["set", interface.as_str(), "peer", &peer, "preshared-key", "/dev/null"];
    let ended =
        Command::new("wg").args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("{interface}: the last key is still there; take it out: wg {}", words.join(" "))),
    }
}

/// Tells an interface where a peer is, with `wg(8)`. Nobody waits for a name to be looked up: deadlines are kept meanwhile.
pub fn point_out(peer: &PeerRef, endpoint: &str) {
    let PeerRef { interface, public_key } = peer;
    let words = ["set", interface.as_str(), "peer", &public_key.to_string(), "endpoint", endpoint];
    let mut wg = Command::new("wg");
    let started = wg.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let told = match started {
        Ok(mut wg) if endpoint.parse::<SocketAddr>().is_ok() => wg.wait().is_ok_and(|status| status.success()),
        Ok(mut wg) => {
            std::thread::spawn(move || wg.wait());
            true
        }
        Err(_) => false,
    };
    if !told {
        voice::note(&format!("{interface}: wg does not take the endpoint that the file has for peer {public_key}"));
    }
}

/// One interface after the other, so that each is looked at just before it is changed.
fn each(
    changes: &Changes,
    make: impl Fn(&InterfaceName, &[(PublicKey, PresharedKey)]) -> Result<Change, Error>,
) -> NotDone {
    let mut not_done = NotDone::new();
    for (interface, wanted) in changes {
        let mut ready = Ready::default();
        ready.add(interface, wanted, &make);
        not_done.extend(ready.carry_out());
    }
    not_done
}

/// Changes that were checked, and those that cannot be made.
#[derive(Default)]
pub struct Ready {
    changes: Vec<Change>,
    not_done: NotDone,
}

impl Ready {
    fn add(
        &mut self,
        interface: &InterfaceName,
        wanted: &[(PublicKey, PresharedKey)],
        make: impl Fn(&InterfaceName, &[(PublicKey, PresharedKey)]) -> Result<Change, Error>,
    ) {
        let mut wanted = wanted.to_vec();
        while !wanted.is_empty() {
            let error = match make(interface, &wanted) {
                Ok(change) => return self.changes.push(change),
                Err(error) => error,
            };
            let peers: Vec<_> = match &error {
                Error::UnknownPeers(_, peers) if !peers.is_empty() => peers.clone(),
                _ => wanted.iter().map(|(peer, _)| *peer).collect(),
            };
            wanted.retain(|(peer, _)| !peers.contains(peer));
            self.failed(interface, peers, &error);
        }
    }

    /// Makes the changes, and reads back.
    pub fn carry_out(mut self) -> NotDone {
        for change in std::mem::take(&mut self.changes) {
            let Err(error) = change.carry_out() else { continue };
            let peers: Vec<_> = match &error {
                Error::NotTaken(_, peers) => peers.clone(),
                _ => change.peers().copied().collect(),
            };
            self.failed(change.interface(), peers, &error);
        }
        self.not_done
    }

    fn failed(&mut self, interface: &InterfaceName, peers: Vec<PublicKey>, error: &Error) {
        let peer = |public_key| PeerRef { interface: interface.clone(), public_key };
        self.not_done.extend(peers.into_iter().map(|public_key| (peer(public_key), error.to_string())));
    }
}
