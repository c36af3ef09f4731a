//! What the messages between agent and bastion are made of.

use serde::{Deserialize, Serialize};

use super::report;
use crate::key::{PresharedKey, PublicKey, exposed};
use crate::name::{InterfaceName, TierName};

/// A peer of an interface of the host that speaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerRef {
    /// The host's interface.
    pub interface: InterfaceName,
    /// The peer's public key.
    pub public_key: PublicKey,
}

/// One generation of one peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "report::PeerGenerationLine")]
pub struct PeerGeneration {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// The generation's number.
    pub generation: u64,
}

/// A new generation, handed to the bastion before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Which generation of which peer.
    #[serde(flatten)]
    pub which: PeerGeneration,
    /// The preshared key.
    #[serde(with = "exposed")]
    pub preshared_key: PresharedKey,
}

/// A preshared key for an existing peer that the receiving host did not make itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which generation of which peer.
    #[serde(flatten)]
    pub which: PeerGeneration,
    /// The connection's name, for people.
    pub connection: String,
    /// The key.
    #[serde(with = "exposed")]
    pub preshared_key: PresharedKey,
    /// What the key is to this host.
    #[serde(flatten)]
    pub role: Role,
}

/// What a key that is delivered is to the host that gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Role {
    /// This host is the client side: it uses the key, and the other side counts the time.
    Client {
        /// How long the other side accepts it from now.
        seconds_left: u64,
        /// The session that runs goes on: change the key in place.
        in_place: bool,
    },
    /// This host is the server side: it accepts the key until then.
    Server {
        /// How long it may be accepted from now.
        seconds_left: u64,
    },
    /// No policy covers the peer: the key stays, and the peer is none of wgmfa's affair any more.
    Free,
}

/// An act of root on the host, or a finding of the agent, for the bastion's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEvent {
    /// `override`, `stand-down`, `lock`, `changed-outside`, `idle`, `two-endpoints`, `closed` (a tier, before its time).
    pub event: String,
    /// The peer it was about.
    #[serde(default)]
    pub peer: Option<PeerRef>,
    /// The generation that is over with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The tier that is closed with it; none: all of the peer's, if it is about tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierName>,
    /// Why, in words.
    pub reason: String,
    /// How long ago, in seconds.
    pub seconds_ago: u64,
}

/// A tier of a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerTier {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// The tier.
    pub tier: TierName,
}

/// A tier that a code is to open, and for how long by the gateway's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierWish {
    /// The tier.
    pub tier: TierName,
    /// How long at most, in seconds; none: as long as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// A line of the bastion's audit log: whoever keeps the newest one that it saw can tell later that nothing up to it was
/// changed or cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The line's number.
    pub seq: u64,
    /// The line's hash, SHA-256 in hexadecimal.
    pub hash: String,
}

impl LogHead {
    /// Whether it can be a line of a log at all: whatever comes from the other side may be kept and shown if it can.
    pub fn is_well_formed(&self) -> bool {
        self.seq > 0 && self.hash.len() == 64 && self.hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// How long ago a peer shook hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "report::HandshakeAgeLine")]
pub struct HandshakeAge {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// Seconds since its latest handshake.
    pub seconds: u64,
    /// This handshake stood there already when the agent last changed the peer's key in place: it proves nothing about
    /// the key that is there now.
    #[serde(default)]
    pub before_change: bool,
}
