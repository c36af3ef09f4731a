//! The second way to enforce: the tunnel comes up, and the gateway's firewall lets a peer's addresses through to the
//! networks of a tier only while a grant is in force.

pub mod code;
pub mod cover;
pub mod dialogue;
pub mod grants;
pub mod identity;
pub mod parts;
pub mod routing;
pub mod ruleset;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::message::agent::PeerRef;
use crate::message::sync::PolicyRef;
use crate::name::{InterfaceName, TierName};
use crate::tier::Tiers;

/// The TCP port on which a gateway asks for codes inside the tunnel, unless `agent.toml` says otherwise.
pub const CODE_PORT: u16 = 7777;

/// What the bastion says about one peer that a policy enforces by the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateAssignment {
    /// The peer.
    #[serde(flatten)]
    pub peer: PeerRef,
    /// The connection's name, for people.
    pub connection: String,
    /// What people call the other end: a device's name.
    pub other: String,
    /// The policy.
    pub policy: PolicyRef,
    /// The tier that it gives.
    pub tier: TierName,
    /// How long a grant lasts at most, in seconds.
    pub rotation_interval: u64,
    /// After how long without a new handshake a grant is over, in seconds; none: it lasts until its deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u64>,
    /// The policy enforces by the preshared key too: its tier opens and closes with the key's session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_key: bool,
    /// Why nobody may come in, when an administrator has cut off the person, the device or the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<String>,
    /// The grants in force.
    #[serde(default)]
    pub grants: Vec<TierLeft>,
}

/// A grant as it stands in messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierLeft {
    /// The tier.
    pub tier: TierName,
    /// How long it is still open, in seconds.
    pub seconds_left: u64,
}

/// What the bastion says to a code that was given inside a tunnel. The gateway learns no more than that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum CodeVerdict {
    /// The code was good, and these grants are recorded.
    Accept {
        /// Each of them.
        grants: Vec<TierLeft>,
    },
    /// The code was wrong, or used before, or its person may not log in.
    Wrong {
        /// How many more tries there are before a pause.
        tries_left: u32,
    },
    /// Too many tries.
    Locked {
        /// How long, in seconds.
        seconds: u64,
    },
    /// No code is good here.
    Refuse {
        /// Why, in words.
        reason: String,
    },
}

/// Addresses behind one interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    /// The gateway's interface.
    pub interface: InterfaceName,
    /// One address, or, of peers that need no code or where the configuration allows it, a network.
    pub network: IpNet,
}

/// Addresses that a tier is open for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opening {
    /// Whose.
    pub addresses: Addresses,
    /// The tier.
    pub tier: TierName,
    /// For how long from now.
    pub left: Duration,
}

/// What a gate is made of, apart from the grants: it changes with configuration and policies only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The interfaces whose peers are held back.
    pub interfaces: BTreeSet<InterfaceName>,
    /// Addresses behind them that no policy enforces by the firewall: nothing holds them back.
    pub free: BTreeSet<Addresses>,
    /// The tiers.
    pub tiers: Tiers,
    /// The TCP port on which codes are asked for, on these interfaces.
    pub code_port: u16,
}
