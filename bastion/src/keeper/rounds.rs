//! What an agent's report, deposits and confirmations change, and the assignments that it gets.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use wgmfa_core::connection::Other;
use wgmfa_core::inventory::Interface;
use wgmfa_core::key::Fingerprint;
use wgmfa_core::message::agent::{Deposit, LocalEvent, MOST_EVENTS, MOST_PEERS, PeerGeneration, PeerRef, PeerTier};
use wgmfa_core::name::HostName;
use wgmfa_core::policy::{PolicySet, Selector, Warning};
use wgmfa_core::release::{Cover, Phase};
use wgmfa_core::rotation::{Assignment, Standing};
use wgmfa_core::standing::{Facts, is_told, standing};
use wgmfa_core::tandem::PairEnd;

use super::Keeper;
use super::coverage::{Served, newest, serves, session_at_other_end, session_end};
use super::gates::Gates;
use super::pairs::{Pairs, Told, pair};
use crate::admin::cuts::closable;
use crate::admin::site::{Site, places};
use crate::store::{Actor, Event, Note, Place, Record, Report, StoreError};

/// What a report says of generations.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    /// The highest that the host ever made, for each peer.
    pub highest: &'a [PeerGeneration],
    /// Those that it holds for peers whose key both ends change together.
    pub holds: &'a [PeerGeneration],
    /// The tiers that the host's gate has open now.
    pub open: &'a [PeerTier],
}

/// The answer to a report.
pub struct Assigned {
    /// The peers of which this host is the server side.
    pub assignments: Vec<Assignment>,
    /// The peers without a second factor on interfaces that an MFA policy covers.
    pub uncovered: Vec<PeerRef>,
    /// The peers whose key both ends change together.
    pub pairs: Vec<Told>,
    /// What its gates are made of.
    pub gates: Gates,
}

impl Keeper {
    /// Takes a report, and answers with the host's assignments and its peers without a second factor.
    pub(super) fn take_report(
        &self,
        host: &HostName,
        report: &Report<'_>,
        events: &[LocalEvent],
        made: Made<'_>,
    ) -> Result<Assigned, String> {
        let peers: usize = report.interfaces.iter().map(|interface| interface.peers.len()).sum();
        if peers > MOST_PEERS {
            return Err(format!("its report has {peers} peers, and a host may have {MOST_PEERS}: use several hosts"));
        }
        let now = self.now();
        let told = |error: StoreError| error.to_string();
        for other in self.store.report(now, host, report).map_err(told)?.concerned {
            // a policy may cover it there from now on, and until that host hears of it nothing is asked of this peer
            self.order_round(&other, &format!("one of its peers is {host}"));
        }
        for event in events.iter().take(MOST_EVENTS) {
            self.note_local(host, event).map_err(told)?;
        }
        if events.len() > MOST_EVENTS {
            let reason = format!("{} more events of this host were not listed", events.len() - MOST_EVENTS);
            self.store.note_of_host(now, host, Note::new(Event::Noted).host(host).reason(reason)).map_err(told)?;
        }
        self.store.confirm_open(now, host, made.open).map_err(told)?;
        self.expire();
        let mut site = Site::read_of(&self.store, host).map_err(told)?;
        if self.raise_highest(host, made.highest, &site).map_err(told)? {
            site = Site::read_of(&self.store, host).map_err(told)?;
        }
        if self.confirm_what_stands(host, report.interfaces, &site).map_err(told)? {
            site = Site::read_of(&self.store, host).map_err(told)?;
        }
        let gates = self.gates(host, &site);
        self.assignments(host, site, made.holds).map(|told| Assigned { gates, ..told }).map_err(told)
    }

    /// What the host made above all that is known here, after a restore from a backup, is known from now on. Whether there
    /// was anything.
    fn raise_highest(&self, host: &HostName, made: &[PeerGeneration], site: &Site) -> Result<bool, StoreError> {
        let known = |peer: &PeerRef| site.record(&Place::new(host, peer)).map_or(0, |record| record.highest);
        let above: Vec<_> = made.iter().filter(|made| made.generation > known(&made.peer)).cloned().collect();
        if !above.is_empty() {
            self.store.raise_highest(self.now(), host, &above)?;
        }
        Ok(!above.is_empty())
    }

