//! What is counted for Prometheus, since the keeper was started: numbers alone, and no name of anybody or anything.

mod exposition;
mod histogram;
pub mod http;
mod refusals;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::message::sync::Release;

use self::histogram::Histogram;
use crate::admin::states::Look;
use crate::store::{GrantedBy, Known, Place};

/// For so long a peer counts as one with two endpoints, and an alarm about it is not repeated.
const ALARM_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// What is counted.
#[derive(Debug)]
pub struct Measures {
    /// From a person's last answer to the accepted login.
    pub login: Histogram,
    rotation_lag: Histogram,
    deadline_to_lock: Histogram,
    /// By what was refused and the kind of the reason.
    refused: RefCell<BTreeMap<(&'static str, &'static str), u64>>,
    /// Grants, by how they were given.
    grants: RefCell<BTreeMap<GrantedBy, u64>>,
    /// Peers for which two endpoints take turns, and when that was first said in this hour.
    alarms: RefCell<BTreeMap<Place, Timestamp>>,
}

impl Measures {
    /// Nothing yet; every series is there from the beginning.
    pub fn new() -> Self {
        let all = |what, table| refusals::kinds(table).into_iter().map(move |kind| ((what, kind), 0));
        let refused = all("login", refusals::LOGIN).chain(all("release", refusals::RELEASE));
        let refused = refused.chain(all("code", refusals::CODE)).collect();
        Self {
            login: Histogram::new(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
            rotation_lag: Histogram::new(&[0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0, 900.0, 3600.0]),
            deadline_to_lock: Histogram::new(&[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0, 3600.0]),
            refused: RefCell::new(refused),
            grants: RefCell::new(GrantedBy::ALL.map(|by| (by, 0)).into()),
            alarms: RefCell::default(),
        }
    }

    /// A login was refused, for this reason.
    pub fn note_refused_login(&self, reason: &str) {
        self.refuse("login", refusals::kind(refusals::LOGIN, reason));
    }

    /// A code inside a tunnel was refused, for this reason.
    pub fn note_refused_code(&self, reason: &str) {
        self.refuse("code", refusals::kind(refusals::CODE, reason));
    }

    /// So many tiers were granted.
    pub fn note_grants(&self, by: GrantedBy, count: usize) {
        *self.grants.borrow_mut().entry(by).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// Keys were released, tiers were granted, and others were not.
    pub fn note_release(&self, release: &Release) {
        self.note_grants(GrantedBy::Ssh, release.grants.len());
        for refused in &release.refused {
            self.refuse("release", refusals::kind(refusals::RELEASE, &refused.reason));
        }
    }

    fn refuse(&self, what: &'static str, kind: &'static str) {
        *self.refused.borrow_mut().entry((what, kind)).or_default() += 1;
    }

    /// A connection was looked at; `before` is what was known of it.
    pub fn note_look(&self, look: &Look, before: Option<&Known>) {
        if let Some(lag) = look.rotation_lag(before) {
            self.rotation_lag.observe(lag.as_secs_f64());
        }
        if let Some(late) = look.deadline_to_lock(before) {
            self.deadline_to_lock.observe(late.as_secs_f64());
        }
    }

    /// Two endpoints take turns for a peer; whether that is news in this hour.
    pub fn note_alarm(&self, place: &Place, now: Timestamp) -> bool {
        let mut alarms = self.alarms.borrow_mut();
        alarms.retain(|_, since| now.duration_since(*since) < ALARM_LASTS);
        let is_news = !alarms.contains_key(place);
        alarms.entry(place.clone()).or_insert(now);
        is_news
    }

    /// For how many peers two endpoints take turns.
    fn alarms(&self, now: Timestamp) -> usize {
        self.alarms.borrow().values().filter(|since| now.duration_since(**since) < ALARM_LASTS).count()
    }
}
