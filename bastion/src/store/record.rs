//! What the store knows about the generations of one peer of a server side.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Params, Row};
use wgmfa_core::connection::{ConnectionName, InterfaceRef};
use wgmfa_core::key::{Fingerprint, PublicKey};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::release::{Newest, Phase};

use super::column::{text, text_or_none, time, time_or_none};
use super::generations::{DEADLINE_PASSED, TAKEN};
use super::places::{PLACE, PLACE_COLUMNS, PlaceRow, RowNames, place_row};
use super::{Store, StoreError, connections};

/// Where a generation is used: a peer of an interface of a host, the server side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The interface whose key is changed.
    pub server_side: InterfaceRef,
    /// The peer on it.
    pub public_key: PublicKey,
}

impl Place {
    /// A peer as an agent names it.
    pub fn new(host: &HostName, peer: &PeerRef) -> Self {
        let server_side = InterfaceRef { host: host.clone(), interface: peer.interface.clone() };
        Self { server_side, public_key: peer.public_key }
    }

    /// The peer as its agent names it.
    pub fn peer(&self) -> PeerRef {
        PeerRef { interface: self.server_side.interface.clone(), public_key: self.public_key }
    }
}

/// One generation of one place, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// What stands for the key.
    pub fingerprint: Fingerprint,
    /// Where it stands, by what is recorded: a deadline that has passed still reads `Released` until [`Store::expire`].
    pub phase: Phase,
    /// When it was put on disk.
    pub deposited_at: Timestamp,
    /// When the server side confirmed it.
    pub applied_at: Option<Timestamp>,
    /// When it was first released.
    pub released_at: Option<Timestamp>,
    /// When it was last released: the same, or the last renewal.
    pub renewed_at: Option<Timestamp>,
    /// To whom.
    pub released_to: Option<UserName>,
    /// For which device, or which host of theirs.
    pub released_for: Option<String>,
    /// To where.
    pub released_from: Option<String>,
    /// When it stops being accepted.
    pub deadline: Option<Timestamp>,
    /// When it was over, and its key wiped.
    pub ended_at: Option<Timestamp>,
    /// Why it was over.
    pub ended_because: Option<String>,
    /// Two servers use it together: no person ever gets it.
    pub together: bool,
    /// When the second of them held it.
    pub staged_at: Option<Timestamp>,
    /// When the second of them used it; `applied_at` is when the first one did.
    pub other_applied_at: Option<Timestamp>,
    /// What a client read back from its interface after it had got the key.
    pub client_fingerprint: Option<Fingerprint>,
    /// By whom and why it was released without a login.
    pub overridden: Option<String>,
    /// The server side changed to it in place: the latest handshake may be older than the key.
    pub in_place: bool,
}

impl Generation {
    /// Why a session with it was over before its deadline, if something but the next generation has ended it.
    pub fn ended_early(&self) -> Option<&str> {
        let because = self.ended_because.as_deref().filter(|_| self.released_at.is_some())?;
        (because != DEADLINE_PASSED && !because.ends_with(TAKEN)).then_some(because)
    }
}

/// Everything about the generations of one place. It exists as soon as there was ever a deposit, at the second end of two
/// servers that rotate together too, or as soon as somebody was cut off there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub place: Place,
    /// The highest generation that was ever deposited.
    pub highest: u64,
    /// The newest generation that the server side has confirmed; it may be over.
    pub current: Option<Box<Generation>>,
    /// The one before it; its key is wiped.
    pub previous: Option<Box<Generation>>,
    /// A newer one that is deposited and not confirmed.
    pub deposited: Option<Box<Generation>>,
    /// Why a new generation was ordered; until the next one is applied.
    pub rotation_ordered: Option<String>,
    /// Why nobody may come in here until what was removed is registered again.
    pub kept_locked: Option<String>,
    /// An administrator has set a key where no policy applies: nothing here is wgmfa's affair.
    pub set_free: bool,
}

impl Record {
    /// Its newest generation is one that two servers use together, or it never had one: it is the second end of such a
    /// pair, or somebody was cut off there and nothing else.
    pub fn is_of_pair(&self) -> bool {
        self.highest == 0 || self.deposited.as_ref().or(self.current.as_ref()).is_some_and(|newest| newest.together)
    }

    /// The generation that counts. A running session does; else the newest, even if it was never confirmed: what it was to
    /// replace may or may not stand on the server, so nothing is released until the server has said.
    ///
    /// What two servers use together is none that a person could ever have.
    pub fn that_counts(&self) -> Option<Newest> {
        match &self.current {
            _ if self.is_of_pair() => None,
            Some(current) if matches!(current.phase, Phase::Released { .. }) => {
                Some(Newest { generation: current.generation, phase: current.phase })
            }
            _ => self.newest(),
        }
    }

