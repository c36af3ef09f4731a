//! Releases the keys of one device to a login: decided by core, opened on the servers, recorded, then handed out.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use wgmfa_core::connection::Connection;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::PeerGeneration;
use wgmfa_core::message::sync::{AppliedKey, ClientHello, PolicyRef, RefusedKey, Release, ReleasedKey};
use wgmfa_core::name::TierName;
use wgmfa_core::policy::{Selection, Selector};
use wgmfa_core::release::{Decision, Facts, Promise, RELEASE_WINDOW_SECONDS, decide, not_prolonged};
use wgmfa_core::state::KeyState;

use super::agent::{Ask, confirm_within};
use super::attempt::Passed;
use super::coverage::{Served, newest, serves, session_at_other_end, session_end};
use super::gates::TierOffer;
use super::target::{self, Target};
use super::{Keeper, renewal};
use crate::admin::site::Site;
use crate::store::{Event, Granted, Login, Note, Place, Wanted};

/// What a person asked for.
pub struct Wish {
    /// The device by its name; none: the only one, or the one whose public key the client named.
    pub device: Option<String>,
    /// Parts of names of connections; empty: all.
    pub connections: Vec<String>,
    /// What the client said about its machine.
    pub hello: ClientHello,
    /// The keys go to the agent of the host that `device` names.
    pub push: bool,
}

/// A connection whose key may be released.
#[derive(Clone)]
pub struct Offer {
    /// The connection.
    pub connection: Connection,
    /// Where its key is used.
    pub place: Place,
    generation: u64,
    seconds_left: u64,
    policy: PolicyRef,
    /// A session is running.
    pub renewal: bool,
    promise: Promise,
    /// The server has confirmed that it accepts the key from now on.
    told: bool,
    /// For how many seconds the server side was not heard, if nobody knows when it comes.
    unheard: u64,
    /// Above which generation the next one is, if the session is to change to another.
    next_above: Option<u64>,
    /// The tier that opens and closes with the key.
    tier: Option<TierName>,
}

/// What the connections of a device have to give.
#[derive(Default)]
struct Offers {
    keys: Vec<Offer>,
    tiers: Vec<TierOffer>,
    /// What they have not.
    refused: Vec<RefusedKey>,
}

/// What one connection has to give.
pub enum Offered {
    /// A key.
    Key(Box<Offer>),
    /// A tier, and no key.
    Tier(Box<TierOffer>),
}

impl Keeper {
    /// Releases everything of one device to one login, in one transaction with its audit lines.
    ///
    /// # Errors
    /// The login may have no keys, it is not clear which device is meant, or nothing could be recorded.
    pub async fn release(self: &Rc<Self>, passed: &Passed, wish: &Wish) -> Result<Release, Failure> {
        let release = self.release_to(passed, wish).await?;
        self.measures.note_release(&release);
        Ok(release)
    }

