//! What a host is told about its gates, and what it says of them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::connection::{Connection, InterfaceRef};
use wgmfa_core::gate::cover::{Hold, has_gates, hold, is_gated};
use wgmfa_core::gate::{GateAssignment, TierLeft};
use wgmfa_core::interval::Interval;
use wgmfa_core::message::agent::{LocalEvent, PeerRef};
use wgmfa_core::name::{HostName, InterfaceName};
use wgmfa_core::policy::{Enforce, Policy, Selector};

use crate::admin::site::{Site, places};
use crate::keeper::{Keeper, say};
use crate::store::{Event, Note, Place, StoreError};

/// What a host's gates are made of.
#[derive(Default)]
pub struct Gates {
    /// The peers that need a grant.
    pub gates: Vec<GateAssignment>,
    /// The other peers of these interfaces that nothing holds back.
    pub free: Vec<PeerRef>,
    /// The interfaces whose peers are held back.
    pub gated: BTreeSet<InterfaceName>,
}

impl Keeper {
    /// Every peer of this host that a policy holds back, with its grants, and those that it does not.
    pub(in crate::keeper) fn gates(&self, host: &HostName, site: &Site) -> Gates {
        let policies = self.policies.borrow();
        if !has_gates(&policies.set) {
            return Gates::default();
        }
        let mut found = Gates::default();
        for interface in site.inventory.hosts.iter().filter(|one| one.name == *host).flat_map(|one| &one.interfaces) {
            let name = InterfaceRef { host: host.clone(), interface: interface.name.clone() };
            if is_gated(&policies.set, &name, &interface.public_key) {
                found.gated.insert(name.interface);
            }
        }
        let mut selector = Selector::new(&policies.set);
        for connection in &site.connections {
            let considered = selector.consider(connection);
            for place in places(connection).into_iter().filter(|place| place.server_side.host == *host) {
                let held = match hold(&considered, connection, &place.server_side) {
                    Hold::Free => {
                        found.free.push(place.peer());
                        continue;
                    }
                    Hold::Shut => None,
                    Hold::Until(policy) => Some(policy),
                };
                found.gated.insert(place.server_side.interface.clone());
                found.gates.extend(held.and_then(|policy| self.gate(site, connection, &place, policy)));
            }
        }
        found.free.retain(|peer| found.gated.contains(&peer.interface));
        found
    }

    fn gate(&self, site: &Site, connection: &Connection, place: &Place, policy: &Policy) -> Option<GateAssignment> {
        let tier = policy.enforce.tier()?.clone();
        let with_key = matches!(policy.enforce, Enforce::Both(_));
        let kept_locked = || site.record(place).and_then(|record| record.kept_locked.clone());
        let cut_off = site.cut_off(connection).or_else(kept_locked);
        let now = self.now();
        let left = |grant: &crate::store::Grant| {
            let now = self.sessions.now_of(place, Some(&grant.tier), grant.deadline, now);
            let seconds_left = whole_seconds(now, grant.deadline)?;
            Some(TierLeft { tier: grant.tier.clone(), seconds_left })
        };
        // what opens with the key is no grant
        let counts = |grant: &&crate::store::Grant| cut_off.is_none() && !(with_key && grant.tier == tier);
        let grants = site.grants(place).iter().filter(counts).filter_map(left).collect();
        Some(GateAssignment {
            peer: place.peer(),
            connection: connection.name.to_string(),
            other: other_end(connection, place),
            policy: policy.reference(),
            rotation_interval: policy.rotation_interval.as_seconds(),
            idle_timeout: policy.idle_timeout.map(Interval::as_seconds),
            tier,
            with_key,
            grants,
            cut_off,
        })
    }

    /// A gate was closed for a peer of its own accord: its grants are over.
    pub(in crate::keeper) fn note_closed(
        &self,
        host: &HostName,
        peer: &PeerRef,
        event: &LocalEvent,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (now, place) = (self.now(), Place::new(host, peer));
        if let Some(generation) = event.generation {
            self.store.end_session(now, &place, generation, reason)?;
        }
        let ago = SignedDuration::from_secs(i64::try_from(event.seconds_ago).unwrap_or(i64::MAX));
        let closed_at = now.saturating_sub(ago).unwrap_or(Timestamp::MIN);
        if self.store.end_closed(now, &place, event.tier.as_ref(), closed_at, reason)?.is_empty() {
            let tier = event.tier.as_ref().map_or(String::new(), |tier| format!("tier {tier}: "));
            let note = Note::new(Event::Revoked).place(&place).reason(format!("{tier}{reason}"));
            self.store.note_of_host(now, host, note)?;
        }
        Ok(())
    }

    /// Ends the grants whose time has come. Their gates have closed by themselves.
    pub(in crate::keeper) fn expire_grants(&self) {
        if let Err(error) = self.store.expire_grants(self.now()) {
            say(&format!("a grant's end could not be recorded: {error}"));
        }
    }
}

/// What people call the end that a place's peer is.
pub(super) fn other_end(connection: &Connection, place: &Place) -> String {
    let name = &connection.name;
    if name.one == place.server_side { name.other.to_string() } else { name.one.to_string() }
}

/// Whole seconds that are left; a second that has begun is none: no gate stays open past its deadline.
fn whole_seconds(now: Timestamp, deadline: Timestamp) -> Option<u64> {
    u64::try_from(deadline.duration_since(now).as_secs()).ok().filter(|left| *left > 0)
}
