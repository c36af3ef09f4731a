//! What an administrator hands a person to come in with: an invitation, or a one-time code to read out on the telephone.
//! At most one of each, good once, until it expires. Only hashes are stored.

use std::str::FromStr;

use jiff::Timestamp;
use wgmfa_core::code::{CodeSecret, Parameters, Step};
use wgmfa_core::name::UserName;

use super::column::{Time, text, time};
use super::{Acceptance, Actor, Event, Login, Note, PasswordHash, PasswordKind, Store, StoreError, Writing};

/// Something that was handed out and has not been used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handout {
    /// Its hash (`wgmfa_core::code::hash_for`).
    pub hash: [u8; 32],
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// What was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To set one's own password and code secret.
    Invitation,
    /// One login in place of a one-time code.
    Telephone,
}

/// What an invited person has set, and how the invitation is named.
#[derive(Debug)]
pub struct Enrolment {
    /// The hash of the invitation.
    pub invitation: [u8; 32],
    /// The new password; none: another PAM module's affair, or an SSH key stands in its place.
    pub password: Option<PasswordHash>,
    /// The secret for one-time codes.
    pub code: (CodeSecret, Parameters),
    /// The step of the code that has proved the secret; it is used up.
    pub step: Step,
    /// Hashes of the recovery codes.
    pub recovery: Vec<[u8; 32]>,
}

impl Store {
    /// Hands out a code for the telephone in the place of an earlier one.
    pub fn hand_out_code(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        name: &UserName,
        code: &Handout,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.write(now, |w| {
            let person = w.must_exist(name)?;
            if person.disabled {
                let hint = format!("`user enable {name}` lets them in again");
                return Err(StoreError::refused(format!("user {name} is disabled")).hint(hint));
            }
            w.hand_out(name, Kind::Telephone, code)?;
            w.audit(Note::new(Event::CodeIssued).user(name).actor(actor).reason(reason))
        })
    }

    /// Uses up the code for the telephone by its hash; as [`Store::accept_code`].
    pub fn use_telephone_code(&self, now: Timestamp, login: &Login, hash: &[u8; 32]) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            if w.login(login)?.is_some() {
                return Ok(Acceptance::Refuse("this login has used a code already".to_owned()));
            }
            match w.take_handout(&login.user, Kind::Telephone, hash)? {
                true => w.code_accepted(login, "code read out on the telephone"),
                false => Ok(Acceptance::Refuse("code already used, expired or replaced".to_owned())),
            }
        })
    }

    /// Records that somebody came in with an invitation, which stays good. The charge of the attempt is taken back.
    pub fn record_invited(&self, now: Timestamp, login: &Login, hash: &[u8; 32]) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            let sql = format!("SELECT 1 FROM handouts WHERE {GOOD}");
            let good = (login.user.as_str(), Kind::Invitation.as_str(), hash, w.now);
            if !w.tx.prepare_cached(&sql)?.exists(good)? {
                return Ok(Acceptance::Refuse("invitation used, expired or replaced".to_owned()));
            }
            w.take_back(&login.user, login.source)?;
            w.audit(Note::new(Event::InvitationAccepted).user(&login.user).from(Some(&login.from)))?;
            Ok(Acceptance::Accept)
        })
    }

    /// An invited person's own password, code secret and recovery codes, all in one with the end of the invitation: of
    /// several that race with it, one is accepted.
    ///
    /// # Errors
    /// It could not be recorded: then nothing has changed, and the invitation is still good.
    pub fn enrol(&self, now: Timestamp, login: &Login, new: &Enrolment) -> Result<Acceptance, StoreError> {
        self.write(now, |w| {
            let name = &login.user;
            if !w.take_handout(name, Kind::Invitation, &new.invitation)? {
                return Ok(Acceptance::Refuse("the invitation was used, has expired, or was replaced".to_owned()));
            }
            if let Some(hash) = &new.password {
                w.set_password(name, hash)?;
            }
            w.execute("UPDATE people SET code_number = code_number + 1 WHERE name = ?1", [name.as_str()])?;
            w.put_secrets(name, Some(&new.code), &new.recovery)?;
            let sql = "UPDATE people SET last_step = ?2 WHERE name = ?1";
            w.execute(sql, (name.as_str(), new.step.number()))?;
            let what = if new.password.is_some() {
                "password, code secret, recovery codes"
            } else {
                "code secret, recovery codes"
            };
            w.audit(Note::new(Event::Enrolled).user(name).from(Some(&login.from)).reason(what))?;
            Ok(Acceptance::Accept)
        })
    }

    /// What was handed out to a person and not used, expired or not: the invitation, and the code for the telephone.
    pub fn handouts(&self, name: &UserName) -> Result<(Option<Handout>, Option<Handout>), StoreError> {
        let sql = "SELECT kind, hash, expires_at FROM handouts WHERE person = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([name.as_str()], |row| {
            Ok((text(row, "kind")?, Handout { hash: row.get("hash")?, expires_at: time(row, "expires_at")? }))
        })?;
        let (mut invitation, mut telephone) = (None, None);
        for found in found {
            match found? {
                (Kind::Invitation, handout) => invitation = Some(handout),
                (Kind::Telephone, handout) => telephone = Some(handout),
            }
        }
        Ok((invitation, telephone))
    }

    /// A person's own new password, after a login. Other logins stay as they are.
    ///
    /// # Errors
    /// This login counts no more: its person was cut off, or has had new secrets from an administrator since.
    pub fn change_password(&self, now: Timestamp, login: &Login, hash: &PasswordHash) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.must_still_count(login)?;
            w.set_password(&login.user, hash)?;
            w.audit(Note::new(Event::PasswordChanged).user(&login.user).from(Some(&login.from)))
        })
    }

    /// A person's own new recovery codes, after a login; the old ones are void.
    ///
    /// # Errors
    /// As [`Store::change_password`].
    pub fn replace_recovery(&self, now: Timestamp, login: &Login, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
        self.write(now, |w| {
            w.must_still_count(login)?;
            w.put_recovery(&login.user, hashes)?;
            w.audit(Note::new(Event::RecoveryReplaced).user(&login.user).from(Some(&login.from)))
        })
    }
}

