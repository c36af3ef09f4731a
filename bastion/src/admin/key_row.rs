//! One connection with all that is known about its key: a line of `key list`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use wgmfa_core::connection::{Connection, ConnectionName, Other};
use wgmfa_core::inventory::Peer;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::policy::{Policy, PolicySet, Selection, Selector, Sides, Warning, warnings};
use wgmfa_core::release::Phase;
use wgmfa_core::state::{Facts, KeyState, Ordered, Reported, state};

use super::pair_row::put_right;
use super::site::{Site, places};
use super::when::When;
use crate::store::{Generation, Place, Record};

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
    /// As the hosts reported it.
    pub latest_handshake: Option<Timestamp>,
}

/// A row for each of these connections.
pub fn rows<'a>(site: &'a Site, policies: &'a PolicySet, of: &[&'a Connection], now: Timestamp) -> Vec<KeyRow<'a>> {
    let mut uncovered: BTreeMap<ConnectionName, String> = BTreeMap::new();
    for warning in warnings(policies, &site.inventory).0 {
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
    let mut selector = Selector::new(policies);
    let row = |connection: &&'a Connection| {
        let mut row = KeyRow::new(site, selector.select(connection), connection, now);
        if let Some(text) = site.cut_off(connection).as_ref().or_else(|| uncovered.get(&connection.name)) {
            row.reason = Some(text.clone());
        }
        row
    };
    of.iter().map(row).collect()
}

impl<'a> KeyRow<'a> {
    fn new(site: &'a Site, selection: Selection<'a>, connection: &'a Connection, now: Timestamp) -> Self {
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
        let current = record.and_then(|record| record.current.as_ref());
        let deadline = deadline(&selection, current);
        let applied_at = current.and_then(|current| current.applied_at);
        let mut facts = Facts {
            now,
            selection: &selection,
            unmonitored: matches!(connection.name.other, Other::Unmonitored(_)),
            ordered: record.and_then(ordered),
            deadline,
            locked: record.is_some_and(|record| locked(record, server)),
            grant: None,
            server: match current {
                // confirmed since the last report, perhaps
                Some(current) if current.phase != Phase::Expired => Reported::Key(current.fingerprint),
                _ => reported(server),
            },
            other: match reported(other) {
                Reported::Nothing => read_back(current),
                reported => reported,
            },
            handshake_since_apply: match (current, applied_at, latest_handshake) {
                // a change in place leaves the latest handshake as it was
                (Some(current), Some(applied), Some(latest)) if current.in_place => latest > applied + ROUNDING,
                // with a peer that was added again the store forgets its handshakes
                (_, applied, latest) => applied.is_some() && latest.is_some(),
            },
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
        Self { connection, selection, record, state, reason, deadline, latest_handshake }
    }

    /// The generation that the server side accepts, or accepted last.
    pub fn current(&self) -> Option<&'a Generation> {
        self.record.and_then(|record| record.current.as_ref())
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

    /// What stands behind the state: what is left, or why it is so.
    pub fn detail(&self, when: &When) -> String {
        let open = matches!(self.state, KeyState::Ok | KeyState::MatchPending);
        match (self.deadline.filter(|_| open), &self.reason) {
            (Some(deadline), Some(reason)) if reason.starts_with("override by ") => {
                format!("{}, {reason}", when.left(deadline))
            }
            (Some(deadline), _) => when.left(deadline),
            (None, Some(reason)) => reason.clone(),
            (None, None) => String::new(),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> KeyJson {
        let current = self.current();
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
            released_at: current.and_then(|current| current.released_at),
            released_from: current.and_then(|current| current.released_from.clone()),
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

fn ordered(record: &Record) -> Option<Ordered> {
    match (&record.kept_locked, &record.rotation_ordered) {
        (Some(reason), _) => Some(Ordered::Other(reason.clone())),
        (None, Some(_)) => Some(Ordered::Rotation),
        (None, None) => None,
    }
}

/// Why the last session was over, if it was for want of handshakes.
fn idled(record: &Record) -> Option<&str> {
    let last = [&record.current, &record.previous].into_iter().flatten().find(|one| one.released_at.is_some())?;
    last.ended_because.as_deref().filter(|because| because.starts_with("no handshake for "))
}

/// The server side has confirmed a generation that nobody has, or reports a key that is none of the last two.
fn locked(record: &Record, server: Option<&Peer>) -> bool {
    let Some(current) = &record.current else { return false };
    match current.phase {
        Phase::Applied => true,
        Phase::Released { .. } | Phase::Deposited => false,
        Phase::Expired => {
            let known = [Some(current), record.previous.as_ref()].into_iter().flatten();
            let reported = server.and_then(|peer| peer.fingerprint);
            reported.is_some_and(|reported| known.map(|known| known.fingerprint).all(|known| known != reported))
        }
    }
}

/// Ages of handshakes are whole seconds, and take time to arrive.
const ROUNDING: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

/// What the client of a device says about the key that it has put into its interface.
fn read_back(current: Option<&Generation>) -> Reported {
    let fingerprint = current.and_then(|current| current.client_fingerprint.filter(|it| *it == current.fingerprint));
    fingerprint.map_or(Reported::Nothing, Reported::Key)
}

/// What an end says of its key, as its host last reported it.
pub fn reported(peer: Option<&Peer>) -> Reported {
    match peer {
        Some(peer) if !peer.has_preshared_key => Reported::NoKey,
        Some(Peer { fingerprint: Some(fingerprint), .. }) => Reported::Key(*fingerprint),
        _ => Reported::Nothing,
    }
}
