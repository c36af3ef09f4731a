//! Agent and bastion, over the SSH subsystem `wgmfa-agent`.
//!
//! The bastion begins with [`ToAgent::Challenge`]; the agent answers [`FromAgent::Hello`]; then the agent reports, gets
//! its assignments, deposits and confirms. Everything the bastion can make an agent do stands in [`ToAgent`]: lock or
//! open an existing peer, change its preshared key, or do a round.

mod parts;
mod report;

use serde::{Deserialize, Serialize};

use crate::gate::{CodeVerdict, GateAssignment};
use crate::inventory::Interface;
use crate::key::SecretText;
use crate::name::{HostName, InterfaceName};
use crate::rotation::Assignment;
use crate::tandem::PairAssignment;

pub use self::parts::{
    Delivery, Deposit, HandshakeAge, LocalEvent, LogHead, PeerGeneration, PeerRef, PeerTier, Role, TierWish,
};

/// The namespace of the SSH signature (SSHSIG, OpenSSH PROTOCOL.sshsig) by which a host proves itself.
pub const SIGNATURE_NAMESPACE: &str = "wgmfa-agent-v1";

/// What a host signs: the bastion's nonce and the name under which it comes.
pub fn signed_text(nonce: &str, host: &HostName) -> String {
    format!("wgmfa-agent-v1 {host} {nonce}")
}

/// The most generations in one message, deposited or confirmed: whoever has more tells them one part after the other, and
/// other people's logins come in between.
pub const MOST_GENERATIONS: usize = 500;

/// The most events in one report, since each gets a line in the audit log; the rest is for the next one.
pub const MOST_EVENTS: usize = 200;

/// The most peers of one host: a report of more is refused, since everybody waits while it is read.
pub const MOST_PEERS: usize = 20_000;

/// Bastion to agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToAgent {
    /// First line: sign this.
    Challenge {
        /// Version of the conversation.
        version: u32,
        /// 32 random bytes in base64, good for one answer.
        nonce: String,
        /// The version of the bastion's program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
        /// What the bastion's clock shows, in seconds since 1970, for `check` alone: nothing is decided by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock: Option<i64>,
    },
    /// The proof was good.
    Welcome {
        /// The name under which the bastion knows this host.
        host: HostName,
    },
    /// The answer to a report: every connection whose server side is this host and that a policy has ever covered.
    Assignments {
        /// All of them; a peer that is missing is none of wgmfa's affair.
        assignments: Vec<Assignment>,
        /// Peers without a second factor on interfaces that an MFA policy covers, to be named.
        uncovered: Vec<PeerRef>,
        /// The last line of the bastion's audit log, for the agent to keep.
        #[serde(default)]
        log_head: Option<LogHead>,
        /// The peers whose key both ends change together.
        #[serde(default)]
        pairs: Vec<PairAssignment>,
        /// Keys of sessions in which this host is the client side, and that it was seen not to use.
        #[serde(default)]
        deliveries: Vec<Delivery>,
        /// The peers that a policy enforces by the firewall.
        #[serde(default)]
        gates: Vec<GateAssignment>,
        /// The other peers of those interfaces that nothing holds back: connections of another policy or of none.
        #[serde(default)]
        free: Vec<PeerRef>,
        /// Every interface of the host whose peers are held back, also one that has none of either list now.
        #[serde(default)]
        gated: Vec<InterfaceName>,
        /// Of the generations that the report calls interrupted, those whose session goes on, as they were deposited.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        restored: Vec<Deposit>,
        /// Every SSH host key by which the bastion may be known, `TYPE BASE64`: the one in use, one that comes after it,
        /// and one that was in use before until it is retired. The agent's file of known hosts follows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        host_keys: Vec<String>,
    },
    /// These deposits are on disk, sealed. A deposit that is missing here was refused: make a higher one.
    Stored {
        /// What is on disk.
        deposits: Vec<PeerGeneration>,
    },
    /// These confirmations are on disk; a generation that is missing here will not be released.
    Noted {
        /// What is on disk.
        applied: Vec<PeerGeneration>,
        /// The same of those that an end of a pair holds.
        #[serde(default)]
        staged: Vec<PeerGeneration>,
    },
    /// A generation is about to be released, or its session to be prolonged: arm the timer, open the peer, confirm.
    Open {
        /// To be repeated in the answer.
        id: u64,
        /// Which generation of which peer.
        #[serde(flatten)]
        which: PeerGeneration,
        /// How long it may be accepted from now.
        seconds_left: u64,
    },
    /// Cut this peer off now, with a lock key.
    Lock {
        /// To be repeated in the answer.
        id: u64,
        /// The peer.
        #[serde(flatten)]
        peer: PeerRef,
        /// Why, in words.
        reason: String,
    },
    /// A session is renewed: make the next generation of this peer, keep it in memory only, and hand it over.
    MakeNext {
        /// To be repeated in the answer.
        id: u64,
        /// The peer.
        #[serde(flatten)]
        peer: PeerRef,
        /// The highest generation that the bastion has ever seen here.
        above: u64,
    },
    /// The next generation is on disk and with the client: change to it in place, arm the timer, confirm.
    ChangeTo {
        /// To be repeated in the answer.
        id: u64,
        /// Which generation of which peer.
        #[serde(flatten)]
        which: PeerGeneration,
        /// How long it may be accepted from now.
        seconds_left: u64,
    },
    /// Put this key on an existing peer, and confirm.
    Put {
        /// To be repeated in the answer.
        id: u64,
        /// The key, and what it is to this host.
        #[serde(flatten)]
        delivery: Delivery,
    },
    /// A grant is recorded: open this tier for a peer's addresses, or prolong it, and confirm.
    Grant {
        /// To be repeated in the answer.
        id: u64,
        /// Which tier of which peer.
        #[serde(flatten)]
        which: PeerTier,
        /// How long it may be open from now.
        seconds_left: u64,
    },
    /// Close every tier of this peer now.
    Revoke {
        /// To be repeated in the answer.
        id: u64,
        /// The peer.
        #[serde(flatten)]
        peer: PeerRef,
        /// Why, in words.
        reason: String,
    },
    /// The answer to `check-code`.
    CodeChecked {
        /// From the question.
        id: u64,
        /// What it says.
        #[serde(flatten)]
        verdict: CodeVerdict,
    },
    /// Report, and do what the answer says.
    Round {
        /// Why, in words.
        reason: String,
    },
    /// The answer to `ping`.
    Pong,
    /// The last line before the bastion hangs up.
    Refused {
        /// Why, in words.
        reason: String,
    },
}