    async fn release_to(self: &Rc<Self>, passed: &Passed, wish: &Wish) -> Result<Release, Failure> {
        let login = &passed.login;
        // the store counts too, but its time stands still while the system's clock is behind
        if passed.at.elapsed().as_secs() > RELEASE_WINDOW_SECONDS.unsigned_abs() {
            return Err(Failure::new(Exit::LoginRefused, "this login is more than 60 s old").hint("log in again"));
        }
        self.expire();
        let now = self.now();
        let mut site = Site::read_for(&self.store, &login.user)?;
        let device = target::choose(&site, &self.policies.borrow().set, &login.user, wish, now)?;
        site.connections.retain(|connection| device.is_end_of(connection));
        let Offers { keys: offers, tiers, mut refused } = self.offers(&site, &device, wish, now)?;
        if !offers.is_empty() || !tiers.is_empty() {
            // a login that may not release must not reach a server either: opening prolongs a running session
            self.store.may_release(now, login, &device.name)?;
        }
        // a peer is opened before its key is recorded as released; a running session is recorded first, so that no
        // server ever counts on a longer time than stands on disk
        let (renewals, locked): (Vec<_>, Vec<_>) = offers.into_iter().partition(|offer| offer.renewal);
        let mut offers = self.open(locked, &mut refused).await;
        offers.extend(renewals);
        offers.sort_by(|a, b| a.connection.name.cmp(&b.connection.name));
        let mut release = Release {
            version: wgmfa_core::message::VERSION,
            user: login.user.to_string(),
            device: device.name.clone(),
            keys: Vec::new(),
            grants: Vec::new(),
            refused,
            host_keys: self.host_keys.announced(),
            program: Some(wgmfa_core::version::PROGRAM.to_owned()),
            clock: Some(Timestamp::now().as_second()),
        };
        if offers.is_empty() && tiers.is_empty() {
            return Ok(release);
        }
        let wanted: Vec<Wanted> = offers.iter().map(|offer| offer.wanted(now)).collect();
        let wanted_tiers: Vec<_> = tiers.iter().map(|tier| tier.wanted(now)).collect();
        let outcome = self.store.release_with_tiers(self.now(), login, &device.name, &wanted, &wanted_tiers)?;
        super::crash_point("released");
        let (mut told, (grants, shut)) = tokio::join!(self.tell(&offers), self.open_gates(&tiers, outcome.opened));
        release.grants = grants;
        release.refused.extend(shut);
        let (mut due, mut places) = (Vec::new(), Vec::new());
        let named = |place: &Place| offers.iter().find(|offer| offer.place == *place);
        for (place, reason) in outcome.refused {
            let of_key = named(&place).map(|offer| &offer.connection);
            let of_tier = || tiers.iter().find(|tier| tier.place == place).map(|tier| &tier.connection);
            let connection = of_key.or_else(of_tier).map(|found| found.name.to_string()).unwrap_or_default();
            release.refused.push(RefusedKey { connection, reason });
        }
        for granted in outcome.granted {
            let Some(offer) = named(&granted.place) else { continue };
            let place = granted.place.clone();
            let above = offer.next_above.filter(|_| granted.renewal);
            match offer.released(granted, told.remove(&place), self.now()) {
                Ok(key) => {
                    due.extend(above.map(|above| (place.clone(), above)));
                    places.push(place);
                    release.keys.push(key);
                }
                Err(refused) => release.refused.push(refused),
            }
        }
        if wish.hello.renews && !due.is_empty() {
            let mut made = self.make_next(due).await;
            for (key, place) in release.keys.iter_mut().zip(&places) {
                key.next = made.remove(place);
            }
        }
        Ok(release)
    }

    /// Decides about each connection of the device.
    fn offers(&self, site: &Site, device: &Target, wish: &Wish, now: Timestamp) -> Result<Offers, Failure> {
        let policies = self.policies.borrow();
        let mut selector = Selector::new(&policies.set);
        let chosen = match wish.connections.as_slice() {
            [] => site.connections.iter().collect(),
            parts => {
                let mut chosen = parts.iter().map(|part| site.find(part)).collect::<Result<Vec<_>, _>>()?;
                chosen.sort_by(|one, other| one.name.cmp(&other.name));
                chosen.dedup_by(|one, other| one.name == other.name);
                chosen
            }
        };
        let mut all = Offers::default();
        for connection in chosen {
            let selection = selector.select(connection);
            let Some(place) = device.place(site, connection, &selection, now) else { continue };
            match self.offer(site, &selection, connection, place, now)? {
                Some(Ok(Offered::Key(offer))) => all.keys.push(*offer),
                Some(Ok(Offered::Tier(tier))) => all.tiers.push(*tier),
                Some(Err(reason)) => {
                    all.refused.push(RefusedKey { connection: connection.name.to_string(), reason });
                }
                None => {}
            }
        }
        Ok(all)
    }

