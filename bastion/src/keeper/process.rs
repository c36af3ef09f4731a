//! Processes that cannot be mistaken for others which get their numbers later: each is held by a pidfd.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use wgmfa_core::ancestry::{self, Stat};

/// A process. As long as it is held, its number means no other one, or it is known to have ended.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// The process that has connected to a Unix socket of ours.
    ///
    /// # Errors
    /// It is of another PID namespace, or has ended.
    pub fn peer(stream: &UnixStream) -> io::Result<Self> {
        let pid = stream.peer_cred()?.pid().filter(|pid| *pid > 0).ok_or(io::ErrorKind::NotFound)?;
        match getsockopt(stream, sockopt::PeerPidfd) {
            Ok(fd) => Ok(Self { pid, fd }),
            // before Linux 6.5: its number, as long as it is there. Whoever takes the number of a process that has ended
            // between these two calls holds no socket of ours.
            Err(Errno::ENOPROTOOPT) => Self::by_number(pid),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn by_number(pid: i32) -> io::Result<Self> {
        let number = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, fd: pidfd_open(number, PidfdFlags::empty())? })
    }

    /// Its parent.
    ///
    /// # Errors
    /// It has ended, or its parent has.
    pub fn parent(&self) -> io::Result<Self> {
        let parent = || read(self.pid).map(|stat| stat.parent).ok_or(io::Error::from(io::ErrorKind::NotFound));
        let found = Self::by_number(parent()?)?;
        // a parent that ended before it was held would have left its child to another one
        if parent()? == found.pid && self.is_alive() { Ok(found) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        // a pidfd can be read from when its process has ended (pidfd_open(2))
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    /// Whether both are the same, which has not ended.
    pub fn is(&self, other: &Self) -> bool {
        self.has_number(other.pid) && other.is_alive()
    }

    /// Whether this number means it, and no other one that has got it.
    pub fn has_number(&self, pid: i32) -> bool {
        self.pid == pid && self.is_alive()
    }

    /// The numbers of itself and its ancestors, as they are now. None: it, or one of them, has ended meanwhile.
    pub fn line(&self) -> Option<Vec<i32>> {
        ancestry::line(self.pid, read).filter(|_| self.is_alive())
    }
}

fn read(pid: i32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    Stat::parse(&String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_child_descends_from_this_process_until_it_ends() {
        let mut child = sleeper();
        let held = Process::by_number(child.id().cast_signed()).unwrap();
        let this = Process::by_number(std::process::id().cast_signed()).unwrap();
        let line = held.line().unwrap();
        assert!(held.has_number(line[0]) && this.has_number(line[1]));
        assert!(!this.line().unwrap().iter().any(|pid| held.has_number(*pid)));
        assert!(held.parent().unwrap().is(&this) && !held.is(&this));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!held.is_alive() && held.line().is_none() && held.parent().is_err() && !held.is(&held));
        assert!(!held.has_number(line[0]), "it may be another one's by now");
    }

    #[tokio::test]
    async fn the_peer_of_a_socket_is_held() {
        let (one, _other) = UnixStream::pair().unwrap();
        let this = Process::by_number(std::process::id().cast_signed()).unwrap();
        assert!(Process::peer(&one).unwrap().is(&this));
    }
}
