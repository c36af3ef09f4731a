//! The grants of one host: which tiers of which peers are open, until when, and when they are over before that.
//!
//! The bastion says what is granted. Out of contact a grant lasts until its own deadline and never longer; after a reboot
//! nothing is open until the bastion has said what is left.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::boottime::Boottime;
use crate::gate::{GateAssignment, TierLeft};
use crate::message::agent::PeerRef;
use crate::message::sync::PolicyRef;
use crate::name::TierName;
use crate::rotation::Idle;
use crate::tier::Tiers;

/// A deadline that the bastion tells again, in whole seconds, differs from the one that is known by so many milliseconds:
/// earlier by what rounding and the way take away, or later.
const SAME: (u64, u64) = (3000, 1000);

/// Every peer of this host that a policy enforces by the firewall, as last told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Row>", into = "Vec<Row>")]
pub struct Grants(BTreeMap<PeerRef, Gated>);

/// What is known of one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gated {
    /// The connection's name, for people.
    pub connection: String,
    /// What people call the other end.
    pub other: String,
    /// The policy.
    pub policy: PolicyRef,
    /// The tier that it gives.
    pub tier: TierName,
    /// After how long without a new handshake a grant is over, in seconds.
    #[serde(default)]
    pub idle_timeout: Option<u64>,
    /// Its tier is open while the key's session runs.
    #[serde(default)]
    pub with_key: bool,
    /// Why nobody may come in.
    #[serde(default)]
    pub cut_off: Option<String>,
    /// Until when each tier is open, in this boot.
    #[serde(default)]
    pub open: BTreeMap<TierName, Boottime>,
    /// Until when root has opened the policy's tier, in this boot.
    #[serde(default)]
    pub by_root: Option<Boottime>,
    /// The addresses for which it was opened.
    #[serde(default)]
    pub addresses: BTreeSet<IpNet>,
    /// When it last gave a sign of life.
    #[serde(default)]
    pub alive: Option<Alive>,
}

/// When a peer last gave a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// When a grant was made, or its latest handshake was seen to change, in this boot.
    pub since: Boottime,
    /// The latest handshake, as a number that only must differ from another one's.
    pub handshake: Option<u64>,
}

/// What the gateway sees of a peer at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What would be opened for it.
    pub addresses: BTreeSet<IpNet>,
    /// Its latest handshake, as a number.
    pub handshake: Option<u64>,
}

/// Tiers that are over before their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Whose.
    pub peer: PeerRef,
    /// Which.
    pub tiers: BTreeSet<TierName>,
    /// Why, in words.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    peer: PeerRef,
    #[serde(flatten)]
    gated: Gated,
}

impl From<Vec<Row>> for Grants {
    fn from(rows: Vec<Row>) -> Self {
        Self(rows.into_iter().map(|row| (row.peer, row.gated)).collect())
    }
}

impl From<Grants> for Vec<Row> {
    fn from(grants: Grants) -> Self {
        grants.0.into_iter().map(|(peer, gated)| Row { peer, gated }).collect()
    }
}

impl Grants {
    /// What is known of a peer; none: no policy enforces it by the firewall.
    pub fn get(&self, peer: &PeerRef) -> Option<&Gated> {
        self.0.get(peer)
    }

