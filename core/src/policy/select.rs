//! What policies can say about a connection: which applies, which side rotates, and why.

use std::borrow::Cow;
use std::fmt;

use crate::connection::{Connection, InterfaceRef, Other};
use crate::key::PublicKey;
use crate::name::UserName;
use crate::policy::{Ordinal, Policy, PolicySet, Selector};

/// What the policies say about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Selection<'a> {
    /// This policy applies.
    Applies {
        /// The winner.
        policy: &'a Policy,
        /// Which side rotates.
        sides: Sides,
    },
    /// The winning policy contradicts itself here: nothing is rotated, and no other policy is tried.
    Conflict {
        /// The winner.
        policy: &'a Policy,
        /// How it contradicts itself.
        reason: Conflict,
    },
    /// No policy covers it.
    None,
}

impl<'a> Selection<'a> {
    /// The policy that applies; none also in a conflict.
    pub fn policy(&self) -> Option<&'a Policy> {
        match self {
            Self::Applies { policy, .. } => Some(policy),
            Self::Conflict { .. } | Self::None => None,
        }
    }
}

/// One end of a [`Connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end that its name puts first, always a host's interface.
    One,
    /// The other end.
    Other,
}

/// Which side of a connection rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// MFA: this end is the server side, a host's interface; the other one is the client side.
    Server(End),
    /// Non-MFA: both ends rotate together.
    Both,
}

impl Sides {
    /// The server side of the connection for which these sides were selected; none: both rotate.
    pub fn server_side<'c>(&self, connection: &'c Connection) -> Option<&'c InterfaceRef> {
        match (self, &connection.name.other) {
            (Self::Server(End::One), _) => Some(&connection.name.one),
            (Self::Server(End::Other), Other::Interface(name)) => Some(name),
            _ => None,
        }
    }

    /// The server side's public key; none: both rotate.
    pub fn server_public_key(&self, connection: &Connection) -> Option<PublicKey> {
        match self {
            Self::Server(End::One) => Some(connection.public_key),
            Self::Server(End::Other) => Some(connection.other_public_key),
            Self::Both => None,
        }
    }

    /// The client side's public key; none: both rotate.
    pub fn client_public_key(&self, connection: &Connection) -> Option<PublicKey> {
        match self {
            Self::Server(End::One) => Some(connection.other_public_key),
            Self::Server(End::Other) => Some(connection.public_key),
            Self::Both => None,
        }
    }

    /// The person who may fetch the key; none: both rotate, or the client side is unmonitored (then only an
    /// administrator can carry it).
    pub fn client_owner<'c>(&self, connection: &'c Connection) -> Option<&'c UserName> {
        match self {
            Self::Server(End::One) => connection.other_owner.as_ref(),
            Self::Server(End::Other) => connection.owner.as_ref(),
            Self::Both => None,
        }
    }
}

/// How a policy contradicts itself on a connection. Ends are named as people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// One end is on both lists.
    BothLists(String),
    /// `server-peers` names both ends.
    TwoServers,
    /// `client-peers` names both ends.
    TwoClients,
    /// This end is to be the server side, and is no host.
    ServerNotHost(String),
    /// This end is to be the client side, and nobody owns it.
    ClientNotOwned(String),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BothLists(end) => write!(f, "server-peers and client-peers both name {end}"),
            Self::TwoServers => f.write_str("server-peers names both ends"),
            Self::TwoClients => f.write_str("client-peers names both ends"),
            Self::ServerNotHost(end) => write!(f, "the server side would be {end}, which is no host"),
            Self::ClientNotOwned(end) => write!(f, "the client side would be {end}, which has no owner"),
        }
    }
}

/// A list of a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `server-peers`
    Server,
    /// `client-peers`
    Client,
    /// `peers`
    Both,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server-peers",
            Self::Client => "client-peers",
            Self::Both => "peers",
        })
    }
}

/// A policy whose lists name an end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Why it applies or does not.
    pub reason: Reason,
}

impl Candidate<'_> {
    /// Whether this is the policy that applies.
    pub fn applies(&self) -> bool {
        matches!(self.reason, Reason::Lowest { .. })
    }
}

/// Why a candidate applies or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It applies: it has the lowest ordinal of those that name this connection.
    Lowest {
        /// The list that names an end.
        list: List,
        /// The end.
        end: Other,
    },
    /// It has the lowest ordinal, and contradicts itself.
    Contradicts(Conflict),
    /// The other end is unmonitored, and the policy does not set `unmonitored`.
    Unmonitored,
    /// This policy has a lower ordinal.
    Higher(Ordinal),
}

impl Reason {
    /// The same as text.
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Lowest { list, end } => format!("{list} names {end}, and no lower ordinal applies").into(),
            Self::Contradicts(conflict) => format!("conflict: {conflict}").into(),
            Self::Unmonitored => "the other end is unmonitored, and this policy does not set unmonitored".into(),
            Self::Higher(winner) => format!("policy {winner} has a lower ordinal").into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Every policy that names an end of a connection, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered<'a> {
    /// The policies that name it, lowest ordinal first.
    pub candidates: Vec<Candidate<'a>>,
    /// What they say.
    pub selection: Selection<'a>,
}

/// What the policies say about one connection. For many, use a [`Selector`].
pub fn select<'a>(set: &'a PolicySet, connection: &Connection) -> Selection<'a> {
    Selector::new(set).select(connection)
}
