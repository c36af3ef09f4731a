//! The way between a host and the bastion: an ordered stream (SSH keeps it so) that stands still, breaks off with
//! everything that is on its way, or swallows everything without a word; and whose ends say things again.

use std::collections::VecDeque;

use wgmfa_core::name::HostName;
use wgmfa_core::rotation::Assignment;

use super::key::Key;

/// Agent to bastion; peers by their number on the host.
#[derive(Debug, Clone)]
pub enum Up {
    /// What stands on the interface, and in how many milliseconds an agent comes by again.
    Report {
        fingerprints: Vec<Option<wgmfa_core::key::Fingerprint>>,
        comes_again: Option<u64>,
        /// Sessions that were over for want of handshakes.
        idled: Vec<(usize, u64)>,
    },
    Deposit(Vec<(usize, u64, Key)>),
    Applied(Vec<(usize, u64)>),
    Opened {
        id: u64,
        refused: Option<String>,
    },
    /// The next generation of a session; none: it cannot be made.
    Next {
        id: u64,
        peer: usize,
        next: Option<(u64, Key)>,
    },
    Changed {
        id: u64,
        peer: usize,
        generation: u64,
        refused: Option<String>,
    },
}

/// Bastion to agent.
#[derive(Debug, Clone)]
pub enum Down {
    Assignments(Vec<(usize, Assignment)>),
    Stored(Vec<(usize, u64)>),
    Noted,
    Open { id: u64, peer: usize, generation: u64, seconds_left: u64 },
    Lock { peer: usize },
    MakeNext { id: u64, peer: usize, above: u64 },
    ChangeTo { id: u64, peer: usize, generation: u64, seconds_left: u64 },
    Round,
}

/// What a host says first: who it is, and its signature over what the bastion has challenged it with.
#[derive(Debug, Clone)]
pub struct Hello {
    pub host: HostName,
    pub signature: Signature,
}

/// A signature that nobody can make without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose key made it.
    pub by: usize,
    pub text: String,
}

/// An end gives up on a line that has been silent this long, in milliseconds.
pub const SILENCE: u64 = 30_000;

/// One connection. Messages bear the time at which they were said.
#[derive(Debug, Default)]
pub struct Link {
    pub up: VecDeque<(u64, Up)>,
    pub down: VecDeque<(u64, Down)>,
    /// Since when it swallows everything.
    pub swallows: Option<u64>,
}

impl Link {
    pub fn say_up(&mut self, now: u64, message: Up) {
        if self.swallows.is_none() {
            self.up.push_back((now, message));
        }
    }

    pub fn say_down(&mut self, now: u64, message: Down) {
        if self.swallows.is_none() {
            self.down.push_back((now, message));
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }

    /// When the ends give up, if nothing moves.
    pub fn dies_at(&self) -> Option<u64> {
        let oldest = [self.up.front().map(|(at, _)| *at), self.down.front().map(|(at, _)| *at), self.swallows];
        oldest.into_iter().flatten().min().map(|at| at + SILENCE)
    }
}
