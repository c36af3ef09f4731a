//! Selection: the candidates are the policies that name either end, the lowest ordinal wins, then the sides.

use std::collections::HashMap;
use std::rc::Rc;

use crate::connection::{Connection, InterfaceRef, Other};
use crate::policy::index::Naming;
use crate::policy::{Candidate, Conflict, Considered, End, List, Policy, PolicySet, Reason, Selection, Sides};

/// Selects for many connections: remembers for each interface which policies name it. Devices have few connections each.
#[derive(Debug)]
pub struct Selector<'a> {
    set: &'a PolicySet,
    interfaces: HashMap<InterfaceRef, Rc<[Naming]>>,
}

impl<'a> Selector<'a> {
    /// Selects by these policies.
    pub fn new(set: &'a PolicySet) -> Self {
        Self { set, interfaces: HashMap::new() }
    }

    /// Every policy that names an end of this connection, and what follows.
    pub fn consider(&mut self, connection: &Connection) -> Considered<'a> {
        let mut candidates = Vec::new();
        let mut selection = Selection::None;
        for named in self.named(connection) {
            let policy = named.policy;
            let reason = if named.drops_out(connection) {
                Reason::Unmonitored
            } else if let Selection::Applies { policy, .. } | Selection::Conflict { policy, .. } = &selection {
                Reason::Higher(policy.ordinal)
            } else {
                match named.sides(connection) {
                    Ok(sides) => {
                        selection = Selection::Applies { policy, sides };
                        named.why(connection)
                    }
                    Err(reason) => {
                        selection = Selection::Conflict { policy, reason: reason.clone() };
                        Reason::Contradicts(reason)
                    }
                }
            };
            candidates.push(Candidate { policy, reason });
        }
        Considered { candidates, selection }
    }

    /// What the policies say about this connection.
    pub fn select(&mut self, connection: &Connection) -> Selection<'a> {
        match self.named(connection).find(|named| !named.drops_out(connection)) {
            None => Selection::None,
            Some(named) => match named.sides(connection) {
                Ok(sides) => Selection::Applies { policy: named.policy, sides },
                Err(reason) => Selection::Conflict { policy: named.policy, reason },
            },
        }
    }

    /// The policies that name an end of this connection, lowest ordinal first.
    fn named(&mut self, connection: &Connection) -> impl Iterator<Item = Named<'a>> + use<'a> {
        let index = &self.set.index;
        let mut interface = |name: &InterfaceRef| match self.interfaces.get(name) {
            Some(namings) => namings.clone(),
            None => self.interfaces.entry(name.clone()).or_insert(index.of_interface(name).into()).clone(),
        };
        let one = interface(&connection.name.one);
        let (other_interface, other_device) = match &connection.name.other {
            Other::Interface(name) => (Some(interface(name)), Vec::new()),
            Other::Device(name) => (None, index.of_device(name)),
            Other::Unmonitored(_) => (None, Vec::new()),
        };
        let keys = [index.of_key(&connection.public_key), index.of_key(&connection.other_public_key)];
        let policies = self.set.policies();
        // four lists, each sorted: take the lowest policy that stands at the head of any of them
        let mut taken = [0; 4];
        std::iter::from_fn(move || {
            let other = other_interface.as_deref().unwrap_or(&other_device);
            let lists: [&[Naming]; 4] = [&one, keys[0], other, keys[1]];
            let head = |(list, &taken): (&&[Naming], &usize)| list.get(taken).map(|naming| naming.policy);
            let lowest = lists.iter().zip(&taken).filter_map(head).min()?;
            let mut named = Named { policy: &policies[lowest], one: Lists::default(), other: Lists::default() };
            for (which, list) in lists.iter().enumerate() {
                let end = if which < 2 { &mut named.one } else { &mut named.other };
                while let Some(naming) = list.get(taken[which]).filter(|naming| naming.policy == lowest) {
                    end.add(naming.list);
                    taken[which] += 1;
                }
            }
            Some(named)
        })
    }
}

/// The lists of one policy that name one end.
#[derive(Debug, Default, Clone, Copy)]
struct Lists {
    server: bool,
    client: bool,
    both: bool,
}

impl Lists {
    fn add(&mut self, list: List) {
        match list {
            List::Server => self.server = true,
            List::Client => self.client = true,
            List::Both => self.both = true,
        }
    }

    fn first(self) -> Option<List> {
        [(self.server, List::Server), (self.client, List::Client), (self.both, List::Both)]
            .into_iter()
            .find_map(|(named, list)| named.then_some(list))
    }
}

/// A policy, and which of its lists name which end.
struct Named<'a> {
    policy: &'a Policy,
    one: Lists,
    other: Lists,
}

impl Named<'_> {
    fn drops_out(&self, connection: &Connection) -> bool {
        matches!(connection.name.other, Other::Unmonitored(_)) && !self.policy.unmonitored
    }

    fn why(&self, connection: &Connection) -> Reason {
        let (list, end) = match (self.one.first(), self.other.first()) {
            (Some(list), _) => (list, End::One),
            (None, list) => (list.expect("a candidate names an end"), End::Other),
        };
        let end = match end {
            End::One => Other::Interface(connection.name.one.clone()),
            End::Other => connection.name.other.clone(),
        };
        Reason::Lowest { list, end }
    }

    fn sides(&self, connection: &Connection) -> Result<Sides, Conflict> {
        if !self.policy.mfa() {
            return Ok(Sides::Both);
        }
        for (lists, end) in [(self.one, End::One), (self.other, End::Other)] {
            if lists.server && lists.client {
                return Err(Conflict::BothLists(end_name(connection, end)));
            }
        }
        if self.one.server && self.other.server {
            return Err(Conflict::TwoServers);
        }
        if self.one.client && self.other.client {
            return Err(Conflict::TwoClients);
        }
        let (server, client) =
            if self.one.server || self.other.client { (End::One, End::Other) } else { (End::Other, End::One) };
        let sides = Sides::Server(server);
        if sides.server_side(connection).is_none() {
            return Err(Conflict::ServerNotHost(end_name(connection, server)));
        }
        // an unmonitored client side has no owner either, but its policy wants it locked until an administrator carries
        // the key there
        let carried = matches!(connection.name.other, Other::Unmonitored(_));
        if sides.client_owner(connection).is_none() && !carried {
            return Err(Conflict::ClientNotOwned(end_name(connection, client)));
        }
        Ok(sides)
    }
}

fn end_name(connection: &Connection, end: End) -> String {
    match end {
        End::One => connection.name.one.to_string(),
        End::Other => connection.name.other.to_string(),
    }
}
