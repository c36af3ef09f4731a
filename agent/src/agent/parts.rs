//! What is told to the bastion in parts, each answered before the next goes out: while it writes thousands of generations
//! at once, nobody else can log in.

use std::collections::HashSet;

use wgmfa_core::message::agent::{Deposit, FromAgent, MOST_GENERATIONS, PeerGeneration};

/// New generations on their way to the bastion's disk.
pub(super) struct Deposits {
    rest: Vec<Deposit>,
    stored: HashSet<PeerGeneration>,
}

impl Deposits {
    pub(super) fn new(deposits: Vec<Deposit>) -> Self {
        Self { rest: deposits, stored: HashSet::new() }
    }

    /// The next part; none: all of them were told.
    pub(super) fn next(&mut self) -> Option<FromAgent> {
        let deposits = part(&mut self.rest, MOST_GENERATIONS);
        (!deposits.is_empty()).then_some(FromAgent::Deposit { deposits })
    }

    /// Notes an answer.
    pub(super) fn answered(&mut self, stored: &[PeerGeneration]) {
        self.stored.extend(stored.iter().cloned());
    }

    /// Whether the bastion has this one on its disk.
    pub(super) fn has(&self, which: &PeerGeneration) -> bool {
        self.stored.contains(which)
    }
}

/// What the interfaces accept, and what this end of a pair holds, while the bastion is being told.
pub(super) struct Confirmations {
    applied: Vec<PeerGeneration>,
    staged: Vec<PeerGeneration>,
    all: HashSet<PeerGeneration>,
}

impl Confirmations {
    pub(super) fn new(applied: Vec<PeerGeneration>, staged: Vec<PeerGeneration>) -> Self {
        let all = applied.iter().chain(&staged).cloned().collect();
        Self { applied, staged, all }
    }

    /// The next part; none: all of them were told.
    pub(super) fn next(&mut self) -> Option<FromAgent> {
        let applied = part(&mut self.applied, MOST_GENERATIONS);
        let staged = part(&mut self.staged, MOST_GENERATIONS - applied.len());
        let is_empty = applied.is_empty() && staged.is_empty();
        (!is_empty).then_some(FromAgent::Applied { applied, staged })
    }

    /// Notes an answer.
    pub(super) fn answered<'a>(&mut self, noted: impl Iterator<Item = &'a PeerGeneration>) {
        noted.for_each(|which| _ = self.all.remove(which));
    }

    /// What the bastion did not note of all that it was told.
    pub(super) fn unanswered(self) -> HashSet<PeerGeneration> {
        self.all
    }
}

/// Takes the last so many: their order is of no interest.
fn part<T>(rest: &mut Vec<T>, most: usize) -> Vec<T> {
    rest.split_off(rest.len().saturating_sub(most))
}
