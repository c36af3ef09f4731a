//! Keys that come from the bastion: on a person's machine those of its sessions, on a server one that an administrator
//! has set. A peer that is not there is never made.

use wgmfa_core::key::Fingerprint;
use wgmfa_core::message::agent::{Delivery, PeerRef, Role};
use wgmfa_core::rotation::{Held, Hold};
use wgmfa_wireguard::EndpointRule;

use super::{Agent, Step};
use crate::carry_out::{Changes, NotDone, change_in_place, point_out, readd};
use crate::clock;
use crate::files;
use crate::seen::Seen;
use crate::state::{Delivered, Kept};
use crate::store::ConfiguredKeys;

impl Agent {
    /// Puts a key on a peer.
    ///
    /// # Errors
    /// Why it does not stand there, in words.
    pub(super) fn take_delivery(&mut self, delivery: Delivery) -> Result<(), String> {
        let peer = delivery.which.peer.clone();
        let seen = Seen::one(&self.config, &peer.interface);
        let own = seen.public_key(&peer.interface).filter(|_| seen.peer(&peer).is_some());
        let own = own.ok_or_else(|| format!("{} has no such peer now", peer.interface))?;
        let fingerprint = delivery.preshared_key.fingerprint(&own, &peer.public_key);
        // no two servers change it together any more: nobody puts their last key back
        let was_pair = self.leave_pair(&peer).is_some();
        match delivery.role {
            Role::Client { .. } => self.put_as_client(&delivery, fingerprint, &seen),
            Role::Server { seconds_left } => self.put_as_server(&delivery, fingerprint, seconds_left, &seen),
            Role::Free => self.put_and_let_go(&delivery, was_pair, &seen),
        }?;
        self.overtake(&peer);
        if !matches!(delivery.role, Role::Server { .. }) {
            self.point_out(&peer, &seen);
        }
        self.changes.push(format!("{}: a key came from the bastion", delivery.connection));
        self.want_round(); // the report is what shows the bastion that the key stands here
        Ok(())
    }

    /// A lock has dropped the endpoint: what begins handshakes itself gets back the one in its interface's file.
    pub(super) fn point_out(&self, peer: &PeerRef, before: &Seen) {
        if before.peer(peer).is_some_and(|peer| peer.endpoint.is_none())
            && let Some(endpoint) = files::endpoint(&self.config, peer)
        {
            point_out(peer, &endpoint);
        }
    }

    /// Takes what the answer to a report delivers.
    pub(super) fn take_deliveries(&mut self, deliveries: Vec<Delivery>) {
        if matches!(self.step, Step::Reported { dry_run: true, .. }) {
            return;
        }
        for delivery in deliveries {
            let name = delivery.connection.clone();
            if let Err(why) = self.take_delivery(delivery) {
                self.faults.insert(format!("{name}: {why}"));
            }
        }
    }

    /// This host uses the key; at its deadline the other side stops accepting it, and nothing is to be done here.
    fn put_as_client(&mut self, delivery: &Delivery, fingerprint: Fingerprint, seen: &Seen) -> Result<(), String> {
        let peer = &delivery.which.peer;
        let Role::Client { seconds_left, in_place } = delivery.role else { return Ok(()) };
        match self.state.peers.get(peer).map(|kept| &kept.held.hold) {
            None => {}
            // it was the server side once, and the bastion says that it is the client side now
            Some(Hold::Locked { .. }) => drop(self.state.peers.remove(peer)),
            Some(_) => return Err("this host is the server side of that connection".to_owned()),
        }
        let observed = seen.fingerprint(peer);
        let before = self.state.delivered.get(peer).map(|delivered| delivered.fingerprint);
        let delivered = Delivered {
            connection: delivery.connection.clone(),
            generation: delivery.which.generation,
            fingerprint,
            deadline: Some(clock::now().plus_seconds(seconds_left)),
        };
        self.state.delivered.insert(peer.clone(), delivered);
        self.save().map_err(|failure| failure.error)?;
        if observed == Some(fingerprint) {
            return Ok(());
        }
        let changes = one_change(delivery);
        // with its endpoint, so that a handshake starts at once
        let not_done = if in_place && observed.is_some() && observed == before {
            change_in_place(&changes)
        } else {
            readd(&changes, EndpointRule::Keep)
        };
        done(not_done, peer)
    }

