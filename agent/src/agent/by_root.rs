//! What root orders on this host, without the bastion: lock everything, open one peer, stand down.

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::PresharedKey;
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::rotation::Hold;
use wgmfa_wireguard::EndpointRule;

use super::Agent;
use crate::carry_out::{Changes, readd, take_key_out};
use crate::clock;
use crate::files::{self, Renew};
use crate::seen::Seen;
use crate::store::ConfiguredKeys;

impl Agent {
    /// Locks every peer that was ever under a policy, in the interfaces' files and on running interfaces. Returns what
    /// could not be done, in words.
    pub fn lock_all(&mut self, reason: &str) -> Vec<String> {
        let seen = Seen::now(&self.config);
        // At boot nothing is trusted before the bastion has spoken, and what is locked then is nobody's decision.
        let at_boot = self.state.peers.values().any(|kept| !kept.same_boot);
        let reason = if at_boot { "this machine was rebooted" } else { reason };
        let (here, away): (Vec<_>, Vec<_>) =
            self.state.peers.keys().cloned().partition(|peer| seen.peer(peer).is_some());
        let is_of_this_boot = |peer: &&PeerRef| self.state.peers.get(*peer).is_some_and(|kept| kept.same_boot);
        let away: Vec<_> = away.iter().filter(is_of_this_boot).collect();
        away.into_iter().for_each(|peer| self.lock_unseen(peer, reason));
        let mut faults = files::keep_lock_keys(&self.config, &mut self.state, Renew::All);
        let due = here.into_iter().map(|peer| (peer, reason.to_owned())).collect();
        faults.extend(self.lock(due, &seen).into_values());
        faults.extend(self.close_all(reason, &seen));
        if !at_boot {
            self.state.happened("lock", None, reason, clock::now());
        }
        faults.extend(self.save().err().map(|failure| failure.error));
        self.want_round();
        faults.sort();
        faults.dedup();
        faults
    }

    /// Opens a peer with a key that root has, for a time; one that the firewall alone holds back needs none. Returns what
    /// was done, in words.
    ///
    /// # Errors
    /// No peer or several peers of that name, or the interface did not take the key.
    pub fn open_by_root(
        &mut self,
        peer: &str,
        key: Option<PresharedKey>,
        time: Interval,
        reason: &str,
    ) -> Result<String, Failure> {
        let peer = self.state.find(peer)?;
        if self.state.is_by_firewall_alone(&peer) {
            return self.let_through_by_root(&peer, time, reason);
        }
        let key = key.ok_or_else(|| Failure::new(Exit::Usage, "that peer needs a key, and none came"))?;
        let name = self.state.name_of(&peer);
        let seen = Seen::one(&self.config, &peer.interface);
        let Some(own) = seen.public_key(&peer.interface).filter(|_| seen.peer(&peer).is_some()) else {
            return Err(Failure::new(Exit::Failed, format!("{name}: {} has no such peer now", peer.interface))
                .hint(format!("wg-quick up {}", peer.interface)));
        };
        let now = clock::now();
        let before = self.state.peers.clone();
        let kept = self.state.peers.get_mut(&peer).expect("it was found there");
        kept.held.hold = Hold::Override { deadline: now.plus_seconds(time.as_seconds()) };
        kept.held.fingerprint = key.fingerprint(&own, &peer.public_key);
        (kept.same_boot, kept.handshake_before) = (true, None);
        self.state.happened("override", Some(peer.clone()), reason, now);
        if let Err(failure) = self.save() {
            self.state.peers = before;
            return Err(failure);
        }
        let changes = Changes::from([(peer.interface.clone(), vec![(peer.public_key, key)])]);
        if let Some(why) = readd(&changes, EndpointRule::Keep).remove(&peer) {
            self.enforce();
            return Err(Failure::new(Exit::Failed, format!("{name}: {why}")));
        }
        self.point_out(&peer, &seen);
        self.keep_gate(&Seen::now(&self.config)); // with both ways the gate opens too
        self.want_round();
        Ok(format!("{name}: open for {time}; then it is locked again"))
    }

