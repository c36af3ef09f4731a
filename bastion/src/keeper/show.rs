//! `key show`: a release to an administrator, who carries the key to where nobody logs in.

use std::rc::Rc;

use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;
use wgmfa_core::message::sync::{RefusedKey, ReleasedKey};
use wgmfa_core::message::{VERSION, encode};
use wgmfa_core::policy::Selector;

use super::caller::By;
use super::release::{Offer, Offered};
use super::{Keeper, answer, say};
use crate::admin::Show;
use crate::admin::key_row::server_place;
use crate::admin::site::{Site, places};
use crate::store::{Actor, Event, Note};
use crate::voice::PROGRAM;

/// What is shown, and what is not and why.
#[derive(Serialize)]
struct Shown {
    version: u32,
    changed: bool,
    keys: Vec<ReleasedKey>,
    refused: Vec<RefusedKey>,
}

impl Keeper {
    /// Releases the keys of these connections and answers with them.
    pub(super) async fn show(self: &Rc<Self>, show: &Show, by: &By) -> AdminReply {
        match self.release_to_administrator(show, by).await {
            Ok(shown) if show.json => shown.for_programs(),
            Ok(shown) => self.for_people(&shown),
            Err(failure) => {
                let exit = Some(failure.exit.code());
                AdminReply { stderr: failure.lines(PROGRAM), exit, ..AdminReply::default() }
            }
        }
    }

    async fn release_to_administrator(self: &Rc<Self>, show: &Show, by: &By) -> Result<Shown, Failure> {
        self.expire();
        let now = self.now();
        let from = by.from.map(|from| from.to_string());
        let actor = Actor { name: Some(&by.name), from: from.as_deref() };
        let (offers, mut refused) = self.shown_offers(show)?;
        // as a login's release: opened, then recorded; but a running session is recorded first
        let (renewals, locked): (Vec<_>, Vec<_>) = offers.into_iter().partition(|offer| offer.renewal);
        let mut offers = self.open(locked, &mut refused).await;
        offers.extend(renewals);
        offers.sort_by(|a, b| a.connection.name.cmp(&b.connection.name));
        let (mut keys, mut all) = (Vec::new(), Vec::new());
        for offer in &offers {
            match self.store.release_by_show(self.now(), actor, &offer.wanted(now), &show.reason) {
                Ok(granted) => all.push((offer, granted)),
                Err(error) => {
                    let connection = offer.connection.name.to_string();
                    refused.push(RefusedKey { connection, reason: error.to_string() });
                }
            }
        }
        let mut told = self.tell(&offers).await;
        for (offer, granted) in all {
            match offer.released(granted, told.remove(&offer.place), self.now()) {
                Ok(key) => keys.push(key),
                Err(one) => refused.push(one),
            }
        }
        for refused in &refused {
            let note = Note::new(Event::ReleaseRefused).actor(actor);
            let reason = format!("key show of {}: {}", refused.connection, refused.reason);
            if let Err(error) = self.store.note(self.now(), note.reason(reason)) {
                say(&error.to_string());
            }
        }
        Ok(Shown { version: VERSION, changed: !keys.is_empty(), keys, refused })
    }

    /// Decides about each connection, by the same rules as for a login.
    fn shown_offers(&self, show: &Show) -> Result<(Vec<Offer>, Vec<RefusedKey>), Failure> {
        let now = self.now();
        let places: Vec<_> = show.connections.iter().flat_map(places).collect();
        let site = Site::around(&self.store, &places)?;
        let policies = self.policies.borrow();
        let mut selector = Selector::new(&policies.set);
        let (mut offers, mut refused) = (Vec::new(), Vec::new());
        for connection in &show.connections {
            let selection = selector.select(connection);
            let decided = match server_place(connection, &selection) {
                Some(place) => self.offer(&site, &selection, connection, place, now)?,
                None => None,
            };
            match decided {
                Some(Ok(Offered::Key(offer))) => offers.push(*offer),
                Some(Ok(Offered::Tier(_))) => {
                    let reason =
                        "the firewall enforces its policy, so there is no key; wgmfa-bastion override opens its tier";
                    refused.push(RefusedKey { connection: connection.name.to_string(), reason: reason.to_owned() });
                }
                Some(Err(reason)) => refused.push(RefusedKey { connection: connection.name.to_string(), reason }),
                None => {
                    let reason = "no policy with a second factor covers it; there is no key to carry".to_owned();
                    refused.push(RefusedKey { connection: connection.name.to_string(), reason });
                }
            }
        }
        Ok((offers, refused))
    }

    /// The keys as `wgmfa-sync` prints them, for the same loop around `wg set`; about them on standard error.
    fn for_people(&self, shown: &Shown) -> AdminReply {
        let when = |key: &ReleasedKey| answer::opened(self, &key.connection, key);
        let mut stderr: String = shown.keys.iter().map(when).collect();
        for RefusedKey { connection, reason } in &shown.refused {
            stderr.push_str(&Failure::new(shown.exit(), format!("{connection}: {reason}")).lines(PROGRAM));
        }
        AdminReply { stdout: answer::lines(&shown.keys), stderr, exit: Some(shown.exit().code()) }
    }
}

impl Shown {
    fn for_programs(&self) -> AdminReply {
        let answer = String::from_utf8(encode(self)).expect("JSON is UTF-8");
        AdminReply { stdout: SecretText::new(answer), stderr: String::new(), exit: Some(self.exit().code()) }
    }

    fn exit(&self) -> Exit {
        match (self.keys.is_empty(), self.refused.is_empty()) {
            (_, true) => Exit::Done,
            (true, false) => Exit::Failed,
            (false, false) => Exit::Partly,
        }
    }
}
