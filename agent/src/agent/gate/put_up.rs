//! The gate as this agent has put it up: what is to be changed about it, and whether it still stands.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::identity::Owners;
use wgmfa_core::gate::{Addresses, Layout, Opening};
use wgmfa_core::message::agent::{PeerRef, PeerTier};
use wgmfa_core::name::{InterfaceName, TierName};

use crate::config::Config;
use crate::gate::{self, Gate};

/// What is open, or is to be: for which peer, and until when.
pub(super) type Open = BTreeMap<(Addresses, TierName), (PeerRef, Boottime)>;

/// The gate of this host.
#[derive(Default)]
pub(in crate::agent) struct PutUp {
    backend: Option<Box<dyn Gate>>,
    /// What stands; none: that is not known, and it is made anew.
    layout: Option<Layout>,
    open: Open,
    /// Why it does not stand.
    fault: Option<String>,
    /// Why nobody is let through although it stands.
    bypassed: Option<String>,
    /// Whose the addresses of each interface were when it was last looked at.
    pub(super) owners: BTreeMap<InterfaceName, Owners>,
}

/// What was found when it was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Somebody had taken it down or changed it; why that is known.
    pub(super) disturbed: Option<String>,
    /// What is wrong now and was not before.
    pub(super) news: Option<String>,
}

impl PutUp {
    /// Makes it as it is to be: the whole of it when it is not as it was left, and otherwise only what is another now.
    pub(super) fn keep(&mut self, config: &Config, layout: Layout, wanted: Open, now: Boottime) -> Found {
        let before = (self.fault.take(), self.bypassed.clone());
        let mut found = Found::default();
        let made = self.make(config).and_then(|()| {
            let backend = self.backend.as_mut().expect("it was made");
            self.bypassed = backend.bypassed();
            let wanted = if self.bypassed.is_some() { Open::new() } else { wanted };
            if self.layout.as_ref() == Some(&layout) && before.0.is_none() {
                match backend.intact() {
                    Ok(()) => return self.change(wanted, now),
                    Err(why) => found.disturbed = Some(why),
                }
            }
            self.install(layout, wanted, now)
        });
        self.fault = made.err();
        if (&self.fault, &self.bypassed) != (&before.0, &before.1) {
            found.news = self.refusal();
        }
        found
    }

    /// Makes what is open on one interface as it is to be, when the gate stands.
    ///
    /// # Errors
    /// Why it is not, in words.
    pub(super) fn keep_one(
        &mut self,
        interface: &InterfaceName,
        mut wanted: Open,
        now: Boottime,
    ) -> Result<(), String> {
        if let Some(why) = self.refusal() {
            return Err(why);
        }
        let others = self.open.iter().filter(|((addresses, _), _)| addresses.interface != *interface);
        wanted.extend(others.map(|(which, open)| (which.clone(), open.clone())));
        let changed = self.change(wanted, now);
        if let Err(why) = &changed {
            self.fault = Some(why.clone());
        }
        changed
    }

    /// Takes it away.
    ///
    /// # Errors
    /// Why it still stands, in words.
    pub(super) fn remove(&mut self, config: &Config) -> Result<(), String> {
        self.make(config)?;
        self.backend.as_mut().expect("it was made").remove()?;
        *self = Self::default();
        Ok(())
    }

    /// Why nobody can be let through now, if that is so.
    pub(super) fn refusal(&self) -> Option<String> {
        let not_yet = self.layout.is_none().then(|| "the gate does not stand".to_owned());
        let fault = self.fault.as_ref().map(|why| format!("the gate does not stand: {why}"));
        fault.or(not_yet).or_else(|| self.bypassed.as_ref().map(|why| format!("the gate lets nobody through: {why}")))
    }

    /// Which tiers are open.
    pub(in crate::agent) fn open_tiers(&self) -> BTreeSet<PeerTier> {
        let tier = |((_, tier), (peer, _)): (&(Addresses, TierName), &(PeerRef, Boottime))| PeerTier {
            peer: peer.clone(),
            tier: tier.clone(),
        };
        self.open.iter().map(tier).collect()
    }

    /// Until when each tier of a peer is open.
    pub(super) fn open_for(&self, peer: &PeerRef) -> BTreeMap<TierName, Boottime> {
        let own = self.open.iter().filter(|(_, (whose, _))| whose == peer);
        own.map(|((_, tier), (_, until))| (tier.clone(), *until)).collect()
    }

    /// Whether it is known that nothing is open for a peer.
    pub(super) fn is_shut_for(&self, peer: &PeerRef) -> bool {
        self.layout.is_some() && self.open_for(peer).is_empty()
    }

    /// Whether it is not as it was left: then all of it is to be looked at. This reads what [`PutUp::watch`] tells of.
    pub(super) fn is_disturbed(&mut self) -> bool {
        let Some(backend) = &mut self.backend else { return false };
        backend.intact().is_err() || backend.bypassed() != self.bypassed
    }

    /// A descriptor that becomes readable when somebody changes the firewall; its owner then has the gate looked at.
    pub(in crate::agent) fn watch(&self) -> Option<OwnedFd> {
        self.backend.as_ref()?.changed()?.try_clone_to_owned().ok()
    }

    fn make(&mut self, config: &Config) -> Result<(), String> {
        if self.backend.is_none() {
            self.backend = Some(gate::backend(config.gate, &config.state_dir)?);
        }
        Ok(())
    }

    fn install(&mut self, layout: Layout, wanted: Open, now: Boottime) -> Result<(), String> {
        (self.layout, self.open) = (None, Open::new());
        let openings: Vec<_> = wanted.iter().map(|(which, open)| opening(which, open.1, now)).collect();
        let backend = self.backend.as_mut().expect("it was made");
        let made = backend.install(&layout, &openings);
        if made.is_ok() || backend.intact().is_ok() {
            (self.layout, self.open) = (Some(layout), wanted);
        } else if backend.install(&layout, &[]).is_ok() {
            // what stood before may have let somebody through who is to be kept out: rather nobody passes
            self.layout = Some(layout);
        }
        made
    }

    fn change(&mut self, wanted: Open, now: Boottime) -> Result<(), String> {
        let close: Vec<_> = self.open.keys().filter(|which| !wanted.contains_key(*which)).cloned().collect();
        let is_new = |(which, open): &(&(Addresses, TierName), &(PeerRef, Boottime))| {
            self.open.get(*which).is_none_or(|known| known.1 != open.1)
        };
        let open: Vec<_> = wanted.iter().filter(is_new).map(|(which, open)| opening(which, open.1, now)).collect();
        if !(open.is_empty() && close.is_empty())
            && let Err(why) = self.backend.as_mut().expect("it stands").change(&open, &close)
        {
            // what stands now is not known
            self.layout = None;
            return Err(why);
        }
        self.open = wanted;
        Ok(())
    }
}

fn opening(which: &(Addresses, TierName), until: Boottime, now: Boottime) -> Opening {
    Opening { addresses: which.0.clone(), tier: which.1.clone(), left: until.since(now) }
}

#[cfg(test)]
mod tests;
