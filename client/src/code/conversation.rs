//! The conversation with a gateway: a line at a time, bounded in length, number and time, and cleaned of what could steer
//! a terminal.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{BindToDevice, SocketError};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, getsockopt, setsockopt, socket,
};
use wgmfa_core::message::Lines;

use crate::code::ways::{Way, interface_towards, source_towards};
use crate::voice::foreign;

/// Longest line of a gateway, in bytes.
const LONGEST_LINE: usize = 400;

/// Most bytes that are read in one conversation.
const MOST: usize = 16 * 1024;

/// How long the first way is tried alone before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(500);

/// A gateway that has said its first line.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    lines: Lines,
    read: usize,
}

/// What came from the gateway.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line.
    Line(String),
    /// It has hung up.
    End,
    /// Something that no gateway says; why, in words.
    Nonsense(String),
    /// Nothing, and the time is over.
    Silence,
}

impl Conversation {
    /// Tries these ways in turn, each with a head start, until one leads to somebody who speaks first and says one line.
    ///
    /// # Errors
    /// What has become of each, a text each.
    pub fn begin(ways: &[Way], until: Instant) -> Result<(Self, String), Vec<String>> {
        let mut waiting = ways.iter();
        let mut attempts: Vec<Attempt<'_>> = Vec::new();
        let mut failed: Vec<(&Way, String)> = Vec::new();
        let mut next_start = Instant::now();
        while Instant::now() < until && (waiting.len() > 0 || !attempts.is_empty()) {
            if (attempts.is_empty() || Instant::now() >= next_start)
                && let Some(way) = waiting.next()
            {
                match Attempt::start(way) {
                    Ok(attempt) => attempts.push(attempt),
                    Err(error) => failed.push((way, error.desc().to_lowercase())),
                }
                next_start = Instant::now() + HEAD_START;
                continue;
            }
            let ready = {
                let wake = if waiting.len() > 0 { until.min(next_start) } else { until };
                let fds: Vec<_> = attempts.iter().map(Attempt::awaits).collect();
                ready(fds, wake)
            };
            let mut index = 0;
            for is_ready in ready {
                match if is_ready { attempts[index].go_on() } else { Progress::Waits } {
                    Progress::Waits => index += 1,
                    Progress::Speaks(line) => return Ok((attempts.swap_remove(index).conversation, line)),
                    Progress::Failed(why) => failed.push((attempts.remove(index).way, why)),
                }
            }
        }
        failed.extend(attempts.iter().map(|attempt| {
            let why = if attempt.connected { "it says nothing" } else { "no answer" };
            (attempt.way, why.to_owned())
        }));
        Err(failed.into_iter().map(|(way, why)| format!("{way}: {why}")).collect())
    }

    /// Says a line. Whether it arrived shows in the answer.
    pub fn say(&mut self, line: &[u8]) {
        let _ = self.stream.write_all(line);
    }

    /// The next line.
    pub fn hear(&mut self, until: Instant) -> Heard {
        loop {
            match self.look() {
                Some(heard) => return heard,
                None if Instant::now() >= until => return Heard::Silence,
                None => {
                    ready(vec![PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)], until);
                }
            }
        }
    }

    /// What has come, without waiting for more.
    fn look(&mut self) -> Option<Heard> {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    let text = String::from_utf8_lossy(&line);
                    return Some(Heard::Line(foreign(text.trim_end_matches('\r'))));
                }
                Ok(None) => {}
                Err(error) => return Some(Heard::Nonsense(error.to_string())),
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Heard::End),
                Ok(length) => {
                    self.read += length;
                    if self.read > MOST {
                        return Some(Heard::Nonsense(format!("more than {MOST} bytes")));
                    }
                    self.lines.push(&buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Heard::End),
            }
        }
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A way that is being tried.
struct Attempt<'w> {
    way: &'w Way,
    conversation: Conversation,
    connected: bool,
}

enum Progress {
    Waits,
    Speaks(String),
    Failed(String),
}

impl<'w> Attempt<'w> {
    fn start(way: &'w Way) -> Result<Self, Errno> {
        let socket = through(way)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(way.address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let conversation = Conversation { stream: socket.into(), lines: Lines::new(LONGEST_LINE), read: 0 };
        Ok(Self { way, conversation, connected: false })
    }

    fn awaits(&self) -> PollFd<'_> {
        let flags = if self.connected { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        PollFd::new(self.conversation.as_fd(), flags)
    }

    fn go_on(&mut self) -> Progress {
        if !self.connected {
            match getsockopt(&self.conversation.stream, SocketError).map(Errno::from_raw) {
                Ok(Errno::UnknownErrno) => self.connected = true, // 0: there was no error
                Ok(error) | Err(error) => return Progress::Failed(error.desc().to_lowercase()),
            }
        }
        match self.conversation.look() {
            None => Progress::Waits,
            Some(Heard::Line(line)) if is_of_a_gateway(&line) => Progress::Speaks(line),
            Some(Heard::End | Heard::Silence) => Progress::Failed("it hung up".to_owned()),
            Some(Heard::Line(_)) => Progress::Failed("it does not speak like a gateway".to_owned()),
            Some(Heard::Nonsense(why)) => Progress::Failed(format!("it does not speak like a gateway: {why}")),
        }
    }
}

/// `wgmfa app-gw: one-time code for justins-laptop:`, or why it does not ask.
fn is_of_a_gateway(line: &str) -> bool {
    line.starts_with("wgmfa ") || line.starts_with("error: ")
}

/// A socket that leads through the interface and nowhere else.
fn through(way: &Way) -> Result<OwnedFd, Errno> {
    let family = if way.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    match setsockopt(&socket, BindToDevice, &OsString::from(&way.interface)) {
        // before Linux 5.7 that was for root alone: then the route must lead there by itself
        Err(Errno::EPERM) => {
            let routed = interface_towards(way.address).is_some_and(|interface| interface == way.interface);
            let source = source_towards(way).filter(|_| routed).ok_or(Errno::ENETUNREACH)?;
            bind(socket.as_raw_fd(), &SockaddrStorage::from(std::net::SocketAddr::from((source, 0))))?;
        }
        outcome => outcome?,
    }
    Ok(socket)
}

/// Which of these can go on; waits for the first, until the time is over.
pub fn ready(mut fds: Vec<PollFd<'_>>, until: Instant) -> Vec<bool> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(0) | Err(_) => vec![false; fds.len()],
        Ok(_) => fds.iter().map(|fd| fd.any().unwrap_or(true)).collect(),
    }
}
