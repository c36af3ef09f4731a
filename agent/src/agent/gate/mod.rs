//! The second way to enforce, as far as it is this host's: the gate stands, and who is let through.

mod callers;
mod orders;
pub(super) mod put_up;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::grants::{Closing, Gated, Sight};
use wgmfa_core::gate::identity::{Owners, Width};
use wgmfa_core::gate::{Addresses, CodeVerdict, Layout};
use wgmfa_core::interval;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::rotation::Hold;
use wgmfa_wireguard::is_same_handshake;

use self::put_up::{Open, PutUp};
use super::Agent;
use crate::clock;
use crate::seen::{Seen, SeenInterface};

pub use self::callers::{Caller, LONGEST_ANSWER, NOT_REACHED};
pub(super) use self::orders::Told;

/// A peer that has logged out keeps its tunnel for so many milliseconds, so that the answer comes through.
const FAREWELL: u64 = 500;

/// What the agent knows of the gate while it runs.
#[derive(Default)]
pub(super) struct AtGate {
    pub(super) put_up: PutUp,
    /// Codes that the bastion is being asked about.
    questions: BTreeMap<u64, callers::Question>,
    last_question: u64,
    /// What it said about them.
    answers: Vec<(u64, CodeVerdict)>,
    /// When it was last put up again after somebody had changed it.
    put_up_again: Option<Boottime>,
    /// Peers that are held back, and of which the bastion has not said that a code lets them through.
    strangers: BTreeSet<PeerRef>,
    /// The interfaces that were there when they were last looked at.
    interfaces: BTreeSet<InterfaceName>,
    /// Peers whose key's session is over since they logged out, and when each is to be locked.
    leaving: BTreeMap<PeerRef, Boottime>,
}

impl Agent {
    /// Looks at the gate, and makes it as it is to be.
    pub(super) fn keep_gate(&mut self, seen: &Seen) {
        let now = clock::now();
        if self.state.gated.is_empty() {
            if let Err(why) = self.take_gate_away() {
                self.faults.insert(why);
            }
            return;
        }
        self.gate.put_up.owners = seen.interfaces.iter().map(|(name, seen)| (name.clone(), owners(seen))).collect();
        self.close_what_is_over(seen, now);
        self.notice_strangers(seen, now);
        self.remember_that_it_stands();
        let layout = self.layout();
        let wanted = self.wanted(now);
        let found = self.gate.put_up.keep(&self.config, layout, wanted, now);
        if let Some(why) = found.disturbed {
            self.gate.put_up_again = Some(now);
            self.changes.push(format!("gate: put up again: {why}"));
            self.state.happened("changed-outside", None, &format!("the gate did not stand: {why}"), now);
            self.next_round = now;
        }
        self.changes.extend(found.news);
        let fault = self.gate.put_up.refusal();
        self.faults.extend(fault.clone());
        if self.state.gate_fault != fault {
            self.state.gate_fault = fault;
            self.save_or_fault();
        }
    }

    /// The same after something has happened about one peer.
    ///
    /// # Errors
    /// Why it is not let through or kept out as it should be, in words.
    pub(super) fn keep_gate_for(&mut self, peer: &PeerRef, seen: &Seen) -> Result<(), String> {
        let now = clock::now();
        self.see_owners(&peer.interface, seen);
        let mut wanted = self.wanted(now);
        wanted.retain(|(addresses, _), _| addresses.interface == peer.interface);
        self.gate.put_up.keep_one(&peer.interface, wanted, now)
    }

    /// Sees to it that nothing is open any more for a peer whose grants are over.
    ///
    /// # Errors
    /// Why something may still be open, in words.
    fn shut(&mut self, peer: &PeerRef, seen: &Seen) -> Result<(), String> {
        // of a gate that could not be made it is not known whom the kernel still lets through
        if !self.state.gate_stands || self.gate.put_up.is_shut_for(peer) {
            return Ok(());
        }
        self.want_round();
        self.keep_gate_for(peer, seen)
    }

    /// Why a peer cannot be let through now whatever the bastion says; none: it can, or nothing of it is the gate's.
    pub(super) fn gate_refusal(&self, peer: &PeerRef) -> Option<String> {
        self.state.grants.get(peer).and_then(|_| self.gate.put_up.refusal())
    }

    /// What is wrong with the gate, if there is to be one.
    pub(super) fn gate_fault(&self) -> Option<String> {
        (!self.state.gated.is_empty()).then(|| self.gate.put_up.refusal()).flatten()
    }

    /// Whether anything is open for a peer.
    pub(super) fn is_let_through(&self, peer: &PeerRef) -> bool {
        !self.gate.put_up.open_for(peer).is_empty()
    }

    /// What becomes readable when somebody changes the firewall.
    pub fn watch_gate(&self) -> Option<OwnedFd> {
        self.gate.put_up.watch()
    }

