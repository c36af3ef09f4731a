//! What the scripted bastion knows of the gate.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wgmfa_core::gate::{CodeVerdict, GateAssignment, TierLeft};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::agent::{FromAgent, LocalEvent, PeerRef, PeerTier, TierWish, ToAgent};
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::TierName;

use crate::bastion::Bastion;

/// The only good code. It may be used as often as one likes.
pub const CODE: &str = "123456";

/// Every peer that the firewall holds back.
#[derive(Default)]
pub struct Gates {
    pub peers: BTreeMap<PeerRef, Gated>,
    pub free: Vec<PeerRef>,
    /// What is said to the next wrong codes; then `wrong`.
    pub verdicts: VecDeque<CodeVerdict>,
    /// Questions about codes get no answer.
    pub is_silent: bool,
    /// The questions so far.
    pub asked: Vec<(PeerRef, Vec<TierWish>)>,
}

/// One of them.
#[derive(Clone, Default)]
pub struct Gated {
    pub other: String,
    pub with_key: bool,
    pub idle_timeout: Option<u64>,
    pub cut_off: Option<String>,
    pub grants: BTreeMap<TierName, Instant>,
}

impl Gates {
    pub fn hold_back(&mut self, peer: &PeerRef, other: &str) {
        self.peers.insert(peer.clone(), Gated { other: other.to_owned(), ..Gated::default() });
    }

    pub fn record(&mut self, peer: &PeerRef, tier: &TierName, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        self.peers.get_mut(peer).unwrap().grants.insert(tier.clone(), until);
    }

    pub fn close(&mut self, peer: &PeerRef) {
        self.peers.get_mut(peer).unwrap().grants.clear();
    }

    /// What was closed at the gateway is over.
    pub fn hear(&mut self, event: &LocalEvent) {
        let gated = event.peer.as_ref().filter(|_| event.event == "closed").and_then(|peer| self.peers.get_mut(peer));
        if let Some(gated) = gated {
            gated.grants.retain(|tier, _| event.tier.as_ref().is_some_and(|closed| closed != tier));
        }
    }

    /// The verdict about a code; a good one opens what was wished for, at most an hour.
    pub fn check(&mut self, peer: &PeerRef, tiers: &[TierWish], code: &SecretText) -> Option<CodeVerdict> {
        self.asked.push((peer.clone(), tiers.to_vec()));
        if self.is_silent {
            return None;
        }
        if code.expose() != CODE {
            return Some(self.verdicts.pop_front().unwrap_or(CodeVerdict::Wrong { tries_left: 4 }));
        }
        let left = |wish: &TierWish| TierLeft {
            tier: wish.tier.clone(),
            seconds_left: wish.lifetime.unwrap_or(3600).min(3600),
        };
        let grants: Vec<_> = tiers.iter().map(left).collect();
        grants.iter().for_each(|grant| self.record(peer, &grant.tier, grant.seconds_left));
        Some(CodeVerdict::Accept { grants })
    }

    pub fn assignments(&self) -> Vec<GateAssignment> {
        self.peers.iter().map(|(peer, gated)| gated.assignment(peer)).collect()
    }
}

impl Bastion {
    /// Records a grant and has a resident agent open it; returns why it refused.
    pub fn grant(&self, peer: &PeerRef, tier: &str, seconds_left: u64) -> Option<String> {
        let tier: TierName = tier.parse().unwrap();
        self.gates(|gates| gates.record(peer, &tier, seconds_left));
        let id = rand::random_range(1..u64::MAX / 2);
        self.send(ToAgent::Grant { id, which: PeerTier { peer: peer.clone(), tier }, seconds_left });
        self.answer_to("grant", |answer| match answer {
            FromAgent::Granted { id: of, refused } if *of == id => Some(refused.clone()),
            _ => None,
        })
    }

    /// Closes everything of a peer, also on a resident agent; returns why that failed.
    pub fn revoke(&self, peer: &PeerRef, reason: &str) -> Option<String> {
        self.gates(|gates| gates.close(peer));
        let id = rand::random_range(1..u64::MAX / 2);
        self.send(ToAgent::Revoke { id, peer: peer.clone(), reason: reason.to_owned() });
        self.answer_to("revoke", |answer| match answer {
            FromAgent::Revoked { id: of, failed } if *of == id => Some(failed.clone()),
            _ => None,
        })
    }
}

impl Gated {
    fn assignment(&self, peer: &PeerRef) -> GateAssignment {
        let left = |until: &Instant| until.saturating_duration_since(Instant::now()).as_secs();
        let grants = self.grants.iter().map(|(tier, until)| TierLeft { tier: tier.clone(), seconds_left: left(until) });
        GateAssignment {
            peer: peer.clone(),
            connection: format!("app-gw/devices:{}", self.other),
            other: self.other.clone(),
            policy: PolicyRef { ordinal: 101, description: "Prod User Devices".to_owned(), mfa: true },
            tier: "prod".parse().unwrap(),
            rotation_interval: 3600,
            idle_timeout: self.idle_timeout,
            with_key: self.with_key,
            cut_off: self.cut_off.clone(),
            grants: grants.filter(|grant| grant.seconds_left > 0).collect(),
        }
    }
}
