//! Releases: one login, one device, one transaction.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::release::{Admission, LoginFacts, may_spend};

use super::column::{Time, text};
use super::grants::{Grant, GrantedBy, To, WantedTier};
use super::{Actor, Event, Login, Note, Place, Store, StoreError, Writing, connections, generations, places, renewal};

/// A generation that is to be released, as `wgmfa_core::release` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// Its number.
    pub generation: u64,
    /// Until when. A renewal never brings a deadline forward.
    pub deadline: Timestamp,
}

/// A generation that is released: its audit line is on disk.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Where.
    pub place: Place,
    /// Its number.
    pub generation: u64,
    /// Until when.
    pub deadline: Timestamp,
    /// A session was running, and is prolonged.
    pub renewal: bool,
    /// The key.
    pub preshared_key: PresharedKey,
}

/// What became of a release.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ReleaseOutcome {
    /// These keys may be handed out.
    pub granted: Vec<Granted>,
    /// These tiers are open, as soon as their gateways know.
    pub opened: Vec<Grant>,
    /// These may not, and why, in words for the person.
    pub refused: Vec<(Place, String)>,
}

/// Who gets a generation.
#[derive(Debug, Clone, Copy)]
pub struct Receiver<'a> {
    /// The person; none: no login, an administrator releases.
    pub user: Option<&'a UserName>,
    /// For which device, or which host of theirs.
    pub device: Option<&'a str>,
    /// To where, for people.
    pub from: Option<&'a str>,
    /// By whom and why it is released to an owned host without a login.
    pub overridden: Option<&'a str>,
}

