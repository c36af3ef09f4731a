//! Logins: a code is accepted once, a login passes once and releases once. All of it survives a restart.

use std::fmt;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::code::Step;
use wgmfa_core::guessing::Source;
use wgmfa_core::name::UserName;

use super::{Actor, Event, Note, Store, StoreError, Writing};

/// Names one login: 16 random bytes. It gives no right by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginId([u8; 16]);

impl LoginId {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A login in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub id: LoginId,
    /// Who wants in.
    pub user: UserName,
    /// Where it comes from, for people (an address, or what `PAM_RHOST` says).
    pub from: String,
    /// The source that failed logins are counted for (an IPv4 address, or an IPv6 /64).
    pub source: Source,
}

/// Whether a code or a login is accepted, now and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Acceptance {
    /// It is, and its audit line is on disk.
    Accept,
    /// It is not; the reason is for the log ([`Store::record_refusal`] writes the line).
    Refuse(String),
}

/// Whether a login passes without a one-time code that this store accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRule {
    /// It does not: `require-code = true`.
    Required,
    /// It does: a foreign PAM module is the second factor.
    Foreign,
}

/// How long a login is remembered, in milliseconds. Its rights end after a minute.
const REMEMBERED: i64 = 24 * 3_600_000;

impl Store {
    /// Uses up a time step: accepted only if it lies after the last accepted one, the person exists and is not
    /// disabled, and this login has used no code yet. Of racing callers exactly one is accepted. The charge of the
    /// attempt ([`Store::charge`]) is taken back, and the source counts as known.
    ///
    /// # Errors
    /// It could not be recorded: then the login must fail.
    pub fn accept_code(&self, now: Timestamp, login: &Login, step: Step) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            if w.login(login)?.is_some() {
                return Ok(Acceptance::Refuse("this login has used a code already".to_owned()));
            }
            match w.use_step(&login.user, step)? {
                true => w.code_accepted(login, "one-time code"),
                false => Ok(Acceptance::Refuse("code already used, or the person may not log in".to_owned())),
            }
        })
    }

    /// Uses up a recovery code by its hash; as [`Store::accept_code`].
    pub fn use_recovery_code(&self, now: Timestamp, login: &Login, hash: &[u8; 32]) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            if w.login(login)?.is_some() {
                return Ok(Acceptance::Refuse("this login has used a code already".to_owned()));
            }
            match w.use_recovery(&login.user, hash)? {
                true => w.code_accepted(login, "recovery code"),
                false => Ok(Acceptance::Refuse("recovery code already used, or the person may not log in".to_owned())),
            }
        })
    }

    /// Records that a login has passed: the PAM stack said yes. With [`CodeRule::Required`] it passes only if this
    /// login's code was accepted here, whatever the stack said.
    pub fn record_login(&self, now: Timestamp, login: &Login, rule: CodeRule) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            let refuse = |reason: &str| Ok(Acceptance::Refuse(reason.to_owned()));
            let (id, user) = (login.id.to_string(), login.user.as_str());
            let sql = "SELECT 1 FROM people WHERE name = ?1 AND NOT disabled";
            if !w.tx.prepare_cached(sql)?.exists([user])? {
                return refuse("the person is unknown or disabled");
            }
            match (w.login(login)?, rule) {
                (Some((person, _)), _) if person != user => return refuse("the code was accepted for somebody else"),
                (Some((_, true)), _) => return refuse("this login has passed before"),
                (None, CodeRule::Required) => return refuse("no one-time code was accepted in this login"),
                (None, CodeRule::Foreign) => {
                    w.forget_old_logins()?;
                    w.take_back(&login.user, login.source)?;
                    w.execute("INSERT INTO logins (id, person, passed_at) VALUES (?1, ?2, ?3)", (&id, user, w.now))?;
                }
                (Some((_, false)), _) => {
                    w.execute("UPDATE logins SET passed_at = ?2 WHERE id = ?1", (&id, w.now))?;
                }
            }
            let sql = "UPDATE people SET last_login_at = ?2, last_login_from = ?3 WHERE name = ?1";
            w.execute(sql, (user, w.now, &login.from))?;
            w.audit(Note::new(Event::LoginAccepted).user(user).from(Some(&login.from)))?;
            Ok(Acceptance::Accept)
        })
    }
}

impl Store {
    /// Spends the code of a login on one act of an administrator, named by `act`; the permission's audit line is on disk
    /// when this returns. Such a login releases nothing any more.
    ///
    /// # Errors
    /// The person is no administrator, or the login has not passed, is more than 60 s old, or is used up.
    pub fn spend_on_act(&self, now: Timestamp, login: &Login, act: &str) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.may_spend(login)?;
            let sql = "SELECT 1 FROM people WHERE name = ?1 AND admin";
            if !w.tx.prepare_cached(sql)?.exists([login.user.as_str()])? {
                return Err(StoreError::refused("not an administrator"));
            }
            w.execute("UPDATE logins SET acted_at = ?2 WHERE id = ?1", (login.id.to_string(), w.now))?;
            let actor = Actor { name: Some(login.user.as_str()), from: Some(&login.from) };
            w.audit(Note::new(Event::ActAllowed).actor(actor).reason(act))
        })
    }
}

impl Writing<'_> {
    /// Whose login this is, and whether it has passed; none: nothing is known of it.
    pub(super) fn login(&self, login: &Login) -> Result<Option<(String, bool)>, StoreError> {
        let sql = "SELECT person, passed_at IS NOT NULL FROM logins WHERE id = ?1";
        let mut statement = self.tx.prepare_cached(sql)?;
        Ok(statement.query_row([login.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Uses up a time step, if it lies after the last accepted one and its person may come in.
    pub(super) fn use_step(&self, user: &UserName, step: Step) -> Result<bool, StoreError> {
        let sql = "UPDATE people SET last_step = ?2
                   WHERE name = ?1 AND NOT disabled AND code_sealed IS NOT NULL AND (last_step IS NULL OR last_step < ?2)";
        Ok(self.execute(sql, (user.as_str(), step.number()))? == 1)
    }

    /// Uses up a recovery code, if it is unused and its person may come in.
    pub(super) fn use_recovery(&self, user: &UserName, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let sql = "UPDATE recovery_codes SET used_at = ?3 WHERE person = ?1 AND hash = ?2 AND used_at IS NULL
                       AND EXISTS (SELECT 1 FROM people WHERE name = ?1 AND NOT disabled)";
        Ok(self.execute(sql, (user.as_str(), hash, self.now))? == 1)
    }

    pub(super) fn code_accepted(&self, login: &Login, kind: &str) -> Result<Acceptance, StoreError> {
        self.forget_old_logins()?;
        let sql = "INSERT INTO logins (id, person, code_at) VALUES (?1, ?2, ?3)";
        self.execute(sql, (login.id.to_string(), login.user.as_str(), self.now))?;
        self.take_back(&login.user, login.source)?;
        self.audit(Note::new(Event::CodeAccepted).user(&login.user).from(Some(&login.from)).reason(kind))?;
        Ok(Acceptance::Accept)
    }

    fn forget_old_logins(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM logins WHERE coalesce(passed_at, code_at) < ?1";
        self.execute(sql, [self.now.0 - REMEMBERED]).map(drop)
    }
}
