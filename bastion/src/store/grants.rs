//! Grants: which tiers of which gateways are open for which peers, and until when.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Params, Row};
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::message::agent::PeerTier;
use wgmfa_core::name::{HostName, TierName, UserName};

use super::column::{Text, Time, text, text_or_none, time};
use super::{Actor, CutOff, Event, Note, Place, Store, StoreError, Writing, connections, places, renewal};

/// Why a grant is over whose time has come.
const DEADLINE_PASSED: &str = "the deadline has passed";

/// A report that was on its way when a tier was granted does not show it, and says nothing against it.
const ON_ITS_WAY: i64 = 5_000;

/// A tier that a gateway lets a peer reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub place: Place,
    /// The tier.
    pub tier: TierName,
    /// When it was granted last.
    pub granted_at: Timestamp,
    /// Until when.
    pub deadline: Timestamp,
    /// How.
    pub by: GrantedBy,
    /// To whom; none: an administrator has opened it.
    pub person: Option<UserName>,
    /// For which device, or which host of theirs.
    pub device: Option<String>,
    /// From where it was asked for, for people.
    pub from: Option<String>,
    /// By whom and why it was granted without a code.
    pub overridden: Option<String>,
    /// The gateway has said that it lets the peer through.
    pub confirmed: bool,
}

/// How a tier was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantedBy {
    /// By a login over SSH.
    Ssh,
    /// By a code inside the tunnel.
    Code,
    /// By an administrator.
    Override,
}

impl GrantedBy {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Ssh, Self::Code, Self::Override];

    /// As it stands in the store, in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Code => "code",
            Self::Override => "override",
        }
    }
}

impl FromStr for GrantedBy {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|by| by.as_str() == text).ok_or(())
    }
}

/// A tier that is to be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTier {
    /// Where.
    pub place: Place,
    /// The tier.
    pub tier: TierName,
    /// Until when. A grant is never shortened.
    pub until: Timestamp,
}

/// Who gets a grant, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct To<'a> {
    pub by: GrantedBy,
    pub person: Option<&'a UserName>,
    pub device: Option<&'a str>,
    pub from: Option<&'a str>,
    pub overridden: Option<&'a str>,
    /// The gateway opens it with the same answer.
    pub confirmed: bool,
}

