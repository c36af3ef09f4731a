//! What a host reports about its interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wgmfa_core::inventory::{Interface, Peer};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::HandshakeAge;
use wgmfa_core::name::{HostName, InterfaceName};

use super::column::{Json, Text, Time, text};
use super::{Event, Note, Store, StoreError, Writing, connections, hosts};

/// What a host reports, as it stands in its message.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// All interfaces that the agent looks after.
    pub interfaces: &'a [Interface],
    /// For each peer that ever shook hands: how many seconds ago.
    pub handshake_ages: &'a [HandshakeAge],
    /// When the agent comes next, in seconds; none: it stays, or does not know.
    pub next_in_seconds: Option<u64>,
    /// Root has had the agent stand down.
    pub stood_down: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Interfaces or peers differ from the last report.
    pub changed: bool,
    /// What was refused; the rest is stored.
    pub refused: Vec<ReportRefusal>,
    /// Other hosts that have an interface as a peer of which nobody knew until now whose it is.
    pub concerned: Vec<HostName>,
}

/// An interface that was not taken over from a report. What was known of it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRefusal {
    /// The interface.
    pub interface: InterfaceName,
    /// Why, in words; names who has the key.
    pub reason: String,
}

impl fmt::Display for ReportRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.interface, self.reason)
    }
}

/// So many interfaces of one host are remembered, present or not.
const MOST_INTERFACES: usize = 256;

