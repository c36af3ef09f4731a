//! Hosts: machines with an agent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use russh::keys::ssh_key;
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::{HostName, InterfaceName, UserName};

use super::column::{Json, Text, text, text_or_none, time, time_or_none};
use super::places::OF_HOST;
use super::{Actor, Change, CutOff, Event, Note, ReportRefusal, Store, StoreError, Writing, places};

/// A host as the bastion knows it. Its interfaces are in [`Store::inventory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its name.
    pub name: HostName,
    /// Its SSH public key in OpenSSH's one-line form, without a comment.
    pub public_key: String,
    /// Whose machine it is, if a person's.
    pub owner: Option<UserName>,
    /// Cut off by an administrator.
    pub disabled: bool,
    /// Its owner is cut off, and the host with them.
    pub owner_disabled: bool,
    /// When it was added.
    pub added_at: Timestamp,
    /// When its agent was last heard.
    pub last_seen: Option<Timestamp>,
    /// When its agent said that it comes next; none: it stays, or never said.
    pub next_round: Option<Timestamp>,
    /// Root on it has had its agent stand down.
    pub stood_down: bool,
    /// Interface keys that wait for `host accept`.
    pub pending: Vec<PendingKey>,
    /// What was refused in its last report.
    pub refused: Vec<ReportRefusal>,
}

/// A changed interface key that nobody has agreed to yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingKey {
    /// The interface.
    pub interface: InterfaceName,
    /// The key that counts until then.
    pub known: Option<PublicKey>,
    /// The key that the host reports.
    pub reported: PublicKey,
}

/// Why generations and grants are over when an administrator has agreed to another key.
const KEY_CHANGED: &str = "the interface has another key";

impl Store {
    /// Adds a host with its SSH public key (OpenSSH's one-line form, a comment is dropped). The same again is
    /// `Unchanged`; the same name or key with other values is refused.
    pub fn add_host(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &HostName,
        public_key: &str,
        owner: Option<&UserName>,
    ) -> Result<Change, StoreError> {
        let key = one_line(public_key)?;
        // a refusal is an answer here, so that its audit line stays
        self.write(now, |w| {
            if let Some(found) = find(w.tx, "hosts.name = ?1", name.as_str())? {
                return if found.public_key == key && found.owner.as_ref() == owner {
                    Ok(Ok(Change::Unchanged))
                } else {
                    Err(StoreError::refused(format!("host {name} is there already, with another key or owner")).hint(
                        format!(
                            "`host add {name} --key FILE --replace` for another key of its agent; for another owner \
                             `host remove {name}` first"
                        ),
                    ))
                };
            }
            w.must_be_free("device", name.as_str())?;
            if let Some(first) = find(w.tx, "hosts.public_key = ?1", &key)? {
                let reason = format!("this SSH key belongs to host {}", first.name);
                w.audit(Note::new(Event::RegistrationRefused).host(name).actor(actor).reason(&reason))?;
                return Ok(Err(StoreError::refused(reason).hint("each host has a key of its own")));
            }
            if let Some(owner) = owner {
                w.must_exist(owner)?;
            }
            w.execute(
                "INSERT INTO hosts (name, public_key, owner, added_at) VALUES (?1, ?2, ?3, ?4)",
                (name.as_str(), &key, owner.map(UserName::as_str), w.now),
            )?;
            let freed = "UPDATE places SET kept_locked = NULL WHERE host = ?1 AND kept_locked = ?2";
            w.execute(freed, (name.as_str(), removed(name)))?;
            w.inventory_changed()?;
            let note = Note::new(Event::HostAdded).host(name).actor(actor).reason(&key);
            w.audit(match owner {
                Some(owner) => note.user(owner),
                None => note,
            })?;
            Ok(Ok(Change::Made))
        })?
    }

    /// Puts another SSH public key in the place of a host's. The same again is `Unchanged`; one that another host has is
    /// refused.
    pub fn replace_host_key(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &HostName,
        public_key: &str,
    ) -> Result<Change, StoreError> {
        let key = one_line(public_key)?;
        self.write(now, |w| {
            let Some(found) = find(w.tx, "hosts.name = ?1", name.as_str())? else {
                return Ok(Err(StoreError::refused(format!("there is no host '{name}'"))
                    .hint("wgmfa-bastion host list shows them; without --replace it is added")));
            };
            if found.public_key == key {
                return Ok(Ok(Change::Unchanged));
            }
            if let Some(first) = find(w.tx, "hosts.public_key = ?1", &key)? {
                let reason = format!("this SSH key belongs to host {}", first.name);
                w.audit(Note::new(Event::RegistrationRefused).host(name).actor(actor).reason(&reason))?;
                return Ok(Err(StoreError::refused(reason).hint("each host has a key of its own")));
            }
            w.execute("UPDATE hosts SET public_key = ?2 WHERE name = ?1", (name.as_str(), &key))?;
            let reason = format!("{key} in the place of {}", found.public_key);
            w.audit(Note::new(Event::HostRekeyed).host(name).actor(actor).reason(reason))?;
            Ok(Ok(Change::Made))
        })?
    }