impl Store {
    /// Whether a login may release for this device now; as [`Store::release_with_tiers`] decides, and nothing is recorded.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn may_release(&self, now: Timestamp, login: &Login, device: &str) -> Result<(), StoreError> {
        let sealing = self.sealing.borrow();
        let w = Writing { tx: &self.connection, sealing: &sealing, now: self.now(now).into() };
        w.may_spend(login)?;
        w.keys_of(login, device).map(drop)
    }

    /// Releases a generation to an owned host without a login, in one transaction with its audit line.
    ///
    /// # Errors
    /// It may not be released, or nothing could be recorded.
    pub fn release_by_override(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        host: &HostName,
        wanted: &Wanted,
        reason: &str,
    ) -> Result<Granted, StoreError> {
        self.write(now, |w| {
            let by = renewal::by(actor, reason);
            let device = Some(host.as_str());
            let receiver = Receiver { user: None, device, from: actor.from, overridden: Some(&by) };
            let granted = w.hand_over(wanted, receiver)?.map_err(StoreError::refused)?;
            let note = Note::new(Event::Overridden).place(&wanted.place).generation(wanted.generation);
            let reason = format!("{reason} (until {:.0})", granted.deadline);
            w.audit(note.actor(actor).device(host).reason(reason))?;
            Ok(granted)
        })
    }

    /// Releases a generation to an administrator, in one transaction with its audit line.
    ///
    /// # Errors
    /// It may not be released, or nothing could be recorded.
    pub fn release_by_show(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        wanted: &Wanted,
        reason: &str,
    ) -> Result<Granted, StoreError> {
        self.write(now, |w| {
            let receiver = Receiver { user: None, device: None, from: actor.from, overridden: None };
            let granted = w.hand_over(wanted, receiver)?.map_err(StoreError::refused)?;
            let event = if granted.renewal { Event::Renewed } else { Event::Released };
            let note = Note::new(event).place(&wanted.place).generation(wanted.generation).actor(actor);
            w.audit(note.reason(format!("shown to an administrator until {:.0}: {reason}", granted.deadline)))?;
            Ok(granted)
        })
    }

    /// [`Store::release_with_tiers`] without tiers.
    #[cfg(test)]
    pub fn release(
        &self,
        now: Timestamp,
        login: &Login,
        device: &str,
        wanted: &[Wanted],
    ) -> Result<ReleaseOutcome, StoreError> {
        self.release_with_tiers(now, login, device, wanted, &[])
    }

    /// Releases generations to a login for one device (or one host that the person owns), and opens tiers for it at
    /// gateways, in one transaction with its audit lines. The login must have passed ([`Store::record_login`]), be at most
    /// 60 s old, and not have released before; it is used up when anything is granted. Each generation must be the newest,
    /// applied or still released, belong to that device, and the device to that person.
    ///
    /// # Errors
    /// The login may not release, the device is not this person's or is cut off, or nothing could be recorded.
    pub fn release_with_tiers(
        &self,
        now: Timestamp,
        login: &Login,
        device: &str,
        wanted: &[Wanted],
        tiers: &[WantedTier],
    ) -> Result<ReleaseOutcome, StoreError> {
        self.write(now, |w| {
            w.may_spend(login)?;
            let keys = w.keys_of(login, device)?;
            let mut outcome = ReleaseOutcome::default();
            for wanted in tiers {
                match w.open_one(login, device, &keys, wanted)? {
                    Ok(grant) => {
                        w.audit_granted(&grant)?;
                        outcome.opened.push(grant);
                    }
                    Err(reason) => {
                        let note = Note::new(Event::ReleaseRefused).place(&wanted.place).user(&login.user);
                        w.audit(note.device(device).from(Some(&login.from)).reason(&reason))?;
                        outcome.refused.push((wanted.place.clone(), reason));
                    }
                }
            }
            for wanted in wanted {
                let note = Note::new(Event::ReleaseRefused).place(&wanted.place).generation(wanted.generation);
                let note = note.user(&login.user).device(device).from(Some(&login.from));
                match w.release_one(login, device, &keys, wanted)? {
                    Ok(granted) => {
                        let event = if granted.renewal { Event::Renewed } else { Event::Released };
                        w.audit(Note { event, ..note }.reason(format!("until {:.0}", granted.deadline)))?;
                        outcome.granted.push(granted);
                    }
                    Err(reason) => {
                        w.audit(note.reason(&reason))?;
                        outcome.refused.push((wanted.place.clone(), reason));
                    }
                }
            }
            if !outcome.granted.is_empty() || !outcome.opened.is_empty() {
                w.execute("UPDATE logins SET released_at = ?2 WHERE id = ?1", (login.id.to_string(), w.now))?;
            }
            Ok(outcome)
        })
    }
}

