//! Quiet: after whatever happened, everything must be as the policies say, by itself.

use wgmfa_core::rotation::Hold;

use super::key::Kind;
use super::ledger::Broken;
use super::login::{Attempted, Typed};
use super::world::World;

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
        if let Some(keeper) = &mut self.bastion.keeper {
            keeper.logins.clear(); // people hang up
        }
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

    /// After quiet, no release is refused without a reason in the world. A login may meet the very round in which a
    /// waiting key is replaced; the next one does not.
    pub fn everybody_gets_in(&mut self) -> Result<(), String> {
        for (device, user) in self.site.owners.clone().into_iter().enumerate() {
            let policies = self.bastion.keeper.as_ref().expect("it runs").policies;
            let open = |(host, peer): &(usize, usize)| {
                self.site.served[policies][*host][*peer].is_covered()
                    && self.bastion.cut_off(&self.site, (*host, *peer)).is_none()
            };
            if !self.site.places_of_device(device).iter().any(open) {
                continue;
            }
            let (released, refused) = (self.ledger.releases, self.ledger.refusals.len());
            for _ in 0..2 {
                let typed = Typed::App { steps_ago: 0 };
                self.log_in(Attempted { user, source: 200, device, password_right: true, typed });
                self.finish_logins()?;
                self.pass(60_000, true)?;
            }
            if self.ledger.releases == released {
                let why = &self.ledger.refusals[refused..];
                return Err(format!("device {device} gets nothing, and nothing stands in its way: {why:?}"));
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
