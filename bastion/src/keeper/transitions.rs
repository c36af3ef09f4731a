//! Each change of a connection's state leaves one line in the log. This is the one place that writes them.
//!
//! The store notes which connections may have changed; they alone are looked at, a few hundred at a time. After a start
//! and when policies change, all are, host by host.

use std::cell::RefCell;

use wgmfa_core::name::HostName;

use super::caller::By;
use super::{Keeper, say};
use crate::admin::states::look;
use crate::store::StoreError;

/// So many connections are looked at in one go: some tens of milliseconds.
const MOST: u32 = 500;

/// The hosts all of whose connections are still to be looked at.
#[derive(Default)]
pub struct ToLookOver(RefCell<Vec<HostName>>);

impl Keeper {
    /// Has every connection looked at, a few at a time.
    pub(super) fn look_over_everything(&self) {
        match self.store.hosts() {
            Ok(hosts) => *self.to_look_over.0.borrow_mut() = hosts.into_iter().map(|host| host.name).collect(),
            Err(error) => say(&format!("states are not looked at: {error}")),
        }
    }

    /// Notes the states that have changed.
    pub(super) fn note_states(&self) {
        if let Err(error) = self.note_some_states() {
            say(&format!("changed states could not be recorded: {error}"));
        }
    }

    fn note_some_states(&self) -> Result<(), StoreError> {
        let now = self.now();
        let mut places = self.store.take_touched(now, MOST)?;
        if places.is_empty()
            && let Some(host) = self.to_look_over.0.borrow_mut().pop()
        {
            self.store.touch_host(&host)?;
            places = self.store.take_touched(now, MOST)?;
        }
        if places.is_empty() {
            return Ok(());
        }
        let looks = self.with_admin(&By::root(), |context| look(&places, context))?;
        let found: Vec<_> = looks.iter().map(|look| look.found.clone()).collect();
        let before = self.store.note_states(now, &places, &found)?;
        for (look, before) in looks.iter().zip(&before) {
            self.measures.note_look(look, before.as_ref());
        }
        Ok(())
    }
}
