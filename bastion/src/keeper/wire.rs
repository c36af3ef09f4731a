//! JSON lines over a Unix socket, one message at a time.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use wgmfa_core::message::{Lines, MessageError, decode, encode};
use zeroize::{Zeroize, Zeroizing};

/// A conversation over a Unix socket.
pub struct Wire {
    stream: UnixStream,
    lines: Lines,
}

/// Why a conversation cannot go on.
#[derive(Debug)]
pub enum WireError {
    /// The socket failed.
    Io(io::Error),
    /// The other side sent something that is no message here.
    Message(MessageError),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<MessageError> for WireError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl Wire {
    /// A conversation whose lines have at most `limit` bytes.
    pub fn new(stream: UnixStream, limit: usize) -> Self {
        Self { stream, lines: Lines::new(limit) }
    }

    /// The next message; `None` when the other side has hung up. May be cancelled without loss.
    ///
    /// # Errors
    /// The socket fails, or the line is no message of this conversation.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(Some(decode(&Zeroizing::new(line))?));
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).await?;
            self.lines.push(&chunk[..count]);
            chunk.zeroize();
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a message whole.
    ///
    /// # Errors
    /// The socket fails.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.stream.write_all(&Zeroizing::new(encode(message))).await
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Who is at the other end (`SO_PEERCRED`).
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn peer(&self) -> io::Result<tokio::net::unix::UCred> {
        self.stream.peer_cred()
    }
}
