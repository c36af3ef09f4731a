//! What stands on the interfaces now.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use wgmfa_core::key::{Fingerprint, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{Error, Interface, Peer};

use crate::config::Config;

/// The interfaces that this agent looks after, as they are now.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those that could be read.
    pub interfaces: BTreeMap<InterfaceName, SeenInterface>,
    /// Why others could not.
    pub faults: Vec<String>,
}

/// One interface, with its peers by public key.
#[derive(Debug)]
pub struct SeenInterface {
    /// The interface.
    pub interface: Interface,
    places: HashMap<PublicKey, Place>,
}

/// Where a peer stands in its interface, and what stands for its key: it is asked for several times, and there may be very
/// many peers.
#[derive(Debug)]
struct Place {
    at: usize,
    fingerprint: OnceCell<Option<Fingerprint>>,
}

impl Seen {
    /// Looks at every interface that the agent looks after.
    pub fn now(config: &Config) -> Self {
        let mut seen = Self::default();
        let names = match &config.interfaces {
            Some(names) => names.iter().cloned().collect(),
            None => match wgmfa_wireguard::interfaces() {
                Ok(found) => found.names,
                Err(error) => {
                    seen.faults.push(error.to_string());
                    Vec::new()
                }
            },
        };
        names.into_iter().for_each(|name| seen.add(name, config.interfaces.is_some()));
        seen
    }

    /// Looks at one interface, if it is one that the agent looks after.
    pub fn one(config: &Config, name: &InterfaceName) -> Self {
        let mut seen = Self::default();
        if config.interfaces.as_ref().is_none_or(|names| names.contains(name)) {
            seen.add(name.clone(), config.interfaces.is_some());
        }
        seen
    }

    fn add(&mut self, name: InterfaceName, named: bool) {
        match wgmfa_wireguard::read(&name) {
            Ok(interface) => {
                let place = |(at, peer): (usize, &Peer)| (peer.public_key, Place { at, fingerprint: OnceCell::new() });
                let places = interface.peers.iter().enumerate().map(place).collect();
                self.interfaces.insert(name, SeenInterface { interface, places });
            }
            // An interface that nobody named and that is just coming or going is nobody's fault.
            Err(Error::Gone(_) | Error::Unconfigured(_)) if !named => {}
            Err(error) => self.faults.push(error.to_string()),
        }
    }

    /// A peer, if its interface could be read and has it.
    pub fn peer(&self, peer: &PeerRef) -> Option<&Peer> {
        let seen = self.interfaces.get(&peer.interface)?;
        seen.places.get(&peer.public_key).map(|place| &seen.interface.peers[place.at])
    }

    /// What stands for the preshared key of a peer.
    pub fn fingerprint(&self, peer: &PeerRef) -> Option<Fingerprint> {
        let SeenInterface { interface, places } = self.interfaces.get(&peer.interface)?;
        let place = places.get(&peer.public_key)?;
        *place.fingerprint.get_or_init(|| {
            let key = interface.peers[place.at].preshared_key.as_ref()?;
            Some(key.fingerprint(&interface.public_key, &peer.public_key))
        })
    }

    /// The public key of an interface.
    pub fn public_key(&self, interface: &InterfaceName) -> Option<PublicKey> {
        self.interfaces.get(interface).map(|seen| seen.interface.public_key)
    }
}
