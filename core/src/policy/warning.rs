//! What is allowed and should still be looked at.

use std::fmt;

use crate::connection::{ConnectionName, Other, Reported, reported};
use crate::diagnostic::count;
use crate::exit::sanitise;
use crate::interval::Interval;
use crate::inventory::Inventory;
use crate::key::PublicKey;
use crate::name::HostName;
use crate::policy::seldom::Agents;
use crate::policy::{Conflict, Considered, Covers, Ordinal, Policy, PolicySet, Selection, Selector};

/// Something allowed that should be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A policy's lists are all empty.
    NamesNobody {
        /// Its file.
        file: String,
    },
    /// The winning policy contradicts itself on a connection: nothing is rotated there.
    Conflict {
        /// The connection.
        connection: ConnectionName,
        /// The policy.
        policy: Ordinal,
        /// How.
        reason: Conflict,
    },
    /// A non-MFA policy wins over an MFA policy: this connection has no second factor.
    NonMfaWins {
        /// The connection.
        connection: ConnectionName,
        /// The non-MFA policy.
        winner: Ordinal,
        /// The first MFA policy that would also apply.
        loser: Ordinal,
    },
    /// An unmonitored peer on an interface that an MFA policy covers: no second factor.
    Unmonitored {
        /// The connection.
        connection: ConnectionName,
        /// The peer's public key.
        public_key: PublicKey,
        /// Its allowed IPs.
        allowed_ips: Vec<String>,
        /// The MFA policy that names the interface.
        policy: Ordinal,
    },
    /// The server side's agent comes by instead of staying: sessions last longer than their policy says.
    Seldom {
        /// The server side's host.
        host: HostName,
        /// An MFA policy that covers connections of it.
        policy: Ordinal,
        /// Its rotation interval.
        interval: Interval,
        /// How often the agent comes.
        period: Interval,
    },
    /// Two servers change their key together, and the agent of one of them comes by instead of staying.
    TandemOverCron {
        /// The connection.
        connection: ConnectionName,
        /// The host.
        host: HostName,
        /// How often its agent comes.
        period: Interval,
    },
}

/// One line: `SUBJECT: warning: what`.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamesNobody { file } => write!(f, "{}: warning: the policy names no peer", sanitise(file)),
            Self::Conflict { connection, policy, reason } => {
                write!(f, "{connection}: warning: conflict: in policy {policy} {reason}; nothing is rotated")
            }
            Self::NonMfaWins { connection, winner, loser } => write!(
                f,
                "{connection}: warning: this connection has no second factor: policy {winner} (mfa = false) wins over \
                 policy {loser}"
            ),
            Self::Seldom { host, policy, interval, period } if period >= interval => write!(
                f,
                "{host}: warning: its agent comes every {period}, too seldom for policy {policy}, which rotates every \
                 {interval}: most logins between rounds are refused, and a session is locked up to {period} late"
            ),
            Self::Seldom { host, policy, interval, period } => write!(
                f,
                "{host}: warning: its agent comes every {period}: a session under policy {policy} ({interval}) is locked \
                 up to {period} late"
            ),
            Self::TandemOverCron { connection, host, period } => write!(
                f,
                "{connection}: warning: the agent of {host} comes every {period}: packets can be lost when both ends \
                 change their key (gaps of more than a minute)"
            ),
            Self::Unmonitored { connection: ConnectionName { one, .. }, public_key, allowed_ips, policy } => {
                let addresses = if allowed_ips.is_empty() { "no addresses".to_owned() } else { allowed_ips.join(", ") };
                write!(
                    f,
                    "{one}: warning: no second factor: peer {public_key} ({}) is unmonitored, and policy {policy} \
                     covers this interface",
                    sanitise(&addresses)
                )
            }
        }
    }
}

/// All warnings; shown as a line each, then their count, no newline at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warnings(pub Vec<Warning>);

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.0 {
            writeln!(f, "{warning}")?;
        }
        f.write_str(&count(self.0.len(), "warning"))
    }
}

/// What should be looked at: files first, then connections by name. Without an inventory at hand, pass an empty one.
pub fn warnings(set: &PolicySet, inventory: &Inventory) -> Warnings {
    let names_nobody = |policy: &&Policy| match &policy.covers {
        Covers::Mfa { server_peers, client_peers } => server_peers.is_empty() && client_peers.is_empty(),
        Covers::Together { peers } => peers.is_empty(),
    };
    let silent = set.policies().iter().filter(names_nobody);
    let mut warnings: Vec<_> = silent.map(|policy| Warning::NamesNobody { file: policy.file.clone() }).collect();
    let mut selector = Selector::new(set);
    let mut agents = Agents::new(inventory);
    for reported in reported(inventory) {
        let considered = selector.consider(&reported.connection);
        warnings.extend(agents.of_connection(&reported.connection, &considered.selection));
        warnings.extend(of_connection(considered, reported));
    }
    warnings.extend(agents.seldom());
    Warnings(warnings)
}

fn of_connection(considered: Considered<'_>, reported: Reported<'_>) -> Option<Warning> {
    let connection = reported.connection;
    let Considered { candidates, selection } = considered;
    let mfa = candidates.iter().find(|candidate| candidate.policy.mfa());
    let unmonitored = matches!(connection.name.other, Other::Unmonitored(_));
    // nobody comes in there, whoever it was
    let kept_locked = reported.one.is_some_and(|peer| peer.kept_locked);
    match selection {
        Selection::Conflict { policy, reason } => {
            Some(Warning::Conflict { connection: connection.name, policy: policy.ordinal, reason })
        }
        Selection::Applies { policy, .. } if policy.mfa() => None,
        Selection::Applies { policy, .. } if !unmonitored => {
            let (winner, loser) = (policy.ordinal, mfa?.policy.ordinal);
            Some(Warning::NonMfaWins { connection: connection.name, winner, loser })
        }
        Selection::Applies { .. } | Selection::None if kept_locked => None,
        Selection::Applies { .. } | Selection::None => {
            let policy = mfa?.policy.ordinal;
            let public_key = connection.other_public_key;
            let allowed_ips = reported.one.map(|peer| peer.allowed_ips.clone()).unwrap_or_default();
            Some(Warning::Unmonitored { connection: connection.name, public_key, allowed_ips, policy })
        }
    }
}
