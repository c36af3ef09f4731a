//! People's SSH keys: the first factor where the configuration lets a key be one.

use jiff::Timestamp;
use wgmfa_core::name::UserName;

use super::column::time;
use super::{Actor, Change, Event, Note, Store, StoreError};

/// Keys of one person: more than anybody carries.
const MOST: usize = 32;

/// A registered key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonKey {
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The key in OpenSSH's one-line form, without its comment.
    pub public_key: String,
    /// The comment, for people.
    pub comment: String,
    /// When it was registered.
    pub added_at: Timestamp,
}

impl Store {
    /// Registers a key; the same one again is `Unchanged`.
    pub fn add_key(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &UserName,
        key: &PersonKey,
    ) -> Result<Change, StoreError> {
        let known = self.keys(name)?;
        self.write(now, |w| {
            w.must_exist(name)?;
            if known.iter().any(|known| known.fingerprint == key.fingerprint) {
                return Ok(Change::Unchanged);
            }
            if known.len() >= MOST {
                return Err(StoreError::refused(format!("user {name} has {MOST} keys already"))
                    .hint(format!("`user key remove {name} FINGERPRINT` first")));
            }
            w.execute(
                "INSERT INTO person_keys (person, fingerprint, public_key, comment, added_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (name.as_str(), &key.fingerprint, &key.public_key, &key.comment, w.now),
            )?;
            w.audit(Note::new(Event::UserKeyAdded).user(name).actor(actor).reason(&key.fingerprint))?;
            Ok(Change::Made)
        })
    }

    /// A person's keys, sorted by fingerprint; nobody has none.
    pub fn keys(&self, name: &UserName) -> Result<Vec<PersonKey>, StoreError> {
        let sql = "SELECT * FROM person_keys WHERE person = ?1 ORDER BY fingerprint";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([name.as_str()], |row| {
            Ok(PersonKey {
                fingerprint: row.get("fingerprint")?,
                public_key: row.get("public_key")?,
                comment: row.get("comment")?,
                added_at: time(row, "added_at")?,
            })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Forgets a key; one that is not there is `Unchanged`.
    pub fn remove_key(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &UserName,
        fingerprint: &str,
    ) -> Result<Change, StoreError> {
        self.write(now, |w| {
            w.must_exist(name)?;
            let sql = "DELETE FROM person_keys WHERE person = ?1 AND fingerprint = ?2";
            if w.execute(sql, (name.as_str(), fingerprint))? == 0 {
                return Ok(Change::Unchanged);
            }
            w.audit(Note::new(Event::UserKeyRemoved).user(name).actor(actor).reason(fingerprint))?;
            Ok(Change::Made)
        })
    }
}