    /// Each peer.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerRef, &Gated)> {
        self.0.iter()
    }

    /// Nobody is held back any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Another boot: nothing is open, whatever was.
    pub fn rebooted(&mut self) {
        for gated in self.0.values_mut() {
            (gated.open, gated.by_root, gated.alive) = (BTreeMap::new(), None, None);
            gated.addresses.clear();
        }
    }

    /// What the bastion says about every peer, as an answer to what was asked at `asked`: whatever it does not list is
    /// closed. Of the `overtaken` peers it said something newer meanwhile; only that one of them is cut off counts.
    pub fn follow(
        &mut self,
        told: &[GateAssignment],
        overtaken: &BTreeSet<PeerRef>,
        asked: Boottime,
        now: Boottime,
    ) -> Vec<Closing> {
        let mut before = std::mem::take(&mut self.0);
        let mut closings = Vec::new();
        for one in told {
            let known = before.remove(&one.peer);
            let known_open = known.as_ref().map(|known| known.open.clone()).unwrap_or_default();
            let newer = overtaken.contains(&one.peer) && one.cut_off.is_none();
            let open = if newer { known_open.clone() } else { told_open(one, &known_open, asked, now) };
            let closed: BTreeSet<_> = known_open.keys().filter(|tier| !open.contains_key(*tier)).cloned().collect();
            if !closed.is_empty() {
                let reason = one.cut_off.clone().unwrap_or_else(|| "the bastion has no grant any more".to_owned());
                closings.push(Closing { peer: one.peer.clone(), tiers: closed, reason });
            }
            let begins = open.keys().any(|tier| !known_open.contains_key(tier));
            let known = known.as_ref();
            let gated = Gated {
                connection: one.connection.clone(),
                other: one.other.clone(),
                policy: one.policy.clone(),
                tier: one.tier.clone(),
                // a grant goes on as it began
                idle_timeout: known
                    .filter(|_| !begins && !open.is_empty())
                    .map_or(one.idle_timeout, |known| known.idle_timeout),
                with_key: one.with_key,
                cut_off: one.cut_off.clone(),
                by_root: known.and_then(|known| known.by_root).filter(|_| one.cut_off.is_none()),
                addresses: known.map(|known| known.addresses.clone()).unwrap_or_default(),
                alive: match known.and_then(|known| known.alive) {
                    Some(alive) if !begins => Some(alive),
                    alive => Some(Alive { since: now, handshake: alive.and_then(|alive| alive.handshake) }),
                }
                .filter(|_| !open.is_empty()),
                open,
            };
            self.0.insert(one.peer.clone(), gated);
        }
        for (peer, gated) in before.into_iter().filter(|(_, gated)| !gated.open.is_empty()) {
            let reason = "no policy enforces it by the firewall any more".to_owned();
            closings.push(Closing { peer, tiers: gated.open.into_keys().collect(), reason });
        }
        closings
    }

    /// A grant of the bastion's. A renewal never shortens.
    ///
    /// # Errors
    /// Why it is not one for this host, in words.
    pub fn grant(&mut self, peer: &PeerRef, tier: &TierName, deadline: Boottime, now: Boottime) -> Result<(), String> {
        let gated =
            self.0.get_mut(peer).ok_or("no policy enforces that peer by the firewall, as far as this host knows")?;
        if let Some(reason) = &gated.cut_off {
            return Err(format!("cut off: {reason}"));
        }
        if deadline <= now {
            return Err("the order came too late".to_owned());
        }
        let until = gated.open.entry(tier.clone()).or_insert(deadline);
        *until = (*until).max(deadline);
        // A login is a sign of life too.
        gated.alive = Some(Alive { since: now, handshake: gated.alive.and_then(|alive| alive.handshake) });
        Ok(())
    }

    /// Root opens the policy's tier until then.
    pub fn open_by_root(&mut self, peer: &PeerRef, deadline: Boottime) {
        if let Some(gated) = self.0.get_mut(peer) {
            gated.by_root = Some(deadline);
        }
    }

    /// Closes everything of a peer; what was open comes back.
    pub fn close(&mut self, peer: &PeerRef) -> BTreeSet<TierName> {
        let Some(gated) = self.0.get_mut(peer) else { return BTreeSet::new() };
        let mut tiers: BTreeSet<_> = std::mem::take(&mut gated.open).into_keys().collect();
        tiers.extend(gated.by_root.take().map(|_| gated.tier.clone()));
        gated.alive = None;
        gated.addresses.clear();
        tiers
    }

    /// Closes the tiers of a peer that its policy, as last told, does not give any more.
    pub fn close_foreign(&mut self, peer: &PeerRef, tiers: &Tiers) -> Option<Closing> {
        let gated = self.0.get_mut(peer)?;
        let is_foreign = |tier: &TierName| tiers.get(tier).is_some() && !tiers.gives(&gated.tier, tier);
        let foreign: BTreeSet<_> = gated.open.keys().filter(|tier| is_foreign(tier)).cloned().collect();
        gated.open.retain(|tier, _| !foreign.contains(tier));
        let reason = || format!("the policy gives {} now", gated.tier);
        (!foreign.is_empty()).then(|| Closing { peer: peer.clone(), reason: reason(), tiers: foreign })
    }

    /// Looks at a peer of an interface that is there; `sight` is none when the interface does not have it any more. A peer
    /// that gave no sign of life for too long, or whose addresses are not all its own any more, loses everything.
    pub fn look(&mut self, peer: &PeerRef, sight: Option<&Sight>, now: Boottime) -> Option<Closing> {
        let gated = self.0.get_mut(peer)?;
        if gated.open.is_empty() && gated.by_root.is_none() {
            gated.addresses.clear();
            return None;
        }
        let reason = match sight {
            None => Some("changed hands: the peer is gone from the interface".to_owned()),
            Some(sight) => match lost(&gated.addresses, &sight.addresses) {
                Some(lost) => Some(format!("changed hands: {lost} is not its address any more")),
                None => gated.idled(sight, now),
            },
        };
        if let Some(reason) = reason {
            return Some(Closing { peer: peer.clone(), tiers: self.close(peer), reason });
        }
        gated.addresses = sight.map(|sight| sight.addresses.clone()).unwrap_or_default();
        None
    }

    /// Takes out what is past its deadline: those tiers simply are closed.
    pub fn expire(&mut self, now: Boottime) -> Vec<(PeerRef, TierName)> {
        let mut over = Vec::new();
        for (peer, gated) in &mut self.0 {
            if gated.by_root.is_some_and(|deadline| deadline <= now) {
                gated.by_root = None;
                if !gated.open.contains_key(&gated.tier) {
                    over.push((peer.clone(), gated.tier.clone()));
                }
            }
            gated.open.retain(|tier, deadline| {
                let goes_on = *deadline > now;
                if !goes_on {
                    over.push((peer.clone(), tier.clone()));
                }
                goes_on
            });
        }
        over
    }

    /// Which tiers of a peer are open now, each until then. `session` is when the session of the peer's key is over; none:
    /// there is none.
    pub fn open(&self, peer: &PeerRef, session: Option<Boottime>, now: Boottime) -> BTreeMap<TierName, Boottime> {
        let Some(gated) = self.0.get(peer).filter(|gated| gated.cut_off.is_none()) else { return BTreeMap::new() };
        let session = session.filter(|until| *until > now);
        if gated.with_key && session.is_none() {
            return BTreeMap::new();
        }
        let mut open = gated.open.clone();
        let more = [session.filter(|_| gated.with_key), gated.by_root];
        for until in more.into_iter().flatten() {
            let known = open.entry(gated.tier.clone()).or_insert(until);
            *known = (*known).max(until);
        }
        open.retain(|_, until| *until > now);
        if let (true, Some(session)) = (gated.with_key, session) {
            // without the key nothing passes the tunnel
            open.values_mut().for_each(|until| *until = (*until).min(session));
        }
        open
    }

    /// When something is over if nothing happens.
    pub fn next_deadline(&self, now: Boottime) -> Option<Boottime> {
        let moments = |gated: &Gated| {
            let idle = gated.idle().map(|idle| idle.over());
            let own = gated.open.values().copied().chain(gated.by_root).chain(idle);
            own.collect::<Vec<_>>()
        };
        self.0.values().flat_map(moments).filter(|moment| *moment > now).min()
    }
}

