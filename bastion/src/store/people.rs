//! People: who they are, and whether they may come in.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use wgmfa_core::code::{CodeSecret, Parameters};
use wgmfa_core::name::UserName;

use super::column::{text, time, time_or_none};
use super::handouts::Kind;
use super::places::OF_PERSON;
use super::{Actor, Change, CutOff, Event, Handout, Note, Password, PasswordKind, Store, StoreError, Writing};

/// A person to be added.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// The name.
    pub name: UserName,
    /// May give the commands of an administrator.
    pub admin: bool,
    /// The password.
    pub password: Password,
    /// The secret for one-time codes.
    pub code: Option<(CodeSecret, Parameters)>,
    /// Hashes of the recovery codes.
    pub recovery: Vec<[u8; 32]>,
    /// The invitation with which the person sets all these.
    pub invitation: Option<Handout>,
}

/// A person as lists show it: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: UserName,
    /// May give the commands of an administrator.
    pub admin: bool,
    /// Cut off by an administrator.
    pub disabled: bool,
    /// The kind of password.
    pub password: PasswordKind,
    /// Has a secret for one-time codes.
    pub has_code: bool,
    /// Recovery codes that are still good.
    pub recovery_left: u32,
    /// Until when an invitation that was not used is or was good.
    pub invited_until: Option<Timestamp>,
    /// The same for a code that was handed out for the telephone.
    pub telephone_until: Option<Timestamp>,
    /// Registered SSH keys.
    pub ssh_keys: u32,
    /// When the person was added.
    pub added_at: Timestamp,
    /// The last login that passed.
    pub last_login_at: Option<Timestamp>,
    /// Where it came from.
    pub last_login_from: Option<String>,
}

impl Store {
    /// Adds a person. The same name with the same role and kind of password is `Unchanged`, and the secrets given here
    /// are then *not* stored; with others it is refused.
    pub fn add_person(&self, now: Timestamp, actor: Actor<'_>, person: &NewPerson) -> Result<Change, StoreError> {
        self.write(now, |w| {
            let name = &person.name;
            if let Some(found) = find(w.tx, name)? {
                // whoever was invited may have enrolled meanwhile
                let same_password = match person.invitation {
                    Some(_) => (found.password == PasswordKind::System) == (person.password == Password::System),
                    None => found.password == person.password.kind(),
                };
                return if found.admin == person.admin && same_password {
                    Ok(Change::Unchanged)
                } else {
                    Err(StoreError::refused(format!("user {name} is there already, {}", described(&found)))
                        .hint(format!("`user reset {name}` for new secrets, or `user remove {name}` first")))
                };
            }
            w.execute(
                "INSERT INTO people (name, admin, password_kind, password_hash, added_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (name.as_str(), person.admin, person.password.kind().as_str(), person.password.hash(), w.now),
            )?;
            w.put_secrets(name, person.code.as_ref(), &person.recovery)?;
            w.invite(person)?;
            let role = if person.admin { "an administrator" } else { "a person" };
            let how = if person.invitation.is_some() { ", by invitation" } else { "" };
            w.audit(Note::new(Event::UserAdded).user(name).actor(actor).reason(format!("{role}{how}")))?;
            Ok(Change::Made)
        })
    }

