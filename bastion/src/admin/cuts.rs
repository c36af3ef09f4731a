//! Where a cut-off reaches connections in which wgmfa has had no hand before, and what becomes of them afterwards.

use std::collections::BTreeSet;

use wgmfa_core::connection::{Connection, Other};
use wgmfa_core::exit::Failure;
use wgmfa_core::policy::{Selection, Selector, Sides};

use super::Context;
use super::key_row::server_place;
use super::site::{Site, places};
use super::tier_row::by_firewall;
use crate::store::{Place, StoreError};

/// Where a lock closes a connection: not at its client side, not where a gate alone is to be closed, and not where the
/// other end is nobody's who could be cut off.
pub fn closable(connection: &Connection, selection: &Selection<'_>) -> Vec<Place> {
    match (selection, &connection.name.other) {
        _ if by_firewall(selection) => Vec::new(),
        (Selection::Applies { sides: Sides::Server(_), .. }, _) => {
            server_place(connection, selection).into_iter().collect()
        }
        (_, Other::Unmonitored(_)) => Vec::new(),
        _ => places(connection),
    }
}

/// Makes the store remember every peer that is to be found when these connections are cut off: without a generation it
/// knows of none.
///
/// # Errors
/// The store cannot be read or written.
pub fn remember(context: &Context<'_>, of: impl Fn(&Connection) -> bool) -> Result<(), Failure> {
    let site = Site::read(context.store)?;
    let mut selector = Selector::new(context.policies);
    let of = site.connections.iter().filter(|connection| of(connection));
    let closable = of.flat_map(|connection| closable(connection, &selector.select(connection)));
    let is_new = |end: &Place| site.record(end).is_none() && site.peer(&end.server_side, &end.public_key).is_some();
    let new: Vec<Place> = closable.filter(is_new).collect();
    Ok(context.store.remember(context.now, &new)?)
}

/// The connections at these places, let in again, that nothing opens by itself: no policy has a key made there.
///
/// # Errors
/// The store cannot be read.
pub fn left_locked(places: &[Place], context: &Context<'_>) -> Result<BTreeSet<String>, StoreError> {
    if places.is_empty() {
        return Ok(BTreeSet::new());
    }
    let site = Site::around(context.store, places)?;
    let mut selector = Selector::new(context.policies);
    let stays = |connection: &&Connection| match selector.select(connection) {
        Selection::Applies { policy, .. } => match policy.enforce.rotates() {
            true => policy.rests(connection).is_some(),
            false => site.has_own_key(connection),
        },
        // an administrator has to mend the policies first
        Selection::Conflict { .. } => false,
        Selection::None => true,
    };
    Ok(site.connections.iter().filter(stays).map(|connection| connection.name.to_string()).collect())
}
