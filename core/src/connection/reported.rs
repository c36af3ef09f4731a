//! The connections of an inventory, each with what its ends report of it.
//!
//! Sites have very many connections between few interfaces and devices. So the names are sorted and numbered first, and
//! connections are put in order by these numbers: each is looked at a fixed number of times, and no name is compared twice.

use std::collections::HashMap;

use crate::connection::{Connection, ConnectionName, InterfaceRef, Other};
use crate::inventory::{Device, Host, Interface, Inventory, Peer};
use crate::key::PublicKey;

/// A connection, and the peer as which each end knows the other.
pub(crate) struct Reported<'i> {
    /// The connection.
    pub(crate) connection: Connection,
    /// What the end that the name puts first reports of the other one.
    pub(crate) one: Option<&'i Peer>,
    /// What the other end, when it is a host's interface, reports of the first one.
    pub(crate) other: Option<&'i Peer>,
}

impl<'i> Reported<'i> {
    /// What the end with this public key reports.
    pub(crate) fn by(&self, public_key: PublicKey) -> Option<&'i Peer> {
        if public_key == self.connection.public_key { self.one } else { self.other }
    }
}

/// The other end, by the number of its name; in the order of [`Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Far<'i> {
    Device(usize),
    Interface(usize),
    Unmonitored(&'i PublicKey),
}

/// One end's report of a connection: in the order of names, and of one connection its first end's report first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Line<'i> {
    one: usize,
    far: Far<'i>,
    reversed: bool,
    at: usize,
}

/// Every connection, sorted by name. A relation that both its hosts report is one connection.
pub(crate) fn reported(inventory: &Inventory) -> impl Iterator<Item = Reported<'_>> {
    let mut ends: Vec<(InterfaceRef, &Host, &Interface)> = inventory
        .hosts
        .iter()
        .flat_map(|host| host.interfaces.iter().map(move |interface| (host, interface)))
        .map(|(host, interface)| {
            (InterfaceRef { host: host.name.clone(), interface: interface.name.clone() }, host, interface)
        })
        .collect();
    ends.sort_by(|one, other| one.0.cmp(&other.0));
    let mut devices: Vec<&Device> = inventory.devices.iter().collect();
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    let mut known: HashMap<&PublicKey, Far<'_>> = HashMap::with_capacity(devices.len() + ends.len());
    known.extend(devices.iter().enumerate().map(|(number, device)| (&device.public_key, Far::Device(number))));
    known.extend(ends.iter().enumerate().map(|(number, end)| (&end.2.public_key, Far::Interface(number))));

    let peers = ends.iter().enumerate().flat_map(|(here, (_, _, interface))| {
        interface.peers.iter().enumerate().map(move |(at, peer)| (here, at, peer))
    });
    let mut lines: Vec<Line<'_>> = peers
        .map(|(here, at, peer)| match known.get(&peer.public_key) {
            Some(Far::Interface(there)) if *there < here => {
                Line { one: *there, far: Far::Interface(here), reversed: true, at }
            }
            Some(far) => Line { one: here, far: *far, reversed: false, at },
            None => Line { one: here, far: Far::Unmonitored(&peer.public_key), reversed: false, at },
        })
        .collect();
    drop(known);
    lines.sort_unstable();
    let mut lines = lines.into_iter().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let (mut one, mut other) = (None, None);
        let mut take = |line: Line<'_>| match line.far {
            Far::Interface(there) if line.reversed => other = Some(&ends[there].2.peers[line.at]),
            _ => one = Some(&ends[line.one].2.peers[line.at]),
        };
        take(line);
        while let Some(same) = lines.next_if(|next| (next.one, next.far) == (line.one, line.far)) {
            take(same);
        }
        let (name, host, interface) = &ends[line.one];
        let (far, other_public_key, other_owner) = match line.far {
            Far::Device(number) => {
                let device = devices[number];
                (Other::Device(device.name.clone()), device.public_key, &device.owner)
            }
            Far::Interface(number) => {
                let (name, host, interface) = &ends[number];
                (Other::Interface(name.clone()), interface.public_key, &host.owner)
            }
            Far::Unmonitored(key) => (Other::Unmonitored(*key), *key, &None),
        };
        let connection = Connection {
            name: ConnectionName { one: name.clone(), other: far },
            public_key: interface.public_key,
            other_public_key,
            owner: host.owner.clone(),
            other_owner: other_owner.clone(),
        };
        Some(Reported { connection, one, other })
    })
}