    /// Decides about one connection, whose key is used at this place. `None`: it has none to release.
    pub(super) fn offer(
        &self,
        site: &Site,
        selection: &Selection<'_>,
        connection: &Connection,
        place: Place,
        now: Timestamp,
    ) -> Result<Option<Result<Offered, String>>, Failure> {
        let served = match session_at_other_end(connection, &place, |end| session_end(site.record(end)?, now)) {
            Some(deadline) => Served::at_other_end(self.clock(deadline)),
            None => serves(selection, connection, &place),
        };
        let record = site.record(&place).filter(|record| !record.set_free);
        let facts = Facts {
            cover: served.cover,
            cut_off: site.cut_off(connection).or_else(|| record.and_then(|record| record.kept_locked.clone())),
            newest: newest(record),
            unheard: self.unheard(&place.server_side.host, now)?,
            hears: self.hears(&place.server_side.host, now)?,
            next_round: self.next_round(&place.server_side.host, now)?,
        };
        Ok(match decide(&facts, now) {
            Decision::Grant { generation, seconds_left, policy, renewal, promise } => {
                let connection = connection.clone();
                let unheard = self.uncounted(&place.server_side.host, facts.unheard, now)?;
                let next_above = record.filter(|_| renewal::is_due(record, now)).map(|record| record.highest);
                let tier = selection.policy().and_then(|policy| policy.enforce.tier()).cloned();
                Some(Ok(Offered::Key(Box::new(Offer {
                    connection,
                    place,
                    generation,
                    seconds_left,
                    policy,
                    renewal,
                    promise,
                    told: false,
                    unheard,
                    next_above,
                    tier,
                }))))
            }
            Decision::Open { tier, seconds_left, policy } => {
                let connection = connection.clone();
                Some(Ok(Offered::Tier(Box::new(TierOffer { connection, place, tier, seconds_left, policy }))))
            }
            Decision::Refuse(reason) => Some(Err(reason)),
            Decision::Pass => None,
        })
    }

    /// Tells the resident agents; an offer whose server says no is refused. Without an answer in time the release goes
    /// on: the server accepts the generation already, and counts it as released since its last contact.
    pub(super) async fn open(self: &Rc<Self>, offers: Vec<Offer>, refused: &mut Vec<RefusedKey>) -> Vec<Offer> {
        let mut asked = JoinSet::new();
        for offer in offers {
            let keeper = self.clone();
            asked.spawn_local(async move {
                let answer = keeper.ask_to_open(&offer).await;
                (offer, answer)
            });
        }
        let mut open = Vec::new();
        while let Some(joined) = asked.join_next().await {
            let Ok((offer, answer)) = joined else { continue };
            let host = &offer.place.server_side.host;
            match answer {
                Some(Err(reason)) => {
                    self.order_round(host, "a release was refused");
                    let reason = format!("{host} refuses: {reason}");
                    refused.push(RefusedKey { connection: offer.connection.name.to_string(), reason });
                }
                Some(Ok(())) => open.push(Offer { told: true, ..offer }),
                // it counts a key that waits as released at its last contact
                None => open.push(Offer { seconds_left: offer.seconds_left.saturating_sub(offer.unheard), ..offer }),
            }
        }
        super::crash_point("opened");
        open
    }

    /// Tells the resident agents of what is recorded by now: the renewals, and what they have not confirmed before.
    /// Answers with what they say to the renewals.
    pub(super) async fn tell(self: &Rc<Self>, offers: &[Offer]) -> BTreeMap<Place, Result<(), String>> {
        let mut asked = JoinSet::new();
        for offer in offers.iter().filter(|offer| !offer.told) {
            let (keeper, offer) = (self.clone(), offer.clone());
            asked.spawn_local(async move {
                let answer = if offer.renewal { keeper.ask_to_open(&offer).await } else { None };
                if !matches!(answer, Some(Ok(()))) {
                    keeper.order_round(&offer.place.server_side.host, "a release was not confirmed");
                }
                answer.map(|answer| (offer.place, answer))
            });
        }
        asked.join_all().await.into_iter().flatten().collect()
    }

