//! What the bastion says about the gate: who is let through, who no longer, and whether a code was good.

use std::collections::{BTreeMap, BTreeSet};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::grants::Closing;
use wgmfa_core::gate::{CodeVerdict, GateAssignment, TierLeft};
use wgmfa_core::message::agent::{PeerRef, PeerTier};
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::order::sent_at_worst;
use wgmfa_core::tier;

use super::super::Agent;
use super::for_how_long;
use crate::clock;
use crate::seen::Seen;

/// What the bastion tells of the gate in the answer to a report.
pub(in crate::agent) struct Told {
    pub(in crate::agent) gates: Vec<GateAssignment>,
    pub(in crate::agent) free: Vec<PeerRef>,
    pub(in crate::agent) gated: Vec<InterfaceName>,
}

impl Told {
    /// Every interface whose peers are held back.
    fn interfaces(&self) -> BTreeSet<InterfaceName> {
        let of_peers = self.gates.iter().map(|one| &one.peer).chain(&self.free).map(|peer| &peer.interface);
        self.gated.iter().chain(of_peers).cloned().collect()
    }
}

impl Agent {
    /// Takes over what the bastion says about every peer, asked at `asked`.
    pub(in crate::agent) fn follow_gates(
        &mut self,
        told: Told,
        overtaken: &BTreeSet<PeerRef>,
        asked: Boottime,
        seen: &Seen,
    ) {
        let now = clock::now();
        self.state.gated = told.interfaces();
        for one in &told.gates {
            if self.config.tiers.get(&one.tier).is_none_or(|_| tier::is_open(&one.tier)) {
                self.faults.insert(format!("{}: agent.toml has no tier {}", one.connection, one.tier));
            }
        }
        let mut newer = overtaken.clone();
        newer.extend(self.state.untold_closings().cloned());
        let before = self.open_grants();
        let closings = self.state.grants.follow(&told.gates, &newer, asked, now);
        let settled = told.gates.iter().map(|one| &one.peer).filter(|peer| !newer.contains(*peer));
        let foreign: Vec<_> =
            settled.filter_map(|peer| self.state.grants.close_foreign(peer, &self.config.tiers)).collect();
        let is_new = |(peer, tier, _): &(PeerRef, TierName, Boottime)| {
            !before.iter().any(|(known, of, _)| (known, of) == (peer, tier))
        };
        for (peer, tier, deadline) in self.open_grants().into_iter().filter(is_new) {
            let line = format!("{}: open: {}", self.state.name_of(&peer), for_how_long(&tier, deadline, now));
            self.changes.push(line);
            self.want_round(); // a report alone shows the bastion that it is open
        }
        self.state.free = told.free.into_iter().collect();
        for closing in &closings {
            self.say_closed(closing);
            self.want_round(); // and that it is closed
        }
        self.tell_closings(&foreign, now);
        self.keep_gate(seen);
    }

    /// The same in words, and nothing is changed.
    pub(in crate::agent) fn gates_in_words(&self, told: &Told, asked: Boottime) -> Vec<String> {
        let now = clock::now();
        let mut lines: Vec<_> = told
            .interfaces()
            .difference(&self.state.gated)
            .map(|interface| format!("{interface}: would hold back every peer: a policy enforces by the firewall"))
            .collect();
        let mut grants = self.state.grants.clone();
        let before = self.open_grants();
        for Closing { peer, tiers, reason } in grants.follow(&told.gates, &BTreeSet::new(), asked, now) {
            let tiers: Vec<_> = tiers.iter().map(TierName::as_str).collect();
            lines.push(format!("{}: would close {}: {reason}", self.state.name_of(&peer), tiers.join(", ")));
        }
        for (peer, gated) in grants.iter() {
            for (tier, deadline) in &gated.open {
                if !before.iter().any(|(known, of, _)| (known, of) == (peer, tier)) {
                    lines.push(format!("{}: would open {}", gated.connection, for_how_long(tier, *deadline, now)));
                }
            }
        }
        lines
    }

    fn open_grants(&self) -> Vec<(PeerRef, TierName, Boottime)> {
        let of = |(peer, open): (&PeerRef, &BTreeMap<TierName, Boottime>)| {
            open.iter().map(|(tier, until)| (peer.clone(), tier.clone(), *until)).collect::<Vec<_>>()
        };
        self.state.grants.iter().flat_map(|(peer, gated)| of((peer, &gated.open))).collect()
    }

