//! With what people log in: passwords, secrets for one-time codes, recovery codes.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::code::{CodeSecret, Parameters, Step};
use wgmfa_core::name::UserName;

use super::column::text;
use super::seal::Binding;
use super::{Actor, Event, NewPerson, Note, PasswordHash, Store, StoreError, Writing};

/// Which password a person logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// One that the bastion holds, hashed.
    Hashed(PasswordHash),
    /// Another PAM module's affair.
    System,
    /// None yet: every password is wrong.
    Unset,
}

/// The kind of [`Password`], without the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordKind {
    /// The bastion holds a hash.
    Hashed,
    /// Another PAM module's affair.
    System,
    /// None yet.
    Unset,
}

/// What a login is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The password.
    pub password: Password,
    /// The secret for one-time codes.
    pub code: Option<(CodeSecret, Parameters)>,
    /// The last time step whose code was accepted.
    pub last_step: Option<Step>,
    /// Hashes of the recovery codes that are still good.
    pub recovery: Vec<[u8; 32]>,
}

impl Store {
    /// What a login of this person is checked against; none: no such person.
    pub fn credentials(&self, name: &UserName) -> Result<Option<Credentials>, StoreError> {
        let sql = "SELECT password_kind, password_hash, code_sealed, code_parameters, code_number, last_step
                   FROM people WHERE name = ?1";
        let found = self.connection.prepare_cached(sql)?.query_row([name.as_str()], |row| {
            let password = match text(row, "password_kind")? {
                PasswordKind::Hashed => Password::Hashed(PasswordHash(row.get("password_hash")?)),
                PasswordKind::System => Password::System,
                PasswordKind::Unset => Password::Unset,
            };
            let sealed: Option<Vec<u8>> = row.get("code_sealed")?;
            let parameters: Option<String> = row.get("code_parameters")?;
            let last_step = row.get::<_, Option<u64>>("last_step")?.map(Step::from_number);
            Ok((password, sealed.zip(parameters), row.get::<_, u64>("code_number")?, last_step))
        });
        let Some((password, sealed, number, last_step)) = found.optional()? else { return Ok(None) };
        let code = match sealed {
            Some((sealed, parameters)) => {
                let damaged = |what: &str| StoreError::Broken(format!("the code secret of {name}: {what}"));
                let secret = self.sealing.borrow().unseal(code_binding(name, number), &sealed)?;
                let secret = CodeSecret::from_bytes(&secret).map_err(|error| damaged(&error.to_string()))?;
                Some((secret, serde_json::from_str(&parameters).map_err(|_| damaged("unknown parameters"))?))
            }
            None => None,
        };
        let sql = "SELECT hash FROM recovery_codes WHERE person = ?1 AND used_at IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let recovery = statement.query_map([name.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(Some(Credentials { password, code, last_step, recovery }))
    }

    /// Replaces password, code secret and recovery codes; the old ones are dead, and so is what was handed out; failed
    /// logins are forgiven. Whether the
    /// person is an administrator or disabled stays as it was (`person.admin` is ignored).
    pub fn reset_person(&self, now: Timestamp, actor: Actor<'_>, person: &NewPerson) -> Result<(), StoreError> {
        self.write(now, |w| {
            let name = &person.name;
            w.must_exist(name)?;
            w.execute(
                "UPDATE people SET password_kind = ?2, password_hash = ?3, code_number = code_number + 1 WHERE name = ?1",
                (name.as_str(), person.password.kind().as_str(), person.password.hash()),
            )?;
            w.execute("DELETE FROM logins WHERE person = ?1", [name.as_str()])?;
            w.put_secrets(name, person.code.as_ref(), &person.recovery)?;
            w.invite(person)?;
            w.forgive(name)?;
            let how = if person.invitation.is_some() { ", by invitation" } else { "" };
            let reason = format!("password, code secret, recovery codes{how}");
            w.audit(Note::new(Event::UserReset).user(name).actor(actor).reason(reason))
        })
    }
}

impl Writing<'_> {
    /// Puts code secret and recovery codes in the place of whatever was there. The last accepted step goes with the secret
    /// that it belonged to.
    pub(super) fn put_secrets(
        &self,
        name: &UserName,
        code: Option<&(CodeSecret, Parameters)>,
        recovery: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        let sql = "SELECT code_number FROM people WHERE name = ?1";
        let number = self.tx.query_row(sql, [name.as_str()], |row| row.get::<_, u64>(0))?;
        let sealed = code.map(|(secret, parameters)| {
            let sealed = self.sealing.seal(code_binding(name, number), secret.expose_bytes());
            (sealed, serde_json::to_string(parameters).expect("parameters are plain text"))
        });
        let (sealed, parameters) = sealed.unzip();
        self.execute(
            "UPDATE people SET code_sealed = ?2, code_parameters = ?3, last_step = NULL WHERE name = ?1",
            (name.as_str(), sealed, parameters),
        )?;
        self.put_recovery(name, recovery)
    }

    pub(super) fn put_recovery(&self, name: &UserName, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
        self.execute("DELETE FROM recovery_codes WHERE person = ?1", [name.as_str()])?;
        for hash in hashes {
            self.execute("INSERT INTO recovery_codes (person, hash) VALUES (?1, ?2)", (name.as_str(), hash))?;
        }
        Ok(())
    }
}

impl Password {
    /// Its kind.
    pub fn kind(&self) -> PasswordKind {
        match self {
            Self::Hashed(_) => PasswordKind::Hashed,
            Self::System => PasswordKind::System,
            Self::Unset => PasswordKind::Unset,
        }
    }

    pub(super) fn hash(&self) -> Option<&str> {
        if let Self::Hashed(PasswordHash(hash)) = self { Some(hash) } else { None }
    }
}

impl PasswordKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::System => "system",
            Self::Unset => "unset",
        }
    }
}

impl FromStr for PasswordKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Hashed, Self::System, Self::Unset].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

pub(super) fn code_binding(name: &UserName, number: u64) -> Binding<'_> {
    Binding { table: "people", row: name.as_str(), generation: number }
}