/// Whom it was handed to, what, which, and when: it is there, in time, and its person may come in.
const GOOD: &str = "person = ?1 AND kind = ?2 AND hash = ?3 AND expires_at > ?4
    AND EXISTS (SELECT 1 FROM people WHERE name = ?1 AND NOT disabled)";

impl Writing<'_> {
    /// In the place of what was handed out before.
    pub(super) fn hand_out(&self, name: &UserName, kind: Kind, handout: &Handout) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO handouts (person, kind, hash, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let expires_at = Time::from(handout.expires_at);
        self.execute(sql, (name.as_str(), kind.as_str(), handout.hash, self.now, expires_at)).map(drop)
    }

    /// Nothing that was handed out is good any more.
    pub(super) fn void_handouts(&self, name: &UserName) -> Result<(), StoreError> {
        self.execute("DELETE FROM handouts WHERE person = ?1", [name.as_str()]).map(drop)
    }

    /// Uses it up, if it is good.
    pub(super) fn take_handout(&self, name: &UserName, kind: Kind, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let sql = format!("DELETE FROM handouts WHERE {GOOD}");
        Ok(self.execute(&sql, (name.as_str(), kind.as_str(), hash, self.now))? == 1)
    }

    fn set_password(&self, name: &UserName, hash: &PasswordHash) -> Result<(), StoreError> {
        let sql = "UPDATE people SET password_kind = ?2, password_hash = ?3 WHERE name = ?1";
        self.execute(sql, (name.as_str(), PasswordKind::Hashed.as_str(), &hash.0)).map(drop)
    }

    /// A session may outlive its login: it is not always the bastion's own to be hung up on.
    fn must_still_count(&self, login: &Login) -> Result<(), StoreError> {
        if self.must_exist(&login.user)?.disabled {
            return Err(StoreError::refused("you were cut off by an administrator"));
        }
        match self.login(login)? {
            Some((person, true)) if person == login.user.as_str() => Ok(()),
            _ => Err(StoreError::refused("this login does not count any more").hint("log in again")),
        }
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Telephone => "telephone",
        }
    }
}

impl FromStr for Kind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Invitation, Self::Telephone].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}
