//! The open channels of one connection, seen from both sides: what the client sends, and what the keeper answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::ChannelId;

use super::input::Input;

/// A channel.
#[derive(Debug)]
pub struct Open {
    /// The library's name for it.
    pub id: ChannelId,
    /// What comes on it.
    pub input: Input,
    /// The keeper runs a command for it.
    pub running: bool,
}

/// The open channels of one connection, by the number that the keeper knows.
#[derive(Debug, Clone, Default)]
pub struct Channels(Arc<Mutex<HashMap<u32, Open>>>);

impl Channels {
    /// All of them, for a moment: never across a wait.
    pub fn open(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The library's name for a channel, and whether it has a terminal; `None` when it is closed.
    pub fn find(&self, number: u32) -> Option<(ChannelId, bool)> {
        self.open().get(&number).map(|channel| (channel.id, channel.input.is_terminal()))
    }

    /// Forgets a channel; says whether the keeper was running a command for it.
    pub fn close(&self, number: u32) -> bool {
        self.open().remove(&number).is_some_and(|channel| channel.running)
    }
}

/// Text for a channel: a terminal in raw mode wants a carriage return before each newline.
pub fn text_for(terminal: bool, text: &str) -> Vec<u8> {
    if terminal { text.replace('\n', "\r\n").into_bytes() } else { text.as_bytes().to_vec() }
}
