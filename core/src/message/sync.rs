//! A person's client and the bastion: what `wgmfa-sync` says in JSON, as command and as subsystem.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key::{Fingerprint, PresharedKey, PublicKey, exposed};
use crate::name::TierName;

/// The subsystem's client may begin with this: the public keys of its interfaces choose the device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// Version of the conversation.
    pub version: u32,
    /// The public keys of the machine's WireGuard interfaces.
    #[serde(default)]
    pub public_keys: Vec<PublicKey>,
    /// The public keys of their peers. One login releases everything of its device all the same.
    #[serde(default)]
    pub peers: Vec<PublicKey>,
    /// The device's name, when the person names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether the client waits for [`Changed`] before it uses the next generation of a session that is renewed; else it
    /// gets none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renews: bool,
}

/// What the client says after it has got the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClientAnswer {
    /// The keys have arrived whole.
    Received {
        /// Always true.
        received: bool,
    },
    /// The keys stand in the interface.
    Applied {
        /// Each of them.
        applied: Vec<AppliedKey>,
    },
}

/// A key that the client has written into its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedKey {
    /// The peer.
    pub peer_public_key: PublicKey,
    /// The generation.
    pub generation: u64,
    /// What stands for the key that was read back from the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// What the bastion says after the client has received the keys of sessions that are renewed: which of them the server
/// side has changed to their next generation. The others go on with the generation that they have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Each that has changed.
    pub changed: Vec<ChangedKey>,
    /// The peers on the client's interface whose server side has not answered in time: it may have changed or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsure: Vec<PublicKey>,
}

/// A connection whose server side accepts its next generation, and only that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedKey {
    /// The peer on the client's interface.
    pub peer_public_key: PublicKey,
    /// The generation.
    pub generation: u64,
}

/// The generation that follows in a session that is renewed. Nobody may use it before the bastion has said [`Changed`]:
/// only a generation that the server side has confirmed is released.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextKey {
    /// Its number.
    pub generation: u64,
    /// The key.
    #[serde(with = "exposed")]
    pub preshared_key: PresharedKey,
}

/// The keys that one login releases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// Version of this format.
    pub version: u32,
    /// Who logged in.
    pub user: String,
    /// The device whose connections these are.
    pub device: String,
    /// What is released.
    pub keys: Vec<ReleasedKey>,
    /// The tiers that the firewalls of gateways open with it, where a policy asks for no key.
    #[serde(default)]
    pub grants: Vec<GrantedTier>,
    /// What cannot be released now.
    #[serde(default)]
    pub refused: Vec<RefusedKey>,
    /// Every SSH host key by which the bastion may be known, `TYPE BASE64`, the one in use first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// The version of the bastion's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What the bastion's clock shows, in seconds since 1970, for `check` alone: nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
}

/// A tier that a login opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedTier {
    /// The connection's name.
    pub connection: String,
    /// The device's public key.
    pub public_key: PublicKey,
    /// The peer on the device's interface: the gateway's public key.
    pub peer_public_key: PublicKey,
    /// The tier.
    pub tier: TierName,
    /// The policy that gives it.
    pub policy: PolicyRef,
    /// The state's name: `OK` when the gateway has confirmed that it lets the device through, else `Pending`.
    pub state: String,
    /// How long it is open from now.
    pub seconds_left: u64,
    /// The same as a time of day by the bastion's clock, for people.
    pub deadline: Timestamp,
    /// Why the gateway does not let the device through yet, and when it will, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// One released key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleasedKey {
    /// The connection's name.
    pub connection: String,
    /// The device's public key.
    pub public_key: PublicKey,
    /// The peer on the device's interface: the server side's public key.
    pub peer_public_key: PublicKey,
    /// The key.
    #[serde(with = "exposed")]
    pub preshared_key: PresharedKey,
    /// Its generation.
    pub generation: u64,
    /// The key state's name.
    pub state: String,
    /// The policy that gives it.
    pub policy: PolicyRef,
    /// The tier that opens and closes with the key, if the policy enforces by the firewall too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierName>,
    /// How long it will be accepted from now.
    pub seconds_left: u64,
    /// The same as a time of day by the bastion's clock, for people.
    pub deadline: Timestamp,
    /// Whether a session was running, and is renewed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewal: bool,
    /// Why a session that was running is not prolonged, for people: its server side has not heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_prolonged: Option<String>,
    /// What both ends change to in place, if the client can and the server side is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextKey>,
}

/// A connection that cannot be released now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedKey {
    /// The connection's name.
    pub connection: String,
    /// Why, in words.
    pub reason: String,
}

/// A policy as other programs name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The number in front of its file name.
    pub ordinal: u64,
    /// Its text for people.
    pub description: String,
    /// Whether a person must fetch the key.
    pub mfa: bool,
}