impl Store {
    /// Replaces what is known of a host's interfaces, when it differs from the last report, and notes that the host was
    /// heard. A refusal is audited once, not with each report.
    ///
    /// # Errors
    /// The host is unknown or cut off, or the disk fails.
    pub fn report(&self, now: Timestamp, host: &HostName, report: &Report<'_>) -> Result<Reported, StoreError> {
        let digest = digest(report.interfaces);
        self.write(now, |w| {
            let known = w.must_exist_host(host)?;
            if known.disabled || known.owner_disabled {
                return Err(StoreError::refused(format!("host {host} is disabled")));
            }
            let next_round = report.next_in_seconds.map(|seconds| {
                Time(w.now.0.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
            });
            let sql = "UPDATE hosts SET last_seen = ?2, next_round = ?3, stood_down = ?4 WHERE name = ?1";
            w.execute(sql, (host.as_str(), w.now, next_round, report.stood_down))?;
            let sql = "SELECT report_digest IS ?2 FROM hosts WHERE name = ?1";
            let same = w.tx.prepare_cached(sql)?.query_row((host.as_str(), &digest[..]), |row| row.get(0))?;
            let (refused, concerned) = if same {
                (known.refused, Vec::new())
            } else {
                let interfaces: Vec<Interface> = report.interfaces.iter().map(as_reported).collect();
                let before = w.keys_of_host(host)?;
                let refused = w.replace_report(host, &interfaces, &known.refused)?;
                (refused, w.hosts_with_new_peers(host, &before)?)
            };
            if !same {
                w.inventory_changed()?;
                let sql = "UPDATE hosts SET report_digest = ?2, refused = ?3 WHERE name = ?1";
                w.execute(sql, (host.as_str(), &digest[..], Json(&refused)))?;
            }
            w.note_handshakes(host, report.interfaces, report.handshake_ages, !same)?;
            w.note_opened_by_root(host, report.interfaces)?;
            Ok(Reported { changed: !same, refused, concerned })
        })
    }
}

/// The interfaces of a host that are present, each with its own public key and those of its peers.
pub(super) fn interfaces_of(
    connection: &Connection,
    host: &HostName,
) -> Result<BTreeMap<InterfaceName, (PublicKey, BTreeSet<PublicKey>)>, StoreError> {
    let sql = "SELECT name, public_key, peers FROM interfaces WHERE host = ?1 AND present";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map([host.as_str()], |row| {
        let Json(peers) = row.get::<_, Json<Vec<Peer>>>("peers")?;
        let peers = peers.into_iter().map(|peer| peer.public_key).collect();
        Ok((text(row, "name")?, (text(row, "public_key")?, peers)))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Stands for what a host reports, all that [`as_reported`] leaves of it; the same when it says the same again, in whatever
/// order its peers come. There may be very many: so the bytes are hashed, and no text is made of them. The length stands in
/// front of whatever has no fixed one.
fn digest(interfaces: &[Interface]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for interface in interfaces {
        let mut peers: Vec<&Peer> = interface.peers.iter().collect();
        peers.sort_by_key(|peer| peer.public_key);
        text(&mut hash, interface.name.as_str());
        hash.update(interface.public_key.as_bytes());
        hash.update(interface.listen_port.map_or([0; 3], |port| [1, port.to_le_bytes()[0], port.to_le_bytes()[1]]));
        hash.update((peers.len() as u64).to_le_bytes());
        for peer in peers {
            hash.update(peer.public_key.as_bytes());
            hash.update((peer.allowed_ips.len() as u64).to_le_bytes());
            peer.allowed_ips.iter().for_each(|network| text(&mut hash, network));
            hash.update([u8::from(peer.has_preshared_key), u8::from(peer.fingerprint.is_some())]);
            hash.update(peer.fingerprint.map_or([0; 16], |fingerprint| *fingerprint.as_bytes()));
        }
    }
    hash.finalize().into()
}

/// An interface as its host knows it: what only the bastion can say is left out, and the order of peers is always one.
fn as_reported(interface: &Interface) -> Interface {
    let mut interface = interface.clone();
    interface.peers.sort_by_key(|peer| peer.public_key);
    for peer in &mut interface.peers {
        (peer.latest_handshake, peer.handshake_with_this_key, peer.generation) = (None, false, None);
        (peer.opened_by_root_for, peer.opened_by_root_until, peer.kept_locked) = (None, None, false);
        (peer.rotated_at, peer.released_at, peer.deadline) = (None, None, None);
    }
    interface
}

/// What to do about one interface of a report.
enum Taking {
    /// It has the key that is known, or a free one.
    Take,
    /// The key is another one, and an administrator may agree to it.
    Await(String),
    /// The key is somebody else's.
    Refuse(String),
}

impl Writing<'_> {
    fn keys_of_host(&self, host: &HostName) -> Result<BTreeSet<PublicKey>, StoreError> {
        let sql = "SELECT public_key FROM interfaces WHERE host = ?1";
        let mut statement = self.tx.prepare_cached(sql)?;
        Ok(statement.query_map([host.as_str()], |row| text(row, "public_key"))?.collect::<Result<_, _>>()?)
    }

    /// The other hosts that have an interface of this host as a peer, of those that are not among the keys of before.
    fn hosts_with_new_peers(&self, host: &HostName, before: &BTreeSet<PublicKey>) -> Result<Vec<HostName>, StoreError> {
        let mut concerned = BTreeSet::new();
        for key in self.keys_of_host(host)?.difference(before) {
            let sql = "SELECT DISTINCT host FROM relations WHERE peer = ?1 AND host <> ?2";
            let mut statement = self.tx.prepare_cached(sql)?;
            let found = statement.query_map((Text(key), host.as_str()), |row| text(row, "host"))?;
            concerned.extend(found.collect::<Result<Vec<HostName>, _>>()?);
        }
        Ok(concerned.into_iter().collect())
    }

    fn replace_report(
        &self,
        host: &HostName,
        interfaces: &[Interface],
        refused_before: &[ReportRefusal],
    ) -> Result<Vec<ReportRefusal>, StoreError> {
        self.execute("UPDATE interfaces SET present = 0 WHERE host = ?1", [host.as_str()])?;
        self.execute("DELETE FROM pending_keys WHERE host = ?1", [host.as_str()])?;
        let mut refused = Vec::new();
        for interface in interfaces {
            let reason = match self.taking(host, interface)? {
                Taking::Take => {
                    self.take(host, interface)?;
                    continue;
                }
                Taking::Await(reason) => {
                    let sql = "INSERT OR REPLACE INTO pending_keys (host, interface, public_key) VALUES (?1, ?2, ?3)";
                    self.execute(sql, (host.as_str(), interface.name.as_str(), Text(interface.public_key)))?;
                    reason
                }
                Taking::Refuse(reason) => reason,
            };
            // what was known of it stays in force
            let sql = "UPDATE interfaces SET present = 1 WHERE host = ?1 AND name = ?2";
            self.execute(sql, (host.as_str(), interface.name.as_str()))?;
            let refusal = ReportRefusal { interface: interface.name.clone(), reason };
            if !refused_before.contains(&refusal) {
                self.audit_for_host(host, Note::new(Event::ReportRefused).host(host).reason(refusal.to_string()))?;
            }
            refused.push(refusal);
        }
        Ok(refused)
    }

    fn taking(&self, host: &HostName, interface: &Interface) -> Result<Taking, StoreError> {
        let key = &interface.public_key;
        let sql = "SELECT public_key FROM interfaces WHERE host = ?1 AND name = ?2";
        let known: Option<PublicKey> = self
            .tx
            .prepare_cached(sql)?
            .query_row((host.as_str(), interface.name.as_str()), |row| text(row, "public_key"))
            .optional()?;
        let agree = format!("`wgmfa-bastion host accept {host}` agrees to it");
        let elsewhere = connections::interface(self.tx, key)?;
        Ok(match (known, elsewhere) {
            (Some(known), _) if known == *key => Taking::Take,
            (_, Some(other)) if other.host == *host => {
                Taking::Await(format!("its public key {key} was the one of {other} until now; {agree}"))
            }
            _ => match (hosts::holder(self.tx, key)?, known) {
                (Some(holder), _) => Taking::Refuse(format!("its public key {key} belongs to {holder}")),
                (None, Some(known)) => Taking::Await(format!("its public key was {known} and is now {key}; {agree}")),
                // what was reported once is remembered for ever
                (None, None) if self.count_interfaces(host)? >= MOST_INTERFACES => Taking::Refuse(format!(
                    "this host has had {MOST_INTERFACES} interfaces; `wgmfa-bastion host remove {host}` forgets them"
                )),
                (None, None) => Taking::Take,
            },
        })
    }

    fn count_interfaces(&self, host: &HostName) -> Result<usize, StoreError> {
        let sql = "SELECT count(*) FROM interfaces WHERE host = ?1";
        Ok(self.tx.prepare_cached(sql)?.query_row([host.as_str()], |row| row.get(0))?)
    }

    fn take(&self, host: &HostName, interface: &Interface) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO interfaces (host, name, public_key, listen_port, present, peers) VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT (host, name) DO UPDATE SET listen_port = ?4, present = 1, peers = ?5",
            (
                host.as_str(),
                interface.name.as_str(),
                Text(interface.public_key),
                interface.listen_port,
                Json(&interface.peers),
            ),
        )?;
        let name = (host.as_str(), interface.name.as_str());
        self.execute("DELETE FROM relations WHERE host = ?1 AND interface = ?2", name)?;
        for peer in &interface.peers {
            let sql = "INSERT OR IGNORE INTO relations (host, interface, peer) VALUES (?1, ?2, ?3)";
            self.execute(sql, (name.0, name.1, Text(peer.public_key)))?;
        }
        self.reported(&interface.public_key)
    }
}

#[cfg(test)]
mod tests {
    use wgmfa_core::key::Fingerprint;