    /// Somebody has changed the firewall, perhaps this agent itself. Two that put up theirs in turn do so once in
    /// `pause`.
    pub fn firewall_changed(&mut self, pause: Duration) {
        let is_at_peace = self.gate.put_up_again.is_none_or(|again| clock::now().since(again) >= pause);
        if self.gate.put_up.is_disturbed() && is_at_peace {
            self.enforce();
        }
    }

    /// The interfaces whose peers are held back: there codes are asked for.
    pub fn gated_interfaces(&self) -> &BTreeSet<InterfaceName> {
        &self.state.gated
    }

    /// Closes every tier of every peer, and sees to it that the gate stands. What could not be done comes back in words.
    pub(super) fn close_all(&mut self, reason: &str, seen: &Seen) -> Option<String> {
        let now = clock::now();
        let peers: Vec<_> = self.state.grants.iter().map(|(peer, _)| peer.clone()).collect();
        let close = |peer: PeerRef| {
            let tiers = self.state.grants.close(&peer);
            (!tiers.is_empty()).then(|| Closing { peer, tiers, reason: reason.to_owned() })
        };
        let closings: Vec<_> = peers.into_iter().filter_map(close).collect();
        self.tell_closings(&closings, now);
        self.keep_gate(seen);
        self.gate_fault()
    }

    /// Takes the gate away when there is one and none is to be.
    ///
    /// # Errors
    /// Why it still stands, in words.
    pub(super) fn take_gate_away(&mut self) -> Result<(), String> {
        if self.state.gate_stands {
            self.gate.put_up.remove(&self.config).map_err(|why| format!("the gate still stands: {why}"))?;
            (self.state.gate_stands, self.state.gate_fault) = (false, None);
            self.changes.push("gate: taken away".to_owned());
            self.save_or_fault();
        }
        Ok(())
    }

    /// When something about the gate is to be done even if nothing happens.
    pub(super) fn next_at_gate(&self, now: Boottime) -> Option<Boottime> {
        let leaving = self.gate.leaving.values().copied().filter(|moment| *moment > now);
        leaving.chain(self.state.grants.next_deadline(now)).min()
    }

    /// Locks peers that have logged out.
    pub(super) fn lock_leaving(&mut self, seen: &Seen, now: Boottime) {
        let due: Vec<_> =
            self.gate.leaving.iter().filter(|(_, moment)| **moment <= now).map(|(peer, _)| peer.clone()).collect();
        if due.is_empty() {
            return;
        }
        due.iter().for_each(|peer| _ = self.gate.leaving.remove(peer));
        let due = due.into_iter().filter(|peer| seen.peer(peer).is_some());
        self.lock(due.map(|peer| (peer, "logged out".to_owned())).collect(), seen);
        self.next_round = now;
    }

    fn close_what_is_over(&mut self, seen: &Seen, now: Boottime) {
        // What is past its time is no news: the kernel has closed it.
        for (peer, tier) in self.state.grants.expire(now) {
            self.changes.push(format!("{}: {tier} closed: its time is over", self.state.name_of(&peer)));
        }
        let has_some = |gated: &Gated| !gated.open.is_empty() || gated.by_root.is_some() || !gated.addresses.is_empty();
        let open = self.state.grants.iter().filter(|(_, gated)| has_some(gated));
        let peers: Vec<_> = open.map(|(peer, _)| peer.clone()).collect();
        let mut closings = Vec::new();
        for peer in peers {
            // An interface that is away lets nobody in, and is looked at when it comes back.
            if seen.interfaces.contains_key(&peer.interface) {
                closings.extend(self.look_at(&peer, seen, now));
            }
        }
        self.tell_closings(&closings, now);
    }

    /// An interface that is new here may have to be gated: the bastion hears of it at once.
    pub(super) fn notice_interfaces(&mut self, seen: &Seen, now: Boottime) {
        let there: BTreeSet<_> = seen.interfaces.keys().cloned().collect();
        if !there.is_subset(&self.gate.interfaces) {
            self.next_round = now;
        }
        self.gate.interfaces = there;
    }

    /// A peer that is new here is held back until the bastion has heard of it and says what it is: that is at once.
    fn notice_strangers(&mut self, seen: &Seen, now: Boottime) {
        let gated = seen.interfaces.iter().filter(|(name, _)| self.state.gated.contains(*name));
        let peers = gated.flat_map(|(name, seen)| {
            let peer = |peer: &wgmfa_wireguard::Peer| PeerRef { interface: name.clone(), public_key: peer.public_key };
            seen.interface.peers.iter().map(peer)
        });
        let is_known = |peer: &PeerRef| self.state.grants.get(peer).is_some() || self.state.free.contains(peer);
        let strangers: BTreeSet<_> = peers.filter(|peer| !is_known(peer)).collect();
        if !strangers.is_subset(&self.gate.strangers) {
            self.next_round = now;
        }
        self.gate.strangers = strangers;
    }

