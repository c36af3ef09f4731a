//! What a login releases (`bastion/src/keeper/release.rs`, `bastion/src/store/release.rs`).

use jiff::SignedDuration;
use wgmfa_core::release::{
    Admission, Decision, Facts, Hears, Phase as Standing, RELEASE_WINDOW_SECONDS, decide, may_spend,
};

use super::renewal::Handed;
use super::{Attempted, CONFIRM_WITHIN, Login, Stage, Told};
use crate::bastion::{Bastion, LoginRow};
use crate::host::Died;
use crate::ledger::{Happened, Item};
use crate::network::Down;
use crate::site::{Place, Site};

/// A connection whose key may be released.
#[derive(Debug, Clone)]
pub struct Offer {
    pub(super) place: Place,
    generation: u64,
    seconds_left: u64,
    renewal: bool,
    /// Above which generation the next one is, if the session is to change to another.
    above: Option<u64>,
    /// The order that the agent has not answered.
    pub(super) asked: Option<u64>,
    pub(super) told: bool,
}

impl Login {
    /// Decides about each connection of the device, and has the servers open.
    pub(super) fn offer(
        &mut self,
        bastion: &mut Bastion,
        site: &Site,
        residents: &[bool],
        at: u64,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Told, Died> {
        let places = site.places_of_device(self.attempted.device);
        let mine = places.iter().all(|place| site.person(*place) == Some(self.attempted.user));
        if now - at > RELEASE_WINDOW_SECONDS.unsigned_abs() * 1000 || !mine {
            return Ok(Told::new());
        }
        bastion.expire(now, happened)?;
        let (time, policies) = (bastion.time(now), bastion.keeper().policies);
        let (mut offers, mut told) = (Vec::new(), Told::new());
        for place in places.iter().copied() {
            let facts = Facts {
                cover: site.served[policies][place.0][place.1].cover.clone(),
                cut_off: bastion.cut_off(site, place),
                newest: bastion.store.records.get(&place).and_then(|record| record.newest()),
                unheard: bastion.unheard(place.0, now),
                hears: match (residents[place.0], bastion.is_on_time(place.0, now)) {
                    (true, _) => Hears::Asked,
                    (false, true) => Hears::ComesBy,
                    (false, false) => Hears::NotReached("gw".to_owned()),
                },
                next_round: "its next round is to come".to_owned(),
            };
            match decide(&facts, time) {
                Decision::Grant { generation, seconds_left, renewal, .. } => {
                    let above = self.next_above(bastion, place, time);
                    let asked = (!renewal && residents[place.0]).then(|| {
                        let (id, peer) = (bastion.next_id(), place.1);
                        told.push((place.0, Down::Open { id, peer, generation, seconds_left }));
                        id
                    });
                    offers.push(Offer { place, generation, seconds_left, renewal, above, asked, told: false });
                }
                Decision::Refuse(reason) => happened.push(Happened::Refused { place, reason }),
                Decision::Pass | Decision::Open { .. } => {}
            }
        }
        let row = bastion.store.logins.get(&self.id).and_then(LoginRow::facts);
        if !offers.is_empty() && matches!(may_spend(row, time), Admission::Admit) {
            self.stage = Stage::Opening { at, offers, until: now + CONFIRM_WITHIN };
            return Ok(told);
        }
        Ok(Told::new())
    }

    /// Records the release, all of it in one change of the store, and tells the servers that have not confirmed.
    pub(super) fn release(
        &mut self,
        bastion: &mut Bastion,
        site: &Site,
        residents: &[bool],
        offers: Vec<Offer>,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Told, Died> {
        let Attempted { user, device, .. } = self.attempted;
        let time = bastion.write(now)?;
        let row = bastion.store.logins.get(&self.id).filter(|row| row.user == user).and_then(LoginRow::facts);
        let person = &bastion.store.people[user];
        let mine = !bastion.store.disabled_devices[device] && !person.disabled;
        if !matches!(may_spend(row, time), Admission::Admit) || !mine {
            return Ok(Told::new());
        }
        let (mut items, mut keys, mut told) = (Vec::new(), Vec::new(), Told::new());
        for offer in offers {
            let Offer { place, generation, seconds_left, renewal, above, .. } = offer;
            let cut_off = bastion.cut_off(site, place).is_some();
            let Some(record) = bastion.store.records.get(&place).filter(|_| !cut_off) else { continue };
            let highest = record.highest;
            let fits = |phase: Standing| match phase {
                Standing::Applied => generation == highest,
                Standing::Released { deadline } => deadline > time,
                Standing::Deposited | Standing::Expired => false,
            };
            let current = record.current.as_ref();
            let current = current.filter(|current| current.generation == generation && fits(current.phase));
            let Some(current) = current else {
                let reason = "the server does not accept it yet, or not any more".to_owned();
                happened.push(Happened::Refused { place, reason });
                continue;
            };
            let asked_for = time + SignedDuration::from_secs(i64::try_from(seconds_left).unwrap());
            let deadline = match current.phase {
                Standing::Released { deadline } => deadline.max(asked_for),
                _ => asked_for,
            };
            let key = current.key;
            bastion.release(place, deadline, time);
            items.push(Item { place, generation, seconds: seconds_left });
            let mut asked = None;
            if renewal {
                let id = bastion.next_id();
                asked = residents[place.0].then_some(id);
                told.push((place.0, Down::Open { id, peer: place.1, generation, seconds_left }));
            } else if !offer.told {
                told.push((place.0, Down::Round));
            }
            let above = above.filter(|_| renewal);
            keys.push(Handed { place, generation, key, deadline, above, asked, next: None, changed: false });
        }
        if let Stage::Passed { at } = self.stage
            && !items.is_empty()
        {
            bastion.store.logins.get_mut(&self.id).expect("it may release").released = true;
            happened.push(Happened::Released { login: self.id, user, device, items, at: now });
            self.stage = Stage::Telling { at, keys, until: now + CONFIRM_WITHIN };
        }
        Ok(told)
    }
}
