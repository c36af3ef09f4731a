//! Keys that go to an owned host: its agent puts them into the interface, and nobody sees them.

use std::rc::Rc;

use tokio::task::JoinSet;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::agent::{Delivery, PeerGeneration, PeerRef, Role};
use wgmfa_core::message::sync::{Changed, GrantedTier, Release, ReleasedKey};
use wgmfa_core::name::HostName;

use super::agent::{Ask, confirm_within};
use super::attempt::Passed;
use super::person::Said;
use super::release::Wish;
use super::{Keeper, answer, say};
use crate::store::ToDeliver;

/// A release whose keys went to an owned host.
pub struct Pushed {
    release: Release,
    /// For each released key: what came of it; none: the host uses it.
    late: Vec<Option<String>>,
}

impl Keeper {
    /// Releases everything of an owned host to one login, and has its agent apply it.
    ///
    /// # Errors
    /// As [`Keeper::release`].
    pub async fn push(self: &Rc<Self>, passed: &Passed, mut wish: Wish) -> Result<Pushed, Failure> {
        let host = wish.device.as_deref().and_then(|name| name.parse::<HostName>().ok());
        let host = host.ok_or_else(|| Failure::new(Exit::Usage, "--push: a host has another kind of name"))?;
        wish.push = true;
        // a session may change in place only when both agents are there to do it
        wish.hello.renews = self.has_resident(&host);
        let release = self.release(passed, &wish).await?;
        let changed = self.change(&release).await;
        let late = self.put_all(&host, &release, &changed).await;
        Ok(Pushed { release, late })
    }

    async fn put_all(self: &Rc<Self>, host: &HostName, release: &Release, changed: &Changed) -> Vec<Option<String>> {
        let mut asked = JoinSet::new();
        for (index, key) in release.keys.iter().enumerate() {
            let (keeper, host) = (self.clone(), host.clone());
            let delivery = self.delivery_of(key, changed);
            asked.spawn_local(async move {
                match delivery {
                    Ok(delivery) => (index, keeper.put(&host, delivery).await.err()),
                    Err(why) => (index, Some(why)),
                }
            });
        }
        let mut late = asked.join_all().await;
        late.sort_by_key(|(index, _)| *index);
        late.into_iter().map(|(_, why)| why).collect()
    }

    /// Has a host put a key on a peer; answers why it has not, in words.
    pub(super) async fn put(&self, host: &HostName, delivery: Delivery) -> Result<(), String> {
        match self.ask(host, confirm_within(), |answer| Ask::Put(delivery, answer)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(format!("{host} refuses: {why}")),
            None if self.has_resident(host) => {
                Err(format!("{host} has not confirmed; it gets the key at its next contact"))
            }
            None => Err(format!("{host} is not connected; it gets the key at its next contact")),
        }
    }

    fn delivery_of(&self, key: &ReleasedKey, changed: &Changed) -> Result<Delivery, String> {
        let interface = self.store.interface_of(&key.public_key).map_err(|error| error.to_string())?;
        let interface = interface.ok_or("its interface is not known any more")?.interface;
        let peer = PeerRef { interface, public_key: key.peer_public_key };
        let next = key.next.as_ref().filter(|next| {
            let is_it = |one: &wgmfa_core::message::sync::ChangedKey| {
                one.peer_public_key == key.peer_public_key && one.generation == next.generation
            };
            changed.changed.iter().any(is_it)
        });
        let (generation, preshared_key) = match next {
            Some(next) => (next.generation, next.preshared_key.clone()),
            None => (key.generation, key.preshared_key.clone()),
        };
        let seconds_left = super::seconds_until(key.deadline, self.now());
        Ok(Delivery {
            which: PeerGeneration { peer, generation },
            connection: key.connection.clone(),
            preshared_key,
            role: Role::Client { seconds_left, in_place: next.is_some() },
        })
    }

    /// What an owned host should use, by its last report does not, and gets with the answer to that.
    pub(super) fn deliveries(&self, host: &HostName) -> Vec<Delivery> {
        let found = self.store.to_deliver(self.now(), host).unwrap_or_else(|error| {
            say(&format!("{host}: {error}"));
            Vec::new()
        });
        found.into_iter().map(|one| self.as_delivery(one)).collect()
    }

    fn as_delivery(&self, one: ToDeliver) -> Delivery {
        let now = self.sessions.now(&one.place, one.deadline, self.now());
        Delivery {
            which: PeerGeneration { peer: one.peer, generation: one.generation },
            connection: one.connection.to_string(),
            preshared_key: one.preshared_key,
            role: Role::Client { seconds_left: super::seconds_until(one.deadline, now), in_place: false },
        }
    }
}

impl Pushed {
    /// For a person: one line for each connection on standard error; for programs an object. Never a key.
    pub fn said(&self, keeper: &Keeper, json: bool) -> Said {
        let device = &self.release.device;
        let mut stderr = String::new();
        for (key, late) in self.release.keys.iter().zip(&self.late) {
            stderr += &match late {
                None => answer::opened(keeper, answer::server_side(&key.connection, device), key),
                Some(why) => {
                    let until = keeper.clock(key.deadline);
                    format!("{}: {why}, until {until}\n", answer::server_side(&key.connection, device))
                }
            };
        }
        let opened =
            |tier: &GrantedTier| answer::opened_tier(keeper, answer::server_side(&tier.connection, device), tier);
        stderr.extend(self.release.grants.iter().map(opened));
        stderr.extend(self.release.refused.iter().map(|one| answer::refused(one, device)));
        if stderr.is_empty() {
            stderr = format!("{device}: no connection of this host needs a login\n");
        }
        let all = self.release.refused.is_empty() && self.late.iter().all(Option::is_none);
        let stdout = if json { format!("{}\n", self.object()) } else { String::new() };
        let exit = if all { Exit::Done } else { Exit::Partly };
        Said { stdout: SecretText::new(stdout), stderr, exit }
    }

    fn object(&self) -> serde_json::Value {
        let pushed = self.release.keys.iter().zip(&self.late).map(|(key, late)| {
            serde_json::json!({
                "connection": key.connection, "public_key": key.public_key, "peer_public_key": key.peer_public_key,
                "policy": key.policy, "seconds_left": key.seconds_left, "deadline": key.deadline,
                "confirmed": late.is_none(), "reason": late,
            })
        });
        serde_json::json!({
            "version": 1, "user": self.release.user, "device": self.release.device,
            "pushed": pushed.collect::<Vec<_>>(), "grants": self.release.grants, "refused": self.release.refused,
        })
    }
}
