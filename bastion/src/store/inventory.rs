//! The inventory: what all hosts reported last, devices, and where the generations of each peer stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer};
use wgmfa_core::key::PublicKey;

use super::column::{Json, text, time};
use super::{Generation, Store, StoreError, record};

/// The version of the inventory's format.
const VERSION: u32 = 1;

/// Interface and peer, as the keys of what is known about each peer.
type PeerName = (InterfaceRef, PublicKey);

impl Store {
    /// Hosts, their present interfaces and peers, and devices. `disabled` is also true when the owner is cut off. On
    /// peers of server sides stand the newest applied generation, `rotated_at`, `released_at` and `deadline` (which may
    /// have passed).
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let (mut interfaces, generations, handshakes) = (self.interfaces()?, self.current()?, self.handshakes()?);
        for (host, interfaces) in &mut interfaces {
            for interface in interfaces {
                let name =
                    InterfaceRef { host: host.parse().map_err(|_| damaged())?, interface: interface.name.clone() };
                for peer in &mut interface.peers {
                    let name = (name.clone(), peer.public_key);
                    peer.latest_handshake = handshakes.get(&name).copied();
                    if let Some(current) = generations.get(&name) {
                        peer.generation = Some(current.generation);
                        peer.rotated_at = current.applied_at;
                        peer.released_at = current.released_at;
                        peer.deadline = current.deadline;
                    }
                }
            }
        }
        let hosts = self.hosts()?.into_iter().map(|host| Host {
            interfaces: interfaces.remove(host.name.as_str()).unwrap_or_default(),
            name: host.name,
            owner: host.owner,
            disabled: host.disabled || host.owner_disabled,
        });
        let devices = self.devices()?.into_iter().map(|device| Device {
            name: device.name,
            owner: Some(device.owner),
            public_key: device.public_key,
            disabled: device.disabled || device.owner_disabled,
        });
        Ok(Inventory { version: VERSION, hosts: hosts.collect(), devices: devices.collect() })
    }

    fn interfaces(&self) -> Result<BTreeMap<String, Vec<Interface>>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT * FROM interfaces WHERE present ORDER BY host, name")?;
        let found = statement.query_map([], |row| {
            let Json(peers) = row.get::<_, Json<Vec<Peer>>>("peers")?;
            let (name, public_key) = (text(row, "name")?, text(row, "public_key")?);
            let interface = Interface { name, public_key, listen_port: row.get("listen_port")?, peers };
            Ok((row.get::<_, String>("host")?, interface))
        })?;
        let mut interfaces = BTreeMap::<_, Vec<_>>::new();
        for found in found {
            let (host, interface) = found?;
            interfaces.entry(host).or_default().push(interface);
        }
        Ok(interfaces)
    }

    /// The newest generation of each place that the server side has confirmed.
    fn current(&self) -> Result<BTreeMap<PeerName, Generation>, StoreError> {
        let sql = "SELECT host, interface, peer, generations.* FROM places JOIN generations ON place = id
                   WHERE phase <> 'deposited' ORDER BY place, generation";
        let mut statement = self.connection.prepare_cached(sql)?;
        // of several the last one stays
        let found = statement.query_map([], |row| Ok((peer_name(row)?, record::generation(row)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn handshakes(&self) -> Result<BTreeMap<PeerName, Timestamp>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT * FROM handshakes")?;
        let found = statement.query_map([], |row| Ok((peer_name(row)?, time(row, "at")?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

fn peer_name(row: &rusqlite::Row<'_>) -> rusqlite::Result<PeerName> {
    let interface = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
    Ok((interface, text(row, "peer")?))
}

fn damaged() -> StoreError {
    StoreError::Broken("a host has a name that is none".to_owned())
}
