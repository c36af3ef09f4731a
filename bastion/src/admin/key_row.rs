//! One connection with all that is known about its key: a line of `key list`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use wgmfa_core::connection::{Connection, ConnectionName, Other};
use wgmfa_core::inventory::Peer;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::{HostName, TierName};
use wgmfa_core::policy::{Policy, Selection, Selector, Sides, Warning, warnings};
use wgmfa_core::release::{Phase, is_left_locked};
use wgmfa_core::state::{Facts, KeyState, Ordered, Reported, state};

use super::Context;
use super::ends::{handshake, proved_after, read_back, reported};
use super::host::{is_overdue, last_seen};
use super::pair_row::put_right;
use super::site::{Site, places};
use super::tier_row::{GrantJson, by_firewall, grant_of, let_through};
use super::when::When;
use crate::store::{Generation, Grant, Place, Record, StoreError};

/// A connection, its policy, its newest generation and its state.
#[derive(Debug)]
pub struct KeyRow<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// What the policies say.
    pub selection: Selection<'a>,
    /// What is known about its generations.
    pub record: Option<&'a Record>,
    /// The state of its key.
    pub state: KeyState,
    /// Why, where a person would ask.
    pub reason: Option<String>,
    /// When the key stops being good.
    pub deadline: Option<Timestamp>,
    /// The server side lets nobody in.
    pub locked: bool,
    /// The tiers that are granted.
    pub grants: &'a [Grant],
    /// As the hosts reported it.
    pub latest_handshake: Option<Timestamp>,
    /// Which end should have been heard by now, in words.
    unheard: Option<String>,
}

/// A row for each of these connections.
///
/// # Errors
/// The store cannot be read.
pub fn rows<'a>(
    site: &'a Site,
    of: &[&'a Connection],
    context: &'a Context<'_>,
) -> Result<Vec<KeyRow<'a>>, StoreError> {
    let mut uncovered: BTreeMap<ConnectionName, String> = BTreeMap::new();
    for warning in warnings(context.policies, &site.inventory).0 {
        match warning {
            Warning::Unmonitored { connection, public_key, allowed_ips, .. } => {
                let addresses = if allowed_ips.is_empty() { "no addresses".to_owned() } else { allowed_ips.join(", ") };
                uncovered.insert(connection, format!("no second factor: {public_key}, {addresses}"));
            }
            Warning::NonMfaWins { connection, winner, loser } => {
                uncovered.insert(connection, format!("no second factor: policy {winner} wins over policy {loser}"));
            }
            _ => {}
        }
    }
    let mut rows = states(site, of, context)?;
    for row in &mut rows {
        let open = uncovered.get(&row.connection.name);
        row.reason = match (site.cut_off(row.connection), row.reason.take(), open) {
            (Some(cut_off), _, _) => Some(cut_off),
            (None, Some(reason), Some(open)) => Some(format!("{reason}; {open}")),
            (None, reason, open) => reason.or_else(|| open.cloned()),
        };
    }
    Ok(rows)
}

/// The same with the reasons of the states alone, and not what else an administrator should know of a connection.
///
/// # Errors
/// The store cannot be read.
pub fn states<'a>(
    site: &'a Site,
    of: &[&'a Connection],
    context: &'a Context<'_>,
) -> Result<Vec<KeyRow<'a>>, StoreError> {
    let (mut selector, mut heard) = (Selector::new(context.policies), Heard { context, hosts: BTreeMap::new() });
    of.iter().map(|connection| KeyRow::new(site, selector.select(connection), connection, &mut heard)).collect()
}

/// What is known of the agents behind the connections.
struct Heard<'a> {
    context: &'a Context<'a>,
    hosts: BTreeMap<HostName, Option<String>>,
}