/// Agent to bastion.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromAgent {
    /// The answer to the challenge.
    Hello {
        /// Version of the conversation.
        version: u32,
        /// The name under which the host is registered.
        host: HostName,
        /// An SSH signature (PEM) over [`signed_text`] in [`SIGNATURE_NAMESPACE`].
        signature: String,
        /// Whether this agent stays connected.
        resident: bool,
        /// The version of the agent's program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// What stands on this host's interfaces; asks for assignments.
    Report {
        /// All interfaces that this agent looks after. The times in them are absent: see `handshake_ages`.
        interfaces: Vec<Interface>,
        /// For each peer that ever shook hands: how many seconds ago.
        #[serde(default)]
        handshake_ages: Vec<HandshakeAge>,
        /// For how many seconds this agent will not come again (a cron agent's period, as far as it knows).
        #[serde(default)]
        next_in_seconds: Option<u64>,
        /// What happened here that the bastion did not order.
        #[serde(default)]
        events: Vec<LocalEvent>,
        /// The newest line of the bastion's audit log that this host has seen.
        #[serde(default)]
        log_head: Option<LogHead>,
        /// The highest generation that this host ever made, for each peer: a bastion that was restored goes on above it.
        #[serde(default)]
        highest: Vec<PeerGeneration>,
        /// Root has had this agent stand down; it says so and ends.
        #[serde(default)]
        stood_down: bool,
        /// The generations that this host holds for peers whose key both ends change together.
        #[serde(default)]
        holds: Vec<PeerGeneration>,
        /// The tiers that this host's gate has open now.
        #[serde(default)]
        open: Vec<PeerTier>,
        /// Generations that a reboot, or an interface that was made anew, has taken off their peers: where somebody's session
        /// goes on, this host asks for the key that it once deposited.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        interrupted: Vec<PeerGeneration>,
    },
    /// New generations, to be put on disk before they are used.
    Deposit {
        /// At most [`MOST_GENERATIONS`], stored together; what is beyond them is not stored.
        deposits: Vec<Deposit>,
    },
    /// The server side accepts these generations, read back from the interface.
    Applied {
        /// At most [`MOST_GENERATIONS`]; what is beyond them is not noted.
        applied: Vec<PeerGeneration>,
        /// This end of a pair holds these on its disk, and does not use them yet; the same.
        #[serde(default)]
        staged: Vec<PeerGeneration>,
    },
    /// The answer to `open`.
    Opened {
        /// From the order.
        id: u64,
        /// `None`: the peer accepts the generation, the timer is armed. Else why it does not.
        refused: Option<String>,
    },
    /// The answer to `lock`.
    Locked {
        /// From the order.
        id: u64,
        /// `None`: done. Else why it could not be done.
        failed: Option<String>,
    },
    /// The answer to `make-next`.
    Next {
        /// From the order.
        id: u64,
        /// The next generation; none: it cannot be made.
        deposit: Option<Deposit>,
        /// Why not.
        refused: Option<String>,
    },
    /// The answer to `change-to`.
    Changed {
        /// From the order.
        id: u64,
        /// Which generation of which peer.
        #[serde(flatten)]
        which: PeerGeneration,
        /// `None`: the peer accepts this generation and no other, the timer is armed. Else why it does not.
        refused: Option<String>,
    },
    /// The answer to `put`.
    Put {
        /// From the order.
        id: u64,
        /// `None`: the key stands on the peer. Else why it does not.
        refused: Option<String>,
    },
    /// The answer to `grant`.
    Granted {
        /// From the order.
        id: u64,
        /// `None`: the gate lets the peer through. Else why it does not.
        refused: Option<String>,
    },
    /// The answer to `revoke`.
    Revoked {
        /// From the order.
        id: u64,
        /// `None`: done. Else why it could not be done.
        failed: Option<String>,
    },
    /// Somebody inside the tunnel of this peer has given a one-time code.
    CheckCode {
        /// To be repeated in the answer.
        id: u64,
        /// The peer whose address it came from.
        #[serde(flatten)]
        peer: PeerRef,
        /// What it is to open: the policy's tier first, then what lies above it.
        tiers: Vec<TierWish>,
        /// The code.
        code: SecretText,
    },
    /// The bastion's SSH host keys that this host accepts now; said after an answer to a report that names such keys.
    Knows {
        /// `TYPE BASE64`, at most [`MOST_KEYS`](crate::known_hosts::MOST_KEYS).
        host_keys: Vec<String>,
    },
    /// Are you there?
    Ping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_one_challenge_and_one_name() {
        let [app, db] = ["app-gw", "db-gw"].map(|name| name.parse::<HostName>().unwrap());
        let signed = signed_text("nonce", &app);
        assert_ne!(signed, signed_text("another", &app));
        assert_ne!(signed, signed_text("nonce", &db));
    }
}