    /// A deposited generation whose fingerprint stands on the interface is applied: its confirmation was lost. Whether
    /// there was one.
    fn confirm_what_stands(&self, host: &HostName, interfaces: &[Interface], site: &Site) -> Result<bool, StoreError> {
        let waits = |record: &&Record| record.place.server_side.host == *host && record.deposited.is_some();
        let deposited: Vec<_> = site.records().filter(waits).collect();
        if deposited.is_empty() {
            return Ok(false);
        }
        let observed: HashMap<PeerRef, Fingerprint> = interfaces
            .iter()
            .flat_map(|interface| interface.peers.iter().map(move |peer| (interface, peer)))
            .filter_map(|(interface, peer)| {
                let at = PeerRef { interface: interface.name.clone(), public_key: peer.public_key };
                Some((at, peer.fingerprint?))
            })
            .collect();
        let stands = |record: &Record| {
            let deposited = record.deposited.as_ref()?;
            let peer = record.place.peer();
            (observed.get(&peer) == Some(&deposited.fingerprint))
                .then_some(PeerGeneration { peer, generation: deposited.generation })
        };
        let mut applied: Vec<_> = deposited.into_iter().filter_map(stands).collect();
        if !applied.is_empty() {
            applied.sort();
            self.store.applied(self.now(), host, &applied)?;
        }
        Ok(!applied.is_empty())
    }