    /// All hosts, sorted by name.
    pub fn hosts(&self) -> Result<Vec<HostRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} ORDER BY hosts.name"))?;
        let mut hosts = statement.query_map([], record)?.collect::<Result<Vec<_>, _>>()?;
        for host in &mut hosts {
            host.pending = pending(&self.connection, &host.name)?;
        }
        Ok(hosts)
    }

    /// One host.
    pub fn host(&self, name: &HostName) -> Result<Option<HostRecord>, StoreError> {
        find(&self.connection, "hosts.name = ?1", name.as_str())
    }

    /// Cuts a host off, or lets it in again.
    pub fn set_host_disabled(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &HostName,
        disabled: bool,
    ) -> Result<CutOff, StoreError> {
        self.write(now, |w| {
            w.must_exist_host(name)?;
            let sql = "UPDATE hosts SET disabled = ?2 WHERE name = ?1 AND disabled <> ?2";
            if w.execute(sql, (name.as_str(), disabled))? == 0 {
                return Ok(CutOff::nothing());
            }
            let event = if disabled { Event::HostDisabled } else { Event::HostEnabled };
            w.audit(Note::new(event).host(name).actor(actor))?;
            w.inventory_changed()?;
            let reason = format!("host {name} was disabled");
            let cut = CutOff::made(w.cut_or_let_in(w.places_of_host(name)?, disabled, &reason)?);
            w.close_or_tell(cut, disabled, OF_HOST, [name.as_str()], &reason)
        })
    }

    /// Removes a host; an unknown name is `Unchanged`. Numbers of its generations stay used for ever.
    pub fn remove_host(&self, now: Timestamp, actor: Actor<'_>, name: &HostName) -> Result<CutOff, StoreError> {
        self.write(now, |w| match find(w.tx, "hosts.name = ?1", name.as_str())? {
            Some(_) => w.remove_host(actor, name),
            None => Ok(CutOff::nothing()),
        })
    }

    /// Agrees to the interface keys that the host reported anew. Generations under the old keys are over. Agrees also to
    /// those that were a removed device's before, if no other is in question: what was kept locked for that is free.
    pub fn accept_host(&self, now: Timestamp, actor: Actor<'_>, name: &HostName) -> Result<CutOff, StoreError> {
        self.write(now, |w| {
            let pending = w.must_exist_host(name)?.pending;
            if pending.is_empty() {
                let freed = w.take_over_keys(actor, name)?;
                return Ok(if freed.is_empty() { CutOff::nothing() } else { CutOff::made_for(freed) });
            }
            // the old rows go first: two interfaces may have swapped their keys
            for PendingKey { interface, reported, .. } in &pending {
                let sql = "DELETE FROM interfaces WHERE host = ?1 AND (name = ?2 OR public_key = ?3)";
                w.execute(sql, (name.as_str(), interface.as_str(), Text(reported)))?;
            }
            let mut places = Vec::new();
            for PendingKey { interface, reported, .. } in &pending {
                if let Some(holder) = holder(w.tx, reported)? {
                    return Err(StoreError::refused(format!("{reported} belongs to {holder}")));
                }
                w.execute(
                    "INSERT INTO interfaces (host, name, public_key, present, peers) VALUES (?1, ?2, ?3, 1, '[]')",
                    (name.as_str(), interface.as_str(), Text(reported)),
                )?;
                places.extend(w.places_of_interface(name, interface)?);
                let reason = format!("{name}/{interface} has the public key {reported}");
                w.audit(Note::new(Event::HostAccepted).host(name).actor(actor).reason(reason))?;
            }
            let mut cut = CutOff::made(w.end_all(&places, KEY_CHANGED)?);
            for PendingKey { interface, .. } in &pending {
                let at = (name.as_str(), interface.as_str());
                cut = w.close_or_tell(cut, true, "host = ?1 AND interface = ?2", at, KEY_CHANGED)?;
            }
            w.execute("DELETE FROM pending_keys WHERE host = ?1", [name.as_str()])?;
            w.execute("UPDATE hosts SET report_digest = NULL, refused = '[]' WHERE name = ?1", [name.as_str()])?;
            w.inventory_changed()?;
            Ok(cut)
        })
    }
}