    /// This host accepts the key for a time.
    fn put_as_server(
        &mut self,
        delivery: &Delivery,
        fingerprint: Fingerprint,
        seconds_left: u64,
        seen: &Seen,
    ) -> Result<(), String> {
        let peer = &delivery.which.peer;
        let generation = delivery.which.generation;
        let highest = self.state.peers.get(peer).map_or(0, |kept| kept.held.generation);
        if generation <= highest {
            return Err(format!("generation {highest} was there already"));
        }
        let hold = Hold::Open { deadline: clock::now().plus_seconds(seconds_left) };
        let held = Held { generation, fingerprint, hold, rotation_interval: seconds_left };
        let before = self.state.peers.clone();
        let kept = self.state.peers.entry(peer.clone()).or_insert_with(|| Kept::new(held.clone()));
        (kept.held, kept.same_boot, kept.before) = (held, true, seen.fingerprint(peer));
        kept.connection.clone_from(&delivery.connection);
        if let Err(failure) = self.save() {
            self.state.peers = before;
            return Err(failure.error);
        }
        let outcome = done(readd(&one_change(delivery), EndpointRule::Drop), peer);
        match &outcome {
            Ok(()) => {
                self.made(&[(peer.clone(), String::new())]);
                self.unproved.insert(peer.clone(), None);
            }
            Err(why) => drop(self.lock(vec![(peer.clone(), why.clone())], seen)),
        }
        outcome
    }

    /// The key stays, also after a reboot, and nobody looks after the peer any more.
    fn put_and_let_go(&mut self, delivery: &Delivery, was_pair: bool, seen: &Seen) -> Result<(), String> {
        let peer = &delivery.which.peer;
        let kept = self.state.peers.remove(peer);
        self.state.delivered.remove(peer);
        self.unproved.remove(peer);
        self.save().map_err(|failure| failure.error)?;
        let outcome = done(readd(&one_change(delivery), EndpointRule::Keep), peer);
        if kept.is_none() && !was_pair {
            return outcome;
        }
        let lock_key = kept.as_ref().and_then(|kept| kept.file_key);
        if let Err(why) = outcome {
            if let Some(kept) = kept {
                self.state.peers.insert(peer.clone(), kept);
                self.lock(vec![(peer.clone(), why.clone())], seen);
            }
            return Err(why);
        }
        let in_file = files::configured(&self.config, std::iter::once(peer)).remove(peer).flatten();
        let of_pair = seen.peer(peer).and_then(|peer| peer.preshared_key.as_ref()).filter(|_| was_pair);
        let ours = in_file.is_some_and(|key| {
            of_pair == Some(&key) || lock_key.is_some_and(|ours| ours == files::file_fingerprint(&key, peer))
        });
        let mut faults = Vec::new();
        if ours {
            let keys = ConfiguredKeys::from([(peer.clone(), Some(delivery.preshared_key.clone()))]);
            files::put_back(&self.config, &keys, &mut faults);
        }
        let forgotten = self.store.configured_keys().and_then(|mut keys| {
            keys.remove(peer);
            self.store.save_configured_keys(&keys)
        });
        faults.extend(forgotten.err().map(|failure| failure.error));
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}

fn one_change(delivery: &Delivery) -> Changes {
    let peer = &delivery.which.peer;
    Changes::from([(peer.interface.clone(), vec![(peer.public_key, delivery.preshared_key.clone())])])
}

fn done(mut not_done: NotDone, peer: &PeerRef) -> Result<(), String> {
    not_done.remove(peer).map_or(Ok(()), Err)
}
