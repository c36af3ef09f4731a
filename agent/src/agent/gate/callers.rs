//! What is asked inside the tunnels: who is there, what is open, is this code good, close everything.

use std::net::IpAddr;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::dialogue::{NOT_NEEDED, wishes};
use wgmfa_core::gate::identity::Owners;
use wgmfa_core::gate::{CodeVerdict, TierLeft};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::agent::{FromAgent, PeerRef};
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::rotation::Hold;

use super::super::Agent;
use super::{FAREWELL, owners};
use crate::clock;
use crate::seen::Seen;

/// How long the bastion may take to answer about a code, in seconds.
pub const LONGEST_ANSWER: u64 = 5;

/// Said when no answer came.
pub const NOT_REACHED: &str = "the bastion is not reached, try again later";

/// A code that the bastion is being asked about.
pub(super) struct Question {
    pub(super) peer: PeerRef,
    pub(super) asked: Boottime,
}

/// Somebody who may be asked for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What people call that end.
    pub other: String,
    /// The tier that the policy gives.
    pub base: TierName,
}

impl Agent {
    /// Who speaks from an address behind an interface.
    ///
    /// # Errors
    /// Nobody who could be asked for a code; in words for whoever it is.
    pub fn caller(&self, interface: &InterfaceName, address: IpAddr) -> Result<Caller, String> {
        // What was seen a second ago is good enough for a greeting: a code is looked at anew.
        let seen =
            self.gate.put_up.owners.get(interface).and_then(|owners| self.whose(owners, interface, address).ok());
        let peer = match seen {
            Some(peer) => peer,
            None => self.whose(&self.owners_now(interface)?, interface, address)?,
        };
        self.may_be_asked(&peer)
    }

    /// The tiers that are open for whoever speaks from an address, the highest last.
    ///
    /// # Errors
    /// As [`Agent::caller`].
    pub fn open_to(&self, interface: &InterfaceName, address: IpAddr) -> Result<Vec<TierLeft>, String> {
        let peer = self.whose(&self.owners_now(interface)?, interface, address)?;
        self.may_be_asked(&peer)?;
        let now = clock::now();
        let height = |tier: &TierName| self.config.tiers.below(tier).map_or(0, |below| below.len());
        let mut open: Vec<_> = self.gate.put_up.open_for(&peer).into_iter().filter(|(_, until)| *until > now).collect();
        open.sort_by_key(|(tier, _)| height(tier));
        let left = |until: Boottime| u64::try_from(until.since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Ok(open.into_iter().map(|(tier, until)| TierLeft { seconds_left: left(until), tier }).collect())
    }

    /// What the bastion is to be asked about a code, with the question's number.
    ///
    /// # Errors
    /// As [`Agent::caller`]; or no code can open anything now.
    pub fn ask_about(
        &mut self,
        interface: &InterfaceName,
        address: IpAddr,
        wanted: &TierName,
        code: SecretText,
    ) -> Result<(u64, FromAgent), String> {
        let peer = self.whose(&self.owners_now(interface)?, interface, address)?;
        let caller = self.may_be_asked(&peer)?;
        if let Some(why) = self.gate.put_up.refusal() {
            return Err(why);
        }
        let tiers = wishes(&self.config.tiers, &caller.base, wanted);
        let tiers = tiers.ok_or_else(|| format!("this gateway has no tier {wanted} for you"))?;
        let now = clock::now();
        let waits =
            |question: &&Question| question.peer == peer && now.since(question.asked).as_secs() < LONGEST_ANSWER;
        if self.gate.questions.values().any(|question| waits(&question)) {
            return Err("another code of yours is being looked at".to_owned());
        }
        self.gate.last_question += 1;
        let id = self.gate.last_question;
        self.gate.questions.insert(id, Question { peer: peer.clone(), asked: now });
        Ok((id, FromAgent::CheckCode { id, peer, tiers, code }))
    }

    /// What the bastion has said about codes since this was last asked.
    pub fn take_verdicts(&mut self) -> Vec<(u64, CodeVerdict)> {
        std::mem::take(&mut self.gate.answers)
    }

    /// Nobody answers these questions any more.
    pub(in crate::agent) fn forget_questions(&mut self) {
        let refuse = |id| (id, CodeVerdict::Refuse { reason: NOT_REACHED.to_owned() });
        let questions = std::mem::take(&mut self.gate.questions);
        self.gate.answers.extend(questions.into_keys().map(refuse));
    }

    /// Closes everything for whoever speaks from an address, and ends the session of a key that opens a tier.
    ///
    /// # Errors
    /// As [`Agent::caller`]; or something may still be open.
    pub fn log_out(&mut self, interface: &InterfaceName, address: IpAddr) -> Result<(), String> {
        let seen = Seen::one(&self.config, interface);
        let here = seen.interfaces.get(interface).ok_or_else(|| gone(interface))?;
        let peer = self.whose(&owners(here), interface, address)?;
        self.may_be_asked(&peer)?;
        let now = clock::now();
        let with_key = self.state.grants.get(&peer).is_some_and(|gated| gated.with_key);
        let session =
            self.state.peers.get(&peer).filter(|kept| with_key && matches!(kept.held.hold, Hold::Open { .. }));
        let generation = session.map(|kept| kept.held.generation);
        let was_open = !self.state.grants.close(&peer).is_empty() || generation.is_some();
        if generation.is_some() {
            let at = clock::now().as_millis() + FAREWELL;
            self.gate.leaving.insert(peer.clone(), Boottime::from_millis(at));
        }
        if was_open {
            self.overtake(&peer);
            self.state.logged_out(&peer, generation, now);
            self.save_or_fault();
            self.changes.push(format!("{}: closed: logged out", self.state.name_of(&peer)));
            self.want_round();
        }
        self.shut(&peer, &seen)
    }

    fn owners_now(&self, interface: &InterfaceName) -> Result<Owners, String> {
        let seen = Seen::one(&self.config, interface);
        seen.interfaces.get(interface).map(owners).ok_or_else(|| gone(interface))
    }

    fn whose(&self, owners: &Owners, interface: &InterfaceName, address: IpAddr) -> Result<PeerRef, String> {
        let public_key = owners.caller(address, self.config.width).map_err(|stranger| stranger.to_string())?;
        Ok(PeerRef { interface: interface.clone(), public_key })
    }

    fn may_be_asked(&self, peer: &PeerRef) -> Result<Caller, String> {
        let Some(gated) = self.state.grants.get(peer) else {
            let free = self.state.free.contains(peer);
            return Err(if free { NOT_NEEDED } else { "no code opens anything for you" }.to_owned());
        };
        match &gated.cut_off {
            Some(reason) => Err(format!("cut off: {reason}")),
            None => Ok(Caller { other: gated.other.clone(), base: gated.tier.clone() }),
        }
    }
}

fn gone(interface: &InterfaceName) -> String {
    format!("{interface} is going away")
}
