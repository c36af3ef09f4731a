//! `status`: the last round, each peer, and the gate.

mod gate;

use std::path::Path;

use serde::Serialize;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval;
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::{LogHead, PeerRef};
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::InterfaceName;
use wgmfa_core::rotation::{Action, Contact, Hold, plan};

use crate::clock;
use crate::config::Config;
use crate::pairs::Pair;
use crate::seen::Seen;
use crate::state::{Delivered, Kept, State};
use crate::store::Store;
use crate::voice;

#[derive(Serialize)]
struct Status {
    version: u32,
    stood_down: bool,
    last_round: Option<Round>,
    peers: Vec<Peer>,
    without_second_factor: Vec<PeerRef>,
    gate: gate::Status,
    /// The newest line of the bastion's audit log that this host was told of.
    log_head: Option<LogHead>,
    /// A line that the bastion told of once and then had no longer.
    lost_log_head: Option<LogHead>,
}

#[derive(Serialize)]
struct Round {
    seconds_ago: u64,
    exit: u8,
    faults: Vec<String>,
}

#[derive(Serialize)]
struct Peer {
    interface: InterfaceName,
    public_key: PublicKey,
    connection: String,
    policy: Option<PolicyRef>,
    generation: u64,
    hold: &'static str,
    reason: Option<String>,
    seconds_left: Option<u64>,
    /// Why the peer is not as the policy says; null: it is.
    fault: Option<String>,
}

/// Shows what the agent remembers beside what stands on the interfaces.
///
/// # Errors
/// The configuration or the state is broken.
pub fn run(path: &Path, json: bool) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let store = Store::at(&config.state_dir);
    let (state, pairs) = (store.load()?, store.load_pairs()?);
    let (now, seen) = (clock::now(), Seen::now(&config));
    let own = state.peers.iter().map(|(peer, kept)| describe(peer, kept, &state, &seen, now));
    let together = pairs.iter().map(|(peer, pair)| describe_pair(peer, pair, &seen));
    let delivered = state.delivered.iter().map(|(peer, delivered)| describe_delivered(peer, delivered, &seen, now));
    let status = Status {
        version: 1,
        stood_down: state.stood_down,
        last_round: state.last_round.as_ref().map(|round| Round {
            seconds_ago: now.since(round.at).as_secs(),
            exit: round.exit,
            faults: round.faults.clone(),
        }),
        peers: own.chain(together).chain(delivered).collect(),
        without_second_factor: state.uncovered.clone(),
        gate: gate::describe(&state, now),
        log_head: state.log_head.clone(),
        lost_log_head: state.lost_log_head.clone(),
    };
    if json {
        voice::say(&serde_json::to_string(&status).expect("a status is plain data"));
    } else {
        print(&status);
    }
    let round_failed = !state.stood_down && !state.last_round.as_ref().is_some_and(|round| round.is_good());
    if round_failed {
        return Ok(Exit::Unreachable);
    }
    let partly = status.last_round.is_some_and(|round| round.exit == Exit::Partly.code());
    let fault = status.stood_down
        || partly
        || status.gate.fault.is_some()
        || status.peers.iter().any(|peer| peer.fault.is_some());
    Ok(if fault { Exit::Partly } else { Exit::Done })
}

/// What is said of a peer that was taken off its interface. One that no policy names any more is missed by nobody.
const NOT_THERE: &str = "not on the interface";

fn describe(peer: &PeerRef, kept: &Kept, state: &State, seen: &Seen, now: Boottime) -> Peer {
    let (hold, reason, deadline) = match &kept.held.hold {
        Hold::Waiting { .. } => ("waiting", None, None),
        Hold::Open { deadline } => ("open", None, Some(*deadline)),
        Hold::Override { deadline } => ("override", None, Some(*deadline)),
        Hold::Locked { reason } => ("locked", Some(reason.clone()), None),
    };
    let is_there = seen.peer(peer).is_some();
    let fault = if !is_there {
        kept.policy.as_ref().map(|_| NOT_THERE.to_owned())
    } else {
        let view = kept.view(now, seen.fingerprint(peer), Contact::Lost(state.last_contact));
        plan(&view).into_iter().find_map(|action| match action {
            Action::Lock { reason } => Some(reason),
            _ => None,
        })
    };
    let reason = match reason {
        Some(reason) if !is_there && fault.is_none() => Some(format!("{reason}; {NOT_THERE}")),
        None if !is_there && fault.is_none() => Some(NOT_THERE.to_owned()),
        reason => reason,
    };
    Peer {
        interface: peer.interface.clone(),
        public_key: peer.public_key,
        connection: state.name_of(peer),
        policy: kept.policy.clone(),
        generation: kept.held.generation,
        hold,
        reason,
        seconds_left: deadline.filter(|_| kept.same_boot).map(|deadline| deadline.since(now).as_secs()),
        fault,
    }
}