    /// Everybody, sorted by name.
    pub fn people(&self) -> Result<Vec<Person>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
        Ok(statement.query_map([], person)?.collect::<Result<_, _>>()?)
    }

    /// The people who are cut off.
    pub fn disabled_people(&self) -> Result<BTreeSet<UserName>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name FROM people WHERE disabled")?;
        Ok(statement.query_map([], |row| text(row, "name"))?.collect::<Result<_, _>>()?)
    }

    /// One person.
    pub fn person(&self, name: &UserName) -> Result<Option<Person>, StoreError> {
        find(&self.connection, name)
    }

    /// Cuts a person off with all devices and hosts of theirs, or lets them in again.
    pub fn set_person_disabled(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &UserName,
        disabled: bool,
    ) -> Result<CutOff, StoreError> {
        self.write(now, |w| {
            w.must_exist(name)?;
            let sql = "UPDATE people SET disabled = ?2 WHERE name = ?1 AND disabled <> ?2";
            if w.execute(sql, (name.as_str(), disabled))? == 0 {
                return Ok(CutOff::nothing());
            }
            if disabled {
                w.void_handouts(name)?;
            }
            let event = if disabled { Event::UserDisabled } else { Event::UserEnabled };
            w.audit(Note::new(event).user(name).actor(actor))?;
            w.inventory_changed()?;
            let reason = format!("user {name} was disabled");
            let cut = CutOff::made(w.cut_or_let_in(w.places_of_person(name)?, disabled, &reason)?);
            w.close_or_tell(cut, disabled, OF_PERSON, [name.as_str()], &reason)
        })
    }

    /// Forgives a person's failed logins, from every source.
    pub fn unlock_person(&self, now: Timestamp, actor: Actor<'_>, name: &UserName) -> Result<Change, StoreError> {
        self.write(now, |w| {
            w.must_exist(name)?;
            if !w.forgive(name)? {
                return Ok(Change::Unchanged);
            }
            w.audit(Note::new(Event::UserUnlocked).user(name).actor(actor))?;
            Ok(Change::Made)
        })
    }

    /// Removes a person together with their devices and hosts; an unknown name is `Unchanged`.
    pub fn remove_person(&self, now: Timestamp, actor: Actor<'_>, name: &UserName) -> Result<CutOff, StoreError> {
        self.write(now, |w| {
            if find(w.tx, name)?.is_none() {
                return Ok(CutOff::nothing());
            }
            let mut cut = CutOff::made(Vec::new());
            for device in w.names("SELECT name FROM devices WHERE owner = ?1", name)? {
                cut.add(w.remove_device(actor, &device)?);
            }
            for host in w.names("SELECT name FROM hosts WHERE owner = ?1", name)? {
                cut.add(w.remove_host(actor, &host)?);
            }
            w.execute("DELETE FROM people WHERE name = ?1", [name.as_str()])?;
            w.audit(Note::new(Event::UserRemoved).user(name).actor(actor))?;
            Ok(cut)
        })
    }
}

impl Writing<'_> {
    pub(super) fn must_exist(&self, name: &UserName) -> Result<Person, StoreError> {
        find(self.tx, name)?
            .ok_or_else(|| StoreError::refused(format!("no such user: {name}")).hint("`user list` shows who there is"))
    }

    /// Whatever was handed out before is void; the invitation, if there is one, is good.
    pub(super) fn invite(&self, person: &NewPerson) -> Result<(), StoreError> {
        self.void_handouts(&person.name)?;
        match &person.invitation {
            Some(invitation) => self.hand_out(&person.name, Kind::Invitation, invitation),
            None => Ok(()),
        }
    }

    /// The names that a query for what a person owns finds.
    fn names<T: FromStr>(&self, sql: &str, owner: &UserName) -> Result<Vec<T>, StoreError> {
        let mut statement = self.tx.prepare_cached(sql)?;
        Ok(statement.query_map([owner.as_str()], |row| text(row, "name"))?.collect::<Result<_, _>>()?)
    }
}

const SELECT: &str = "
    SELECT name, admin, disabled, password_kind, code_sealed IS NOT NULL AS has_code, added_at, last_login_at,
        last_login_from, (SELECT count(*) FROM recovery_codes WHERE person = name AND used_at IS NULL) AS recovery_left,
        (SELECT expires_at FROM handouts WHERE person = name AND kind = 'invitation') AS invited_until,
        (SELECT expires_at FROM handouts WHERE person = name AND kind = 'telephone') AS telephone_until,
        (SELECT count(*) FROM person_keys WHERE person = name) AS ssh_keys
    FROM people";

fn find(connection: &Connection, name: &UserName) -> Result<Option<Person>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?;
    Ok(statement.query_row([name.as_str()], person).optional()?)
}

fn person(row: &Row<'_>) -> rusqlite::Result<Person> {
    Ok(Person {
        name: text(row, "name")?,
        admin: row.get("admin")?,
        disabled: row.get("disabled")?,
        password: text(row, "password_kind")?,
        has_code: row.get("has_code")?,
        recovery_left: row.get("recovery_left")?,
        invited_until: time_or_none(row, "invited_until")?,
        telephone_until: time_or_none(row, "telephone_until")?,
        ssh_keys: row.get("ssh_keys")?,
        added_at: time(row, "added_at")?,
        last_login_at: time_or_none(row, "last_login_at")?,
        last_login_from: row.get("last_login_from")?,
    })
}

fn described(person: &Person) -> String {
    let role = if person.admin { "an administrator" } else { "no administrator" };
    let password = match person.password {
        PasswordKind::Hashed => "with a password here",
        PasswordKind::System => "with the system's password",
        PasswordKind::Unset => "with no password yet",
    };
    format!("{role}, {password}")
}
