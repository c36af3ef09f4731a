//! Quiet: after whatever happened, everything must be as the policies say, by itself.

use std::collections::BTreeMap;

use wgmfa_core::rotation::Hold;

use super::key::Kind;
use super::ledger::Broken;
use super::login::{Attempted, Typed};
use super::site::{Place, Served};
use super::world::{CRON, World};

impl World {
    /// Nothing happens any more: everything runs, clocks are right, and time passes.
    pub fn calm_down(&mut self) -> Result<(), String> {
        for host in &mut self.hosts {
            (host.disk_full, host.fuse) = (false, None);
            host.starts = host.starts.min(self.now + 1000);
        }
        self.unreachable.iter_mut().for_each(|until| *until = self.now);
        self.bastion.fuse = None;
        self.bastion.starts = self.bastion.starts.min(self.now + 1000);
        self.hang_up_all();
        let by = -self.bastion.ahead;
        self.set_clock(by);
        // until the bastion's time has come again, the longest session is over, and all have come round
        let behind = self.bastion.time(self.now).duration_since(self.bastion.clock(self.now)).as_millis();
        self.pass(u64::try_from(behind).unwrap_or(0) + 1000, true)?;
        for _ in 0..8 {
            self.pass(100_000, true)?;
        }
        Ok(())
    }

    /// After quiet, no release is refused without a reason in the world, what a person gets is what the servers accept, and
    /// a session is renewed in place. A login may meet the very round in which a waiting key is replaced; the next one does
    /// not.
    pub fn everybody_gets_in(&mut self) -> Result<(), String> {
        for (device, user) in self.site.owners.clone().into_iter().enumerate() {
            if !self.site.places_of_device(device).iter().any(|place| self.is_open(*place)) {
                continue;
            }
            let (released, refused) = (self.ledger.releases, self.ledger.refusals.len());
            self.get_in(user, device)?;
            let first = self.sessions_of(device);
            self.pass(60_000, true)?;
            self.get_in(user, device)?;
            let second = self.sessions_of(device);
            self.pass(60_000, true)?;
            if self.ledger.releases == released {
                let why = &self.ledger.refusals[refused..];
                return Err(format!("device {device} gets nothing, and nothing stands in its way: {why:?}"));
            }
            for (place, before) in first.into_iter().filter(|(place, _)| self.hosts[place.0].resident) {
                if second.get(&place).is_none_or(|after| *after <= before) {
                    return Err(format!("{place:?}: generation {before} is not renewed in place: {second:?}"));
                }
            }
        }
        Ok(())
    }

    fn get_in(&mut self, user: usize, device: usize) -> Broken {
        let typed = Typed::App { steps_ago: 0 };
        self.log_in(Attempted { user, source: 200, device, password_right: true, typed, renews: true });
        self.finish_logins()?;
        for (place, generation) in self.sessions_of(device) {
            let (client, server) = (self.clients.key(place), self.hosts[place.0].slots[place.1]);
            if client != server {
                return Err(format!("{place:?}: {generation} is released, and {client:?} meets {server:?}"));
            }
        }
        Ok(())
    }

    /// Where somebody may come in.
    fn is_open(&self, place: Place) -> bool {
        self.served(place).is_some_and(Served::is_covered) && self.bastion.cut_off(&self.site, place).is_none()
    }

    fn served(&self, (host, peer): Place) -> Option<&Served> {
        let policies = self.bastion.keeper.as_ref()?.policies;
        Some(&self.site.served[policies][host][peer])
    }

    fn sessions_of(&self, device: usize) -> BTreeMap<Place, u64> {
        let places = self.site.places_of_device(device).iter();
        places.filter_map(|place| Some((*place, self.bastion.session(*place, self.now)?.0))).collect()
    }

    /// A session with handshakes goes on to its deadline, one without them is over before.
    pub fn who_is_idle_is_locked(&mut self) -> Broken {
        for (device, user) in self.site.owners.clone().into_iter().enumerate() {
            let places = self.site.places_of_device(device).to_vec();
            let timeout = |place: &Place| self.served(*place).filter(|_| self.is_open(*place))?.idle_timeout;
            let Some(timeout) = places.iter().find_map(timeout) else { continue };
            self.get_in(user, device)?;
            let began = self.sessions_of(device);
            for _ in 0..timeout / 60 + 1 {
                self.pass(60_000, true)?;
                places.iter().for_each(|(host, peer)| self.shake(*host, *peer));
            }
            if self.sessions_of(device) != began {
                return Err(format!(
                    "device {device} shakes hands, and of {began:?} remains {:?}",
                    self.sessions_of(device)
                ));
            }
            self.pass(timeout * 1000 + 2 * CRON, true)?;
            let remains = self.sessions_of(device);
            if !remains.is_empty() {
                return Err(format!("device {device} is idle, and {remains:?} goes on"));
            }
        }
        Ok(())
    }

    /// Rule 8, and the purpose of it all: once nothing happens any more, each connection is as its policy says.
    pub fn has_converged(&self) -> Broken {
        let policies = self.bastion.keeper.as_ref().ok_or("the keeper does not come back")?.policies;
        for place in self.site.places() {
            let (number, peer) = place;
            let host = &self.hosts[number];
            let served = &self.site.served[policies][number][peer];
            let record = self.bastion.store.records.get(&place);
            if self.bastion.store.disabled_hosts[number] {
                continue; // it is not heard, and locks when its interval is over
            }
            if !served.is_covered() && record.is_none() {
                continue;
            }
            let key = host.slots[peer].ok_or_else(|| format!("{place:?} has no preshared key"))?;
            if !served.is_covered() || self.bastion.cut_off(&self.site, place).is_some() {
                if record.is_some() && !matches!(key.kind, Kind::Lock) {
                    return Err(format!("{place:?} is not locked: {key:?}"));
                }
                continue;
            }
            let newest = record.and_then(|record| record.newest());
            let newest = newest.ok_or_else(|| format!("{place:?} has no generation"))?;
            if key.kind != Kind::Generation(newest.generation)
                || self.bastion.fingerprint(place) != Some(key.fingerprint)
            {
                return Err(format!("{place:?}: the bastion holds {newest:?}, the interface {key:?}"));
            }
            if let Some(agent) = &host.agent {
                let held = &agent.memory.peers[&peer].held;
                if !matches!(held.hold, Hold::Waiting { .. } | Hold::Open { .. }) {
                    return Err(format!("{place:?}: the agent holds {held:?}"));
                }
            }
        }
        Ok(())
    }
}
