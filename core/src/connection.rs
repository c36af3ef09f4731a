//! Connections: the two ends of one WireGuard relation, found in an inventory, and their names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::key::PublicKey;
use crate::name::{DeviceName, HostName, InterfaceName, UserName};

/// An interface of a host, written `HOST/INTERFACE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceRef {
    /// The host.
    pub host: HostName,
    /// Its interface.
    pub interface: InterfaceName,
}

impl fmt::Display for InterfaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.interface)
    }
}

/// Why a text is not the name of a connection or of one end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionNameError;

impl fmt::Display for ConnectionNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write HOST/INTERFACE:OTHER, where OTHER is a device, another HOST/INTERFACE, or a public key")
    }
}

impl std::error::Error for ConnectionNameError {}

impl FromStr for InterfaceRef {
    type Err = ConnectionNameError;
    fn from_str(text: &str) -> Result<Self, ConnectionNameError> {
        let (host, interface) = text.split_once('/').ok_or(ConnectionNameError)?;
        Ok(Self {
            host: host.parse().map_err(|_| ConnectionNameError)?,
            interface: interface.parse().map_err(|_| ConnectionNameError)?,
        })
    }
}

impl TryFrom<String> for InterfaceRef {
    type Error = ConnectionNameError;
    fn try_from(text: String) -> Result<Self, ConnectionNameError> {
        text.parse()
    }
}

impl From<InterfaceRef> for String {
    fn from(end: InterfaceRef) -> String {
        end.to_string()
    }
}

/// The end of a connection that its name puts second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Other {
    /// A registered device.
    Device(DeviceName),
    /// An interface of another host.
    Interface(InterfaceRef),
    /// A public key that nobody registered.
    Unmonitored(PublicKey),
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name) => name.fmt(f),
            Self::Interface(end) => end.fmt(f),
            Self::Unmonitored(key) => key.fmt(f),
        }
    }
}

impl FromStr for Other {
    type Err = ConnectionNameError;
    fn from_str(text: &str) -> Result<Self, ConnectionNameError> {
        if let Ok(key) = text.parse() {
            Ok(Self::Unmonitored(key))
        } else if let Ok(end) = text.parse() {
            Ok(Self::Interface(end))
        } else {
            text.parse().map(Self::Device).map_err(|_| ConnectionNameError)
        }
    }
}

/// `HOST/INTERFACE:OTHER`; between two hosts the end that sorts first is written first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectionName {
    /// The end that is always a host's interface.
    pub one: InterfaceRef,
    /// The other end.
    pub other: Other,
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.one, self.other)
    }
}

impl FromStr for ConnectionName {
    type Err = ConnectionNameError;
    fn from_str(text: &str) -> Result<Self, ConnectionNameError> {
        let (one, other) = text.split_once(':').ok_or(ConnectionNameError)?;
        Ok(Self { one: one.parse()?, other: other.parse()? })
    }
}

impl TryFrom<String> for ConnectionName {
    type Error = ConnectionNameError;
    fn try_from(text: String) -> Result<Self, ConnectionNameError> {
        text.parse()
    }
}

impl From<ConnectionName> for String {
    fn from(name: ConnectionName) -> String {
        name.to_string()
    }
}

/// The two ends of one WireGuard relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name, by which people speak of it.
    pub name: ConnectionName,
    /// The public key of the end that the name puts first.
    pub public_key: PublicKey,
    /// The public key of the other end.
    pub other_public_key: PublicKey,
    /// Who owns the first end's host, if a person does.
    pub owner: Option<UserName>,
    /// Who owns the other end: the device's owner, or the owner of the other host.
    pub other_owner: Option<UserName>,
}

impl Connection {
    /// The person whom this connection serves: the owner of either end.
    pub fn person(&self) -> Option<&UserName> {
        self.other_owner.as_ref().or(self.owner.as_ref())
    }
}

/// Every connection of an inventory, sorted by name. A relation that both its hosts report is one connection.
pub fn connections(inventory: &Inventory) -> Vec<Connection> {
    let interfaces: BTreeMap<_, _> = inventory
        .hosts
        .iter()
        .flat_map(|host| host.interfaces.iter().map(move |interface| (interface.public_key, (host, interface))))
        .collect();
    let devices: BTreeMap<_, _> = inventory.devices.iter().map(|device| (device.public_key, device)).collect();
    let mut found = BTreeMap::new();
    for host in &inventory.hosts {
        for interface in &host.interfaces {
            let here = InterfaceRef { host: host.name.clone(), interface: interface.name.clone() };
            for peer in &interface.peers {
                let connection = if let Some((other_host, other)) = interfaces.get(&peer.public_key) {
                    let there = InterfaceRef { host: other_host.name.clone(), interface: other.name.clone() };
                    let mut ends = [
                        (here.clone(), interface.public_key, host.owner.clone()),
                        (there, peer.public_key, other_host.owner.clone()),
                    ];
                    ends.sort();
                    let [(one, public_key, owner), (other, other_public_key, other_owner)] = ends;
                    let name = ConnectionName { one, other: Other::Interface(other) };
                    Connection { name, public_key, other_public_key, owner, other_owner }
                } else {
                    let device = devices.get(&peer.public_key);
                    let other = match device {
                        Some(device) => Other::Device(device.name.clone()),
                        None => Other::Unmonitored(peer.public_key),
                    };
                    Connection {
                        name: ConnectionName { one: here.clone(), other },
                        public_key: interface.public_key,
                        other_public_key: peer.public_key,
                        owner: host.owner.clone(),
                        other_owner: device.and_then(|device| device.owner.clone()),
                    }
                };
                found.insert(connection.name.clone(), connection);
            }
        }
    }
    found.into_values().collect()
}
