//! The login: the system's `ssh` as a child, and the conversation with the bastion through its pipes.
//!
//! `ssh` asks its questions on the terminal by itself; what it writes to standard error is shown, cleaned, and read
//! along: it is the only place that tells a refused login from an unreachable bastion.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::sync::{Changed, ClientAnswer, ClientHello, Release};
use wgmfa_core::message::{Lines, decode, encode};
use zeroize::Zeroizing;

use crate::bastion::Bastion;
use crate::order::{LONGEST, check_version};
use crate::person::Person;
use crate::{clock, voice};

/// What is added to every call. A shared connection would ask again without a new login. During the login ssh also bounds by
/// the product of the two in the middle how long it waits for the bastion, which may be asking somebody's telephone: a minute,
/// as long as a login may last.
const ALWAYS: [&str; 10] = [
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=12",
    "-o",
    "ControlMaster=no",
    "-o",
    "ControlPath=none",
];

/// How long `ssh` may take to leave once everything is said.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long the servers may take to change to the next generation: the bastion waits for two seconds.
const CHANGE: Duration = Duration::from_secs(10);

/// Longest line of `ssh` that is shown at once, in bytes.
const LONGEST_NOTICE: usize = 4096;

/// How to log in.
#[derive(Debug)]
pub struct Login<'a> {
    /// Where.
    pub bastion: &'a Bastion,
    /// For ssh.
    pub ssh_options: &'a [OsString],
    /// What this machine's interfaces are, and which device the person named.
    pub hello: &'a ClientHello,
    /// As whom.
    pub person: Option<&'a Person>,
    /// How long all of it may take.
    pub limit: Option<Duration>,
}

/// A login that was accepted, with what it released.
#[derive(Debug)]
pub struct Accepted {
    /// The keys.
    pub release: Release,
    /// When they came in.
    pub received: Boottime,
    lines: Lines,
    talk: Talk,
}

impl Accepted {
    /// Tells the bastion what was done. One that is gone by now need not know.
    pub fn answer(&mut self, answer: &ClientAnswer) {
        if let Some(stdin) = &mut self.talk.stdin {
            let _ = stdin.write_all(&encode(answer));
        }
    }

    /// Waits until the bastion has said which servers have changed to their next generation; none: it did not say, or not
    /// in time. Until then nobody may use these generations.
    pub fn changed(&mut self) -> Option<Changed> {
        let limit = self.talk.deadline.replace(Instant::now() + CHANGE);
        let changed = loop {
            match self.lines.next_line() {
                Ok(Some(line)) => break decode(&line).ok(),
                Ok(None) => {}
                Err(_) => break None,
            }
            match self.talk.more() {
                Ok(Some(bytes)) => self.lines.push(&bytes),
                Ok(None) | Err(TimeIsOver) => break None,
            }
        };
        self.talk.deadline = limit;
        changed
    }

    /// Hangs up, and shows what was still said.
    pub fn end(mut self) {
        self.talk.deadline = Some(Instant::now() + GOODBYE);
        drop(self.talk.stdin.take());
        while let Ok(Some(_)) = self.talk.more() {}
    }
}

