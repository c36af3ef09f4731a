//! Failed logins: the records of `wgmfa_core::guessing`, and the audit lines of refusals.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use wgmfa_core::guessing::{self, PairRecord, PersonRecord, Source};
use wgmfa_core::name::UserName;

use super::column::{Text, Time, text, time_or_none};
use super::{Event, Note, Store, StoreError, Writing};

/// A login that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The user name as it was given; it need not be anybody's.
    pub user: &'a str,
    /// Where it came from, for people.
    pub from: &'a str,
    /// The real reason.
    pub reason: &'a str,
    /// Whether the attempt was charged as a failure.
    pub charged: bool,
}

/// So many lines an hour for refusals that cost the one who tries nothing.
const LINES_PER_HOUR: u32 = 100;

impl Store {
    /// The records on which `guessing::attempt` decides; of an unknown person they are empty.
    pub fn guesses(&self, user: &UserName, source: Source) -> Result<(PairRecord, PersonRecord), StoreError> {
        Ok((pair_of(&self.connection, user, source)?, person_of(&self.connection, user)?))
    }

    /// Charges an attempt: stores the records that `guessing::Attempt::Judge` carries, before the answers are looked at.
    /// Of an unknown person nothing is stored. A success takes the charge back by itself, in [`Store::accept_code`],
    /// [`Store::use_recovery_code`] or, where no code is asked for, [`Store::record_login`].
    ///
    /// # Errors
    /// It could not be recorded: then the login must fail.
    pub fn charge(
        &self,
        now: Timestamp,
        user: &UserName,
        source: Source,
        pair: &PairRecord,
        person: &PersonRecord,
    ) -> Result<(), StoreError> {
        self.write(now, |w| w.put_guesses(user, source, pair, person))
    }

    /// Every pair of a person and a source with failures or locks, for `status` and `why`.
    pub fn all_guesses(&self) -> Result<Vec<(UserName, Source, PairRecord)>, StoreError> {
        let sql = "SELECT * FROM guesses WHERE failures > 0 OR locks > 0 ORDER BY person, source";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([], |row| Ok((text(row, "person")?, text(row, "source")?, pair(row)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Writes the audit line of a refused login. Refusals that cost the one who tries nothing (unknown people, attempts
    /// while locked) get at most a hundred lines an hour; the rest is one line with their number.
    pub fn record_refusal(&self, now: Timestamp, refusal: Refusal<'_>) -> Result<(), StoreError> {
        self.write(now, |w| {
            let name = refusal.user.parse::<UserName>().ok();
            let known = match &name {
                Some(name) => w.exists(name)?,
                None => false,
            };
            let costs_nothing = !known || !refusal.charged;
            if costs_nothing && !w.within_quota()? {
                return Ok(());
            }
            let note = Note::new(Event::LoginRefused).from(Some(refusal.from)).reason(refusal.reason);
            // what is no name may be a password that was typed at the wrong prompt
            w.audit(match name {
                Some(name) => note.user(name),
                None => note,
            })
        })
    }

    /// Writes a line that costs nobody anything to cause, if this hour has room for it.
    pub fn note_within_quota(&self, now: Timestamp, note: Note) -> Result<(), StoreError> {
        self.write(now, |w| if w.within_quota()? { w.audit(note) } else { Ok(()) })
    }
}

impl Writing<'_> {
    /// Stores both records, if there is such a person.
    fn put_guesses(
        &self,
        user: &UserName,
        source: Source,
        pair: &PairRecord,
        person: &PersonRecord,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE people SET day_began = ?2, day_failures = ?3 WHERE name = ?1";
        if self.execute(sql, (user.as_str(), person.day_began.map(Time::from), person.failures))? == 0 {
            return Ok(());
        }
        self.execute(
            "INSERT OR REPLACE INTO guesses (person, source, failures, locks, locked_until, last_success)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                user.as_str(),
                Text(source),
                pair.failures,
                pair.locks,
                pair.locked_until.map(Time::from),
                pair.last_success.map(Time::from),
            ),
        )?;
        Ok(())
    }

    /// A success: the records as they are now begin anew.
    pub(super) fn take_back(&self, user: &UserName, source: Source) -> Result<(), StoreError> {
        let (pair, person) = (pair_of(self.tx, user, source)?, person_of(self.tx, user)?);
        let (pair, person) = guessing::success(&pair, &person, self.now.into());
        self.put_guesses(user, source, &pair, &person)
    }

    /// An administrator forgives; answers whether there was anything to forgive.
    pub(super) fn forgive(&self, user: &UserName) -> Result<bool, StoreError> {
        let pairs = "UPDATE guesses SET failures = 0, locks = 0, locked_until = NULL
                     WHERE person = ?1 AND (failures > 0 OR locks > 0)";
        let person = "UPDATE people SET day_began = NULL, day_failures = 0 WHERE name = ?1 AND day_failures > 0";
        let forgiven = self.execute(pairs, [user.as_str()])? + self.execute(person, [user.as_str()])? > 0;
        Ok(self.forgive_codes(user)? || forgiven)
    }

    fn exists(&self, user: &UserName) -> Result<bool, StoreError> {
        Ok(self.tx.prepare_cached("SELECT 1 FROM people WHERE name = ?1")?.exists([user.as_str()])?)
    }

    /// Whether this hour has room for one more line of this kind. Writes the number of those that had none.
    fn within_quota(&self) -> Result<bool, StoreError> {
        let hour = self.now.0 / 3_600_000;
        let sql = "SELECT quota_hour, quota_used FROM meta";
        let (counted, used): (i64, u32) =
            self.tx.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let omitted = used.saturating_sub(LINES_PER_HOUR);
        if counted != hour && omitted > 0 {
            let reason = format!(
                "{omitted} lines that cost nobody anything to cause were not listed in one hour: refusals, SSH keys"
            );
            self.audit(Note::new(Event::RefusalsOmitted).reason(reason))?;
        }
        let used = if counted == hour { used } else { 0 };
        self.execute("UPDATE meta SET quota_hour = ?1, quota_used = ?2", (hour, used.saturating_add(1)))?;
        Ok(used < LINES_PER_HOUR)
    }
}

fn pair_of(connection: &Connection, user: &UserName, source: Source) -> Result<PairRecord, StoreError> {
    let sql = "SELECT * FROM guesses WHERE person = ?1 AND source = ?2";
    let found = connection.prepare_cached(sql)?.query_row((user.as_str(), Text(source)), pair).optional()?;
    Ok(found.unwrap_or_default())
}

fn person_of(connection: &Connection, user: &UserName) -> Result<PersonRecord, StoreError> {
    let sql = "SELECT day_began, day_failures FROM people WHERE name = ?1";
    let found = connection.prepare_cached(sql)?.query_row([user.as_str()], |row| {
        Ok(PersonRecord { day_began: time_or_none(row, "day_began")?, failures: row.get("day_failures")? })
    });
    Ok(found.optional()?.unwrap_or_default())
}

fn pair(row: &Row<'_>) -> rusqlite::Result<PairRecord> {
    Ok(PairRecord {
        failures: row.get("failures")?,
        locks: row.get("locks")?,
        locked_until: time_or_none(row, "locked_until")?,
        last_success: time_or_none(row, "last_success")?,
    })
}