    async fn ask_to_open(&self, offer: &Offer) -> Option<Result<(), String>> {
        let which = PeerGeneration { peer: offer.place.peer(), generation: offer.generation };
        let host = &offer.place.server_side.host;
        self.ask(host, confirm_within(), |answer| Ask::Open(which, offer.seconds_left, answer)).await
    }

    /// The client says that the keys stand in its interface.
    pub fn note_client_applied(&self, login: &Login, release: &Release, applied: &[AppliedKey]) {
        for key in &release.keys {
            let is_it = |applied: &&AppliedKey| {
                let generations = [Some(key.generation), key.next.as_ref().map(|next| next.generation)];
                applied.peer_public_key == key.peer_public_key && generations.contains(&Some(applied.generation))
            };
            let Some(applied) = applied.iter().find(is_it) else { continue };
            let note = Note::new(Event::Noted).user(&login.user).from(Some(&login.from)).device(&release.device);
            let note = note.reason(format!("{}: the client has put the key into its interface", key.connection));
            let which = (applied.generation, applied.fingerprint);
            let noted = self.store.client_applied(self.now(), note, &key.public_key, &key.peer_public_key, which);
            if let Err(error) = noted {
                super::say(&error.to_string());
            }
        }
    }
}

impl Offer {
    /// The release of it, as the store records it.
    pub fn wanted(&self, now: Timestamp) -> Wanted {
        let seconds = i64::try_from(self.seconds_left).unwrap_or(i64::MAX);
        let deadline = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        Wanted { place: self.place.clone(), generation: self.generation, deadline }
    }

    /// The same for another time, in seconds.
    #[must_use]
    pub fn lasting(self, seconds_left: u64) -> Self {
        Self { seconds_left, ..self }
    }

    /// What is handed out, with what the server side said to a renewal: the person reads no longer time than that
    /// server will give.
    ///
    /// # Errors
    /// Nothing of the session is left, and why.
    pub fn released(
        &self,
        granted: Granted,
        told: Option<Result<(), String>>,
        now: Timestamp,
    ) -> Result<ReleasedKey, RefusedKey> {
        let (host, connection) = (&self.place.server_side.host, self.connection.name.to_string());
        let (deadline, not_prolonged) = match (&self.promise, told) {
            (Promise::IfConfirmed { .. }, Some(Err(reason))) => {
                return Err(RefusedKey { connection, reason: format!("{host} refuses: {reason}") });
            }
            (Promise::IfConfirmed { else_until }, None) => {
                (granted.deadline.min(*else_until), Some(not_prolonged(host.as_str())))
            }
            (Promise::NotProlonged(why), _) => (granted.deadline, Some(why.clone())),
            (Promise::IfConfirmed { .. } | Promise::Whole, _) => (granted.deadline, None),
        };
        if let Some(reason) = not_prolonged.clone().filter(|_| deadline <= now) {
            return Err(RefusedKey { connection, reason });
        }
        Ok(ReleasedKey {
            connection,
            public_key: self.place.public_key,
            peer_public_key: self.server_public_key(),
            preshared_key: granted.preshared_key,
            generation: granted.generation,
            state: KeyState::MatchPending.name().to_owned(),
            policy: self.policy.clone(),
            tier: self.tier.clone(),
            seconds_left: super::seconds_until(deadline, now),
            deadline,
            renewal: granted.renewal,
            not_prolonged,
            next: None,
        })
    }

    /// The public key of the end that the place is at.
    fn server_public_key(&self) -> PublicKey {
        let Connection { public_key, other_public_key, .. } = &self.connection;
        if self.place.public_key == *other_public_key { *public_key } else { *other_public_key }
    }
}