    /// Every peer of this host that a policy covers or once covered, and those without a second factor.
    fn assignments(&self, host: &HostName, mut site: Site, holds: &[PeerGeneration]) -> Result<Assigned, StoreError> {
        let now = self.now();
        let policies = self.policies.borrow();
        let mut selector = Selector::new(&policies.set);
        let mut records = site.take_records();
        let running: HashMap<Place, Timestamp> = records
            .values()
            .filter_map(|record| session_end(record, now).map(|deadline| (record.place.clone(), deadline)))
            .collect();
        let (mut assignments, mut refused, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        let mut locked = Vec::new();
        for connection in &site.connections {
            let selection = selector.select(connection);
            if let Some(pair) = pair(&selection, connection).filter(|_| site.cut_off(connection).is_none())
                && let Some(told) = self.tell_pair(&selection, connection, &pair, &records, host, holds, now)?
            {
                pairs.extend(told);
                [pair.first, pair.second].iter().for_each(|place| _ = records.remove(place));
                continue;
            }
            for place in places(connection).into_iter().filter(|place| place.server_side.host == *host) {
                let record = records.remove(&place);
                // a session at the other end, from when the sides were others, goes on to its deadline
                let served = match session_at_other_end(connection, &place, |end| running.get(end).copied()) {
                    Some(deadline) => Served::at_other_end(self.clock(deadline)),
                    None => serves(&selection, connection, &place),
                };
                let closes = || record.is_some() || closable(connection, &selection).contains(&place);
                let cut_off = site.cut_off(connection).filter(|_| closes());
                let is_gates = is_left_to_gate(&served.cover, record.as_ref());
                let is_covered = matches!(served.cover, Cover::Mfa { .. });
                if !is_gates && (is_covered || is_kept(record.as_ref(), cut_off.as_ref())) {
                    let now = self.session_time(record.as_ref(), now);
                    let applied = is_applied(record.as_ref());
                    let set_free = record.as_ref().is_some_and(|record| record.set_free);
                    let told = assignment(&place, &connection.name.to_string(), served, cut_off, record, now);
                    let Some(told) = told else { continue };
                    if matches!(told.standing, Standing::KeepLocked { .. }) {
                        locked.extend(set_free.then(|| place.clone()));
                        refused.extend(applied.then_some(place));
                    }
                    assignments.push(told);
                }
            }
        }
        // what is no connection any more (a device was removed, a peer taken out) stays locked
        records.retain(|place, record| place.server_side.host == *host && is_kept(Some(record), None));
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_by(|one, other| one.0.cmp(&other.0));
        for (place, record) in records {
            let name = self.store.connection_at(&place)?.to_string();
            let now = self.session_time(Some(&record), now);
            assignments.extend(assignment(&place, &name, Served::nobody(), None, Some(record), now));
        }
        // the server locks these now: what waited there must not be released when they are covered again
        self.store.order_rotations(now, Actor::BASTION, &refused, "the server was told to lock")?;
        self.store.locked_again(now, &locked)?;
        let mut uncovered = uncovered(&policies.set, &site, host);
        if !uncovered.is_empty() {
            // a peer that nobody registered any more is kept locked
            let kept: HashSet<_> = assignments.iter().map(|told| &told.peer).collect();
            uncovered.retain(|peer| !kept.contains(peer));
        }
        Ok(Assigned { assignments, uncovered, pairs, gates: Gates::default() })
    }

    /// The keys that a host has lost, of the sessions that go on by these assignments.
    pub(super) fn hand_back(
        &self,
        host: &HostName,
        mut interrupted: Vec<PeerGeneration>,
        assignments: &[Assignment],
    ) -> Vec<Deposit> {
        if interrupted.is_empty() {
            return Vec::new();
        }
        let running: HashMap<&PeerRef, u64> = assignments
            .iter()
            .filter_map(|one| match one.standing {
                Standing::Released { generation, seconds_left: 1.. } => Some((&one.peer, generation)),
                _ => None,
            })
            .collect();
        interrupted.sort();
        interrupted.dedup();
        interrupted.retain(|which| running.get(&which.peer) == Some(&which.generation));
        self.store.hand_back(self.now(), host, &interrupted).unwrap_or_else(|error| {
            super::say(&format!("{host}: {error}"));
            Vec::new()
        })
    }

    /// The time by which to say what is left of a session.
    pub(super) fn session_time(&self, record: Option<&Record>, now: Timestamp) -> Timestamp {
        let Some(record) = record else { return now };
        let deadline = record.current.as_ref().and_then(|current| current.deadline);
        deadline.map_or(now, |deadline| self.sessions.now(&record.place, deadline, now))
    }

    /// Puts new generations on disk; answers with those that are.
    pub(super) fn take_deposits(
        &self,
        host: &HostName,
        pairs: &Pairs,
        answered: Timestamp,
        deposits: Vec<Deposit>,
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        let (together, mut own): (Vec<_>, Vec<_>) =
            deposits.into_iter().partition(|deposit| pairs.contains_key(&deposit.which.peer));
        // a login that has come since goes first: the next report's answer says so
        let released = self.store.released_since(host, answered)?;
        own.retain(|deposit| !released.contains(&deposit.which.peer));
        let mut stored = Vec::new();
        if !own.is_empty() {
            stored = self.store.deposit(self.now(), host, &own)?;
            super::crash_point("deposited");
        }
        stored.extend(self.take_pair_deposits(host, pairs, &together)?);
        Ok(stored)
    }

    /// Notes which generations the server side accepts.
    pub(super) fn take_applied(
        &self,
        host: &HostName,
        pairs: &Pairs,
        applied: Vec<PeerGeneration>,
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        let is_second = |which: &PeerGeneration| matches!(pairs.get(&which.peer), Some((PairEnd::Second, _)));
        let (of_second, own): (Vec<_>, Vec<_>) = applied.into_iter().partition(is_second);
        let mut noted = Vec::new();
        if !own.is_empty() {
            noted = self.store.applied(self.now(), host, &own)?;
            super::crash_point("applied");
        }
        noted.extend(self.take_pair_applied(pairs, &noted, &of_second)?);
        Ok(noted)
    }

    /// Puts what happened on a host without the bastion into the audit log.
    fn note_local(&self, host: &HostName, event: &LocalEvent) -> Result<(), StoreError> {
        let kind = match event.event.as_str() {
            "override" => Event::Override,
            "stand-down" => Event::StandDown,
            "lock" => Event::Locked,
            "changed-outside" => Event::ChangedOutside,
            "two-endpoints" => Event::TwoEndpoints,
            _ => Event::Noted,
        };
        let reason: String = event.reason.chars().take(300).collect();
        if let ("idle" | "lock", Some(peer), Some(generation)) = (event.event.as_str(), &event.peer, event.generation) {
            return self.store.end_session(self.now(), &Place::new(host, peer), generation, &reason);
        }
        if let ("closed", Some(peer)) = (event.event.as_str(), &event.peer) {
            return self.note_closed(host, peer, event, &reason);
        }
        let mut note = Note::new(kind).host(host).reason(format!("{reason} ({} s ago)", event.seconds_ago));
        if let Some(peer) = &event.peer {
            let place = Place::new(host, peer);
            if kind == Event::TwoEndpoints && !self.measures.note_alarm(&place, self.now()) {
                return Ok(());
            }
            note = note.place(&place);
        }
        self.store.note_of_host(self.now(), host, note)
    }
}

/// The peers of a host without a second factor on interfaces that an MFA policy covers.
fn uncovered(set: &PolicySet, site: &Site, host: &HostName) -> Vec<PeerRef> {
    // where each peer is somebody's, no connection needs to be looked at
    if !site.connections.iter().any(|connection| matches!(connection.name.other, Other::Unmonitored(_))) {
        return Vec::new();
    }
    let warnings = wgmfa_core::policy::warnings(set, &site.inventory).0.into_iter();
    let uncovered = warnings.filter_map(|warning| {
        let Warning::Unmonitored { connection, public_key, .. } = warning else { return None };
        let peer = PeerRef { interface: connection.one.interface, public_key };
        (connection.one.host == *host).then_some(peer)
    });
    uncovered.collect()
}

/// Whether a place that no policy with a second factor covers stays locked: one was covered once, or it is cut off. What
/// two servers use together, or an administrator has set, stays as it is.
fn is_kept(record: Option<&Record>, cut_off: Option<&String>) -> bool {
    let is_left_alone = |record: &Record| record.is_of_pair() || record.set_free;
    let is_kept = |record: &Record| !is_left_alone(record) || record.kept_locked.is_some();
    cut_off.is_some() || record.is_some_and(is_kept)
}

/// Whether the firewall alone enforces here, and no key of before stands in the way: nothing is to be done about the key.
fn is_left_to_gate(cover: &Cover, record: Option<&Record>) -> bool {
    matches!(cover, Cover::Firewall { .. }) && record.is_none_or(|record| record.set_free || record.is_of_pair())
}

fn is_applied(record: Option<&Record>) -> bool {
    record.and_then(|record| record.current.as_ref()).is_some_and(|current| current.phase == Phase::Applied)
}

/// None: the host is the client side.
fn assignment(
    place: &Place,
    connection: &str,
    served: Served,
    cut_off: Option<String>,
    record: Option<Record>,
    now: Timestamp,
) -> Option<Assignment> {
    let kept_locked = record.as_ref().and_then(|record| record.kept_locked.clone());
    let applied_at = record.as_ref().and_then(|record| record.current.as_ref()?.applied_at);
    let facts = Facts {
        cover: served.cover,
        cut_off: cut_off.or(kept_locked),
        newest: newest(record.as_ref()),
        applied_at,
        rotation_ordered: record.as_ref().and_then(|record| record.rotation_ordered.clone()),
    };
    is_told(&facts, now).then(|| Assignment {
        peer: place.peer(),
        connection: connection.to_owned(),
        policy: served.policy,
        rotation_interval: served.rotation_interval,
        idle_timeout: served.idle_timeout,
        highest_generation: record.map_or(0, |record| record.highest),
        standing: standing(&facts, now),
    })
}
