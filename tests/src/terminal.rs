//! A program on a terminal of its own, and a person who reads and types there.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::wait::{LONG, until};

/// A program that has a terminal. Dropped, it is killed.
#[derive(Debug)]
pub struct Terminal {
    name: String,
    child: Child,
    /// The person's end.
    person: File,
    said: String,
    /// Up to here, what was said has been read by the person.
    read: usize,
}

impl Terminal {
    /// Starts a command in a session of its own, whose terminal is its standard input and both outputs.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn start(command: &Command) -> Self {
        let name = format!("{command:?}");
        let pty = openpty(None, None).expect("there are terminals");
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => session.env(key, value),
                None => session.env_remove(key),
            };
        }
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        session.stdin(end()).stdout(end()).stderr(end());
        let child = session.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let person = File::from(pty.master);
        fcntl(&person, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a descriptor of ours");
        Self { name, child, person, said: String::new(), read: 0 }
    }

    /// Waits for this text, behind all that was waited for before.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn await_text(&mut self, text: &str) {
        let since = Instant::now();
        loop {
            if let Some(at) = self.said[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let ended = self.child.try_wait().ok().flatten();
            self.take(Duration::from_millis(100));
            let waits = ended.is_none() && since.elapsed() < LONG;
            assert!(waits || self.said[self.read..].contains(text), "{}: no {text:?} in {:?}", self.name, self.said);
        }
    }

    /// Types a line, once what is typed is no longer shown.
    ///
    /// # Panics
    /// It stays visible.
    #[track_caller]
    pub fn type_hidden(&mut self, line: &str) {
        until("a terminal that does not show what is typed", LONG, || (!self.shows_what_is_typed()).then_some(()));
        self.type_line(line);
    }

    /// Types a line.
    ///
    /// # Panics
    /// The terminal is gone.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.person.write_all(format!("{line}\n").as_bytes()).expect("a terminal takes a line");
    }

    /// Whether what is typed appears.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn shows_what_is_typed(&self) -> bool {
        tcgetattr(self.person.as_fd()).expect("a terminal").local_flags.contains(LocalFlags::ECHO)
    }

    /// Its process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until it has ended; its exit status (-1: a signal) and all that was said, lines ended as everywhere else.
    ///
    /// # Panics
    /// It does not end within a minute and a half.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(since.elapsed() < 3 * LONG, "{} does not end; it said {:?}", self.name, self.said);
            self.take(Duration::from_millis(20));
        };
        self.take(Duration::ZERO);
        (status.code().unwrap_or(-1), self.said.replace("\r\n", "\n"))
    }

    /// Takes what has been said; waits so long for the first of it.
    fn take(&mut self, wait: Duration) {
        let mut fds = [PollFd::new(self.person.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
        let mut buffer = [0; 4096];
        loop {
            match self.person.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => self.said.push_str(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // nobody has the terminal any more
                    std::thread::sleep(wait.min(Duration::from_millis(5)));
                    return;
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
