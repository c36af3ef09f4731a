//! One connection to the keeper, with a limit on every wait, and only to a keeper that is root or ourselves.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, send, socket, sockopt,
};
use nix::unistd::geteuid;
use wgmfa_core::message::module::{FromModule, ToModule};
use wgmfa_core::message::{LINE_FROM_PERSON, Lines, MessageError, decode, encode};
use zeroize::Zeroizing;

/// How long a connection, and each line that is sent, may take.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// How long each answer of the keeper may take. A login has 60 s there, so this one is heard first.
const ANSWER_LIMIT: Duration = Duration::from_secs(65);

/// Why the keeper cannot be asked. For the log; holds nothing that was said.
#[derive(Debug)]
pub enum KeeperFault {
    /// No connection.
    Connect(io::Error),
    /// The socket belongs to this user, who is neither root nor ourselves.
    Owner(u32),
    /// At that path there is something else than a socket.
    NotASocket,
    /// The keeper hung up, or was silent for too long.
    Lost(io::Error),
    /// What it said is no message.
    Malformed(MessageError),
    /// A message of the conversation, but not its turn.
    Unexpected,
}

impl fmt::Display for KeeperFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect to the keeper: {error}"),
            Self::Owner(uid) => write!(f, "the keeper's socket belongs to user id {uid}, not to root"),
            Self::NotASocket => write!(f, "the keeper's socket is no socket"),
            Self::Lost(error) => write!(f, "lost the keeper: {error}"),
            Self::Malformed(error) => write!(f, "the keeper sent {error}"),
            Self::Unexpected => write!(f, "the keeper sent a message out of turn"),
        }
    }
}

impl std::error::Error for KeeperFault {}

/// A conversation with the keeper.
#[derive(Debug)]
pub struct Keeper {
    stream: UnixStream,
    lines: Lines,
}

impl Keeper {
    /// Connects, and makes sure who listens there.
    ///
    /// # Errors
    /// [`KeeperFault`]; nothing was said then.
    pub fn connect(path: &Path) -> Result<Self, KeeperFault> {
        let at_path = std::fs::symlink_metadata(path).map_err(KeeperFault::Connect)?;
        if !at_path.file_type().is_socket() {
            return Err(KeeperFault::NotASocket);
        }
        check_owner(at_path.uid())?;
        let stream = connect_within(path, SEND_LIMIT).map_err(KeeperFault::Connect)?;
        let listener = getsockopt(&stream, sockopt::PeerCredentials).map_err(|e| KeeperFault::Connect(e.into()))?;
        check_owner(listener.uid())?;
        Ok(Self { stream, lines: Lines::new(LINE_FROM_PERSON) })
    }

    /// Says one message and waits for the answer to it.
    ///
    /// # Errors
    /// [`KeeperFault`]; the conversation is over then.
    pub fn ask(&mut self, message: &FromModule) -> Result<ToModule, KeeperFault> {
        let line = Zeroizing::new(encode(message));
        if line.len() > LINE_FROM_PERSON {
            return Err(KeeperFault::Malformed(MessageError::TooLong(LINE_FROM_PERSON)));
        }
        self.send(&line).map_err(KeeperFault::Lost)?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            if let Some(line) = self.lines.next_line().map_err(KeeperFault::Malformed)? {
                return decode(&line).map_err(KeeperFault::Malformed);
            }
            self.receive(deadline).map_err(KeeperFault::Lost)?;
        }
    }

    /// Without SIGPIPE, which would end the program that has loaded us.
    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(self.stream.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.lines.push(&bytes[..read]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn check_owner(uid: u32) -> Result<(), KeeperFault> {
    if uid == 0 || uid == geteuid().as_raw() { Ok(()) } else { Err(KeeperFault::Owner(uid)) }
}

/// unix(7): connect(2) waits for room in the listener's queue, no longer than `SO_SNDTIMEO`, which then also holds for
/// what is sent.
fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    stream.set_write_timeout(Some(limit))?;
    connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(stream)
}
