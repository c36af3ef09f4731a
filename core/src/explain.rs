//! `policy explain`: for each connection every policy that names it, which one wins and why, which side rotates, when
//! next.

mod next;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::connection::{ConnectionName, InterfaceRef, Other, Reported, reported};
use crate::inventory::Inventory;
use crate::key::PublicKey;
use crate::name::{HostName, InterfaceName, TierName, UserName};
use crate::policy::{Candidate, Considered, Ordinal, PolicySet, Selection, Selector};

use next::Disabled;

/// What `policy explain --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanations {
    /// Version of this format: 1.
    pub version: u32,
    /// One for each connection, sorted by name.
    pub connections: Vec<Explanation>,
}

/// What the policies say about one connection, and what happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its name.
    pub connection: ConnectionName,
    /// The host of the end that the name puts first.
    pub host: HostName,
    /// Its interface.
    pub interface: InterfaceName,
    /// Its public key.
    pub public_key: PublicKey,
    /// The other end: a device's name, `HOST/INTERFACE`, or a public key.
    pub other: Other,
    /// The other end's public key.
    pub other_public_key: PublicKey,
    /// The person whom the connection serves.
    pub owner: Option<UserName>,
    /// Every policy that names an end, lowest ordinal first.
    pub candidates: Vec<ExplainedCandidate>,
    /// The policy that wins, also when it contradicts itself here; none: no policy covers the connection.
    pub winner: Option<Ordinal>,
    /// The winner contradicts itself here, and nothing is rotated.
    pub conflict: bool,
    /// The end whose key is changed; none: both, or neither.
    pub server_side: Option<InterfaceRef>,
    /// The tier that the firewall opens, if the winner enforces by the firewall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierName>,
    /// What happens next.
    pub next: Next,
}

/// A policy that names an end of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedCandidate {
    /// The policy.
    pub ordinal: Ordinal,
    /// Its text for people.
    pub description: String,
    /// Whether it is the one that applies.
    pub applies: bool,
    /// Why, or why not.
    pub reason: Cow<'static, str>,
}

/// What happens next to a connection's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// What.
    pub action: NextAction,
    /// When: of `rotate` now, of `wait` when to look again; `none` has no time.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextAction {
    /// The key is to be changed now.
    Rotate,
    /// Nothing is due before its time.
    Wait,
    /// Nothing will happen.
    None,
}

/// What the policies say about every connection of an inventory at a moment.
pub fn explain(set: &PolicySet, inventory: &Inventory, now: Timestamp) -> Explanations {
    let mut selector = Selector::new(set);
    let disabled = Disabled::new(inventory);
    let explain_one = |reported: Reported<'_>| {
        let Considered { candidates, selection } = selector.consider(&reported.connection);
        let next = next::next(&candidates, &selection, &reported, &disabled, now);
        let connection = reported.connection;
        let candidate = |candidate: &Candidate<'_>| ExplainedCandidate {
            ordinal: candidate.policy.ordinal,
            description: candidate.policy.description.clone(),
            applies: candidate.applies(),
            reason: candidate.reason.text(),
        };
        let (winner, server_side) = match &selection {
            Selection::Applies { policy, sides } => (Some(policy.ordinal), sides.server_side(&connection).cloned()),
            Selection::Conflict { policy, .. } => (Some(policy.ordinal), None),
            Selection::None => (None, None),
        };
        Explanation {
            host: connection.name.one.host.clone(),
            interface: connection.name.one.interface.clone(),
            public_key: connection.public_key,
            other: connection.name.other.clone(),
            other_public_key: connection.other_public_key,
            owner: connection.person().cloned(),
            candidates: candidates.iter().map(candidate).collect(),
            winner,
            conflict: matches!(selection, Selection::Conflict { .. }),
            server_side,
            tier: selection.policy().and_then(|policy| policy.enforce.tier()).cloned(),
            next,
            connection: connection.name,
        }
    };
    Explanations { version: 1, connections: reported(inventory).map(explain_one).collect() }
}

/// The same for people; `when` writes a time as its reader likes it.
pub fn render(connections: &[Explanation], when: impl Fn(Timestamp) -> String) -> String {
    let mut text = String::new();
    for explanation in connections {
        let owner = explanation.owner.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default();
        text.push_str(&format!("{}{owner}\n", explanation.connection));
        if explanation.candidates.is_empty() {
            text.push_str("  no policy names it\n");
        }
        for ExplainedCandidate { ordinal, description, applies, reason } in &explanation.candidates {
            let applies = if *applies { "applies" } else { "does not apply" };
            text.push_str(&format!("  policy {ordinal} {description}: {applies}: {reason}\n"));
        }
        match (&explanation.server_side, explanation.winner) {
            (Some(server), _) => text.push_str(&format!("  server side: {server}\n")),
            (None, Some(_)) if !explanation.conflict && matches!(explanation.other, Other::Interface(_)) => {
                text.push_str("  server side: both rotate together\n")
            }
            (None, _) => {}
        }
        if let Some(tier) = &explanation.tier {
            text.push_str(&format!("  tier: the firewall opens {tier} after a one-time code\n"));
        }
        let Next { action, at, reason } = &explanation.next;
        match (action, at) {
            (NextAction::Rotate, _) => text.push_str(&format!("  next: rotate now: {reason}\n")),
            (NextAction::Wait, Some(at)) => text.push_str(&format!("  next: wait until {}: {reason}\n", when(*at))),
            (NextAction::Wait | NextAction::None, _) => text.push_str(&format!("  next: nothing: {reason}\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests;