impl Gated {
    /// For how many seconds more root has opened the policy's tier.
    pub fn opened_by_root_for(&self, now: Boottime) -> Option<u64> {
        self.by_root.filter(|until| *until > now).map(|until| until.since(now).as_secs())
    }

    fn idle(&self) -> Option<Idle> {
        let alive = self.alive.filter(|_| !self.open.is_empty())?;
        self.idle_timeout.map(|timeout| Idle { since: alive.since, timeout })
    }

    /// Notes the latest handshake; says why its grants are over for want of another one, if they are.
    fn idled(&mut self, sight: &Sight, now: Boottime) -> Option<String> {
        match &mut self.alive {
            Some(alive) if alive.handshake != sight.handshake => {
                *alive = Alive { since: now, handshake: sight.handshake };
            }
            Some(_) => {}
            alive => *alive = Some(Alive { since: now, handshake: sight.handshake }),
        }
        self.idle().filter(|idle| idle.over() <= now).map(|idle| idle.reason())
    }
}

/// What a peer had and has not any more. The same addresses may be cut into other networks: that takes nothing away.
fn lost(known: &BTreeSet<IpNet>, now: &BTreeSet<IpNet>) -> Option<IpNet> {
    let mut missing = known.difference(now).peekable();
    missing.peek()?;
    let now = IpNet::aggregate(&now.iter().copied().collect::<Vec<_>>());
    missing.find(|network| !now.iter().any(|own| own.contains(*network))).copied()
}

/// The deadlines that the bastion tells; one that is known already stays as it is, so that nothing is done about it.
fn told_open(
    one: &GateAssignment,
    known: &BTreeMap<TierName, Boottime>,
    asked: Boottime,
    now: Boottime,
) -> BTreeMap<TierName, Boottime> {
    if one.cut_off.is_some() {
        return BTreeMap::new();
    }
    let deadline = |grant: &TierLeft| {
        // The answer was written after the question was asked: what the way took is not added.
        let told = asked.plus_seconds(grant.seconds_left);
        let is_same = |known: &Boottime| {
            let (told, known) = (told.as_millis(), known.as_millis());
            told.saturating_add(SAME.0) >= known && told <= known.saturating_add(SAME.1)
        };
        known.get(&grant.tier).copied().filter(is_same).unwrap_or(told)
    };
    let open = one.grants.iter().map(|grant| (grant.tier.clone(), deadline(grant)));
    open.filter(|(_, deadline)| *deadline > now).collect()
}

#[cfg(test)]
mod tests;
