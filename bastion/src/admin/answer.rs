//! How commands answer: text for people, one JSON object for programs, failures in the one voice.

use std::collections::BTreeSet;

use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;
use wgmfa_core::name::HostName;
use wgmfa_core::policy::Selector;

use super::cuts::left_locked;
use super::key_row::server_place;
use super::site::Site;
use super::tier_row::by_firewall;
use super::{Context, Order, Outcome};
use crate::store::{Actor, Change, CutOff, Place, StoreError};
use crate::voice::{PROGRAM, note};

/// What a command hands back: its outcome, or why it could not.
pub type Answer = Result<Outcome, Failure>;

/// A command that looked at something.
pub fn shown(text: impl Into<String>) -> Outcome {
    with_exit(text, Exit::Done)
}

/// A command that ends with this status.
pub fn with_exit(text: impl Into<String>, exit: Exit) -> Outcome {
    let stdout = SecretText::new(text.into());
    Outcome { reply: AdminReply { stdout, stderr: String::new(), exit: Some(exit.code()) }, ..Outcome::default() }
}

/// A list for programs: `{"version": 1, "<plural>": […]}`.
pub fn list<T: Serialize>(plural: &str, items: &[T]) -> Outcome {
    shown(json_line(&serde_json::json!({ "version": 1, plural: items })))
}

/// One line of JSON.
pub fn json_line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

/// An act that may be repeated: what it did, or `unchanged`.
pub fn acted(change: Change, json: bool, text: &str) -> Outcome {
    let changed = change == Change::Made;
    match (json, changed) {
        (true, _) => shown(json_line(&serde_json::json!({ "version": 1, "changed": changed }))),
        (false, true) => shown(format!("{text}\n")),
        (false, false) => shown("unchanged\n"),
    }
}

/// An act that cuts off: the peers are to be locked on their hosts at once, and gates to be closed to them.
pub fn cut_off(cut: &CutOff, (json, context): (bool, &Context<'_>), text: &str, reason: &str) -> Outcome {
    let mut outcome = acted(cut.change, json, text);
    // what cannot be read is locked
    let left = left_to_gates(&cut.places, context).unwrap_or_default();
    let of = |place: &Place| (place.server_side.host.clone(), place.peer(), reason.to_owned());
    let locked = cut.places.iter().filter(|place| !left.contains(place)).map(of);
    outcome.orders = locked.map(|(host, peer, reason)| Order::Lock { host, peer, reason }).collect();
    outcome.orders.extend(revokes(&cut.gates, reason));
    outcome
}

/// Those of these places whose gate alone is to be closed: the firewall enforces there, beside a key that is none of
/// wgmfa's. A lock would take that key's place for ever.
fn left_to_gates(places: &[Place], context: &Context<'_>) -> Result<BTreeSet<Place>, StoreError> {
    if places.is_empty() {
        return Ok(BTreeSet::new());
    }
    let site = Site::around(context.store, places)?;
    let mut selector = Selector::new(context.policies);
    let left = site.connections.iter().filter_map(|connection| {
        let selection = selector.select(connection);
        let place = server_place(connection, &selection).filter(|_| by_firewall(&selection))?;
        site.record(&place).is_some_and(|record| record.set_free || record.is_of_pair()).then_some(place)
    });
    Ok(left.collect())
}

/// The gates that are to be closed to these peers.
pub fn revokes(gates: &[Place], reason: &str) -> impl Iterator<Item = Order> {
    gates.iter().map(|place| {
        let (host, peer, reason) = (place.server_side.host.clone(), place.peer(), reason.to_owned());
        Order::Revoke { host, peer, reason }
    })
}

/// An act that lets in again: the hosts are asked to do a round, which makes new generations and opens gates to codes.
/// What no policy opens again is named: its lock took the place of a key that only an administrator has.
pub fn let_in(cut: CutOff, (json, context): (bool, &Context<'_>), text: &str, reason: &str) -> Answer {
    let mut outcome = acted(cut.change, json, text);
    outcome.reply.stderr = name_left_locked(&cut.places, context)?;
    let hosts = cut.places.into_iter().map(|place| place.server_side.host).chain(cut.hosts);
    outcome.orders = rounds(hosts, reason);
    Ok(outcome)
}

/// Names the connections at these places, let in again, that nothing opens by itself.
///
/// # Errors
/// The store cannot be read.
pub fn name_left_locked(places: &[Place], context: &Context<'_>) -> Result<String, StoreError> {
    let left = left_locked(places, context)?.into_iter().map(|connection| {
        let mend = format!("wgmfa-bastion key set {connection} --reason TEXT < KEY puts a key there");
        note(&format!("{connection} stays locked, no policy opens it: {mend}"))
    });
    Ok(left.collect())
}

/// Asks each of these hosts once to do a round.
pub fn rounds(hosts: impl Iterator<Item = HostName>, reason: &str) -> Vec<Order> {
    let hosts: BTreeSet<HostName> = hosts.collect();
    hosts.into_iter().map(|host| Order::Round { host, reason: reason.to_owned() }).collect()
}

/// A failure as a reply.
pub fn failed(failure: &Failure) -> Outcome {
    let reply =
        AdminReply { stdout: SecretText::default(), stderr: failure.lines(PROGRAM), exit: Some(failure.exit.code()) };
    Outcome { reply, ..Outcome::default() }
}

/// Nobody and nothing has this name.
pub fn no_such(kind: &str, name: &impl ToString) -> Failure {
    Failure::new(Exit::Failed, format!("there is no {kind} '{}'", name.to_string()))
        .hint(format!("wgmfa-bastion {kind} list shows them"))
}

impl Context<'_> {
    /// Carries out a change in the name of the one who asked.
    pub fn act<T>(&self, change: impl FnOnce(Actor<'_>) -> Result<T, StoreError>) -> Result<T, Failure> {
        let from = self.from.map(|from| from.to_string());
        Ok(change(Actor { name: Some(&self.actor), from: from.as_deref() })?)
    }
}
