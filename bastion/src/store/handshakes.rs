//! What gateways say of their peers' handshakes, and of peers that root has opened: the evidence for a key's state.

use std::collections::{BTreeMap, HashMap};

use wgmfa_core::inventory::{Interface, Peer};
use wgmfa_core::message::agent::{HandshakeAge, PeerRef};
use wgmfa_core::name::HostName;

use super::column::{Repeated, Text, Time, text};
use super::{StoreError, Writing};

/// A handshake counts as a new one only if it is so much later, in milliseconds: ages are whole seconds and take time
/// to arrive. WireGuard shakes hands at most every 5 s (REKEY_TIMEOUT).
const HANDSHAKES_APART: i64 = 3_000;

/// The end of an override counts as another one only if it differs by so much, in milliseconds: for the same reason.
const OVERRIDES_APART: i64 = 3_000;

/// A row of `handshakes`.
struct Known {
    at: Time,
    fingerprint: Option<String>,
}

/// Interface and public key of a peer, as columns hold them.
type Name = (String, String);

impl Writing<'_> {
    /// Keeps when each peer last shook hands; `changed`: peers may be gone, and their handshakes with them.
    ///
    /// Beside it stands whether that handshake was made with the key that the peer has now. Of a key that it put there
    /// the agent says so itself; of any other key only a second handshake under it is proof.
    pub(super) fn note_handshakes(
        &self,
        host: &HostName,
        interfaces: &[Interface],
        ages: &[HandshakeAge],
        changed: bool,
    ) -> Result<(), StoreError> {
        if ages.is_empty() && !changed {
            return Ok(());
        }
        let known = self.known_handshakes(host)?;
        let peers: HashMap<_, &Peer> = interfaces
            .iter()
            .flat_map(|interface| interface.peers.iter().map(|peer| ((&interface.name, peer.public_key), peer)))
            .collect();
        for HandshakeAge { peer: at, seconds, before_change } in ages {
            let Some(peer) = peers.get(&(&at.interface, at.public_key)) else { continue };
            let fingerprint = peer.fingerprint.map(|fingerprint| fingerprint.to_string());
            let time = self.now.0.saturating_sub(i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000));
            let with_this_key = match known.get(at) {
                Some(before) if before.fingerprint == fingerprint => {
                    if time <= before.at.0 + HANDSHAKES_APART {
                        continue;
                    }
                    !before_change
                }
                _ => !before_change && (peer.opened_by_root_for.is_some() || self.is_accepted(host, at, peer)?),
            };
            let sql = "INSERT OR REPLACE INTO handshakes VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let name = (host.as_str(), at.interface.as_str(), Text(at.public_key));
            self.execute(sql, (name.0, name.1, name.2, time, fingerprint, with_this_key))?;
        }
        if changed {
            for peer in known.keys().filter(|peer| !peers.contains_key(&(&peer.interface, peer.public_key))) {
                let sql = "DELETE FROM handshakes WHERE host = ?1 AND interface = ?2 AND peer = ?3";
                self.execute(sql, (host.as_str(), peer.interface.as_str(), Text(peer.public_key)))?;
            }
        }
        Ok(())
    }

    fn known_handshakes(&self, host: &HostName) -> Result<HashMap<PeerRef, Known>, StoreError> {
        let sql = "SELECT interface, peer, at, fingerprint FROM handshakes WHERE host = ?1";
        let mut statement = self.tx.prepare_cached(sql)?;
        let mut interfaces = Repeated::default();
        let known = statement.query_map([host.as_str()], |row| {
            let peer = PeerRef { interface: interfaces.text(row, 0)?, public_key: text(row, 1)? };
            Ok((peer, Known { at: row.get(2)?, fingerprint: row.get(3)? }))
        })?;
        Ok(known.collect::<Result<_, _>>()?)
    }

    /// Whether the key on a peer is the generation that its agent has confirmed.
    fn is_accepted(&self, host: &HostName, at: &PeerRef, peer: &Peer) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM places JOIN generations ON place = id
                   WHERE host = ?1 AND interface = ?2 AND peer = ?3 AND phase IN ('applied', 'released')
                       AND (?4 IS NULL OR fingerprint = ?4)";
        let parameters = (host.as_str(), at.interface.as_str(), Text(at.public_key), peer.fingerprint.map(Text));
        Ok(self.tx.prepare_cached(sql)?.exists(parameters)?)
    }

    /// Keeps which peers root has opened, and until when.
    pub(super) fn note_opened_by_root(&self, host: &HostName, interfaces: &[Interface]) -> Result<(), StoreError> {
        let sql = "SELECT interface, peer, until FROM opened_by_root WHERE host = ?1";
        let mut statement = self.tx.prepare_cached(sql)?;
        let known =
            statement.query_map([host.as_str()], |row| Ok(((row.get(0)?, row.get(1)?), row.get::<_, Time>(2)?)))?;
        let mut known = known.collect::<Result<BTreeMap<Name, Time>, _>>()?;
        for interface in interfaces {
            for peer in &interface.peers {
                let Some(seconds) = peer.opened_by_root_for else { continue };
                let left = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
                let until = self.now.0.saturating_add(left);
                let name = (interface.name.to_string(), peer.public_key.to_string());
                if known.remove(&name).is_none_or(|before| (until - before.0).abs() > OVERRIDES_APART) {
                    let sql = "INSERT OR REPLACE INTO opened_by_root VALUES (?1, ?2, ?3, ?4)";
                    self.execute(sql, (host.as_str(), name.0, name.1, until))?;
                }
            }
        }
        for (interface, peer) in known.keys() {
            let sql = "DELETE FROM opened_by_root WHERE host = ?1 AND interface = ?2 AND peer = ?3";
            self.execute(sql, (host.as_str(), interface, peer))?;
        }
        Ok(())
    }
}
