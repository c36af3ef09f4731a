//! One-time codes that are given inside tunnels: failures, and the one transaction in which a code is used up and opens
//! its tiers.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};
use wgmfa_core::guessing::PairRecord;
use wgmfa_core::key::PublicKey;
use wgmfa_core::login::CodeUse;
use wgmfa_core::name::{HostName, TierName, UserName};

use super::column::{Text, Time, text, time_or_none};
use super::grants::{Grant, GrantedBy, To, WantedTier};
use super::handouts::Kind;
use super::{Event, Note, Place, Store, StoreError, Writing};

/// What the log and `key list` say of where a code inside a tunnel came from.
pub const INSIDE: &str = "inside the tunnel";

/// A code that was given inside a tunnel, judged and good, and what it opens.
#[derive(Debug, Clone)]
pub struct TunnelCode<'a> {
    /// The peer whose tunnel it is.
    pub place: &'a Place,
    /// Whose code it is.
    pub person: &'a UserName,
    /// The device, or the host of theirs.
    pub device: &'a str,
    /// Which code is used up.
    pub used: CodeUse,
    /// Each tier that opens, and until when.
    pub grants: &'a [(TierName, Timestamp)],
}

/// Failed codes of one person inside one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelGuesses {
    /// Whose code it should have been.
    pub person: UserName,
    /// The gateway.
    pub host: HostName,
    /// The peer.
    pub public_key: PublicKey,
    /// The failures.
    pub record: PairRecord,
}

impl Store {
    /// Uses a code up, exactly as a login does, and records what it opens, all in one transaction: of callers that race
    /// with the same code, inside tunnels and over SSH, exactly one gets it. The failures before it are forgotten.
    /// Answers with the grants, or why there are none, for the log.
    ///
    /// # Errors
    /// It could not be recorded: then the code must be refused.
    pub fn grant_by_code(
        &self,
        now: Timestamp,
        code: &TunnelCode<'_>,
    ) -> Result<Result<Vec<Grant>, String>, StoreError> {
        let TunnelCode { place, person, device, used, grants } = *code;
        let done = self.write(now, |w| {
            if !w.owns(person, &place.public_key)? {
                return Err(StoreError::refused("the peer is not this person's any more"));
            }
            let kind = match used {
                CodeUse::Step(step) => w.use_step(person, step)?.then_some("one-time code"),
                CodeUse::Recovery(hash) => w.use_recovery(person, &hash)?.then_some("recovery code"),
                CodeUse::Telephone(hash) => {
                    w.take_handout(person, Kind::Telephone, &hash)?.then_some("one-time code for the telephone")
                }
                CodeUse::Nothing => None,
            };
            let Some(kind) = kind else {
                return Err(StoreError::refused("code already used, or the person may not log in"));
            };
            let note = Note::new(Event::CodeAccepted).user(person).device(device).place(place);
            w.audit(note.from(Some(INSIDE)).reason(kind))?;
            let (person, device) = (Some(person), Some(device));
            let (by, from) = (GrantedBy::Code, Some(INSIDE));
            let to = To { by, person, device, from, overridden: None, confirmed: true };
            let mut granted = Vec::new();
            for (tier, until) in grants {
                let wanted = WantedTier { place: place.clone(), tier: tier.clone(), until: *until };
                let grant = w.grant_one(&wanted, to)?.map_err(StoreError::refused)?;
                w.audit_granted(&grant)?;
                granted.push(grant);
            }
            let sql = "DELETE FROM code_guesses WHERE person = ?1 AND host = ?2 AND peer = ?3";
            w.execute(sql, (code.person.as_str(), place.server_side.host.as_str(), Text(place.public_key)))?;
            Ok(granted)
        });
        match done {
            Ok(granted) => Ok(Ok(granted)),
            Err(StoreError::Refused { reason, .. }) => Ok(Err(reason)),
            Err(error) => Err(error),
        }
    }

    /// The failures on which `gate::code::attempt` decides.
    pub fn code_guesses(&self, person: &UserName, place: &Place) -> Result<PairRecord, StoreError> {
        let sql = "SELECT * FROM code_guesses WHERE person = ?1 AND host = ?2 AND peer = ?3";
        let parameters = (person.as_str(), place.server_side.host.as_str(), Text(place.public_key));
        Ok(self.connection.prepare_cached(sql)?.query_row(parameters, record).optional()?.unwrap_or_default())
    }

    /// Charges an attempt, before the code is looked at. [`Store::grant_by_code`] takes the charge back.
    ///
    /// # Errors
    /// It could not be recorded: then the code must be refused.
    pub fn charge_code(
        &self,
        now: Timestamp,
        person: &UserName,
        place: &Place,
        charged: &PairRecord,
    ) -> Result<(), StoreError> {
        self.write(now, |w| {
            let sql = "INSERT OR REPLACE INTO code_guesses (person, host, peer, failures, locks, locked_until)
                       SELECT name, ?2, ?3, ?4, ?5, ?6 FROM people WHERE name = ?1";
            let PairRecord { failures, locks, locked_until, .. } = charged;
            let host = place.server_side.host.as_str();
            let locked_until = locked_until.map(Time::from);
            w.execute(sql, (person.as_str(), host, Text(place.public_key), failures, locks, locked_until)).map(drop)
        })
    }

    /// Every tunnel with failures or locks, for `status` and `why`.
    pub fn all_code_guesses(&self) -> Result<Vec<TunnelGuesses>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT * FROM code_guesses ORDER BY person, host, peer")?;
        let found = statement.query_map([], |row| {
            let (person, host, public_key) = (text(row, "person")?, text(row, "host")?, text(row, "peer")?);
            Ok(TunnelGuesses { person, host, public_key, record: record(row)? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Writes the audit line of a refused code, with the real reason; none when the host's hour has no room for it.
    pub fn record_code_refusal(
        &self,
        now: Timestamp,
        place: &Place,
        person: Option<&UserName>,
        reason: &str,
    ) -> Result<(), StoreError> {
        let note = Note::new(Event::CodeRefused).place(place).from(Some(INSIDE)).reason(reason);
        let note = person.into_iter().fold(note, |note, person| note.user(person));
        self.note_of_host(now, &place.server_side.host, note)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<PairRecord> {
    let (failures, locks) = (row.get("failures")?, row.get("locks")?);
    Ok(PairRecord { failures, locks, locked_until: time_or_none(row, "locked_until")?, last_success: None })
}

impl Writing<'_> {
    /// Whether a public key is a device of this person, or an interface of a host of theirs, and not cut off.
    fn owns(&self, person: &UserName, key: &PublicKey) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM devices WHERE public_key = ?1 AND owner = ?2 AND NOT disabled
                   UNION ALL
                   SELECT 1 FROM interfaces JOIN hosts ON hosts.name = interfaces.host
                       WHERE interfaces.public_key = ?1 AND owner = ?2 AND NOT disabled";
        Ok(self.tx.prepare_cached(sql)?.exists((Text(key), person.as_str()))?)
    }

    /// An administrator forgives; answers whether there was anything to forgive.
    pub(super) fn forgive_codes(&self, person: &UserName) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM code_guesses WHERE person = ?1", [person.as_str()])? > 0)
    }
}
