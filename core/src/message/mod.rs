//! What programs say to each other: JSON lines, each a type, each channel with a limit on the length of a line.
//!
//! Unknown fields are ignored (a newer program may say more); unknown types of message are refused. Messages carry
//! seconds left, never times of day.

pub mod admin;
pub mod agent;
pub mod front;
pub mod module;
pub mod person;
pub mod sync;
pub mod worker;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

/// The version that this program speaks, in the first message of each conversation.
pub const VERSION: u32 = 1;

/// Longest line of a conversation whose other side has proved nothing yet, in bytes.
pub const LINE_BEFORE_PROOF: usize = 8 * 1024;

/// Longest line of a person's subsystem, of the PAM module and of a PAM worker, in bytes.
pub const LINE_FROM_PERSON: usize = 64 * 1024;

/// Longest line that an administrator's command reads, in bytes: an inventory is one line.
pub const LINE_OF_INPUT: usize = 1024 * 1024;

/// Longest line of an agent and of an administrator, in bytes: a report of 10,000 peers fits.
pub const LINE_FROM_AGENT: usize = 8 * 1024 * 1024;

/// Longest line to an agent, in bytes: what is said about 10,000 peers fits, however long the names and descriptions are.
pub const LINE_TO_AGENT: usize = 4 * LINE_FROM_AGENT;

/// Longest line between front and keeper, in bytes: the longest to or from an agent, wrapped in JSON once more, in which
/// each of its quotation marks takes two. (A control character takes six; a line of an agent that has one is none.)
pub const LINE_OF_FRONT: usize = 2 * LINE_TO_AGENT + 4096;

/// Why a line is no message. Never contains the line: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageError {
    /// Longer than this channel allows, in bytes.
    TooLong(usize),
    /// Not UTF-8, not JSON, or not a message of this conversation; with the column.
    Malformed(usize),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(limit) => write!(f, "a line is longer than {limit} bytes"),
            Self::Malformed(column) => write!(f, "not a message of this conversation (column {column})"),
        }
    }
}

impl std::error::Error for MessageError {}

/// A message as one line, newline included.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("our messages are plain data");
    line.push(b'\n');
    line
}

/// A message from one line, with or without its newline.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, MessageError> {
    serde_json::from_slice(line).map_err(|error| MessageError::Malformed(error.column()))
}

/// The version that a line says it is of, also when it is no message that this program knows: the first line of a later
/// version may have other fields.
pub fn version_of(line: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice::<Versioned>(line).ok().map(|line| line.version)
}

/// Why two programs do not go on, if the other side speaks another version than [`VERSION`].
pub fn other_version(theirs: u32, conversation: &str) -> Option<String> {
    (theirs != VERSION)
        .then(|| format!("the other side speaks version {theirs} of {conversation}, this program version {VERSION}"))
}

/// What to do about it.
pub const BRING_FORWARD: &str =
    "programs talk to each other when they are at most one minor version apart: bring the older one forward";