    use super::*;

    fn report(changed: impl Fn(&mut serde_json::Value)) -> [u8; 32] {
        let [one, other] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        let mut interfaces = serde_json::json!([{
            "name": "wg0", "public_key": one, "listen_port": 51820,
            "peers": [
                {"public_key": one, "allowed_ips": ["10.0.0.1/32", "fd00::1/128"], "has_preshared_key": true,
                 "fingerprint": Fingerprint::from_bytes([3; 16])},
                {"public_key": other, "allowed_ips": [], "has_preshared_key": false},
            ],
        }]);
        changed(&mut interfaces);
        let interfaces: Vec<Interface> = serde_json::from_value(interfaces).unwrap();
        digest(&interfaces)
    }

    #[test]
    fn a_report_is_the_same_in_whatever_order_its_peers_come_and_whenever() {
        let same = report(|_| {});
        assert_eq!(report(|it| it[0]["peers"].as_array_mut().unwrap().reverse()), same);
        assert_eq!(report(|it| it[0]["peers"][1]["latest_handshake"] = "2026-11-27T15:00:00Z".into()), same);
    }

    #[test]
    fn whatever_differs_in_a_report_makes_it_another_one() {
        let changes: [(&str, serde_json::Value); 9] = [
            ("/0/name", "wg1".into()),
            ("/0/public_key", PublicKey::from_bytes([4; 32]).to_string().into()),
            ("/0/listen_port", serde_json::Value::Null),
            ("/0/listen_port", 0.into()),
            ("/0/peers/1/public_key", PublicKey::from_bytes([4; 32]).to_string().into()),
            ("/0/peers/0/allowed_ips", serde_json::json!(["10.0.0.1/3", "2fd00::1/128"])),
            ("/0/peers/0/has_preshared_key", false.into()),
            ("/0/peers/0/fingerprint", serde_json::Value::Null),
            ("/0/peers", serde_json::json!([])),
        ];
        let mut digests: Vec<_> =
            changes.iter().map(|(at, value)| report(|it| *it.pointer_mut(at).unwrap() = value.clone())).collect();
        digests.push(report(|_| {}));
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), changes.len() + 1);
    }
}