impl Writing<'_> {
    pub(super) fn must_exist_host(&self, name: &HostName) -> Result<HostRecord, StoreError> {
        find(self.tx, "hosts.name = ?1", name.as_str())?.ok_or_else(|| {
            StoreError::refused(format!("no such host: {name}")).hint("`host list` shows which there are")
        })
    }

    /// Hosts and devices share one name space.
    pub(super) fn must_be_free(&self, other_kind: &str, name: &str) -> Result<(), StoreError> {
        let sql = format!("SELECT 1 FROM {other_kind}s WHERE name = ?1");
        if self.tx.prepare_cached(&sql)?.exists([name])? {
            return Err(StoreError::refused(format!("{name} is the name of a {other_kind}"))
                .hint("hosts and devices share one name space: take another name"));
        }
        Ok(())
    }

    /// Keys of a host's interfaces were those of removed devices or people: an administrator agrees that they are the
    /// host's now. Answers with the hosts where they are peers that were kept locked.
    fn take_over_keys(&self, actor: Actor<'_>, name: &HostName) -> Result<BTreeSet<HostName>, StoreError> {
        let condition = "kept_locked NOT LIKE 'host %'
                         AND peer IN (SELECT public_key FROM interfaces WHERE interfaces.host = ?1)";
        let kept = places::select(self.tx, condition, [name.as_str()])?;
        for row in &kept {
            self.execute("UPDATE places SET kept_locked = NULL WHERE id = ?1", [row.id])?;
            let reason =
                format!("{} is its key now; {}", row.place.public_key, row.kept_locked.as_deref().unwrap_or(""));
            self.audit(Note::new(Event::HostAccepted).host(name).place(&row.place).actor(actor).reason(reason))?;
        }
        Ok(kept.into_iter().map(|row| row.place.server_side.host).collect())
    }

    /// Removes a host that exists; its places stay locked until it is added again.
    pub(super) fn remove_host(&self, actor: Actor<'_>, name: &HostName) -> Result<CutOff, StoreError> {
        let cut = CutOff::made(self.keep_locked(&self.places_of_host(name)?, &removed(name))?);
        let cut = self.close_or_tell(cut, true, OF_HOST, [name.as_str()], &removed(name))?;
        self.audit(Note::new(Event::HostRemoved).host(name).actor(actor))?;
        self.execute("DELETE FROM hosts WHERE name = ?1", [name.as_str()])?;
        self.inventory_changed()?;
        Ok(cut)
    }
}

/// Who has a WireGuard public key, in words.
pub(super) fn holder(connection: &Connection, key: &PublicKey) -> Result<Option<String>, StoreError> {
    let sql = "SELECT 'device ' || name FROM devices WHERE public_key = ?1
               UNION ALL SELECT 'interface ' || host || '/' || name FROM interfaces WHERE public_key = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([Text(key)], |row| row.get(0)).optional()?)
}

fn removed(name: &HostName) -> String {
    format!("host {name} was removed")
}

/// An SSH public key in one line without its comment.
fn one_line(public_key: &str) -> Result<String, StoreError> {
    let parsed = ssh_key::PublicKey::from_openssh(public_key.trim()).and_then(|mut key| {
        key.set_comment("");
        key.to_openssh()
    });
    parsed.map(|line| line.trim().to_owned()).map_err(|_| {
        StoreError::refused("not an SSH public key")
            .hint("give the line that wgmfa-agent init --print-key prints on the host")
    })
}

const SELECT: &str = "
    SELECT hosts.*, coalesce(people.disabled, 0) AS owner_disabled
    FROM hosts LEFT JOIN people ON people.name = hosts.owner";

fn find(connection: &Connection, condition: &str, value: &str) -> Result<Option<HostRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE {condition}"))?;
    let Some(mut found) = statement.query_row([value], record).optional()? else { return Ok(None) };
    found.pending = pending(connection, &found.name)?;
    Ok(Some(found))
}

fn record(row: &Row<'_>) -> rusqlite::Result<HostRecord> {
    Ok(HostRecord {
        name: text(row, "name")?,
        public_key: row.get("public_key")?,
        owner: text_or_none(row, "owner")?,
        disabled: row.get("disabled")?,
        owner_disabled: row.get("owner_disabled")?,
        added_at: time(row, "added_at")?,
        last_seen: time_or_none(row, "last_seen")?,
        next_round: time_or_none(row, "next_round")?,
        stood_down: row.get("stood_down")?,
        pending: Vec::new(),
        refused: row.get::<_, Json<_>>("refused")?.0,
    })
}

fn pending(connection: &Connection, host: &HostName) -> Result<Vec<PendingKey>, StoreError> {
    let sql = "SELECT pending_keys.interface, pending_keys.public_key AS reported, interfaces.public_key AS known
               FROM pending_keys LEFT JOIN interfaces
                   ON interfaces.host = pending_keys.host AND interfaces.name = pending_keys.interface
               WHERE pending_keys.host = ?1 ORDER BY pending_keys.interface";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map([host.as_str()], |row| {
        let (interface, known, reported) =
            (text(row, "interface")?, text_or_none(row, "known")?, text(row, "reported")?);
        Ok(PendingKey { interface, known, reported })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
