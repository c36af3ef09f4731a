//! The gate in `status`: whether it stands, and what is open for whom.

use serde::Serialize;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::TierLeft;
use wgmfa_core::gate::grants::Gated;
use wgmfa_core::interval;
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::rotation::Hold;

use crate::state::State;
use crate::voice;

/// What there is to show.
#[derive(Serialize)]
pub(super) struct Status {
    /// The interfaces whose peers are held back.
    interfaces: Vec<InterfaceName>,
    /// Why the gate does not stand, or lets nobody through; null: it stands.
    pub(super) fault: Option<String>,
    /// The peers that a policy enforces by the firewall.
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    interface: InterfaceName,
    public_key: PublicKey,
    connection: String,
    policy: PolicyRef,
    tier: TierName,
    with_key: bool,
    cut_off: Option<String>,
    open: Vec<TierLeft>,
}

/// What the agent remembers of the gate.
pub(super) fn describe(state: &State, now: Boottime) -> Status {
    Status {
        interfaces: state.gated.iter().cloned().collect(),
        fault: state.gate_fault.clone().filter(|_| !state.gated.is_empty()),
        peers: state.grants.iter().map(|(peer, gated)| row(peer, gated, state, now)).collect(),
    }
}

fn row(peer: &PeerRef, gated: &Gated, state: &State, now: Boottime) -> Peer {
    let session = state.peers.get(peer).filter(|kept| kept.same_boot).and_then(|kept| match kept.held.hold {
        Hold::Open { deadline } | Hold::Override { deadline } => Some(deadline),
        Hold::Waiting { .. } | Hold::Locked { .. } => None,
    });
    let open = state.grants.open(peer, session, now).into_iter();
    Peer {
        interface: peer.interface.clone(),
        public_key: peer.public_key,
        connection: gated.connection.clone(),
        policy: gated.policy.clone(),
        tier: gated.tier.clone(),
        with_key: gated.with_key,
        cut_off: gated.cut_off.clone(),
        open: open.map(|(tier, until)| TierLeft { tier, seconds_left: until.since(now).as_secs() }).collect(),
    }
}

/// Prints it, if there is a gate.
pub(super) fn print(status: &Status) {
    if status.interfaces.is_empty() {
        return;
    }
    let interfaces: Vec<_> = status.interfaces.iter().map(InterfaceName::as_str).collect();
    match &status.fault {
        None => voice::say(&format!("gate: stands on {}", interfaces.join(", "))),
        Some(fault) => voice::say(&format!("gate: {}: NOT AS THE POLICY SAYS: {fault}", interfaces.join(", "))),
    }
    let width = status.peers.iter().map(|peer| peer.connection.chars().count()).max().unwrap_or(0);
    for peer in &status.peers {
        let open: Vec<_> =
            peer.open.iter().map(|open| format!("{} {}", open.tier, interval::left(open.seconds_left))).collect();
        let detail = match (&peer.cut_off, open.is_empty()) {
            (Some(reason), _) => format!("cut off: {reason}"),
            (None, true) => format!("{} closed", peer.tier),
            (None, false) => format!("open: {}", open.join(", ")),
        };
        let policy = format!("policy {} {}", peer.policy.ordinal, peer.policy.description);
        voice::say(&format!("{:width$}  {policy}  {detail}", peer.connection));
    }
}
