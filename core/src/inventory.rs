//! What the hosts report and who owns which device: the file that `wgmfa-bastion inventory --json` writes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::{Fingerprint, PublicKey};
use crate::name::{DeviceName, HostName, InterfaceName, UserName};

/// Hosts with their interfaces and peers, and devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Version of this format: 1.
    pub version: u32,
    /// Machines with an agent, as last reported.
    #[serde(default)]
    pub hosts: Vec<Host>,
    /// People's WireGuard keys.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// A machine with an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Whose machine it is, when it is a person's: then it may be a client side.
    #[serde(default)]
    pub owner: Option<UserName>,
    /// Cut off by an administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// How its agent comes; none: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Rhythm>,
    /// Root on it has had its agent stand down: no policy is enforced there until the agent begins again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stood_down: bool,
    /// Its WireGuard interfaces.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
}

/// How an agent comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rhythm {
    /// It stays connected.
    Resident,
    /// It comes by every so many seconds.
    Every(u64),
}

/// A WireGuard interface of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name on the host.
    pub name: InterfaceName,
    /// Its public key.
    pub public_key: PublicKey,
    /// The UDP port on which it listens.
    #[serde(default)]
    pub listen_port: Option<u16>,
    /// Its peers.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// A peer of an interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's public key.
    pub public_key: PublicKey,
    /// Allowed IPs, as `wg` prints them.
    #[serde(default)]
    pub allowed_ips: Vec<String>,
    /// Whether the interface uses a preshared key with this peer.
    #[serde(default)]
    pub has_preshared_key: bool,
    /// What stands for that preshared key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// When the latest handshake was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_handshake: Option<Timestamp>,
    /// That handshake is another one than stood there when the peer's key became the one that it has now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handshake_with_this_key: bool,
    /// Root on the host has opened this peer; in a report: for so many seconds more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by_root_for: Option<u64>,
    /// The same, in what the bastion says: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by_root_until: Option<Timestamp>,
    /// Nobody may come in here until what was removed is registered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_locked: bool,
    /// The newest generation that the server side accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When that generation was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// When it was released to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// When it stops being accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// A person's WireGuard key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// The person who owns it; the bastion knows one for each device, a file that somebody wrote perhaps not.
    #[serde(default)]
    pub owner: Option<UserName>,
    /// Its public key.
    pub public_key: PublicKey,
    /// Reported lost, or cut off by an administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}