/// Cuts a stream of bytes into lines and refuses one that is too long before it is whole.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the first line begins that was not taken yet.
    begin: usize,
    /// From there up to here no newline stands.
    searched: usize,
    limit: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes, newline not counted.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), begin: 0, searched: 0, limit }
    }

    /// Changes the limit, for example once the other side has proved who it is.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its newline, `None` until more bytes have come.
    ///
    /// # Errors
    /// [`MessageError::TooLong`]; the conversation must then end.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, MessageError> {
        let newline = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let end = newline.map_or(self.buffer.len(), |at| self.searched + at);
        if end - self.begin > self.limit {
            return Err(MessageError::TooLong(self.limit));
        }
        self.searched = end;
        if newline.is_none() {
            return Ok(None);
        }
        let line = self.buffer[self.begin..end].to_vec();
        self.buffer[self.begin..end].zeroize();
        (self.begin, self.searched) = (end + 1, end + 1);
        Ok(Some(line))
    }

    /// What came after the last newline.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::agent::{PeerRef, ToAgent};
    use super::front::ToFront;
    use super::sync::PolicyRef;
    use super::*;
    use crate::gate::{GateAssignment, TierLeft};
    use crate::key::{PublicKey, SecretText};
    use crate::rotation::{Assignment, Standing};

    #[test]
    fn the_version_of_a_line_shows_whatever_else_it_says() {
        assert_eq!(version_of(br#"{"type":"hello","version":7,"of":["tomorrow"]}"#), Some(7));
        for none in [&b"{}"[..], b"{\"version\":\"1\"}", b"hello", b"[]"] {
            assert_eq!(version_of(none), None);
        }
        assert_eq!(other_version(VERSION, "it"), None);
        let other = "the other side speaks version 2 of it, this program version 1";
        assert_eq!(other_version(2, "it").as_deref(), Some(other));
    }

    #[test]
    fn the_longest_answer_about_ten_thousand_peers_fits_also_when_it_is_wrapped() {
        let peer =
            PeerRef { interface: "i23456789012345".parse().unwrap(), public_key: PublicKey::from_bytes([1; 32]) };
        let name = "n".repeat(63);
        let connection = format!("{name}/i23456789012345:{name}");
        let policy = PolicyRef { ordinal: 99_999, description: "\u{9375}".repeat(200), mfa: true };
        let assignment = Assignment {
            peer: peer.clone(),
            connection: connection.clone(),
            policy: Some(policy.clone()),
            rotation_interval: 31_536_000,
            idle_timeout: Some(31_536_000),
            highest_generation: 1_000_000,
            standing: Standing::Released { generation: 1_000_000, seconds_left: 31_536_000 },
        };
        let gate = GateAssignment {
            peer,
            connection,
            other: name,
            policy,
            tier: "t".repeat(32).parse().unwrap(),
            rotation_interval: 31_536_000,
            idle_timeout: Some(31_536_000),
            with_key: true,
            cut_off: None,
            grants: vec![TierLeft { tier: "t".repeat(32).parse().unwrap(), seconds_left: 31_536_000 }; 2],
        };
        let answer = ToAgent::Assignments {
            assignments: vec![assignment; 10_000],
            gates: vec![gate; 10_000],
            uncovered: Vec::new(),
            log_head: None,
            pairs: Vec::new(),
            deliveries: Vec::new(),
            free: Vec::new(),
            gated: Vec::new(),
            restored: Vec::new(),
            host_keys: Vec::new(),
        };
        let line = encode(&answer);
        assert!(line.len() <= LINE_TO_AGENT, "{} bytes", line.len());
        let stdout = SecretText::new(String::from_utf8(line).unwrap());
        let (conversation, channel, stderr, exit, confirm) = (u64::MAX, u32::MAX, String::new(), None, false);
        let wrapped = encode(&ToFront::Output { conversation, channel, stdout, stderr, exit, confirm });
        assert!(wrapped.len() <= LINE_OF_FRONT, "{} bytes", wrapped.len());
    }

    #[test]
    fn lines_are_cut_and_bounded() {
        let mut lines = Lines::new(4);
        lines.push(b"ab");
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"cd\ne\n\nf");
        assert_eq!(lines.next_line(), Ok(Some(b"abcd".to_vec())));
        assert_eq!(lines.next_line(), Ok(Some(b"e".to_vec())));
        assert_eq!(lines.next_line(), Ok(Some(Vec::new())));
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"ghij");
        assert_eq!(lines.next_line(), Err(MessageError::TooLong(4)));
    }

    #[test]
    fn many_short_lines_cost_no_more_than_their_bytes() {
        let mut lines = Lines::new(8);
        lines.push(&b"\n".repeat(100_000));
        lines.push(b"rest");
        for _ in 0..100_000 {
            assert_eq!(lines.next_line().map(|line| line.map(|line| line.capacity())), Ok(Some(0)));
        }
        assert_eq!(lines.next_line(), Ok(None));
        assert_eq!(lines.rest(), b"rest");
    }
}
