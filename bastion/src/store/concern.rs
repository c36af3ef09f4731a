//! The part of the inventory, and of what is known about generations, that concerns one person.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::OptionalExtension;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::inventory::{Interface, Inventory, Peer};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::{HostName, UserName};

use super::column::text;
use super::inventory::{VERSION, device, host};
use super::{Record, Store, StoreError, places};

/// The hosts of a person.
const HOSTS: &str = "(SELECT name FROM hosts WHERE owner = ?1)";

/// The public keys of a person: those of devices, and of interfaces of hosts.
const KEYS: &str = "(SELECT public_key FROM devices WHERE owner = ?1
    UNION ALL SELECT interfaces.public_key FROM interfaces JOIN hosts ON hosts.name = interfaces.host
        WHERE hosts.owner = ?1)";

impl Store {
    /// The devices and hosts of a person, and all interfaces and devices to which these are connected, with these
    /// connections alone: however large the site is, little is read. Peers have nothing but their public keys.
    pub fn inventory_for(&self, person: &UserName) -> Result<Inventory, StoreError> {
        let mut peers = BTreeMap::<InterfaceRef, BTreeSet<PublicKey>>::new();
        // one after the other: `relations` is found by host or by peer
        for condition in [format!("peer IN {KEYS}"), format!("host IN {HOSTS}")] {
            let sql = format!("SELECT host, interface, peer FROM relations WHERE {condition}");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let found = statement.query_map([person.as_str()], |row| {
                let end = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
                Ok((end, text(row, "peer")?))
            })?;
            for found in found {
                let (end, peer) = found?;
                peers.entry(end).or_default().insert(peer);
            }
        }
        // the far ends: they need not say that they are connected
        let sql = format!(
            "SELECT host, name FROM interfaces
             WHERE public_key IN (SELECT peer FROM relations WHERE host IN {HOSTS}) OR host IN {HOSTS}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map([person.as_str()], |row| {
            Ok(InterfaceRef { host: text(row, "host")?, interface: text(row, "name")? })
        })?;
        for found in found {
            peers.entry(found?).or_default();
        }
        let mut interfaces = BTreeMap::<HostName, Vec<Interface>>::new();
        for (end, peers) in peers {
            let sql = "SELECT public_key, listen_port FROM interfaces WHERE host = ?1 AND name = ?2 AND present";
            let name = (end.host.as_str(), end.interface.as_str());
            let found = self
                .connection
                .prepare_cached(sql)?
                .query_row(name, |row| Ok((text(row, "public_key")?, row.get("listen_port")?)));
            if let Some((public_key, listen_port)) = found.optional()? {
                let peers = peers.into_iter().map(nothing_but_key).collect();
                let interface = Interface { name: end.interface, public_key, listen_port, peers };
                interfaces.entry(end.host).or_default().push(interface);
            }
        }
        let mut hosts = Vec::new();
        for (name, interfaces) in interfaces {
            hosts.extend(self.host(&name)?.map(|found| host(found, interfaces)));
        }
        let condition =
            format!("devices.owner = ?1 OR devices.public_key IN (SELECT peer FROM relations WHERE host IN {HOSTS})");
        let devices = self.devices_where(&condition, [person.as_str()])?.into_iter().map(device);
        Ok(Inventory { version: VERSION, hosts, devices: devices.collect() })
    }

    /// What is known about every place where devices or hosts of a person take part.
    pub fn records_for(&self, person: &UserName) -> Result<Vec<Record>, StoreError> {
        self.records_where(places::OF_PERSON, (person.as_str(),))
    }
}

fn nothing_but_key(public_key: PublicKey) -> Peer {
    Peer {
        public_key,
        allowed_ips: Vec::new(),
        has_preshared_key: false,
        fingerprint: None,
        latest_handshake: None,
        generation: None,
        rotated_at: None,
        released_at: None,
        deadline: None,
        handshake_with_this_key: false,
        opened_by_root_for: None,
        opened_by_root_until: None,
        kept_locked: false,
    }
}