impl Writing<'_> {
    /// One login, one release or one act, soon.
    pub(super) fn may_spend(&self, login: &Login) -> Result<(), StoreError> {
        let sql = "SELECT released_at IS NOT NULL AS released, acted_at IS NOT NULL AS acted,
                       coalesce(code_at, passed_at) AS since
                   FROM logins JOIN people ON people.name = person
                   WHERE id = ?1 AND person = ?2 AND passed_at IS NOT NULL AND NOT disabled";
        let found = self.tx.prepare_cached(sql)?.query_row((login.id.to_string(), login.user.as_str()), |row| {
            let since = row.get::<_, Time>("since")?.into();
            Ok(LoginFacts { since, released: row.get("released")?, acted: row.get("acted")? })
        });
        match may_spend(found.optional()?, self.now.into()) {
            Admission::Admit => Ok(()),
            Admission::Refuse(reason) => Err(StoreError::refused(reason).hint("log in again")),
        }
    }

    /// The public keys of a device or host, which must be this person's and not cut off.
    fn keys_of(&self, login: &Login, device: &str) -> Result<Vec<PublicKey>, StoreError> {
        let sql = "SELECT public_key FROM devices WHERE name = ?1 AND owner = ?2 AND NOT disabled
                   UNION ALL
                   SELECT interfaces.public_key FROM interfaces JOIN hosts ON hosts.name = interfaces.host
                       WHERE hosts.name = ?1 AND owner = ?2 AND NOT disabled";
        let mut statement = self.tx.prepare_cached(sql)?;
        let keys = statement
            .query_map((device, login.user.as_str()), |row| text(row, "public_key"))?
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(StoreError::refused(format!("{device} is no device of {}, or is disabled", login.user)));
        }
        Ok(keys)
    }

    /// Releases one generation, or answers why not.
    fn release_one(
        &self,
        login: &Login,
        device: &str,
        keys: &[PublicKey],
        wanted: &Wanted,
    ) -> Result<Result<Granted, String>, StoreError> {
        // the key that is handed out is the one of the device's end of the connection
        if !keys.contains(&wanted.place.public_key) {
            return Ok(Err("it belongs to another device".to_owned()));
        }
        let (user, from) = (Some(&login.user), Some(login.from.as_str()));
        self.hand_over(wanted, Receiver { user, device: Some(device), from, overridden: None })
    }

    /// Opens one tier, or answers why not.
    fn open_one(
        &self,
        login: &Login,
        device: &str,
        keys: &[PublicKey],
        wanted: &WantedTier,
    ) -> Result<Result<Grant, String>, StoreError> {
        if !keys.contains(&wanted.place.public_key) {
            return Ok(Err("it belongs to another device".to_owned()));
        }
        let (person, device, from) = (Some(&login.user), Some(device), Some(login.from.as_str()));
        self.grant_one(wanted, To { by: GrantedBy::Ssh, person, device, from, overridden: None, confirmed: false })
    }

    /// Records that somebody gets a generation, or answers why not.
    fn hand_over(&self, wanted: &Wanted, receiver: Receiver<'_>) -> Result<Result<Granted, String>, StoreError> {
        let Wanted { place, generation, deadline } = wanted;
        let refuse = |reason: &str| Ok(Err(reason.to_owned()));
        if let Some(reason) = connections::cut_off(self.tx, place)? {
            return Ok(Err(reason));
        }
        let row = places::find(self.tx, place)?;
        let Some(row) = row else { return refuse("there is no key yet") };
        // a newer one that was only deposited does not end a running session, but may stand on the server in place of a
        // key that waits
        let sql = "SELECT sealed, released_at IS NOT NULL AS renewal FROM generations
                   WHERE place = ?1 AND generation = ?2 AND NOT together
                       AND ((phase = 'applied' AND ?2 = ?4) OR (phase = 'released' AND deadline > ?3))";
        let found = self.tx.prepare_cached(sql)?.query_row((row.id, generation, self.now, row.highest), |row| {
            Ok((row.get::<_, Vec<u8>>("sealed")?, row.get::<_, bool>("renewal")?))
        });
        let Some((sealed, renewal)) = found.optional()? else {
            return refuse("the server does not accept it yet, or not any more");
        };
        let Ok(preshared_key) = generations::open(self.sealing, place, *generation, &sealed) else {
            return refuse("its key cannot be unsealed");
        };
        if Time::from(*deadline) <= self.now {
            return refuse("its deadline has passed");
        }
        let sql = "UPDATE generations SET phase = 'released', released_at = coalesce(released_at, ?3), renewed_at = ?3,
                       released_to = ?4, released_for = ?5, released_from = ?6, overridden = ?8,
                       deadline = max(coalesce(deadline, ?7), ?7)
                   WHERE place = ?1 AND generation = ?2 RETURNING deadline";
        let deadline: Time = self.tx.prepare_cached(sql)?.query_row(
            (
                row.id,
                generation,
                self.now,
                receiver.user.map(UserName::as_str),
                receiver.device,
                receiver.from,
                Time::from(*deadline),
                receiver.overridden,
            ),
            |row| row.get(0),
        )?;
        Ok(Ok(Granted {
            place: place.clone(),
            generation: *generation,
            deadline: deadline.into(),
            renewal,
            preshared_key,
        }))
    }
}