impl Heard<'_> {
    /// Says so if a host should have been heard by now.
    fn overdue(&mut self, name: &HostName) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.hosts.get(name) {
            return Ok(known.clone());
        }
        let context = self.context;
        let overdue = context.store.host(name)?.filter(|host| is_overdue(host, context)).map(|host| {
            last_seen(&host, context).map_or_else(
                || format!("{name} was never heard"),
                |seen| format!("{name} was last heard at {}", context.when().clock(seen)),
            )
        });
        self.hosts.insert(name.clone(), overdue.clone());
        Ok(overdue)
    }
}

impl<'a> KeyRow<'a> {
    fn new(
        site: &'a Site,
        selection: Selection<'a>,
        connection: &'a Connection,
        heard: &mut Heard<'_>,
    ) -> Result<Self, StoreError> {
        let now = heard.context.now;
        let place = server_place(connection, &selection);
        let record = match (&place, &selection) {
            (Some(place), _) => site.record(place),
            // two servers: the generations stand at the end that makes them
            (None, Selection::Applies { .. }) => site.record(&places(connection)[0]),
            (None, _) => places(connection).iter().find_map(|place| site.record(place)),
        };
        // what was set there by an administrator is known by what the ends report
        let record = record.filter(|record| !record.set_free);
        let mut ends = places(connection);
        // the server side first
        ends.sort_by_key(|end| Some(end) != place.as_ref());
        let peers: Vec<_> = ends.iter().map(|end| site.peer(&end.server_side, &end.public_key)).collect();
        let (server, other) = (peers[0], peers.get(1).copied().flatten());
        let latest_handshake = peers.iter().flatten().filter_map(|peer| peer.latest_handshake).max();
        let current = record.and_then(|record| record.current.as_deref());
        let opened_by_root = server.and_then(|peer| peer.opened_by_root_until);
        // confirmed since the last report, perhaps
        let accepted = current.filter(|current| current.phase != Phase::Expired && opened_by_root.is_none());
        let deadline = opened_by_root.or_else(|| deadline(&selection, current));
        let locked = match by_firewall(&selection) {
            true => is_left_locked(record.and_then(Record::that_counts), now),
            false => opened_by_root.is_none() && record.is_some_and(|record| locked(record, server)),
        };
        let mut unheard = None;
        for end in &ends {
            unheard = unheard.or(heard.overdue(&end.server_side.host)?);
        }
        let grants = place.as_ref().map_or(&[][..], |place| site.grants(place));
        let grant = grant_of(&selection, grants).filter(|grant| grant.deadline > now);
        let by_root = opened_by_root.filter(|until| *until > now && by_firewall(&selection));
        let through = let_through(grant, by_root);
        let deadline = if by_firewall(&selection) { through.as_ref().map(|it| it.until) } else { deadline };
        // whether any policy has another key made here
        let makes_more = selection.policy().is_some_and(|policy| policy.rests(connection).is_none());
        let mut facts = Facts {
            now,
            selection: &selection,
            unmonitored: matches!(connection.name.other, Other::Unmonitored(_)),
            ordered: record.and_then(|record| ordered(record, makes_more, locked)),
            deadline,
            locked,
            opened_by_root: if by_firewall(&selection) {
                by_root.is_some() && by_root == deadline
            } else {
                opened_by_root.is_some()
            },
            grant: through,
            server: accepted.map_or_else(|| reported(server), |current| Reported::Key(current.fingerprint)),
            other: match reported(other) {
                Reported::Nothing => read_back(accepted),
                reported => reported,
            },
            applied_at: accepted.and_then(proved_after),
            handshake: peers.iter().flatten().find_map(|peer| handshake(peer)),
            not_enforced: ends.iter().find_map(|end| stands_down(site, &end.server_side.host)),
            ended: record.and_then(ended).map(str::to_owned),
            unheard: unheard.clone(),
        };
        put_right(&mut facts, site, connection, record);
        let (deadline, (state, mut reason)) = (facts.deadline, state(&facts));
        if let Some(idled) = record.and_then(idled).filter(|_| state == KeyState::Expired) {
            reason = Some(idled.to_owned());
        }
        if let Some(by) = current.and_then(|current| current.overridden.as_ref())
            && matches!(state, KeyState::Ok | KeyState::MatchPending)
        {
            reason = Some(format!("override by {by}"));
        }
        if let (KeyState::Ok, None, Some(by)) = (state, &reason, grant.and_then(|grant| grant.overridden.as_ref())) {
            reason = Some(format!("override by {by}"));
        }
        if let (KeyState::Pending | KeyState::Mismatch, Some(policy), None) = (state, selection.policy(), deadline) {
            reason = policy.rests(connection).or(reason);
        }
        Ok(Self { connection, selection, record, state, reason, deadline, locked, grants, latest_handshake, unheard })
    }

