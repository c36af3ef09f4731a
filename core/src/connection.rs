//! Connections: the two ends of one WireGuard relation, found in an inventory, and their names.

mod reported;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
use crate::key::PublicKey;
use crate::name::{DeviceName, HostName, InterfaceName, UserName};

pub(crate) use reported::{Reported, reported};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl TryFrom<String> for Other {
    type Error = ConnectionNameError;
    fn try_from(text: String) -> Result<Self, ConnectionNameError> {
        text.parse()
    }
}

impl From<Other> for String {
    fn from(other: Other) -> String {
        other.to_string()
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

impl ConnectionName {
    /// Whether this is its name, whole; between two hosts also with its ends the other way round.
    pub fn is(&self, text: &str) -> bool {
        let reversed = match &self.other {
            Other::Interface(end) => Some(format!("{end}:{}", self.one)),
            Other::Device(_) | Other::Unmonitored(_) => None,
        };
        self.to_string() == text || reversed.is_some_and(|name| name == text)
    }

    /// Whether people may mean it by this: its name or any part of that.
    pub fn has(&self, part: &str) -> bool {
        self.to_string().contains(part) || self.is(part)
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
    reported(inventory).map(|reported| reported.connection).collect()
}

#[cfg(test)]
mod tests;
