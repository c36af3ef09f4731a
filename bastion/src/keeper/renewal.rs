//! Renewal without a lost packet: the server makes the next generation, the client gets it, and both change to it in
//! place.
//!
//! The order keeps the rules: the generation is on disk before anybody uses it, and the client uses it only after the
//! server side has confirmed it ([`Changed`]). Until then the one before is in force at both ends with its renewed
//! deadline, and stays so when anything in between goes wrong.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use wgmfa_core::message::agent::{Deposit, PeerGeneration};
use wgmfa_core::message::sync::{Changed, ChangedKey, NextKey, Release};
use wgmfa_core::name::HostName;
use wgmfa_core::release::{SAME_GENERATION_SECONDS, is_next_due};

use super::agent::{Ask, confirm_within};
use super::{Keeper, say};
use crate::store::{Place, Record};

/// For how long a login gets the same generation; in debug builds `WGMFA_SAME_GENERATION_FOR` overrides it, so that a test
/// need not wait for a minute.
fn same_generation_for() -> SignedDuration {
    let wanted = std::env::var("WGMFA_SAME_GENERATION_FOR").ok().filter(|_| cfg!(debug_assertions));
    SignedDuration::from_secs(wanted.and_then(|seconds| seconds.parse().ok()).unwrap_or(SAME_GENERATION_SECONDS))
}

/// Whether a session that is renewed now should change to another generation.
pub(super) fn is_due(record: Option<&Record>, now: Timestamp) -> bool {
    let released = record.and_then(|record| record.current.as_ref()?.renewed_at);
    is_next_due(released, now, same_generation_for())
}

impl Keeper {
    /// Has the servers make the next generation, and puts it on disk. A server that does not answer in time, or refuses,
    /// goes on with the one it has.
    pub(super) async fn make_next(self: &Rc<Self>, due: Vec<(Place, u64)>) -> BTreeMap<Place, NextKey> {
        let mut asked = JoinSet::new();
        for (place, above) in due {
            let keeper = self.clone();
            asked.spawn_local(async move {
                let next = keeper.next_of(&place, above).await;
                (place, next)
            });
        }
        let made = asked.join_all().await.into_iter();
        made.filter_map(|(place, next)| Some((place, next?))).collect()
    }

    async fn next_of(&self, place: &Place, above: u64) -> Option<NextKey> {
        let (host, peer) = (&place.server_side.host, place.peer());
        let made = self.ask(host, confirm_within(), |answer| Ask::MakeNext(peer.clone(), above, answer)).await?;
        let deposit: Deposit = made.ok().filter(|deposit: &Deposit| deposit.which.peer == peer)?;
        if let Err(error) = self.store.deposit_next(self.now(), host, &deposit) {
            say(&format!("{place}: not renewed in place: {error}", place = place.server_side));
            return None;
        }
        super::crash_point("next-deposited");
        Some(NextKey { generation: deposit.which.generation, preshared_key: deposit.preshared_key })
    }

    /// A server has changed to its next generation; answers whether the session goes on with it.
    pub(super) fn take_change(&self, host: &HostName, which: &PeerGeneration) -> Result<bool, String> {
        let noted = self.store.applied(self.now(), host, std::slice::from_ref(which));
        noted.map(|noted| !noted.is_empty()).map_err(|error| error.to_string())
    }

    /// The client has the next generations: the servers change to them. Those that confirm in time are named; with what
    /// they confirm the session is recorded as the next generation's.
    pub async fn change(self: &Rc<Self>, release: &Release) -> Changed {
        let mut asked = JoinSet::new();
        for key in &release.keys {
            let Some(next) = &key.next else { continue };
            let (generation, peer_public_key) = (next.generation, key.peer_public_key);
            let Ok(Some(server_side)) = self.store.interface_of(&peer_public_key) else { continue };
            let place = Place { server_side, public_key: key.public_key };
            let (keeper, deadline) = (self.clone(), key.deadline);
            asked.spawn_local(async move {
                let which = PeerGeneration { peer: place.peer(), generation };
                let left = super::seconds_until(deadline, keeper.now());
                let host = &place.server_side.host;
                let done = keeper.ask(host, confirm_within(), |answer| Ask::ChangeTo(which, left, answer)).await;
                (ChangedKey { peer_public_key, generation }, done)
            });
        }
        let mut changed = Changed::default();
        for (key, done) in asked.join_all().await {
            match done {
                Some(Ok(())) => changed.changed.push(key),
                Some(Err(_)) => {}
                None => changed.unsure.push(key.peer_public_key),
            }
        }
        super::crash_point("changed");
        changed
    }
}