impl Store {
    /// All grants in force, sorted by place and tier.
    pub fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.grants_where("TRUE", ())
    }

    /// Whether there is any.
    pub fn has_grants(&self) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM grants")?.exists([])?)
    }

    /// Those of one host.
    pub fn grants_of(&self, host: &HostName) -> Result<Vec<Grant>, StoreError> {
        self.grants_where("host = ?1", [host.as_str()])
    }

    /// Those of one peer.
    pub fn grants_at(&self, place: &Place) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(AT, at(place))
    }

    /// Those of a person's devices and hosts.
    pub fn grants_for(&self, person: &UserName) -> Result<Vec<Grant>, StoreError> {
        self.grants_where(places::OF_PERSON, [person.as_str()])
    }

    fn grants_where(&self, condition: &str, parameters: impl Params) -> Result<Vec<Grant>, StoreError> {
        select(&self.connection, condition, parameters)
    }

    /// Opens a tier without a login, in one transaction with its audit line.
    ///
    /// # Errors
    /// Nobody may come in there, or nothing could be recorded.
    pub fn grant_by_override(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        wanted: &WantedTier,
        reason: &str,
    ) -> Result<Grant, StoreError> {
        self.write(now, |w| {
            let overridden = renewal::by(actor, reason);
            let overridden = Some(overridden.as_str());
            let (by, from) = (GrantedBy::Override, actor.from);
            let to = To { by, person: None, device: None, from, overridden, confirmed: false };
            let grant = w.grant_one(wanted, to)?.map_err(StoreError::refused)?;
            let reason = format!("tier {}: {reason} (until {:.0})", grant.tier, grant.deadline);
            w.audit(Note::new(Event::Overridden).place(&wanted.place).actor(actor).reason(reason))?;
            Ok(grant)
        })
    }

    /// A gateway has said that it lets a peer through; whether that is still granted.
    pub fn confirm_grant(&self, now: Timestamp, place: &Place, tier: &TierName) -> Result<bool, StoreError> {
        match self.grants_at(place)?.iter().find(|grant| grant.tier == *tier) {
            Some(Grant { confirmed: false, .. }) => self.write(now, |w| {
                let (host, interface, peer) = at(place);
                let sql = format!("UPDATE grants SET confirmed = 1 WHERE {AT} AND tier = ?4");
                Ok(w.execute(&sql, (host, interface, peer, tier.as_str()))? == 1)
            }),
            known => Ok(known.is_some()),
        }
    }

    /// Takes what a host's gate has open: it confirms what is granted, and of what it does not name nothing is known.
    pub fn confirm_open(&self, now: Timestamp, host: &HostName, open: &[PeerTier]) -> Result<(), StoreError> {
        let known = self.grants_of(host)?;
        if known.is_empty() {
            return Ok(());
        }
        let open: BTreeSet<(Place, &TierName)> =
            open.iter().map(|one| (Place::new(host, &one.peer), &one.tier)).collect();
        let on_its_way = Time(Time::from(self.now(now)).0 - ON_ITS_WAY);
        let is_news = |grant: &&Grant| {
            let is_open = open.contains(&(grant.place.clone(), &grant.tier));
            is_open != grant.confirmed && (is_open || Time::from(grant.granted_at) < on_its_way)
        };
        let news: Vec<_> = known.iter().filter(is_news).collect();
        if news.is_empty() {
            return Ok(());
        }
        self.write(now, |w| {
            for Grant { place, tier, confirmed, .. } in news {
                let (host, interface, peer) = at(place);
                let sql = format!("UPDATE grants SET confirmed = ?5 WHERE {AT} AND tier = ?4");
                w.execute(&sql, (host, interface, peer, tier.as_str(), !confirmed))?;
            }
            Ok(())
        })
    }

    /// Ends the grants of a peer before their time: this tier's, or all of them; answers with those that there were.
    pub fn end_grants(
        &self,
        now: Timestamp,
        actor: Actor<'_>,
        place: &Place,
        tier: Option<&TierName>,
        reason: &str,
    ) -> Result<Vec<TierName>, StoreError> {
        self.write(now, |w| w.end_grants(actor, place, tier, None, reason))
    }

    /// A gateway has closed a tier of a peer (or all) of its own accord. What was granted after that time goes on.
    pub fn end_closed(
        &self,
        now: Timestamp,
        place: &Place,
        tier: Option<&TierName>,
        closed_at: Timestamp,
        reason: &str,
    ) -> Result<Vec<TierName>, StoreError> {
        self.write(now, |w| w.end_grants(Actor::BASTION, place, tier, Some(closed_at.into()), reason))
    }

    /// Ends every grant whose deadline has come, and answers with them. Costs next to nothing when there is none.
    pub fn expire_grants(&self, now: Timestamp) -> Result<Vec<Grant>, StoreError> {
        let time = Time::from(self.now(now));
        if !self.connection.prepare_cached("SELECT 1 FROM grants WHERE deadline <= ?1")?.exists([time])? {
            return Ok(Vec::new());
        }
        self.write(now, |w| {
            let over = select(w.tx, "deadline <= ?1", [w.now])?;
            for grant in &over {
                w.end_grant(grant, Note::new(Event::Expired), DEADLINE_PASSED)?;
            }
            Ok(over)
        })
    }
}

const AT: &str = "host = ?1 AND interface = ?2 AND peer = ?3";

fn at(place: &Place) -> (&str, &str, Text<wgmfa_core::key::PublicKey>) {
    let InterfaceRef { host, interface } = &place.server_side;
    (host.as_str(), interface.as_str(), Text(place.public_key))
}

fn select(
    connection: &rusqlite::Connection,
    condition: &str,
    parameters: impl Params,
) -> Result<Vec<Grant>, StoreError> {
    let sql = format!("SELECT * FROM grants WHERE {condition} ORDER BY host, interface, peer, tier");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_map(parameters, grant)?.collect::<Result<_, _>>()?)
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    let server_side = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
    Ok(Grant {
        place: Place { server_side, public_key: text(row, "peer")? },
        tier: text(row, "tier")?,
        granted_at: time(row, "granted_at")?,
        deadline: time(row, "deadline")?,
        by: text(row, "granted_by")?,
        person: text_or_none(row, "granted_to")?,
        device: row.get("granted_for")?,
        from: row.get("granted_from")?,
        overridden: row.get("overridden")?,
        confirmed: row.get("confirmed")?,
    })
}

