//! Keys that are released to an owned host, for its agent to fetch as long as their sessions last.

use std::collections::HashSet;

use jiff::Timestamp;
use wgmfa_core::connection::{ConnectionName, InterfaceRef};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::HostName;

use super::column::{Time, text, time};
use super::{Place, Store, StoreError, connections, generations, places};

/// A key that an owned host should use now.
#[derive(Debug, Clone)]
pub struct ToDeliver {
    /// Where the other side accepts it.
    pub place: Place,
    /// The connection's name.
    pub connection: ConnectionName,
    /// The peer on the owned host.
    pub peer: PeerRef,
    /// Its number.
    pub generation: u64,
    /// The key.
    pub preshared_key: PresharedKey,
    /// Until when it is accepted.
    pub deadline: Timestamp,
}

impl Store {
    /// The keys of running sessions of an owned host that its last report does not show.
    pub fn to_deliver(&self, now: Timestamp, host: &HostName) -> Result<Vec<ToDeliver>, StoreError> {
        let sql = "SELECT place, generation, deadline, sealed, fingerprint FROM generations
                   WHERE phase = 'released' AND released_for = ?1 AND deadline > ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let released = statement.query_map((host.as_str(), Time::from(self.now(now))), |row| {
            let sealed: Vec<u8> = row.get("sealed")?;
            let fingerprint: String = row.get("fingerprint")?;
            Ok((row.get::<_, i64>("place")?, row.get("generation")?, time(row, "deadline")?, sealed, fingerprint))
        })?;
        let mut found = Vec::new();
        for released in released {
            let (id, generation, deadline, sealed, fingerprint) = released?;
            let Some(row) = places::select(&self.connection, "id = ?1", [id])?.pop() else { continue };
            let Some(peer) = self.client_peer(&row.place)?.filter(|(at, _)| at.host == *host) else { continue };
            if self.reported_fingerprint(&peer.0, &peer.1)?.is_some_and(|seen| seen == fingerprint) {
                continue;
            }
            let preshared_key = generations::open(&self.sealing.borrow(), &row.place, generation, &sealed)?;
            let connection = connections::name(&self.connection, &row.place)?;
            let peer = PeerRef { interface: peer.0.interface, public_key: peer.1 };
            found.push(ToDeliver { place: row.place, connection, peer, generation, preshared_key, deadline });
        }
        Ok(found)
    }

    /// The peers of a host whose keys were released since then.
    pub fn released_since(&self, host: &HostName, since: Timestamp) -> Result<HashSet<PeerRef>, StoreError> {
        let sql = "SELECT interface, peer FROM places JOIN generations ON place = id
                   WHERE host = ?1 AND phase = 'released' AND renewed_at > ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map((host.as_str(), Time::from(since)), |row| {
            Ok(PeerRef { interface: text(row, "interface")?, public_key: text(row, "peer")? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The other end of a place, when a host's interface is there: the interface, and its peer.
    pub fn client_peer(&self, place: &Place) -> Result<Option<(InterfaceRef, PublicKey)>, StoreError> {
        let Some(client) = connections::interface(&self.connection, &place.public_key)? else { return Ok(None) };
        let InterfaceRef { host, interface } = &place.server_side;
        let sql = "SELECT public_key FROM interfaces WHERE host = ?1 AND name = ?2";
        let own = self
            .connection
            .prepare_cached(sql)?
            .query_row((host.as_str(), interface.as_str()), |row| text(row, "public_key"));
        Ok(rusqlite::OptionalExtension::optional(own)?.map(|own| (client, own)))
    }

    /// The interface that has a public key.
    pub fn interface_of(&self, public_key: &PublicKey) -> Result<Option<InterfaceRef>, StoreError> {
        connections::interface(&self.connection, public_key)
    }

    fn reported_fingerprint(&self, at: &InterfaceRef, peer: &PublicKey) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value ->> 'fingerprint' AS fingerprint FROM interfaces, json_each(interfaces.peers)
                   WHERE host = ?1 AND name = ?2 AND value ->> 'public_key' = ?3";
        let found = self
            .connection
            .prepare_cached(sql)?
            .query_row((at.host.as_str(), at.interface.as_str(), super::column::Text(peer)), |row| {
                row.get("fingerprint")
            });
        Ok(rusqlite::OptionalExtension::optional(found)?.flatten())
    }
}
