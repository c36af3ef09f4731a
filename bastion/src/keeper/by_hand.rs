//! `override` and `key set`: an administrator lets somebody in without a login, where hosts with agents take the keys.

use std::rc::Rc;

use jiff::SignedDuration;
use wgmfa_core::connection::Connection;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{PresharedKey, SecretText};
use wgmfa_core::message::admin::AdminReply;
use wgmfa_core::message::agent::{Delivery, Deposit, PeerGeneration, PeerRef, Role};
use wgmfa_core::message::sync::RefusedKey;
use wgmfa_core::name::HostName;
use wgmfa_core::policy::{Selection, Selector};
use wgmfa_core::release::sides_change;

use super::Keeper;
use super::caller::By;
use super::coverage::{session_at_other_end, session_end};
use super::gates::TierOffer;
use super::release::{Offer, Offered};
use crate::admin::key_row::server_place;
use crate::admin::site::{Site, places};
use crate::admin::tier_row::by_firewall;
use crate::admin::{ByHand, What};
use crate::store::{Actor, Event, GrantedBy, Note, Place, Setting};
use crate::voice::PROGRAM;

/// What became of the connections.
#[derive(Default)]
struct Done {
    /// Where something was recorded: the connection, and what a person reads.
    done: Vec<(String, String)>,
    /// What was not done, or not confirmed.
    failed: Vec<(String, Failure)>,
}

impl Keeper {
    /// Does it, and answers.
    pub(super) async fn put_by_hand(self: &Rc<Self>, act: &ByHand, by: &By) -> AdminReply {
        self.expire();
        let mut done = Done::default();
        let whole = match &act.what {
            What::Release { connections, seconds } => {
                self.override_all(connections, *seconds, &act.reason, by, &mut done).await
            }
            What::Set { connection, key } => self.set(connection, key, &act.reason, by, &mut done).await,
        };
        match whole {
            Ok(()) => done.reply(act.json),
            Err(failure) => {
                let exit = Some(failure.exit.code());
                AdminReply { stderr: failure.lines(PROGRAM), exit, ..AdminReply::default() }
            }
        }
    }

