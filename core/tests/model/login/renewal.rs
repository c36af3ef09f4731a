//! What becomes of the keys that a login has released: servers hear of it, sessions that are renewed change to their
//! next generation, and the client uses what is in force (`bastion/src/keeper/renewal.rs`, `client/src/sync.rs`).

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::release::{SAME_GENERATION_SECONDS, is_next_due};

use super::release::Offer;
use super::{CONFIRM_WITHIN, Login, Stage, Told};
use crate::bastion::Bastion;
use crate::client::Given;
use crate::key::Key;
use crate::ledger::Happened;
use crate::network::Down;
use crate::site::Place;

/// A key that is recorded as released, on its way to the person.
#[derive(Debug, Clone)]
pub struct Handed {
    pub place: Place,
    pub generation: u64,
    pub key: Key,
    pub deadline: Timestamp,
    /// Above which generation the next one is, if the session is to change to another.
    pub above: Option<u64>,
    /// The order that the agent has not answered.
    pub asked: Option<u64>,
    pub next: Option<(u64, Key)>,
    /// The server side accepts the next generation, and only that.
    pub changed: bool,
}

impl Login {
    /// Above which generation the next one of a session is, if it should change to another.
    pub(super) fn next_above(&self, bastion: &Bastion, place: Place, time: Timestamp) -> Option<u64> {
        let record = bastion.store.records.get(&place)?;
        let released = record.current.as_ref()?.renewed_at;
        let due = is_next_due(released, time, SignedDuration::from_secs(SAME_GENERATION_SECONDS));
        (self.attempted.renews && due).then_some(record.highest)
    }

    /// Whether it waits for the answer to this order.
    pub fn waits_for(&self, id: u64) -> bool {
        self.handed().is_some_and(|keys| keys.iter().any(|key| key.asked == Some(id)))
    }

    fn handed(&self) -> Option<&Vec<Handed>> {
        match &self.stage {
            Stage::Telling { keys, .. } | Stage::MakingNext { keys, .. } | Stage::Changing { keys, .. } => Some(keys),
            _ => None,
        }
    }

    fn asked(&mut self, id: u64) -> Option<&mut Handed> {
        match &mut self.stage {
            Stage::Telling { keys, .. } | Stage::MakingNext { keys, .. } | Stage::Changing { keys, .. } => {
                keys.iter_mut().find(|key| key.asked == Some(id))
            }
            _ => None,
        }
    }

    /// An agent has answered an order to open.
    pub fn answered(&mut self, id: u64, refused: Option<&str>, happened: &mut Vec<Happened>) {
        let refuse = |place, happened: &mut Vec<Happened>| {
            let reason = refused.unwrap_or_default().to_owned();
            happened.push(Happened::Refused { place, reason });
        };
        match &mut self.stage {
            Stage::Opening { offers, .. } => {
                for offer in offers.iter_mut().filter(|offer| offer.asked == Some(id)) {
                    (offer.asked, offer.told) = (None, refused.is_none());
                }
                if refused.is_some() {
                    let gone = |offer: &Offer| !offer.told && offer.asked.is_none();
                    offers.iter().filter(|offer| gone(offer)).for_each(|offer| refuse(offer.place, happened));
                    offers.retain(|offer| !gone(offer));
                }
            }
            Stage::Telling { keys, .. } => {
                if refused.is_some() {
                    let is_it = |key: &&Handed| key.asked == Some(id);
                    keys.iter().filter(is_it).for_each(|key| refuse(key.place, happened));
                    keys.retain(|key| key.asked != Some(id));
                } else {
                    keys.iter_mut().filter(|key| key.asked == Some(id)).for_each(|key| key.asked = None);
                }
            }
            _ => {}
        }
    }

    /// A server has made the next generation of a session, and it is on disk; or it has none.
    pub fn next_made(&mut self, id: u64, next: Option<(u64, Key)>) {
        if let Some(key) = self.asked(id) {
            (key.asked, key.next) = (None, next);
        }
    }

    /// A server goes on with the next generation, or not.
    pub fn changed(&mut self, id: u64, noted: bool) {
        if let Some(key) = self.asked(id) {
            (key.asked, key.changed) = (None, noted);
        }
    }

    /// The person's line is lost: the client uses what it has got, if it has got anything, and does not hear the rest.
    pub fn hang_up(self, arrived: bool) -> Vec<Given> {
        match self.stage {
            Stage::Given { keys, .. } if arrived => keys.into_iter().map(Given::from).collect(),
            // what the servers have changed to, it does not hear
            Stage::Changing { keys, .. } => {
                keys.into_iter().map(|key| Given::from(Handed { changed: false, ..key })).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes the next step after the release.
    pub(super) fn go_on(
        &mut self,
        stage: Stage,
        bastion: &mut Bastion,
        residents: &[bool],
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Told {
        let mut told = Told::new();
        let mut order = |bastion: &mut Bastion, place: Place, message: &dyn Fn(u64) -> Down| {
            let id = bastion.next_id();
            told.push((place.0, message(id)));
            residents[place.0].then_some(id)
        };
        self.stage = match stage {
            stage @ (Stage::Telling { .. } | Stage::MakingNext { .. } | Stage::Changing { .. })
                if stage.is_waiting(now) =>
            {
                stage
            }
            Stage::Telling { at, mut keys, .. } => {
                for key in &mut keys {
                    if key.asked.take().is_some() {
                        order(bastion, key.place, &|_| Down::Round); // who has not confirmed
                    }
                    let peer = key.place.1;
                    key.asked =
                        key.above.and_then(|above| order(bastion, key.place, &|id| Down::MakeNext { id, peer, above }));
                }
                Stage::MakingNext { at, keys, until: now + CONFIRM_WITHIN }
            }
            Stage::MakingNext { at, mut keys, .. } => {
                for key in &mut keys {
                    key.asked = None;
                    if let Some((generation, _)) = key.next {
                        let (login, place) = (self.id, key.place);
                        happened.push(Happened::Promised { login, place, generation });
                    }
                }
                Stage::Given { at, keys }
            }
            Stage::Given { at, mut keys } => {
                let time = bastion.time(now);
                for key in &mut keys {
                    let seconds_left = u64::try_from(key.deadline.duration_since(time).as_secs()).unwrap_or(0);
                    let peer = key.place.1;
                    key.asked = key.next.and_then(|(generation, _)| {
                        order(bastion, key.place, &|id| Down::ChangeTo { id, peer, generation, seconds_left })
                    });
                }
                Stage::Changing { at, keys, until: now + CONFIRM_WITHIN }
            }
            Stage::Changing { at, keys, .. } => {
                self.applied = keys.into_iter().map(Given::from).collect();
                Stage::Passed { at }
            }
            other => other,
        };
        told
    }
}

impl Stage {
    /// Some agent has not answered yet, and still may.
    fn is_waiting(&self, now: u64) -> bool {
        match self {
            Self::Telling { keys, until, .. }
            | Self::MakingNext { keys, until, .. }
            | Self::Changing { keys, until, .. } => keys.iter().any(|key| key.asked.is_some()) && now < *until,
            _ => false,
        }
    }
}

impl From<Handed> for Given {
    fn from(key: Handed) -> Self {
        let Handed { place, generation, key, next, changed, .. } = key;
        Self { place, generation, key, next, changed }
    }
}