impl Writing<'_> {
    /// Records a grant, or answers why not. A running one is prolonged, never shortened.
    pub(super) fn grant_one(&self, wanted: &WantedTier, to: To<'_>) -> Result<Result<Grant, String>, StoreError> {
        let WantedTier { place, tier, until } = wanted;
        if let Some(reason) = connections::cut_off(self.tx, place)? {
            return Ok(Err(reason));
        }
        if Time::from(*until) <= self.now {
            return Ok(Err("its deadline has passed".to_owned()));
        }
        let (host, interface, peer) = at(place);
        let sql = "INSERT INTO grants (host, interface, peer, tier, granted_at, deadline, granted_by, granted_to,
                       granted_for, granted_from, overridden, confirmed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                   ON CONFLICT (host, interface, peer, tier) DO UPDATE SET granted_at = ?5,
                       deadline = max(deadline, ?6), granted_by = ?7, granted_to = ?8, granted_for = ?9,
                       granted_from = ?10, overridden = ?11, confirmed = ?12
                   RETURNING *";
        let parameters = rusqlite::params![
            host,
            interface,
            peer,
            tier.as_str(),
            self.now,
            Time::from(*until),
            to.by.as_str(),
            to.person.map(UserName::as_str),
            to.device,
            to.from,
            to.overridden,
            to.confirmed,
        ];
        Ok(Ok(self.tx.prepare_cached(sql)?.query_row(parameters, grant)?))
    }

    /// The audit line of a grant that a person got.
    pub(super) fn audit_granted(&self, grant: &Grant) -> Result<(), StoreError> {
        let note = Note::new(Event::Granted).place(&grant.place).from(grant.from.as_deref());
        let note = grant.person.iter().fold(note, |note, person| note.user(person));
        let note = grant.device.iter().fold(note, |note, device| note.device(device));
        self.audit(note.reason(format!("tier {} until {:.0}", grant.tier, grant.deadline)))
    }

    /// Ends grants of a peer, those granted after `before` excepted.
    pub(super) fn end_grants(
        &self,
        actor: Actor<'_>,
        place: &Place,
        tier: Option<&TierName>,
        before: Option<Time>,
        reason: &str,
    ) -> Result<Vec<TierName>, StoreError> {
        let mut ended = Vec::new();
        for grant in select(self.tx, AT, at(place))? {
            let is_meant = tier.is_none_or(|tier| *tier == grant.tier);
            if is_meant && before.is_none_or(|before| Time::from(grant.granted_at) <= before) {
                self.end_grant(&grant, Note::new(Event::Revoked).actor(actor), reason)?;
                ended.push(grant.tier);
            }
        }
        Ok(ended)
    }

    /// Ends all grants for which a condition on `host`, `interface` and `peer` holds; answers with their places, each once.
    pub(super) fn end_grants_where(
        &self,
        condition: &str,
        parameters: impl Params,
        reason: &str,
    ) -> Result<Vec<Place>, StoreError> {
        let over = select(self.tx, condition, parameters)?;
        for grant in &over {
            self.end_grant(grant, Note::new(Event::Revoked), reason)?;
        }
        let mut ended: Vec<_> = over.into_iter().map(|grant| grant.place).collect();
        ended.dedup();
        Ok(ended)
    }

    fn end_grant(&self, grant: &Grant, note: Note, reason: &str) -> Result<(), StoreError> {
        let (host, interface, peer) = at(&grant.place);
        let sql = format!("DELETE FROM grants WHERE {AT} AND tier = ?4");
        self.execute(&sql, (host, interface, peer, grant.tier.as_str()))?;
        let note = grant.person.iter().fold(note, |note, person| note.user(person));
        self.audit(note.place(&grant.place).reason(format!("tier {}: {reason}", grant.tier)))
    }

    /// Somebody is cut off at all peers for which a condition on `host`, `interface` and `peer` holds: their grants are
    /// over, and what root on a gateway has opened for them. Or they are let in again: their gates are to be told.
    pub(super) fn close_or_tell(
        &self,
        mut cut: CutOff,
        closes: bool,
        condition: &str,
        parameters: impl Params + Clone,
        reason: &str,
    ) -> Result<CutOff, StoreError> {
        if !closes {
            cut.hosts.extend(self.hosts_of_peers(condition, parameters)?);
            return Ok(cut);
        }
        cut.gates.extend(self.opened_by_root(condition, parameters.clone())?);
        cut.gates.extend(self.end_grants_where(condition, parameters, reason)?);
        cut.gates.sort();
        cut.gates.dedup();
        Ok(cut)
    }

    /// The peers that root on their hosts has opened, for which a condition on `host`, `interface` and `peer` holds.
    fn opened_by_root(&self, condition: &str, parameters: impl Params) -> Result<Vec<Place>, StoreError> {
        let sql = format!("SELECT host, interface, peer FROM opened_by_root WHERE {condition}");
        let mut statement = self.tx.prepare_cached(&sql)?;
        let found = statement.query_map(parameters, |row| {
            let server_side = InterfaceRef { host: text(row, "host")?, interface: text(row, "interface")? };
            Ok(Place { server_side, public_key: text(row, "peer")? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The hosts of all peers for which a condition on `host`, `interface` and `peer` holds: their gates are told when
    /// somebody is let in again.
    fn hosts_of_peers(&self, condition: &str, parameters: impl Params) -> Result<BTreeSet<HostName>, StoreError> {
        let sql = format!("SELECT DISTINCT host FROM relations WHERE {condition}");
        let mut statement = self.tx.prepare_cached(&sql)?;
        Ok(statement.query_map(parameters, |row| text(row, "host"))?.collect::<Result<_, _>>()?)
    }
}