    /// The generation that the server side accepts, or accepted last.
    pub fn current(&self) -> Option<&'a Generation> {
        self.record.and_then(|record| record.current.as_deref())
    }

    /// The policy that wins, also when it contradicts itself here.
    pub fn policy(&self) -> Option<&'a Policy> {
        match self.selection {
            Selection::Applies { policy, .. } | Selection::Conflict { policy, .. } => Some(policy),
            Selection::None => None,
        }
    }

    /// Whether a person's login stands in front of this connection.
    pub fn has_second_factor(&self) -> bool {
        self.selection.policy().is_some_and(Policy::mfa)
    }

    fn is_overridden(&self) -> bool {
        self.current().is_some_and(|current| current.overridden.is_some())
    }

    /// What stands behind the state: what is left, or why it is so; and which tiers are open.
    pub fn detail(&self, when: &When) -> String {
        let detail = self.detail_of_key(when);
        match (self.open_tiers(when), detail.is_empty()) {
            (None, _) => detail,
            (Some(tiers), true) => tiers,
            (Some(tiers), false) => format!("{detail}, {tiers}"),
        }
    }

    fn detail_of_key(&self, when: &When) -> String {
        let beside = match self.state {
            KeyState::Ok => &self.reason,
            KeyState::MatchPending if !self.is_overridden() => &self.unheard,
            KeyState::MatchPending => &self.reason,
            _ => return self.reason.clone().unwrap_or_default(),
        };
        match (self.deadline, beside) {
            (Some(deadline), Some(by)) if by.starts_with("override by ") => format!("{}, {by}", when.left(deadline)),
            (Some(deadline), Some(beside)) => format!("{}; {beside}", when.left(deadline)),
            (Some(deadline), None) => when.left(deadline),
            (None, _) => self.reason.clone().unwrap_or_default(),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> KeyJson {
        let current = self.current();
        let grant = grant_of(&self.selection, self.grants);
        let granted_at = grant.map(|grant| grant.granted_at);
        let server_side = match &self.selection {
            Selection::Applies { sides, .. } => sides.server_side(self.connection).map(ToString::to_string),
            Selection::Conflict { .. } | Selection::None => None,
        };
        KeyJson {
            connection: self.connection.name.to_string(),
            host: self.connection.name.one.host.to_string(),
            interface: self.connection.name.one.interface.to_string(),
            public_key: self.connection.public_key.to_string(),
            other: self.connection.name.other.to_string(),
            other_public_key: self.connection.other_public_key.to_string(),
            owner: self.connection.person().map(ToString::to_string),
            policy: self.policy().map(Policy::reference),
            server_side,
            state: self.state.name(),
            reason: self.reason.clone(),
            generation: current.map(|current| current.generation),
            rotated_at: current.and_then(|current| current.applied_at),
            released_at: granted_at.or_else(|| current.and_then(|current| current.released_at)),
            released_from: match grant {
                Some(grant) => grant.from.clone(),
                None => current.and_then(|current| current.released_from.clone()),
            },
            tier: self.tier().cloned(),
            grants: self.grants.iter().map(GrantJson::of).collect(),
            deadline: self.deadline,
            latest_handshake: self.latest_handshake,
        }
    }
}

/// One object of `key list --json`.
#[derive(Debug, Serialize)]
pub struct KeyJson {
    connection: String,
    host: String,
    interface: String,
    public_key: String,
    other: String,
    other_public_key: String,
    owner: Option<String>,
    policy: Option<PolicyRef>,
    server_side: Option<String>,
    state: &'static str,
    reason: Option<String>,
    generation: Option<u64>,
    rotated_at: Option<Timestamp>,
    released_at: Option<Timestamp>,
    released_from: Option<String>,
    deadline: Option<Timestamp>,
    latest_handshake: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<TierName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grants: Vec<GrantJson>,
}

/// Where the generations of a connection under an MFA policy are used.
pub fn server_place(connection: &Connection, selection: &Selection<'_>) -> Option<Place> {
    let Selection::Applies { sides: sides @ Sides::Server(_), .. } = selection else { return None };
    let end = sides.server_side(connection)?;
    places(connection).into_iter().find(|place| place.server_side == *end)
}

/// MFA: the deadline of the newest release. Otherwise: when the newest generation is one interval old.
fn deadline(selection: &Selection<'_>, current: Option<&Generation>) -> Option<Timestamp> {
    let current = current?;
    match selection.policy() {
        Some(policy) if !policy.mfa() => {
            let seconds = i64::try_from(policy.rotation_interval.as_seconds()).ok()?;
            current.applied_at?.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
        }
        // a session that was ended early is over since then
        _ => match (current.deadline?, current.ended_at) {
            (deadline, Some(ended)) => Some(deadline.min(ended)),
            (deadline, None) => Some(deadline),
        },
    }
}

/// What the server side has not confirmed; a lock that is to stay is confirmed by being one, and so is a rotation where no
/// policy has another key made.
fn ordered(record: &Record, makes_more: bool, locked: bool) -> Option<Ordered> {
    match (&record.kept_locked, &record.rotation_ordered) {
        (Some(reason), _) if !locked => Some(Ordered::Other(reason.clone())),
        (None, Some(_)) if makes_more || !locked => Some(Ordered::Rotation),
        (Some(_) | None, _) => None,
    }
}

/// Why the last session was over, if it was for want of handshakes.
fn idled(record: &Record) -> Option<&str> {
    let last = [&record.current, &record.previous].into_iter().flatten().find(|one| one.released_at.is_some())?;
    last.ended_because.as_deref().filter(|because| because.starts_with("no handshake for "))
}

/// Why nobody may come in without a new login: it is kept so, or the last session was ended early.
fn ended(record: &Record) -> Option<&str> {
    let last = match &record.current {
        Some(current) if current.phase == Phase::Applied => record.previous.as_deref(),
        current => current.as_deref(),
    };
    record.kept_locked.as_deref().or_else(|| last?.ended_early())
}

/// Says so if root on a host has had its agent stand down.
fn stands_down(site: &Site, name: &HostName) -> Option<String> {
    let host = site.inventory.hosts.iter().find(|host| host.name == *name)?;
    host.stood_down.then(|| format!("root has had the agent of {name} stand down: nothing is enforced there"))
}

/// The server side has confirmed a generation that nobody has, or reports a key that is none of the last two.
fn locked(record: &Record, server: Option<&Peer>) -> bool {
    let Some(current) = record.current.as_deref() else { return false };
    match current.phase {
        Phase::Applied => true,
        Phase::Released { .. } | Phase::Deposited => false,
        Phase::Expired => {
            let known = [Some(current), record.previous.as_deref()].into_iter().flatten();
            let reported = server.and_then(|peer| peer.fingerprint);
            reported.is_some_and(|reported| known.map(|known| known.fingerprint).all(|known| known != reported))
        }
    }
}
