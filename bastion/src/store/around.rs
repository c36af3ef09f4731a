//! A piece of the inventory: some peers with all that their connections' states follow from. Its cost goes with the
//! number of those peers and the size of their interfaces, not with the size of the site.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::OptionalExtension;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer};
use wgmfa_core::key::PublicKey;

use super::column::{Json, Text, text, time};
use super::{Place, Record, Store, StoreError, connections, inventory};

impl Store {
    /// The inventory with no other peers than these, and what is known about the places at both of their ends.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn around(&self, wanted: &[Place]) -> Result<(Inventory, Vec<Record>), StoreError> {
        let mut ends: BTreeSet<Place> = wanted.iter().cloned().collect();
        let mut devices = Vec::new();
        for place in wanted {
            if let Some(device) = self.device_with(&place.public_key)? {
                devices.push(device);
            } else if let Some(there) = connections::interface(&self.connection, &place.public_key)? {
                let here = self.key_of(&place.server_side)?;
                ends.extend(here.map(|public_key| Place { server_side: there, public_key }));
            }
        }
        devices.sort_by(|one, other| one.name.cmp(&other.name));
        devices.dedup_by(|one, other| one.name == other.name);
        let mut peers: BTreeMap<&InterfaceRef, BTreeSet<PublicKey>> = BTreeMap::new();
        let mut records = Vec::new();
        for end in &ends {
            peers.entry(&end.server_side).or_default().insert(end.public_key);
            records.extend(self.record(end)?);
        }
        let mut hosts: Vec<Host> = Vec::new();
        for (end, peers) in peers {
            let Some(interface) = self.interface_around(end, &peers)? else { continue };
            match hosts.last_mut().filter(|host| host.name == end.host) {
                Some(host) => host.interfaces.push(interface),
                None => hosts.extend(self.host(&end.host)?.map(|host| inventory::host(host, vec![interface]))),
            }
        }
        Ok((Inventory { version: inventory::VERSION, hosts, devices }, records))
    }

    fn device_with(&self, key: &PublicKey) -> Result<Option<Device>, StoreError> {
        let Some(name) = connections::device(&self.connection, key)? else { return Ok(None) };
        Ok(self.device(&name)?.map(inventory::device))
    }

    fn key_of(&self, end: &InterfaceRef) -> Result<Option<PublicKey>, StoreError> {
        let sql = "SELECT public_key FROM interfaces WHERE host = ?1 AND name = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let key = statement.query_row((end.host.as_str(), end.interface.as_str()), |row| text(row, "public_key"));
        Ok(key.optional()?)
    }

    /// An interface that is present, with those of its peers that are wanted.
    fn interface_around(
        &self,
        end: &InterfaceRef,
        wanted: &BTreeSet<PublicKey>,
    ) -> Result<Option<Interface>, StoreError> {
        let sql = "SELECT * FROM interfaces WHERE host = ?1 AND name = ?2 AND present";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row((end.host.as_str(), end.interface.as_str()), |row| {
            let Json(peers) = row.get::<_, Json<Vec<Peer>>>("peers")?;
            let (name, public_key) = (text(row, "name")?, text(row, "public_key")?);
            Ok(Interface { name, public_key, listen_port: row.get("listen_port")?, peers })
        });
        let Some(mut interface) = found.optional()? else { return Ok(None) };
        interface.peers.retain(|peer| wanted.contains(&peer.public_key));
        for peer in &mut interface.peers {
            let name = (end.host.as_str(), end.interface.as_str(), Text(peer.public_key));
            let sql = "SELECT at, with_this_key FROM handshakes WHERE host = ?1 AND interface = ?2 AND peer = ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            let handshake = statement.query_row(name, |row| Ok((time(row, "at")?, row.get("with_this_key")?)));
            if let Some((at, with_this_key)) = handshake.optional()? {
                (peer.latest_handshake, peer.handshake_with_this_key) = (Some(at), with_this_key);
            }
            let name = (end.host.as_str(), end.interface.as_str(), Text(peer.public_key));
            let sql = "SELECT until FROM opened_by_root WHERE host = ?1 AND interface = ?2 AND peer = ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            peer.opened_by_root_until = statement.query_row(name, |row| time(row, "until")).optional()?;
        }
        Ok(Some(interface))
    }
}
