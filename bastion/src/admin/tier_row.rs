//! The tiers of a connection: which are open, and how that is shown.

use jiff::Timestamp;
use serde::Serialize;
use wgmfa_core::name::{TierName, UserName};
use wgmfa_core::policy::Selection;
use wgmfa_core::state::{KeyState, TierGrant};

use super::key_row::KeyRow;
use super::when::When;
use crate::store::Grant;

impl<'a> KeyRow<'a> {
    /// `tier prod, admin until 15:10`
    pub(super) fn open_tiers(&self, when: &When) -> Option<String> {
        let tier = self.tier()?;
        let opens = match self.state {
            KeyState::Ok | KeyState::MatchPending => true,
            // granted, and not confirmed
            KeyState::Pending => by_firewall(&self.selection) && !self.grants.is_empty(),
            _ => false,
        };
        let own = opens.then(|| format!("tier {tier}"));
        let steps = self.grants.iter().filter(|grant| grant.tier != *tier);
        let steps = steps.map(|grant| format!("{} until {}", grant.tier, when.clock(grant.deadline)));
        let all: Vec<_> = own.into_iter().chain(steps).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The tier that the policy gives.
    pub fn tier(&self) -> Option<&'a TierName> {
        self.selection.policy().and_then(|policy| policy.enforce.tier())
    }
}

/// A tier that is granted, in `key list --json`.
#[derive(Debug, Serialize)]
pub struct GrantJson {
    tier: TierName,
    by: &'static str,
    user: Option<UserName>,
    from: Option<String>,
    granted_at: Timestamp,
    deadline: Timestamp,
    confirmed: bool,
}

impl GrantJson {
    /// The same for programs.
    pub fn of(grant: &Grant) -> Self {
        let Grant { tier, granted_at, deadline, by, person, from, confirmed, .. } = grant.clone();
        Self { tier, by: by.as_str(), user: person, from, granted_at, deadline, confirmed }
    }
}

/// Whether the firewall alone enforces the policy that applies.
pub fn by_firewall(selection: &Selection<'_>) -> bool {
    selection.policy().is_some_and(|policy| !policy.enforce.rotates())
}

/// The grant from which a connection's state follows where the firewall alone enforces: the one of the policy's tier, or
/// of another that is open the longest.
pub fn grant_of<'a>(selection: &Selection<'_>, grants: &'a [Grant]) -> Option<&'a Grant> {
    let tier = selection.policy().filter(|_| by_firewall(selection))?.enforce.tier()?;
    let own = grants.iter().find(|grant| grant.tier == *tier);
    own.or_else(|| grants.iter().max_by_key(|grant| grant.deadline))
}

/// What lets a peer through: a grant, or what root has opened on the gateway until then if that lasts longer.
pub fn let_through(grant: Option<&Grant>, by_root: Option<Timestamp>) -> Option<TierGrant> {
    let granted = grant.map(|grant| TierGrant { until: grant.deadline, unconfirmed: unconfirmed(grant) });
    let by_root = by_root.map(|until| TierGrant { until, unconfirmed: None });
    // the gateway itself has said what root has opened
    granted.into_iter().chain(by_root).max_by_key(|grant| (grant.until, grant.unconfirmed.is_none()))
}

/// Why it is not known that a gateway lets a peer through; none: it has said so.
fn unconfirmed(grant: &Grant) -> Option<String> {
    let host = &grant.place.server_side.host;
    (!grant.confirmed).then(|| format!("granted, and {host} has not confirmed it"))
}