    /// A grant is recorded: lets the peer through.
    ///
    /// # Errors
    /// Why it is not let through, in words.
    pub(in crate::agent) fn grant(&mut self, which: &PeerTier, seconds_left: u64) -> Result<(), String> {
        let grant = TierLeft { tier: which.tier.clone(), seconds_left };
        let sent = sent_at_worst(clock::now(), self.connected, self.state.last_contact);
        self.let_through(&which.peer, std::slice::from_ref(&grant), sent)
    }

    /// Lets a peer through to these tiers, whose time counts from `sent`.
    pub(super) fn let_through(&mut self, peer: &PeerRef, granted: &[TierLeft], sent: Boottime) -> Result<(), String> {
        let now = clock::now();
        let seen = Seen::one(&self.config, &peer.interface);
        seen.peer(peer).ok_or_else(|| format!("{} has no such peer now", peer.interface))?;
        let known = |tier: &TierName| !tier::is_open(tier) && self.config.tiers.get(tier).is_some();
        if let Some(unknown) = granted.iter().find(|grant| !known(&grant.tier)) {
            return Err(format!("agent.toml has no tier {}", unknown.tier));
        }
        if let Some(why) = self.gate.put_up.refusal() {
            return Err(why);
        }
        // what it had before may be another one's by now
        self.see_owners(&peer.interface, &seen);
        let closing = self.look_at(peer, &seen, now);
        self.tell_closings(closing.as_slice(), now);
        if now.since(sent).as_secs() > 0 {
            self.next_round = now; // the answer to a report says what is really left
        }
        let before = self.state.grants.clone();
        for grant in granted {
            if let Err(why) = self.state.grants.grant(peer, &grant.tier, sent.plus_seconds(grant.seconds_left), now) {
                self.state.grants = before;
                self.want_round(); // the bastion says what this host does not know
                return Err(why);
            }
        }
        self.look_at(peer, &seen, now);
        self.overtake(peer);
        let opened = self.keep_gate_for(peer, &seen).and_then(|()| {
            let has_addresses =
                self.gate.put_up.open_for(peer).keys().any(|tier| granted.iter().any(|one| one.tier == *tier));
            // a key's session may be what is missing: then it opens with that
            let waits_for_key = self.state.grants.get(peer).is_some_and(|gated| gated.with_key);
            if has_addresses || waits_for_key || granted.is_empty() {
                return Ok(());
            }
            Err("it has no single address, only networks: codes-from-networks in agent.toml lets those through"
                .to_owned())
        });
        if let Err(why) = opened {
            self.state.grants = before;
            let _ = self.keep_gate_for(peer, &seen);
            return Err(why);
        }
        // the kernel closes it by itself, and after a restart the bastion says it again
        self.save_or_fault();
        for grant in granted {
            let (name, left) = (self.state.name_of(peer), sent.plus_seconds(grant.seconds_left));
            self.changes.push(format!("{name}: opened: {}", for_how_long(&grant.tier, left, now)));
        }
        Ok(())
    }

    /// Closes every tier of a peer because the bastion says so.
    ///
    /// # Errors
    /// Why something may still be open, in words.
    pub(in crate::agent) fn revoke(&mut self, peer: &PeerRef, reason: &str) -> Result<(), String> {
        let tiers = self.state.grants.close(peer);
        self.overtake(peer);
        self.save_or_fault();
        if !tiers.is_empty() {
            self.say_closed(&Closing { peer: peer.clone(), tiers, reason: reason.to_owned() });
        }
        let seen = Seen::one(&self.config, &peer.interface);
        self.shut(peer, &seen)
    }

    /// The bastion has answered a question about a code: when it was good, the gate is open before anybody is told.
    pub(in crate::agent) fn code_checked(&mut self, id: u64, verdict: CodeVerdict) {
        let Some(question) = self.gate.questions.remove(&id) else {
            self.want_round();
            return;
        };
        let verdict = match verdict {
            // the way of the answer prolongs nothing
            CodeVerdict::Accept { grants } => match self.let_through(&question.peer, &grants, question.asked) {
                Ok(()) => CodeVerdict::Accept { grants },
                Err(why) => CodeVerdict::Refuse { reason: why },
            },
            other => other,
        };
        self.gate.answers.push((id, verdict));
    }
}
