//! Agents that come by instead of staying, and what that means for the policies on their connections.

use std::collections::{BTreeMap, HashMap};

use crate::connection::{Connection, Other};
use crate::interval::Interval;
use crate::inventory::{Inventory, Rhythm};
use crate::name::HostName;
use crate::policy::{Ordinal, Selection, Sides, Warning};

/// The agents that come by, and the MFA policies under which their hosts are the server side.
pub(super) struct Agents<'i> {
    periods: HashMap<&'i HostName, Interval>,
    served: BTreeMap<(HostName, Ordinal), (Interval, Interval)>,
}

impl<'i> Agents<'i> {
    pub(super) fn new(inventory: &'i Inventory) -> Self {
        let period = |host: &'i crate::inventory::Host| match host.agent? {
            Rhythm::Every(seconds) => Some((&host.name, Interval::from_seconds(seconds))),
            Rhythm::Resident => None,
        };
        Self { periods: inventory.hosts.iter().filter_map(period).collect(), served: BTreeMap::new() }
    }

    /// Looks at a connection; a warning if it is one of two servers that change their key together.
    pub(super) fn of_connection(&mut self, connection: &Connection, selection: &Selection<'_>) -> Option<Warning> {
        let Selection::Applies { policy, sides } = selection else { return None };
        if self.periods.is_empty() || !policy.enforce.rotates() {
            return None;
        }
        match (sides, &connection.name.other) {
            (Sides::Server(_), _) => {
                let host = &sides.server_side(connection)?.host;
                let period = *self.periods.get(host)?;
                self.served.insert((host.clone(), policy.ordinal), (policy.rotation_interval, period));
                None
            }
            (Sides::Both, Other::Interface(other)) => {
                let ends = [&connection.name.one.host, &other.host];
                let (host, period) = ends
                    .into_iter()
                    .filter_map(|host| Some((host, *self.periods.get(host)?)))
                    .max_by_key(|end| end.1)?;
                Some(Warning::TandemOverCron { connection: connection.name.clone(), host: host.clone(), period })
            }
            (Sides::Both, Other::Device(_) | Other::Unmonitored(_)) => None,
        }
    }

    /// A warning for each host and MFA policy.
    pub(super) fn seldom(self) -> impl Iterator<Item = Warning> {
        let warning = |((host, policy), (interval, period))| Warning::Seldom { host, policy, interval, period };
        self.served.into_iter().map(warning)
    }
}