    /// Looks at a peer of an interface that is there.
    fn look_at(&mut self, peer: &PeerRef, seen: &Seen, now: Boottime) -> Option<Closing> {
        let owners = self.gate.put_up.owners.get(&peer.interface)?;
        let known = self.state.grants.get(peer).and_then(|gated| gated.alive).and_then(|alive| alive.handshake);
        let before = known.and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
        let millis = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let number = |at| match is_same_handshake(before, Some(at)) {
            true => known,
            false => millis(at).try_into().ok(),
        };
        let sight = seen.peer(peer).map(|here| Sight {
            addresses: owners.addresses(&peer.public_key, self.config.width),
            handshake: here.latest_handshake.and_then(number),
        });
        self.state.grants.look(peer, sight.as_ref(), now)
    }

    /// Notes whose the addresses of an interface are now.
    fn see_owners(&mut self, interface: &InterfaceName, seen: &Seen) {
        if let Some(here) = seen.interfaces.get(interface) {
            self.gate.put_up.owners.insert(interface.clone(), owners(here));
        }
    }

    /// The bastion hears of what was closed before its time.
    fn tell_closings(&mut self, closings: &[Closing], now: Boottime) {
        for closing in closings {
            self.overtake(&closing.peer);
            self.state.closed(closing, now);
            self.say_closed(closing);
            self.next_round = now;
        }
        if !closings.is_empty() {
            self.save_or_fault();
        }
    }

    fn say_closed(&mut self, closing: &Closing) {
        let tiers: Vec<_> = closing.tiers.iter().map(TierName::as_str).collect();
        self.changes.push(format!(
            "{}: {} closed: {}",
            self.state.name_of(&closing.peer),
            tiers.join(", "),
            closing.reason
        ));
    }

    /// A gate that is to be taken away some day must be remembered before it stands.
    fn remember_that_it_stands(&mut self) {
        if !std::mem::replace(&mut self.state.gate_stands, true) {
            self.save_or_fault();
        }
    }

    fn layout(&self) -> Layout {
        let of = |peer: &PeerRef| {
            let owners = self.gate.put_up.owners.get(&peer.interface);
            let networks = owners.map(|owners| owners.addresses(&peer.public_key, Width::Networks));
            let interface = peer.interface.clone();
            networks.into_iter().flatten().map(move |network| Addresses { interface: interface.clone(), network })
        };
        Layout {
            interfaces: self.state.gated.clone(),
            free: self
                .state
                .free
                .iter()
                .filter(|peer| self.state.gated.contains(&peer.interface))
                .flat_map(of)
                .collect(),
            tiers: self.config.tiers.clone(),
            code_port: self.config.code_port,
        }
    }

    /// What is to be open, by whose the addresses were when they were last looked at.
    fn wanted(&self, now: Boottime) -> Open {
        let mut wanted = Open::new();
        for (peer, _) in self.state.grants.iter() {
            let open = self.state.grants.open(peer, self.session(peer), now);
            let Some(owners) = self.gate.put_up.owners.get(&peer.interface).filter(|_| !open.is_empty()) else {
                continue;
            };
            let networks: BTreeSet<IpNet> = owners.addresses(&peer.public_key, self.config.width);
            for (tier, until) in open {
                if self.config.tiers.get(&tier).is_none() {
                    continue;
                }
                for network in &networks {
                    let addresses = Addresses { interface: peer.interface.clone(), network: *network };
                    wanted.insert((addresses, tier.clone()), (peer.clone(), until));
                }
            }
        }
        wanted
    }

    /// Until when the session of a peer's key runs, or root has opened it.
    fn session(&self, peer: &PeerRef) -> Option<Boottime> {
        let kept = self.state.peers.get(peer).filter(|kept| kept.same_boot && !self.gate.leaving.contains_key(peer));
        match kept?.held.hold {
            Hold::Open { deadline } | Hold::Override { deadline } => Some(deadline),
            Hold::Waiting { .. } | Hold::Locked { .. } => None,
        }
    }
}

/// Whose each address of an interface is.
fn owners(seen: &SeenInterface) -> Owners {
    let allowed_ips = seen.interface.peers.iter().flat_map(|peer| {
        let networks = peer.allowed_ips.iter();
        networks.filter_map(|allowed| {
            IpNet::new(allowed.address, allowed.prefix_length).ok().map(|network| (peer.public_key, network))
        })
    });
    Owners::new(allowed_ips)
}

/// `prod for 60 min`
fn for_how_long(tier: &TierName, deadline: Boottime, now: Boottime) -> String {
    format!("{tier} for {}", interval::for_people(deadline.since(now).as_millis().div_ceil(1000) as u64))
}
