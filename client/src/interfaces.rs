//! `wgmfa interfaces`: names, public keys and peers of the WireGuard interfaces, no secrets.

use serde::{Deserialize, Serialize};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::VERSION;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{Error, Interface, read};

use crate::{rights, voice, way};

/// The interfaces as other programs read them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    /// Each interface, sorted by name.
    pub interfaces: Vec<Listed>,
}

/// An interface.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: InterfaceName,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its peers.
    pub peers: Vec<ListedPeer>,
}

/// A peer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListedPeer {
    /// Its public key.
    pub public_key: PublicKey,
}

/// The command.
pub fn interfaces() -> Result<Exit, Failure> {
    rights::require()?;
    way::remove_stale();
    voice::json(&Listing::of(&here(None)?));
    Ok(Exit::Done)
}

impl Listing {
    /// What of these interfaces everyone may know.
    pub fn of(interfaces: &[Interface]) -> Self {
        let peers = |interface: &Interface| {
            interface.peers.iter().map(|peer| ListedPeer { public_key: peer.public_key }).collect()
        };
        let listed = |interface: &Interface| Listed {
            name: interface.name.clone(),
            public_key: interface.public_key,
            peers: peers(interface),
        };
        Self { version: VERSION, interfaces: interfaces.iter().map(listed).collect() }
    }
}

/// The interfaces of this machine, or the one that is named.
///
/// # Errors
/// The named one cannot be read, or the caller may read none. One that is half made is passed over.
pub fn here(only: Option<&InterfaceName>) -> Result<Vec<Interface>, Failure> {
    if let Some(name) = only {
        return Ok(vec![read(name)?]);
    }
    let mut found = Vec::new();
    for name in wgmfa_wireguard::interfaces()?.names {
        match read(&name) {
            Ok(interface) => found.push(interface),
            Err(error @ Error::Rights(_)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(found)
}