impl Login<'_> {
    /// Logs in and takes what is released.
    ///
    /// # Errors
    /// [`Exit::LoginRefused`], [`Exit::Unreachable`], [`Exit::LoginNeeded`] when the time is over, or what the bastion
    /// answered is no release.
    pub fn log_in(&self) -> Result<Accepted, Failure> {
        let mut talk = Talk::start(&mut self.command(), self.limit)?;
        if let Some(stdin) = &mut talk.stdin {
            let _ = stdin.write_all(&encode(self.hello)); // fits into the pipe; if ssh has ended, its status says more
        }
        let mut lines = Lines::new(LONGEST);
        let line = loop {
            let mut ended = false;
            match talk.more().map_err(|TimeIsOver| self.no_login_in_time())? {
                Some(bytes) => lines.push(&bytes),
                None => ended = true,
            }
            match lines.next_line() {
                Ok(Some(line)) => break Zeroizing::new(line),
                Ok(None) if ended => return Err(self.why_it_ended(&mut talk, !lines.rest().is_empty())),
                Ok(None) => {}
                Err(error) => return Err(self.no_release(&error.to_string())),
            }
        };
        let received = clock::boottime();
        let release: Release = decode(&line).map_err(|error| self.no_release(&error.to_string()))?;
        check_version(&release)?;
        Ok(Accepted { release, received, lines, talk })
    }

    /// `-s` asks for the subsystem, which speaks JSON lines.
    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(ALWAYS).args(self.ssh_options).args(["-T", "-s", "--", self.bastion.as_str(), "wgmfa-sync"]);
        if let Some(person) = self.person {
            person.lends_itself_to(&mut command);
        }
        command
    }

    fn no_login_in_time(&self) -> Failure {
        Failure::new(Exit::LoginNeeded, format!("no login on {} in time", self.bastion)).hint("wgmfa sync")
    }

    fn no_release(&self, why: &str) -> Failure {
        Failure::new(Exit::Failed, format!("{} did not answer like a bastion: {why}", self.bastion))
            .hint("is it the right host and port? wgmfa-bastion listens on port 2222 by default")
    }

    fn why_it_ended(&self, talk: &mut Talk, in_the_middle: bool) -> Failure {
        let bastion = self.bastion;
        let status = talk.wait();
        match status.and_then(|status| status.code()) {
            Some(255) if talk.refused => Failure::new(Exit::LoginRefused, format!("{bastion} refused the login")),
            Some(255) | None => {
                let signal = status.and_then(|status| status.signal());
                let why = signal.map_or(String::new(), |signal| format!(" (ssh was ended by signal {signal})"));
                Failure::new(Exit::Unreachable, format!("{bastion} could not be reached{why}"))
                    .hint(format!("try: ssh {bastion}"))
            }
            Some(_) if in_the_middle => self.no_release("it stopped in the middle of a line"),
            Some(0) => self.no_release("it said nothing"),
            Some(code) => {
                let exit =
                    [Exit::Failed, Exit::Usage, Exit::LoginRefused, Exit::LoginNeeded, Exit::Unreachable, Exit::Partly]
                        .into_iter()
                        .find(|exit| i32::from(exit.code()) == code);
                Failure::new(exit.unwrap_or(Exit::Failed), format!("{bastion} released nothing"))
                    .hint("its reasons stand above")
            }
        }
    }
}

/// The time for all of it is over.
struct TimeIsOver;

/// `ssh` and the pipes to it. Dropped, it takes `ssh` with it.
#[derive(Debug)]
struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// What came on standard error and is not a whole line yet.
    notice: Vec<u8>,
    /// ssh said that the login was refused.
    refused: bool,
    deadline: Option<Instant>,
}

impl Talk {
    fn start(command: &mut Command, limit: Option<Duration>) -> Result<Self, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let failure = Failure::new(Exit::Failed, format!("ssh: {error}"));
            if error.kind() == ErrorKind::NotFound { failure.hint("install openssh-client") } else { failure }
        })?;
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            notice: Vec::new(),
            refused: false,
            deadline: limit.map(|limit| Instant::now() + limit),
        })
    }

    /// The next bytes of standard output; none: both outputs have ended. Standard error is shown meanwhile.
    fn more(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, TimeIsOver> {
        let mut buffer = Zeroizing::new(vec![0; 16 * 1024]);
        loop {
            let [output, error] = self.ready()?;
            if error && let Some(stderr) = &mut self.stderr {
                match stderr.read(&mut buffer) {
                    Ok(0) | Err(_) => self.stderr = None,
                    Ok(length) => self.notice.extend_from_slice(&buffer[..length]),
                }
                self.show_notices();
            }
            if output && let Some(stdout) = &mut self.stdout {
                match stdout.read(&mut buffer) {
                    Ok(0) | Err(_) => self.stdout = None,
                    Ok(length) => {
                        buffer.truncate(length);
                        return Ok(Some(buffer));
                    }
                }
            }
            if self.stdout.is_none() && self.stderr.is_none() {
                return Ok(None);
            }
        }
    }

    /// Waits until one of the two outputs has something to say.
    fn ready(&self) -> Result<[bool; 2], TimeIsOver> {
        let timeout = match self.deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(TimeIsOver);
                }
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = Vec::new();
        fds.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(0) | Err(_) => Ok([false, false]), // the deadline is looked at when we come back
            Ok(_) => {
                let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
                let output = self.stdout.is_some() && ready.next().unwrap_or(false);
                Ok([output, ready.next().unwrap_or(false)])
            }
        }
    }

    /// Shows the whole lines that have come, and everything at the end or when a line grows too long.
    fn show_notices(&mut self) {
        loop {
            let end = match self.notice.iter().position(|&byte| byte == b'\n') {
                Some(at) => at + 1,
                None if self.notice.len() > LONGEST_NOTICE || self.stderr.is_none() => self.notice.len(),
                None => return,
            };
            if end == 0 {
                return;
            }
            let line: Vec<u8> = self.notice.drain(..end).collect();
            let line = String::from_utf8_lossy(&line);
            self.refused |= line.contains("Permission denied (");
            voice::remark(&voice::foreign(line.trim_end_matches(['\n', '\r'])));
        }
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        self.child.wait().ok()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already, or is to
        let _ = self.child.wait();
    }
}