    fn begun(row: PlaceRow) -> Self {
        Self {
            place: row.place,
            highest: row.highest,
            current: None,
            previous: None,
            deposited: None,
            rotation_ordered: row.ordered,
            kept_locked: row.kept_locked,
            set_free: row.set_free,
        }
    }

    /// Takes a generation that is older than those before, if it counts.
    fn take_older(&mut self, generation: Generation) {
        let place = match generation.phase {
            Phase::Deposited => &mut self.deposited,
            _ if self.current.is_none() => &mut self.current,
            _ => &mut self.previous,
        };
        if place.is_none() {
            *place = Some(Box::new(generation));
        }
    }

    /// The newest generation of all, confirmed or not.
    pub fn newest(&self) -> Option<Newest> {
        let newest = self.deposited.as_ref().or(self.current.as_ref())?;
        Some(Newest { generation: newest.generation, phase: newest.phase })
    }
}

impl Store {
    /// What is known about one place.
    pub fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
        let at = "host = ?1 AND interface = ?2 AND peer = ?3";
        let InterfaceRef { host, interface } = &place.server_side;
        let key = place.public_key.to_string();
        Ok(self.records_where(at, (host.as_str(), interface.as_str(), key))?.pop())
    }

    /// What is known about every place of a host: each peer of it that ever had a generation.
    #[cfg(test)]
    pub fn records_of(&self, host: &HostName) -> Result<Vec<Record>, StoreError> {
        self.records_where("host = ?1", (host.as_str(),))
    }

    /// The same, and every place where an interface of the host is the peer.
    pub fn records_around(&self, host: &HostName) -> Result<Vec<Record>, StoreError> {
        let mut records = self.records_where("host = ?1", (host.as_str(),))?;
        let other_ends = "host <> ?1 AND peer IN (SELECT public_key FROM interfaces WHERE host = ?1)";
        records.extend(self.records_where(other_ends, (host.as_str(),))?);
        Ok(records)
    }

    /// What is known about every place, sorted.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.records_where("TRUE", ())
    }

    /// The name of a place's connection, by what is registered now.
    pub fn connection_at(&self, place: &Place) -> Result<ConnectionName, StoreError> {
        connections::name(&self.connection, place)
    }

    /// A condition on `places`. However many there are, the tables are walked through once, side by side.
    pub(super) fn records_where(&self, condition: &str, parameters: impl Params) -> Result<Vec<Record>, StoreError> {
        let sql = format!(
            "SELECT {PLACE}, {GENERATION} FROM places LEFT JOIN generations ON place = id
             WHERE {condition} ORDER BY host, interface, peer, generation DESC"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(parameters)?;
        let (mut names, mut records, mut last) = (RowNames::default(), Vec::<Record>::new(), None);
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if last != Some(id) {
                records.push(Record::begun(place_row(row, &mut names)?));
                last = Some(id);
            }
            let has_generation = row.get_ref(PLACE_COLUMNS)? != ValueRef::Null;
            if let Some(record) = records.last_mut().filter(|_| has_generation) {
                record.take_older(generation(row, PLACE_COLUMNS)?);
            }
        }
        Ok(records)
    }
}

/// The columns of a [`Generation`]. There may be very many rows, so columns are found by their numbers.
pub(super) const GENERATION: &str = "
    phase, deadline, generation, fingerprint, deposited_at, applied_at, released_at, renewed_at, released_to,
    released_for, released_from, ended_at, ended_because, together, staged_at, other_applied_at, client_fingerprint,
    overridden, on_applied";

/// One row of `generations`, without its key; [`GENERATION`] begins at this column.
pub(super) fn generation(row: &Row<'_>, first: usize) -> rusqlite::Result<Generation> {
    let deadline = time_or_none(row, first + 1)?;
    let phase = match (row.get_ref(first)?.as_str()?, deadline) {
        ("deposited", _) => Phase::Deposited,
        ("applied", _) => Phase::Applied,
        ("released", Some(deadline)) => Phase::Released { deadline },
        _ => Phase::Expired,
    };
    Ok(Generation {
        generation: row.get(first + 2)?,
        fingerprint: text(row, first + 3)?,
        phase,
        deposited_at: time(row, first + 4)?,
        applied_at: time_or_none(row, first + 5)?,
        released_at: time_or_none(row, first + 6)?,
        renewed_at: time_or_none(row, first + 7)?,
        released_to: text_or_none(row, first + 8)?,
        released_for: row.get(first + 9)?,
        released_from: row.get(first + 10)?,
        deadline,
        ended_at: time_or_none(row, first + 11)?,
        ended_because: row.get(first + 12)?,
        together: row.get(first + 13)?,
        staged_at: time_or_none(row, first + 14)?,
        other_applied_at: time_or_none(row, first + 15)?,
        client_fingerprint: text_or_none(row, first + 16)?,
        overridden: row.get(first + 17)?,
        in_place: row.get_ref(first + 18)?.as_str_or_null()? == Some("renew"),
    })
}