    /// Opens the policy's tier for a peer that the firewall alone holds back.
    fn let_through_by_root(&mut self, peer: &PeerRef, time: Interval, reason: &str) -> Result<String, Failure> {
        let name = self.state.name_of(peer);
        let before = self.state.grants.clone();
        let now = clock::now();
        self.state.grants.open_by_root(peer, now.plus_seconds(time.as_seconds()));
        self.state.happened("override", Some(peer.clone()), reason, now);
        let saved = self.save();
        if saved.is_ok() {
            self.keep_gate(&Seen::now(&self.config));
        }
        let not_open = || (!self.is_let_through(peer)).then(|| "no address of it is open".to_owned());
        if let Some(why) = saved.err().map(|failure| failure.error).or_else(|| self.gate_fault()).or_else(not_open) {
            self.state.grants = before;
            self.keep_gate(&Seen::now(&self.config));
            return Err(Failure::new(Exit::Failed, format!("{name}: {why}")));
        }
        self.want_round();
        Ok(format!("{name}: open for {time}; then it is closed again"))
    }

    /// Stops enforcing: the keys that were configured before wgmfa stand again in the files and on the interfaces.
    /// Returns what could not be done, in words. Done already, it changes nothing.
    ///
    /// # Errors
    /// The configured keys or the state cannot be read or written; nothing was changed.
    pub fn stand_down(&mut self, reason: &str) -> Result<Vec<String>, Failure> {
        if self.has_stood_down() {
            return Ok(Vec::new());
        }
        // those of peers that are not taken over now stay remembered: they stand nowhere else
        let (mut configured, others): (ConfiguredKeys, ConfiguredKeys) =
            self.store.configured_keys()?.into_iter().partition(|(peer, _)| self.has_taken_over(peer));
        let now = clock::now();
        self.state.stood_down = true;
        self.state.happened("stand-down", None, reason, now);
        self.save()?;
        let mut faults = Vec::new();
        let gated = std::mem::take(&mut self.state.gated);
        faults.extend(self.take_gate_away().err());
        for (_, pair) in self.pairs.iter().filter(|(peer, _)| !configured.contains_key(peer)) {
            let name = &pair.connection;
            faults.push(format!("{name}: its configured key is not known; it keeps the key that both ends use"));
        }
        for peer in self.state.peers.keys().filter(|peer| !configured.contains_key(peer)) {
            let name = self.state.name_of(peer);
            faults.push(format!("{name}: its configured key is not known; it stays locked until you set one with wg"));
        }
        let in_files = files::put_back(&self.config, &configured, &mut faults);
        let seen = Seen::now(&self.config);
        let mut changes = Changes::new();
        for (peer, key) in configured.iter().filter(|(peer, _)| seen.peer(peer).is_some()) {
            match key {
                Some(key) => {
                    changes.entry(peer.interface.clone()).or_default().push((peer.public_key, key.clone()));
                }
                None => faults.extend(take_key_out(&peer.interface, &peer.public_key).err()),
            }
        }
        faults.extend(readd(&changes, EndpointRule::Keep).into_values());
        if self.state.gate_stands {
            self.state.gated = gated;
        }
        configured.keys().for_each(|peer| self.point_out(peer, &seen));
        if faults.is_empty() {
            self.state.grants.clear();
            self.state.free.clear();
            self.state.peers.clear();
            self.pairs.clear();
            self.unproved.clear();
            configured.retain(|peer, _| !in_files.contains(peer));
            configured.extend(others);
            // In this order: a peer that is remembered as taken over must have its configured key remembered too.
            self.save()?;
            self.store.save_pairs(&self.pairs)?;
            self.store.save_configured_keys(&configured)?;
        }
        Ok(faults)
    }

    /// Root has had it stand down, and nothing of that is left to do.
    fn has_stood_down(&self) -> bool {
        self.state.stood_down && self.state.peers.is_empty() && self.pairs.is_empty() && !self.state.gate_stands
    }

    /// Whether the key of a peer is wgmfa's affair now.
    fn has_taken_over(&self, peer: &PeerRef) -> bool {
        self.state.peers.contains_key(peer) || self.pairs.contains_key(peer)
    }
}
