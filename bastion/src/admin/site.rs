//! The connections of the site as the store knows them, and how people name them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use wgmfa_core::connection::{Connection, InterfaceRef, Other, connections};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::inventory::{Inventory, Peer, Rhythm};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::{HostName, UserName};

use super::Context;
use crate::store::{Grant, Place, Record, Store, StoreError};

/// Everything that commands about connections look at, read once.
pub struct Site {
    /// Hosts, interfaces, peers and devices.
    pub inventory: Inventory,
    /// Every connection, sorted by name.
    pub connections: Vec<Connection>,
    /// Hosts and devices that were cut off; they share one name space.
    disabled: HashSet<String>,
    /// People who were cut off, and with them what they own.
    disabled_people: BTreeSet<UserName>,
    records: HashMap<Place, Record>,
    last_reports: BTreeMap<HostName, Timestamp>,
    /// The tiers that are granted.
    grants: BTreeMap<Place, Vec<Grant>>,
}

impl Site {
    /// Reads it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let records = store.records()?.into_iter().map(|record| (record.place.clone(), record)).collect();
        let hosts = store.hosts()?.into_iter();
        let last_reports = hosts.filter_map(|host| Some((host.name, host.last_seen?))).collect();
        let disabled_people = store.disabled_people()?;
        let grants = by_place(store.grants()?);
        Ok(Self { records, last_reports, disabled_people, grants, ..Self::of(store.inventory()?) })
    }

    /// The part of it that concerns one host: its connections and the generations at both their ends. Peers come without
    /// times and generations.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn read_of(store: &Store, host: &HostName) -> Result<Self, StoreError> {
        let records = store.records_around(host)?.into_iter().map(|record| (record.place.clone(), record)).collect();
        let disabled_people = store.disabled_people()?;
        let grants = by_place(store.grants_of(host)?);
        Ok(Self { records, disabled_people, grants, ..Self::of(store.inventory_of(host)?) })
    }

    /// No other connections than those at these places, as far as their states follow from it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn around(store: &Store, places: &[Place]) -> Result<Self, StoreError> {
        let (inventory, records) = store.around(places)?;
        let records = records.into_iter().map(|record| (record.place.clone(), record)).collect();
        let mut last_reports = BTreeMap::new();
        for host in &inventory.hosts {
            let last_seen = store.host(&host.name)?.and_then(|host| host.last_seen);
            last_reports.extend(last_seen.map(|seen| (host.name.clone(), seen)));
        }
        let mut site = Self { records, last_reports, ..Self::of(inventory) };
        if store.has_grants()? {
            let ends: BTreeSet<Place> = site.connections.iter().flat_map(self::places).collect();
            for end in ends {
                site.grants.extend(by_place(store.grants_at(&end)?));
            }
        }
        Ok(site)
    }

    /// The part of it that concerns one person: their devices and hosts, the connections of these, and the generations at
    /// both their ends. Peers come without times and generations.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn read_for(store: &Store, person: &UserName) -> Result<Self, StoreError> {
        let records = store.records_for(person)?.into_iter().map(|record| (record.place.clone(), record)).collect();
        let grants = by_place(store.grants_for(person)?);
        Ok(Self { records, grants, ..Self::of(store.inventory_for(person)?) })
    }

    /// An inventory without any generations.
    pub fn of(inventory: Inventory) -> Self {
        let hosts = inventory.hosts.iter().filter(|host| host.disabled).map(|host| host.name.to_string());
        let devices = inventory.devices.iter().filter(|device| device.disabled).map(|device| device.name.to_string());
        let disabled = hosts.chain(devices).collect();
        let (records, last_reports, grants) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let (connections, disabled_people) = (connections(&inventory), BTreeSet::new());
        Self { connections, inventory, disabled, disabled_people, records, last_reports, grants }
    }

    /// What is known about the generations at a place.
    pub fn record(&self, place: &Place) -> Option<&Record> {
        self.records.get(place)
    }

    /// The tiers that are granted at a place, sorted by name.
    pub fn grants(&self, place: &Place) -> &[Grant] {
        self.grants.get(place).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is known about the generations at every place, in no order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The same, taken out.
    pub fn take_records(&mut self) -> HashMap<Place, Record> {
        std::mem::take(&mut self.records)
    }

    /// Whether a key of wgmfa's stands at an end of a connection: none that an administrator has set there to stay, and
    /// none that two servers use together.
    pub fn has_own_key(&self, connection: &Connection) -> bool {
        let made = |place: &Place| self.record(place).is_some_and(|record| !record.set_free && !record.is_of_pair());
        places(connection).iter().any(made)
    }

    /// When a host last reported.
    pub fn last_report(&self, host: &HostName) -> Option<Timestamp> {
        self.last_reports.get(host).copied()
    }

    /// A peer as the host of this interface reported it.
    pub fn peer(&self, end: &InterfaceRef, public_key: &PublicKey) -> Option<&Peer> {
        let host = self.inventory.hosts.iter().find(|host| host.name == end.host)?;
        let interface = host.interfaces.iter().find(|interface| interface.name == end.interface)?;
        interface.peers.iter().find(|peer| peer.public_key == *public_key)
    }

    /// Why nobody may come in on this connection, when an administrator has cut off one of its ends, or who owns it.
    pub fn cut_off(&self, connection: &Connection) -> Option<String> {
        let off = |name: &str, owner: &Option<UserName>| {
            let owner = owner.as_ref().filter(|owner| self.disabled_people.contains(owner));
            self.disabled.contains(name).then(|| format!("{} is disabled", owner.map_or(name, UserName::as_str)))
        };
        off(connection.name.one.host.as_str(), &connection.owner).or_else(|| match &connection.name.other {
            Other::Interface(end) => off(end.host.as_str(), &connection.other_owner),
            Other::Device(name) => off(name.as_str(), &connection.other_owner),
            Other::Unmonitored(_) => None,
        })
    }

    /// The one connection that a person names: by its whole name, or by any part that only it has.
    ///
    /// # Errors
    /// None or several have this part; then they are named.
    pub fn find(&self, text: &str) -> Result<&Connection, Failure> {
        let found = self.matching(text);
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(unknown(text)),
            several => {
                let names: Vec<_> = several.iter().map(|connection| connection.name.to_string()).collect();
                let error = format!("'{text}' is ambiguous: {}", names.join(", "));
                Err(Failure::new(Exit::Failed, error).hint("write more of one of these names"))
            }
        }
    }

    /// The connections whose names have any of these parts; all without any.
    ///
    /// # Errors
    /// A part that no name has.
    pub fn having(&self, parts: &[String]) -> Result<Vec<&Connection>, Failure> {
        if let Some(unknown_part) = parts.iter().find(|part| self.matching(part).is_empty()) {
            return Err(unknown(unknown_part));
        }
        let wanted = |connection: &&Connection| parts.is_empty() || parts.iter().any(|part| bears(connection, part));
        Ok(self.connections.iter().filter(wanted).collect())
    }

    fn matching(&self, text: &str) -> Vec<&Connection> {
        match self.connections.iter().find(|connection| connection.name.is(text)) {
            Some(connection) => vec![connection],
            None => self.connections.iter().filter(|connection| bears(connection, text)).collect(),
        }
    }
}

