//! Policies: their files, and which one applies to a connection.

mod file;
mod index;
mod pattern;
mod seldom;
mod select;
mod selector;
mod set;
mod warning;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connection::{Connection, Other};
use crate::interval::Interval;
use crate::message::sync::PolicyRef;
use crate::name::TierName;

pub use pattern::{Glob, Pattern, PatternError};
pub use select::{Candidate, Conflict, Considered, End, List, Reason, Selection, Sides, select};
pub use selector::Selector;
pub use set::PolicySet;
pub use warning::{Warning, Warnings, warnings};

/// The number in front of a policy file's name; the lowest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub u64);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One file of `policy.d/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The number in front of the file's name.
    pub ordinal: Ordinal,
    /// The file's name.
    pub file: String,
    /// Text for people.
    pub description: String,
    /// How long a released key is good for, and how old a waiting one may become.
    pub rotation_interval: Interval,
    /// Whose connections it covers, and which side rotates.
    pub covers: Covers,
    /// Whether it also covers connections whose other end is unmonitored.
    pub unmonitored: bool,
    /// Lock also when no new handshake was seen for this long.
    pub idle_timeout: Option<Interval>,
    /// By what means.
    pub enforce: Enforce,
}

/// Whose connections a policy covers, and which side rotates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covers {
    /// `mfa = true`: one side rotates, a person fetches.
    Mfa {
        /// Connections of these are covered, and their own side rotates.
        server_peers: Vec<Pattern>,
        /// Connections of these are covered, and the other side rotates.
        client_peers: Vec<Pattern>,
    },
    /// `mfa = false`: both sides rotate together.
    Together {
        /// Connections of these are covered.
        peers: Vec<Pattern>,
    },
}

/// By what means a policy is enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforce {
    /// By the preshared key.
    PresharedKey,
    /// By the firewall, which opens this tier.
    Firewall(TierName),
    /// By both.
    Both(TierName),
}

impl Enforce {
    /// Whether preshared keys rotate.
    pub fn rotates(&self) -> bool {
        !matches!(self, Self::Firewall(_))
    }

    /// The tier that the firewall opens.
    pub fn tier(&self) -> Option<&TierName> {
        match self {
            Self::PresharedKey => None,
            Self::Firewall(tier) | Self::Both(tier) => Some(tier),
        }
    }
}

impl Policy {
    /// Whether a person must fetch the key.
    pub fn mfa(&self) -> bool {
        matches!(self.covers, Covers::Mfa { .. })
    }

    /// Why no key of this connection rotates under a policy that has both ends rotate together: one of them is none that
    /// could. None: it does, or one end rotates alone.
    pub fn rests(&self, connection: &Connection) -> Option<String> {
        match &connection.name.other {
            Other::Device(_) | Other::Unmonitored(_) if !self.mfa() => {
                Some(format!("{} has no agent, and no end rotates alone under mfa = false", connection.name.other))
            }
            Other::Device(_) | Other::Unmonitored(_) | Other::Interface(_) => None,
        }
    }

    /// The policy as messages and lists name it.
    pub fn reference(&self) -> PolicyRef {
        PolicyRef { ordinal: self.ordinal.0, description: self.description.clone(), mfa: self.mfa() }
    }
}

/// `policy 101 Prod User Devices`
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {} {}", self.ordinal, self.description)
    }
}

#[cfg(test)]
mod tests;