    async fn override_all(
        self: &Rc<Self>,
        connections: &[Connection],
        seconds: Option<u64>,
        reason: &str,
        by: &By,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let site = Site::read(&self.store)?;
        for connection in connections {
            let name = connection.name.to_string();
            let outcome = match self.override_offer(&site, connection) {
                Ok((Offered::Key(offer), Some(host))) => {
                    let offer = seconds.map_or(*offer.clone(), |seconds| offer.lasting(seconds));
                    self.override_one(offer, &host, reason, by, done).await
                }
                Ok((Offered::Key(_), None)) => unreachable!("a key has a host that takes it"),
                Ok((Offered::Tier(mut tier), _)) => {
                    tier.seconds_left = seconds.unwrap_or(tier.seconds_left);
                    self.override_tier(&tier, reason, by, done).await
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = outcome {
                let note = Note::new(Event::ReleaseRefused).actor(actor(by, from(by).as_deref()));
                self.store.note(self.now(), note.reason(format!("override of {name}: {}", failure.error)))?;
                done.failed.push((name, failure));
            }
        }
        Ok(())
    }

    /// What may be released, and the host that takes it if it is a key.
    fn override_offer(&self, site: &Site, connection: &Connection) -> Result<(Offered, Option<HostName>), Failure> {
        let refuse = |why: String| Failure::new(Exit::Failed, why);
        let policies = self.policies.borrow();
        let selection = Selector::new(&policies.set).select(connection);
        let Some(place) = server_place(connection, &selection) else {
            return Err(refuse("no policy with a second factor covers it".to_owned())
                .hint(format!("wgmfa-bastion key set {} --reason TEXT < KEY puts a key there", connection.name)));
        };
        let client = self.store.client_peer(&place)?.map(|(client, _)| client.host);
        if client.is_none() && selection.policy().is_some_and(|policy| policy.enforce.rotates()) {
            return Err(refuse("its client side is no host with an agent".to_owned())
                .hint(format!("carry the key yourself: wgmfa-bastion key show {} --reason TEXT", connection.name)));
        }
        match self.offer(site, &selection, connection, place, self.now())? {
            Some(Ok(offer)) => Ok((offer, client)),
            Some(Err(reason)) => Err(refuse(reason)),
            None => Err(refuse("there is no key to release".to_owned())),
        }
    }

    /// As a login's release: opened, then recorded; but a running session is recorded first. Then the host gets it.
    async fn override_one(
        self: &Rc<Self>,
        offer: Offer,
        host: &HostName,
        reason: &str,
        by: &By,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (now, from) = (self.now(), from(by));
        let mut refused = Vec::new();
        let mut offers = vec![offer];
        if !offers[0].renewal {
            offers = self.open(offers, &mut refused).await;
        }
        let Some(offer) = offers.first() else {
            let why = refused.pop().map(|refused| refused.reason).unwrap_or_default();
            return Err(Failure::new(Exit::Failed, why));
        };
        let actor = actor(by, from.as_deref());
        let granted = self.store.release_by_override(self.now(), actor, host, &offer.wanted(now), reason)?;
        let told = self.tell(&offers).await.remove(&offer.place);
        let refused = |refused: RefusedKey| Failure::new(Exit::Failed, refused.reason);
        let key = offer.released(granted, told, self.now()).map_err(refused)?;
        let name = offer.connection.name.to_string();
        let seconds_left = key.seconds_left;
        done.done.push((name.clone(), format!("open on {host} until {}, by override", self.clock(key.deadline))));
        let put = (key.generation, &key.preshared_key);
        self.put_on_client(&offer.place, &name, put, seconds_left, done).await
    }

    /// The same key on the client side, if that is a host: its agent gets it now, or at its next contact.
    async fn put_on_client(
        &self,
        place: &Place,
        name: &str,
        (generation, key): (u64, &PresharedKey),
        seconds_left: u64,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let Some((client, server_key)) = self.store.client_peer(place)? else { return Ok(()) };
        let delivery = Delivery {
            which: PeerGeneration { peer: PeerRef { interface: client.interface, public_key: server_key }, generation },
            connection: name.to_owned(),
            preshared_key: key.clone(),
            role: Role::Client { seconds_left, in_place: false },
        };
        if let Err(why) = self.put(&client.host, delivery).await {
            done.failed.push((name.to_owned(), Failure::new(Exit::Partly, why)));
        }
        Ok(())
    }

    /// As a login opens a tier: recorded, then opened; a gateway that is not there opens it when it comes.
    async fn override_tier(
        self: &Rc<Self>,
        tier: &TierOffer,
        reason: &str,
        by: &By,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (now, from) = (self.now(), from(by));
        let grant = self.store.grant_by_override(now, actor(by, from.as_deref()), &tier.wanted(now), reason)?;
        self.measures.note_grants(GrantedBy::Override, 1);
        let (mut granted, mut refused) = self.open_gates(std::slice::from_ref(tier), vec![grant]).await;
        if let Some(refused) = refused.pop() {
            return Err(Failure::new(Exit::Failed, refused.reason));
        }
        let Some(opened) = granted.pop() else { return Ok(()) };
        let later = opened.waits.map(|waits| format!("; {waits}")).unwrap_or_default();
        let until = self.clock(opened.deadline);
        done.done.push((opened.connection, format!("tier {} open until {until}, by override{later}", opened.tier)));
        Ok(())
    }

    async fn set(
        self: &Rc<Self>,
        connection: &Connection,
        key: &PresharedKey,
        reason: &str,
        by: &By,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let site = Site::read(&self.store)?;
        if let Some(why) = site.cut_off(connection) {
            return Err(Failure::new(Exit::Failed, format!("{}: {why}", connection.name)));
        }
        let policies = self.policies.borrow().clone();
        let selection = Selector::new(&policies.set).select(connection);
        match &selection {
            Selection::Conflict { reason, .. } => {
                let error = format!("{}: the policies contradict each other: {reason}", connection.name);
                Err(Failure::new(Exit::Failed, error).hint("wgmfa-bastion policy explain shows where"))
            }
            Selection::Applies { policy, .. } if policy.enforce.rotates() && policy.rests(connection).is_none() => {
                let Some(place) = server_place(connection, &selection) else {
                    let error = format!("{}: policy {} rotates both ends together", connection.name, policy.ordinal);
                    return Err(Failure::new(Exit::Failed, error)
                        .hint(format!("wgmfa-bastion key rotate {} --reason TEXT", connection.name)));
                };
                let now = self.now();
                if let Some(end) = session_at_other_end(connection, &place, |end| session_end(site.record(end)?, now)) {
                    let error = format!("{}: {}", connection.name, sides_change(&self.clock(end)));
                    return Err(Failure::new(Exit::Failed, error)
                        .hint(format!("wgmfa-bastion key rotate {} --reason TEXT ends it now", connection.name)));
                }
                self.must_be_there(connection, std::slice::from_ref(&place))?;
                let seconds = policy.rotation_interval.as_seconds();
                let above = site.record(&place).map_or(0, |record| record.highest);
                self.set_session(connection, &place, (above + 1, key), seconds, (reason, by), done).await
            }
            Selection::Applies { policy, .. } if by_firewall(&selection) && !site.has_own_key(connection) => {
                let error =
                    format!("{}: the firewall enforces policy {}, so there is no key", connection.name, policy.ordinal);
                Err(Failure::new(Exit::Failed, error)
                    .hint(format!("wgmfa-bastion override {} --reason TEXT opens its tier", connection.name)))
            }
            Selection::Applies { .. } | Selection::None => self.set_free(connection, key, reason, by, done).await,
        }
    }

    /// A key is put now or never: nothing is changed unless the agent of every host that is to take it is connected.
    fn must_be_there(&self, connection: &Connection, places: &[Place]) -> Result<(), Failure> {
        let is_away = |host: &&HostName| !self.has_resident(host);
        let Some(away) = places.iter().map(|place| &place.server_side.host).find(is_away) else { return Ok(()) };
        let error = format!("{}: no resident agent of {away} is connected, and a key is put at once", connection.name);
        Err(Failure::new(Exit::Failed, error).hint(format!("run `wgmfa-agent run` on {away}, and repeat this")))
    }

    /// Under a policy with a second factor: a session that begins now.
    async fn set_session(
        self: &Rc<Self>,
        connection: &Connection,
        place: &Place,
        (generation, key): (u64, &PresharedKey),
        seconds: u64,
        (reason, by): (&str, &By),
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (name, host, from) = (connection.name.to_string(), &place.server_side.host, from(by));
        let client = self.store.client_peer(place)?;
        let device = client.as_ref().map_or(connection.name.other.to_string(), |(client, _)| client.host.to_string());
        let length = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let deadline = self.now().saturating_add(length).unwrap_or(jiff::Timestamp::MAX);
        let which = PeerGeneration { peer: place.peer(), generation };
        let deposit = Deposit { which: which.clone(), preshared_key: key.clone() };
        let setting = Setting { device: &device, deadline, reason };
        self.store.deposit_set(self.now(), actor(by, from.as_deref()), host, &deposit, setting)?;
        let delivery = Delivery {
            which: which.clone(),
            connection: name.clone(),
            preshared_key: key.clone(),
            role: Role::Server { seconds_left: seconds },
        };
        if let Err(not_put) = self.put_now(host, delivery).await {
            if let NotPut::Refused(why) = &not_put {
                self.store.withdraw_set(self.now(), place, generation, why)?;
            }
            done.failed.push((name, not_put.failure(host)));
            return Ok(());
        }
        if self.store.applied(self.now(), host, &[which])?.is_empty() {
            let failure = Failure::new(Exit::Partly, "the key was over before its server had confirmed it");
            done.failed.push((name, failure.hint("set it again; wgmfa-bastion log shows what has ended it")));
            return Ok(());
        }
        done.done.push((name.clone(), format!("set, until {}", self.clock(deadline))));
        self.put_on_client(place, &name, (generation, key), seconds, done).await
    }

    /// Where no policy applies, or one that rotates nothing here: on every end that is a host's interface, for as long as nobody changes it.
    async fn set_free(
        self: &Rc<Self>,
        connection: &Connection,
        key: &PresharedKey,
        reason: &str,
        by: &By,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (name, from, places) = (connection.name.to_string(), from(by), places(connection));
        self.must_be_there(connection, &places)?;
        for place in places {
            let delivery = Delivery {
                which: PeerGeneration { peer: place.peer(), generation: 0 },
                connection: name.clone(),
                preshared_key: key.clone(),
                role: Role::Free,
            };
            // first recorded, or the next round would lock it again
            let before = self.store.set_free(self.now(), actor(by, from.as_deref()), &place, reason)?;
            let host = &place.server_side.host;
            match self.put_now(host, delivery).await {
                Ok(()) => done.done.push((name.clone(), format!("set on {}", place.server_side))),
                Err(not_put) => {
                    let failure = not_put.failure(host);
                    self.store.not_set_free(self.now(), &place, &before, &failure.error)?;
                    done.failed.push((name.clone(), failure));
                }
            }
        }
        Ok(())
    }

    /// Has a host put a key that it gets now or never.
    async fn put_now(&self, host: &HostName, delivery: Delivery) -> Result<(), NotPut> {
        let answer = self.ask(host, super::agent::confirm_within(), |answer| super::agent::Ask::Put(delivery, answer));
        match answer.await {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(NotPut::Refused(why)),
            None => Err(NotPut::Unconfirmed),
        }
    }
}

/// Why a key is not known to stand on a host.
enum NotPut {
    /// Its agent says so, and why.
    Refused(String),
    /// Its agent has not answered in time.
    Unconfirmed,
}

impl NotPut {
    fn failure(&self, host: &HostName) -> Failure {
        match self {
            Self::Refused(why) => Failure::new(Exit::Partly, format!("{host} refuses: {why}"))
                .hint(format!("on {host}: wgmfa-agent check; then set it again")),
            Self::Unconfirmed => Failure::new(Exit::Partly, format!("{host} has not confirmed in time"))
                .hint(format!("wgmfa-bastion key list shows what stands there after the next round of {host}")),
        }
    }
}

fn from(by: &By) -> Option<String> {
    by.from.map(|from| from.to_string())
}

fn actor<'a>(by: &'a By, from: Option<&'a str>) -> Actor<'a> {
    Actor { name: Some(&by.name), from }
}

impl Done {
    fn reply(&self, json: bool) -> AdminReply {
        let sure = self.failed.iter().all(|(_, failure)| failure.exit == Exit::Failed);
        let exit = match (self.done.is_empty(), self.failed.is_empty()) {
            (_, true) => Exit::Done,
            (true, false) if sure => Exit::Failed,
            (_, false) => Exit::Partly,
        };
        let mut stderr = String::new();
        for (name, failure) in &self.failed {
            let named = Failure { error: format!("{name}: {}", failure.error), ..failure.clone() };
            stderr.push_str(&named.lines(PROGRAM));
        }
        let stdout = if json {
            let mut names: Vec<_> = self.done.iter().map(|(name, _)| name).collect();
            names.dedup();
            let failed = self
                .failed
                .iter()
                .map(|(name, failure)| serde_json::json!({ "connection": name, "reason": failure.error }));
            let failed: Vec<_> = failed.collect();
            let object = serde_json::json!({
                "version": 1, "changed": !names.is_empty(), "connections": names, "failed": failed,
            });
            format!("{object}\n")
        } else {
            self.done.iter().map(|(name, what)| format!("{name}: {what}\n")).collect()
        };
        AdminReply { stdout: SecretText::new(stdout), stderr, exit: Some(exit.code()) }
    }
}
