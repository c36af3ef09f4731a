//! Tiers that open without a key, by a login over SSH or an administrator's override: recorded, then opened.

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use wgmfa_core::connection::Connection;
use wgmfa_core::message::agent::PeerTier;
use wgmfa_core::message::sync::{GrantedTier, PolicyRef, RefusedKey};
use wgmfa_core::name::TierName;
use wgmfa_core::state::KeyState;

use crate::keeper::agent::{Ask, confirm_within};
use crate::keeper::{Keeper, seconds_until};
use crate::store::{Actor, Grant, Place, StoreError, WantedTier};

/// A tier that may be opened for a peer.
#[derive(Debug, Clone)]
pub struct TierOffer {
    /// The connection.
    pub connection: Connection,
    /// The peer at its gateway.
    pub place: Place,
    /// The tier.
    pub tier: TierName,
    /// For how long, in seconds.
    pub seconds_left: u64,
    /// The policy that gives it.
    pub policy: PolicyRef,
}

impl TierOffer {
    /// The grant of it, as the store records it.
    pub fn wanted(&self, now: Timestamp) -> WantedTier {
        let seconds = i64::try_from(self.seconds_left).unwrap_or(i64::MAX);
        let until = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        WantedTier { place: self.place.clone(), tier: self.tier.clone(), until }
    }

    fn granted(&self, deadline: Timestamp, waits: Option<String>, now: Timestamp) -> GrantedTier {
        let Connection { public_key, other_public_key, .. } = &self.connection;
        let state = if waits.is_none() { KeyState::Ok } else { KeyState::Pending };
        GrantedTier {
            connection: self.connection.name.to_string(),
            public_key: self.place.public_key,
            peer_public_key: if self.place.public_key == *other_public_key { *public_key } else { *other_public_key },
            tier: self.tier.clone(),
            policy: self.policy.clone(),
            state: state.name().to_owned(),
            seconds_left: seconds_until(deadline, now),
            deadline,
            waits,
        }
    }
}

impl Keeper {
    /// Has the gates opened whose grants are on disk by now. A gateway that says no has its grant ended again; one that
    /// is not there opens when it comes.
    pub(in crate::keeper) async fn open_gates(
        self: &Rc<Self>,
        offers: &[TierOffer],
        recorded: Vec<Grant>,
    ) -> (Vec<GrantedTier>, Vec<RefusedKey>) {
        let mut asked = JoinSet::new();
        for grant in recorded {
            let is_it = |offer: &&TierOffer| offer.place == grant.place && offer.tier == grant.tier;
            let Some(offer) = offers.iter().find(is_it).cloned() else { continue };
            let keeper = self.clone();
            asked.spawn_local(async move {
                let opened = keeper.open_gate(&offer, grant.deadline).await;
                opened.map_err(|reason| RefusedKey { connection: offer.connection.name.to_string(), reason })
            });
        }
        let (mut granted, mut refused) = (Vec::new(), Vec::new());
        for opened in asked.join_all().await {
            match opened {
                Ok(tier) => granted.push(tier),
                Err(one) => refused.push(one),
            }
        }
        granted.sort_by(|one, other| one.connection.cmp(&other.connection));
        refused.sort_by(|one, other| one.connection.cmp(&other.connection));
        (granted, refused)
    }

    async fn open_gate(self: &Rc<Self>, offer: &TierOffer, deadline: Timestamp) -> Result<GrantedTier, String> {
        let TierOffer { place, tier, .. } = offer;
        let host = &place.server_side.host;
        let which = PeerTier { peer: place.peer(), tier: tier.clone() };
        let left = seconds_until(deadline, self.now());
        let answer = self.ask(host, confirm_within(), |answer| Ask::Grant(which, left, answer)).await;
        let now = self.now();
        let failed = |error: StoreError| error.to_string();
        match answer {
            Some(Ok(())) if self.store.confirm_grant(now, place, tier).map_err(failed)? => {
                Ok(offer.granted(deadline, None, now))
            }
            Some(Ok(())) => Err("it was closed again meanwhile".to_owned()),
            Some(Err(reason)) => {
                let reason = format!("{host} refuses: {reason}");
                self.store.end_grants(now, Actor::BASTION, place, Some(tier), &reason).map_err(failed)?;
                self.order_round(host, "a grant was refused");
                Err(reason)
            }
            None => {
                let is_there = self.order_round(host, "a grant was not confirmed");
                let waits = match is_there {
                    true => format!("{host} has not confirmed it yet"),
                    false => self.opens_later(host, now).map_err(failed)?,
                };
                Ok(offer.granted(deadline, Some(waits), now))
            }
        }
    }
}