/// A peer whose key both ends change together.
fn describe_pair(peer: &PeerRef, pair: &Pair, seen: &Seen) -> Peer {
    let next = pair.keys.iter().map(|key| key.generation).max().filter(|next| Some(*next) > pair.used);
    let missing = || pair.policy.as_ref().map(|_| NOT_THERE.to_owned());
    Peer {
        interface: peer.interface.clone(),
        public_key: peer.public_key,
        connection: pair.connection.clone(),
        policy: pair.policy.clone(),
        generation: pair.used.unwrap_or_default(),
        hold: "together",
        reason: next.map(|next| format!("generation {next} is held for the next change")),
        seconds_left: None,
        fault: if seen.peer(peer).is_none() { missing() } else { pair.fault(seen.fingerprint(peer)) },
    }
}

fn is_client(peer: &Peer) -> bool {
    matches!(peer.hold, "delivered" | "expired")
}

/// A peer of which this host is the client side.
fn describe_delivered(peer: &PeerRef, delivered: &Delivered, seen: &Seen, now: Boottime) -> Peer {
    let seconds_left = delivered.deadline.map_or(0, |deadline| deadline.since(now).as_secs());
    let stands = seen.fingerprint(peer) == Some(delivered.fingerprint);
    let fault = (seconds_left > 0 && !stands).then(|| "the key on the interface is not the delivered one".to_owned());
    Peer {
        interface: peer.interface.clone(),
        public_key: peer.public_key,
        connection: delivered.connection.clone(),
        policy: None,
        generation: delivered.generation,
        hold: if seconds_left > 0 { "delivered" } else { "expired" },
        reason: (seconds_left == 0).then(|| "a login is needed".to_owned()),
        seconds_left: Some(seconds_left).filter(|seconds| *seconds > 0),
        fault,
    }
}

fn print(status: &Status) {
    match &status.last_round {
        _ if status.stood_down => voice::say("stood down: nothing is enforced here"),
        None => voice::say("last round: none since this machine's boot"),
        Some(round) => {
            let how = if round.exit == 0 { "ok".to_owned() } else { round.faults.join("; ") };
            voice::say(&format!("last round: {} s ago: {how}", round.seconds_ago));
        }
    }
    if let Some(LogHead { seq, hash }) = &status.lost_log_head {
        voice::say(&format!("the bastion's audit log once had line {seq} ({hash}), and then had it no longer"));
    }
    let width = status.peers.iter().map(|peer| peer.connection.chars().count()).max().unwrap_or(0);
    for peer in &status.peers {
        let policy = peer
            .policy
            .as_ref()
            .map(|policy| format!("policy {} {}", policy.ordinal, policy.description))
            .unwrap_or_else(|| if is_client(peer) { "client side" } else { "no policy" }.to_owned());
        let detail = match (peer.seconds_left, &peer.reason) {
            (Some(seconds), Some(reason)) => format!("  {}: {reason}", interval::left(seconds)),
            (Some(seconds), None) => format!("  {}", interval::left(seconds)),
            (None, Some(reason)) => format!(": {reason}"),
            (None, None) => String::new(),
        };
        let fault = peer.fault.as_ref().map_or(String::new(), |fault| format!("  NOT AS THE POLICY SAYS: {fault}"));
        voice::say(&format!(
            "{:width$}  {policy}  generation {}  {}{detail}{fault}",
            peer.connection, peer.generation, peer.hold
        ));
    }
    gate::print(&status.gate);
    for peer in &status.without_second_factor {
        voice::say(&format!(
            "{} peer {}  no second factor: the key is registered to nobody",
            peer.interface, peer.public_key
        ));
    }
}
