//! The connected agents: which there are, and what they are asked.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wgmfa_core::message::agent::{Delivery, Deposit, PeerGeneration, PeerRef, PeerTier};
use wgmfa_core::name::HostName;

use super::Keeper;
use crate::store::Event;

/// How long the keeper waits for an agent to confirm that it has opened or changed something (design: two seconds at most).
pub fn confirm_within() -> Duration {
    within(2)
}

/// How long an administrator's command waits for agents to confirm that they have locked.
pub fn locked_within() -> Duration {
    within(1)
}

/// In debug builds `WGMFA_CONFIRM_WITHIN` (seconds) overrides it, so that a test does not depend on how fast a machine is.
fn within(seconds: u64) -> Duration {
    let wanted = std::env::var("WGMFA_CONFIRM_WITHIN").ok().filter(|_| cfg!(debug_assertions));
    Duration::from_secs(wanted.and_then(|seconds| seconds.parse().ok()).unwrap_or(seconds))
}

/// An order to a connected agent, and where its answer goes.
pub enum Ask {
    /// Open a peer, or prolong its session.
    Open(PeerGeneration, u64, Answer),
    /// Lock a peer.
    Lock(PeerRef, String, Answer),
    /// Make the generation that follows in a session, above this one.
    MakeNext(PeerRef, u64, Answer<Deposit>),
    /// Change to the generation that follows.
    ChangeTo(PeerGeneration, u64, Answer),
    /// Put a key on a peer.
    Put(Delivery, Answer),
    /// Open a tier for a peer, or prolong it.
    Grant(PeerTier, u64, Answer),
    /// Close every tier of a peer.
    Revoke(PeerRef, String, Answer),
    /// Do a round.
    Round(String),
    /// Hang up.
    HangUp(String),
}

/// `Ok`: done; `Err`: why not.
pub type Answer<T = ()> = oneshot::Sender<Result<T, String>>;

/// A connected agent.
pub struct Link {
    /// The conversation that it came by.
    pub conversation: u64,
    /// Whether it stays connected, and so can be told things.
    pub resident: bool,
    /// Where orders go.
    pub asks: mpsc::UnboundedSender<Ask>,
}

impl Keeper {
    /// Takes over a host's connection from an earlier one.
    pub(super) fn connect(&self, host: &HostName, link: Link, source: std::net::IpAddr) {
        let resident = link.resident;
        if let Some(earlier) = self.links.borrow_mut().insert(host.clone(), link) {
            let _ = earlier.asks.send(Ask::HangUp("another connection of this host has taken over".to_owned()));
            self.note_host(
                host,
                Event::HostReplaced,
                Some(source),
                "a second connection of this host replaced the first",
            );
        } else if resident {
            self.note_host(host, Event::HostConnected, Some(source), "the resident agent is connected");
        }
        self.heard(host);
    }

    pub(super) fn disconnect(&self, host: &HostName, conversation: u64) {
        let mut links = self.links.borrow_mut();
        if links.get(host).is_some_and(|link| link.conversation == conversation) {
            let link = links.remove(host);
            drop(links);
            if link.is_some_and(|link| link.resident) {
                self.note_host(host, Event::Noted, None, "the resident agent is gone");
            }
        }
    }

    /// Asks a connected resident agent, and waits for its answer. `None`: there is none, or it did not answer in time.
    pub async fn ask<T>(
        &self,
        host: &HostName,
        within: Duration,
        order: impl FnOnce(Answer<T>) -> Ask,
    ) -> Option<Result<T, String>> {
        let asks = self.links.borrow().get(host).filter(|link| link.resident).map(|link| link.asks.clone())?;
        let (answer, answered) = oneshot::channel();
        asks.send(order(answer)).ok()?;
        timeout(within, answered).await.ok()?.ok()
    }

    /// Tells a connected resident agent something that needs no answer; whether there is one.
    pub fn order_round(&self, host: &HostName, reason: &str) -> bool {
        let links = self.links.borrow();
        links
            .get(host)
            .filter(|link| link.resident)
            .is_some_and(|link| link.asks.send(Ask::Round(reason.to_owned())).is_ok())
    }
}
