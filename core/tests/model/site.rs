//! Who and what there is: hosts, people with devices, and the sets of policies that an administrator may put in force.

use std::collections::BTreeMap;

use wgmfa_core::connection::connections;
use wgmfa_core::interval::Interval;
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::HostName;
use wgmfa_core::policy::{PolicySet, Selection, Selector, Sides};
use wgmfa_core::release::Cover;

/// A peer of a host's interface: the host's number, and the peer's number there.
pub type Place = (usize, usize);

/// What a set of policies says about a place.
#[derive(Debug, Clone)]
pub struct Served {
    pub cover: Cover,
    pub policy: Option<PolicyRef>,
    pub rotation_interval: u64,
    pub idle_timeout: Option<u64>,
}

impl Served {
    pub fn is_covered(&self) -> bool {
        matches!(self.cover, Cover::Mfa { .. })
    }
}

/// The site. Nothing of it changes while a world runs.
pub struct Site {
    /// For each host: the device behind each of its peers.
    pub peers: Vec<Vec<usize>>,
    /// For each device: its owner.
    pub owners: Vec<usize>,
    /// For each device: where it is a peer.
    places: Vec<Vec<Place>>,
    /// For each host: its name.
    pub hosts: Vec<HostName>,
    /// For each place: how an agent names it.
    pub names: Vec<Vec<PeerRef>>,
    /// For each place: whom the connection serves, by core's own reading of the inventory.
    persons: BTreeMap<Place, usize>,
    /// For each set of policies, host and peer: what holds there.
    pub served: Vec<Vec<Vec<Served>>>,
}

impl Site {
    pub fn new(peers: Vec<Vec<usize>>, owners: Vec<usize>, policies: &[&[(&str, &str)]]) -> Self {
        let device = |number: usize| public_key(2, number);
        let host = |number: usize, peers: &Vec<usize>| Host {
            name: format!("gw{number}").parse().unwrap(),
            owner: None,
            disabled: false,
            agent: None,
            stood_down: false,
            interfaces: vec![Interface {
                name: "devices".parse().unwrap(),
                public_key: public_key(1, number),
                listen_port: None,
                peers: peers.iter().map(|number| peer(device(*number))).collect(),
            }],
        };
        let inventory = Inventory {
            version: 1,
            hosts: peers.iter().enumerate().map(|(number, peers)| host(number, peers)).collect(),
            devices: owners
                .iter()
                .enumerate()
                .map(|(number, owner)| Device {
                    name: format!("device{number}").parse().unwrap(),
                    owner: Some(format!("user{owner}").parse().unwrap()),
                    public_key: device(number),
                    disabled: false,
                })
                .collect(),
        };
        let name = |number: &usize| PeerRef { interface: "devices".parse().unwrap(), public_key: device(*number) };
        let names = peers.iter().map(|peers| peers.iter().map(name).collect()).collect();
        let hosts = inventory.hosts.iter().map(|host| host.name.clone()).collect();
        let served = policies.iter().map(|files| served(&inventory, files)).collect();
        let persons = persons(&inventory);
        let mut places = vec![Vec::new(); owners.len()];
        for (host, peers) in peers.iter().enumerate() {
            peers.iter().enumerate().for_each(|(peer, device)| places[*device].push((host, peer)));
        }
        Self { peers, owners, places, hosts, names, persons, served }
    }

    pub fn device(&self, (host, peer): Place) -> usize {
        self.peers[host][peer]
    }

    /// Whom the connection at a place serves.
    pub fn person(&self, place: Place) -> Option<usize> {
        self.persons.get(&place).copied()
    }

    pub fn places_of_device(&self, device: usize) -> &[Place] {
        &self.places[device]
    }

    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.peers.iter().enumerate().flat_map(|(host, peers)| (0..peers.len()).map(move |peer| (host, peer)))
    }
}

fn public_key(kind: u8, number: usize) -> PublicKey {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    PublicKey::from_bytes(bytes)
}

fn peer(public_key: PublicKey) -> Peer {
    let (allowed_ips, has_preshared_key, fingerprint) = (Vec::new(), true, None);
    let (latest_handshake, generation, rotated_at, released_at, deadline) = (None, None, None, None, None);
    Peer {
        public_key,
        allowed_ips,
        has_preshared_key,
        fingerprint,
        latest_handshake,
        generation,
        rotated_at,
        released_at,
        deadline,
        handshake_with_this_key: false,
        opened_by_root_for: None,
        opened_by_root_until: None,
        kept_locked: false,
    }
}

/// The person of each place.
fn persons(inventory: &Inventory) -> BTreeMap<Place, usize> {
    let connections = connections(inventory).into_iter();
    let connections: BTreeMap<_, _> = connections.map(|one| ((one.public_key, one.other_public_key), one)).collect();
    let person = |interface: &Interface, peer: &Peer| {
        connections.get(&(interface.public_key, peer.public_key))?.person()?.as_str().strip_prefix("user")?.parse().ok()
    };
    let interfaces = inventory.hosts.iter().map(|host| &host.interfaces[0]).enumerate();
    let at = interfaces.flat_map(|(host, interface)| {
        let peers = interface.peers.iter().enumerate();
        peers.map(move |(number, peer)| ((host, number), (interface, peer)))
    });
    at.filter_map(|(place, (interface, peer))| Some((place, person(interface, peer)?))).collect()
}

/// What these policy files say about each place, by core's own selection.
fn served(inventory: &Inventory, files: &[(&str, &str)]) -> Vec<Vec<Served>> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let set = PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{faults}"));
    let mut selector = Selector::new(&set);
    let found: BTreeMap<_, _> = connections(inventory)
        .into_iter()
        .map(|connection| ((connection.public_key, connection.other_public_key), connection))
        .collect();
    let at = |interface: &Interface, peer: &Peer, selector: &mut Selector<'_>| {
        let connection = &found[&(interface.public_key, peer.public_key)];
        let nothing = |cover| Served { cover, policy: None, rotation_interval: 0, idle_timeout: None };
        match selector.select(connection) {
            Selection::Applies { policy, sides: sides @ Sides::Server(_) }
                if sides.server_side(connection) == Some(&connection.name.one) =>
            {
                let idle_timeout = policy.idle_timeout.map(Interval::as_seconds);
                let (rotation_interval, policy) = (policy.rotation_interval.as_seconds(), policy.reference());
                let cover = Cover::Mfa { policy: policy.clone(), rotation_interval };
                Served { cover, policy: Some(policy), rotation_interval, idle_timeout }
            }
            Selection::Conflict { reason, .. } => nothing(Cover::Conflict(reason.to_string())),
            Selection::Applies { .. } | Selection::None => nothing(Cover::NotReleased),
        }
    };
    let hosts = inventory.hosts.iter().map(|host| &host.interfaces[0]);
    hosts.map(|interface| interface.peers.iter().map(|peer| at(interface, peer, &mut selector)).collect()).collect()
}