fn by_place(grants: Vec<Grant>) -> BTreeMap<Place, Vec<Grant>> {
    let mut found = BTreeMap::<Place, Vec<Grant>>::new();
    for grant in grants {
        found.entry(grant.place.clone()).or_default().push(grant);
    }
    found
}

/// Whether a connection's name has this part, or an end has this public key.
fn bears(connection: &Connection, part: &str) -> bool {
    connection.name.has(part)
        || part.parse::<PublicKey>().is_ok_and(|key| key == connection.public_key || key == connection.other_public_key)
}

fn unknown(text: &str) -> Failure {
    Failure::new(Exit::Failed, format!("no connection is called '{text}'"))
        .hint("any unique part of a name will do; wgmfa-bastion key list and wgmfa-status show them")
}

impl Context<'_> {
    /// The inventory, with what the keeper knows of the agents beside the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let mut inventory = self.store.inventory()?;
        self.add_residents(&mut inventory);
        Ok(inventory)
    }

    /// Who stays connected names no time to come again.
    pub fn add_residents(&self, inventory: &mut Inventory) {
        for host in inventory.hosts.iter_mut().filter(|host| host.agent.is_none()) {
            host.agent = self.agents.resident(&host.name).then_some(Rhythm::Resident);
        }
    }
}

/// Whether one end of a connection is an interface of this host.
pub fn touches_host(connection: &Connection, host: &HostName) -> bool {
    connection.name.one.host == *host || matches!(&connection.name.other, Other::Interface(end) if end.host == *host)
}

/// Whether a connection serves this person.
pub fn serves(connection: &Connection, user: &UserName) -> bool {
    connection.owner.as_ref() == Some(user) || connection.other_owner.as_ref() == Some(user)
}

/// The places where a connection's generations can be used: each of its ends that is a host's interface.
pub fn places(connection: &Connection) -> Vec<Place> {
    let one = Place { server_side: connection.name.one.clone(), public_key: connection.other_public_key };
    match &connection.name.other {
        Other::Interface(end) => {
            vec![one, Place { server_side: end.clone(), public_key: connection.public_key }]
        }
        Other::Device(_) | Other::Unmonitored(_) => vec![one],
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The worked example, without a store.
    pub fn article() -> Site {
        let text = include_str!("../../../tests/vectors/article/inventory.json");
        let inventory: Inventory = serde_json::from_str(text).unwrap();
        Site::of(inventory)
    }

    #[test]
    fn any_unique_part_of_a_name_will_do() {
        let site = article();
        let found =
            |text| site.find(text).map(|connection| connection.name.to_string()).map_err(|failure| failure.error);
        assert_eq!(found("mail-gw/devices:alice").as_deref(), Ok("mail-gw/devices:alice-laptop"));
        assert_eq!(found("db-gw/infra:app-gw/infra").as_deref(), Ok("app-gw/infra:db-gw/infra"));
        assert_eq!(
            found("app-gw/dev"),
            Err("'app-gw/dev' is ambiguous: app-gw/devices:alice-laptop, app-gw/devices:justins-laptop".to_owned())
        );
        assert_eq!(found("nowhere"), Err("no connection is called 'nowhere'".to_owned()));
        assert_eq!(site.having(&["alice".to_owned()]).unwrap().len(), 4);
        assert_eq!(site.having(&[]).unwrap().len(), 11);
        assert_eq!(site.having(&["db-gw/infra:app-gw/infra".to_owned()]).unwrap().len(), 1);
    }
}
