//! The inventory: what all hosts reported last, devices, and where the generations of each peer stand.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use rusqlite::Params;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer, Rhythm};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::HostName;

use super::column::{Json, text, time};
use super::{DeviceRecord, Generation, HostRecord, Store, StoreError, connections, record};

/// The version of the inventory's format.
pub(super) const VERSION: u32 = 1;

/// Interface and peer, as the keys of what is known about each peer.
type PeerName = (InterfaceRef, PublicKey);

impl Store {
    /// Hosts, their present interfaces and peers, and devices. `disabled` is also true when the owner is cut off. On
    /// peers of server sides stand the newest applied generation, `rotated_at`, `released_at` and `deadline` (which may
    /// have passed).
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let (mut interfaces, generations, handshakes) =
            (self.interfaces("TRUE", [])?, self.current()?, self.handshakes()?);
        let (opened_by_root, kept_locked) = (self.opened_by_root()?, self.kept_locked()?);
        for (host, interfaces) in &mut interfaces {
            for interface in interfaces {
                let name =
                    InterfaceRef { host: host.parse().map_err(|_| damaged())?, interface: interface.name.clone() };
                for peer in &mut interface.peers {
                    let name = (name.clone(), peer.public_key);
                    if let Some((at, with_this_key)) = handshakes.get(&name) {
                        (peer.latest_handshake, peer.handshake_with_this_key) = (Some(*at), *with_this_key);
                    }
                    peer.opened_by_root_until = opened_by_root.get(&name).copied();
                    peer.kept_locked = kept_locked.contains(&name);
                    if let Some(current) = generations.get(&name) {
                        peer.generation = Some(current.generation);
                        peer.rotated_at = current.applied_at;
                        peer.released_at = current.released_at;
                        peer.deadline = current.deadline;
                    }
                }
            }
        }
        let hosts = self.hosts()?.into_iter().map(|found| {
            let interfaces = interfaces.remove(found.name.as_str()).unwrap_or_default();
            host(found, interfaces)
        });
        let devices = self.devices()?.into_iter().map(device);
        Ok(Inventory { version: VERSION, hosts: hosts.collect(), devices: devices.collect() })
    }

    /// The part of the inventory in which every connection of one host stands whole: that host, the interfaces that are
    /// its peers or have it as theirs (with these peers alone), and the devices that are its peers. Without the times
    /// and generations of [`Store::inventory`].
    pub fn inventory_of(&self, name: &HostName) -> Result<Inventory, StoreError> {
        let own = self.interfaces("host = ?1", [name.as_str()])?;
        let keys: HashSet<_> = own.values().flatten().map(|interface| interface.public_key).collect();
        let around = "host <> ?1 AND (host, name) IN (
            SELECT there.host, there.name FROM relations JOIN interfaces AS there ON there.public_key = relations.peer
                WHERE relations.host = ?1
            UNION
            SELECT relations.host, relations.interface FROM interfaces AS here
                JOIN relations ON relations.peer = here.public_key WHERE here.host = ?1)";
        let mut interfaces = self.interfaces(around, [name.as_str()])?;
        for interface in interfaces.values_mut().flatten() {
            interface.peers.retain(|peer| keys.contains(&peer.public_key));
        }
        interfaces.extend(own);
        let mut hosts = Vec::new();
        for (name, interfaces) in interfaces {
            let name = name.parse().map_err(|_| damaged())?;
            hosts.extend(self.host(&name)?.map(|found| host(found, interfaces)));
        }
        let devices = self.devices_that_are_peers(name)?.into_iter().map(device);
        Ok(Inventory { version: VERSION, hosts, devices: devices.collect() })
    }

    /// The interface that has a public key.
    pub fn interface_with(&self, key: &PublicKey) -> Result<Option<InterfaceRef>, StoreError> {
        connections::interface(&self.connection, key)
    }

    fn interfaces(
        &self,
        condition: &str,
        parameters: impl Params,
    ) -> Result<BTreeMap<String, Vec<Interface>>, StoreError> {
        let sql = format!("SELECT * FROM interfaces WHERE present AND {condition} ORDER BY host, name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map(parameters, |row| {
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
        let sql = format!(
            "SELECT host, interface, peer, {} FROM places JOIN generations ON place = id
             WHERE phase <> 'deposited' ORDER BY place, generation",
            record::GENERATION
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        // of several the last one stays
        let found = statement.query_map([], |row| Ok((peer_name(row)?, record::generation(row, 3)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The latest handshakes, and whether each was made with the key that its peer has now.
    fn handshakes(&self) -> Result<BTreeMap<PeerName, (Timestamp, bool)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT * FROM handshakes")?;
        let found =
            statement.query_map([], |row| Ok((peer_name(row)?, (time(row, "at")?, row.get("with_this_key")?))))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Where nobody may come in until what was removed is registered again.
    fn kept_locked(&self) -> Result<HashSet<PeerName>, StoreError> {
        let sql = "SELECT host, interface, peer FROM places WHERE kept_locked IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([], peer_name)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn opened_by_root(&self) -> Result<BTreeMap<PeerName, Timestamp>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT * FROM opened_by_root")?;
        let found = statement.query_map([], |row| Ok((peer_name(row)?, time(row, "until")?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

pub(super) fn host(found: HostRecord, interfaces: Vec<Interface>) -> Host {
    let disabled = found.disabled || found.owner_disabled;
    let period = found.next_round.zip(found.last_seen).map(|(next, last)| next.duration_since(last).as_secs());
    let agent = period.and_then(|seconds| u64::try_from(seconds).ok()).map(Rhythm::Every);
    let stood_down = found.stood_down;
    Host { name: found.name, owner: found.owner, disabled, agent, stood_down, interfaces }
}

pub(super) fn device(found: DeviceRecord) -> Device {
    let disabled = found.disabled || found.owner_disabled;
    Device { name: found.name, owner: Some(found.owner), public_key: found.public_key, disabled }
}

fn peer_name(row: &rusqlite::Row<'_>) -> rusqlite::Result<PeerName> {
    let interface = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
    Ok((interface, text(row, "peer")?))
}

fn damaged() -> StoreError {
    StoreError::Broken("a host has a name that is none".to_owned())
}
