//! Asking the person for the code: on the terminal, through `systemd-ask-password`, or on standard input. It stands in no
//! argument and in no environment.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, read, tcgetpgrp};
use zeroize::Zeroizing;

use crate::code::conversation::ready;

/// Longest answer, in bytes: a gateway reads lines of 64.
const LONGEST: usize = 63;

/// How long an agent may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where the person is asked.
#[derive(Debug)]
pub enum Asking {
    /// On the terminal. What is typed is not shown: it may be a recovery code.
    Terminal(File),
    /// By whatever shows the questions of systemd: the boot screen, the desktop, another terminal.
    Agent(PathBuf),
    /// Standard input, one line.
    Input,
}

/// What a question has brought.
#[derive(Debug)]
pub enum Asked {
    /// A line, without its end.
    Typed(Zeroizing<String>),
    /// The end of the input, or an agent that has no answer.
    Nothing,
    /// Longer than a code can be.
    TooLong,
    /// A signal came first.
    Interrupted,
    /// The gateway has said something meanwhile, or hung up.
    GatewaySpeaks,
    /// The time is over.
    TimeIsOver,
    /// The terminal failed.
    Failed(Errno),
}

impl Asking {
    /// Who can be asked; none: nobody. As `PostUp`, standard input belongs to wg-quick, and where there is no terminal an
    /// agent asks: nobody else is prompted without one.
    pub fn find(post_up: bool) -> Option<Self> {
        if post_up {
            return Self::on_terminal().or_else(|| agent().map(Self::Agent));
        }
        if std::io::stdin().is_terminal() { Self::on_terminal() } else { Some(Self::Input) }
    }

    /// A person on the terminal, if there is one.
    pub fn on_terminal() -> Option<Self> {
        terminal().map(Self::Terminal)
    }

    /// Whether a wrong code can be followed by another one.
    pub fn can_repeat(&self) -> bool {
        !matches!(self, Self::Input)
    }

    /// Asks. A gateway that speaks or hangs up meanwhile ends the question.
    pub fn ask(&self, prompt: &str, gateway: BorrowedFd<'_>, until: Instant) -> Asked {
        match self {
            Self::Terminal(tty) => on_terminal(tty, prompt, gateway, until).unwrap_or_else(Asked::Failed),
            Self::Agent(program) => through_agent(program, prompt, gateway, until),
            Self::Input => read_line(std::io::stdin().as_fd(), None, gateway, until),
        }
    }
}

/// The terminal, if it is ours to read: a program in the background would be stopped. One that somebody has stopped
/// (Ctrl-S) stops nobody.
fn terminal() -> Option<File> {
    let tty = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/tty").ok()?;
    (tcgetpgrp(&tty).ok()? == getpgrp()).then_some(tty)
}

fn agent() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("systemd-ask-password")).find(|program| program.is_file())
}

fn on_terminal(mut tty: &File, prompt: &str, gateway: BorrowedFd<'_>, until: Instant) -> Result<Asked, Errno> {
    let hidden = Hidden::begin(tty)?;
    let _ = tty.write_all(prompt.as_bytes());
    let asked = read_line(tty.as_fd(), Some(&hidden.arrived), gateway, until);
    if matches!(asked, Asked::TooLong) {
        let _ = tcflush(tty, FlushArg::TCIFLUSH); // the rest of it is nothing for the shell
    }
    drop(hidden);
    let _ = tty.write_all(b"\n");
    Ok(asked)
}

/// A terminal that does not show what is typed. Signals wait until it shows it again, so that none ends the program before.
struct Hidden<'t> {
    tty: &'t File,
    before: Termios,
    signals: SigSet,
    arrived: SignalFd,
}

impl<'t> Hidden<'t> {
    fn begin(tty: &'t File) -> Result<Self, Errno> {
        let before = tcgetattr(tty)?;
        let mut signals = SigSet::empty();
        signals.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP]);
        signals.extend([Signal::SIGTTIN, Signal::SIGTTOU]);
        signals.thread_block()?;
        let arrived = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        let hidden = tcsetattr(tty, SetArg::TCSANOW, &hidden);
        let guard = Self { tty, before, signals, arrived };
        hidden.map(|()| guard)
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty, SetArg::TCSANOW, &self.before);
        while let Ok(Some(_)) = self.arrived.read_signal() {} // what was said with it is told as an interruption
        let _ = self.signals.thread_unblock();
    }
}

/// Reads up to the end of a line.
fn read_line(from: BorrowedFd<'_>, signals: Option<&SignalFd>, gateway: BorrowedFd<'_>, until: Instant) -> Asked {
    let mut line = Zeroizing::new(Vec::with_capacity(2 * LONGEST));
    loop {
        let mut fds = vec![PollFd::new(from, PollFlags::POLLIN), PollFd::new(gateway, PollFlags::POLLIN)];
        fds.extend(signals.map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
        let ready = ready(fds, until);
        if ready.get(2) == Some(&true) {
            return Asked::Interrupted;
        }
        let mut buffer = Zeroizing::new([0; LONGEST]);
        let length = match ready[0].then(|| read(from, &mut buffer[..])) {
            Some(Ok(length)) => length,
            Some(Err(error)) if !matches!(error, Errno::EINTR | Errno::EAGAIN) => return Asked::Failed(error),
            _ if ready[1] => return Asked::GatewaySpeaks,
            _ if Instant::now() >= until => return Asked::TimeIsOver,
            _ => continue,
        };
        line.extend_from_slice(&buffer[..length]);
        let end = line.iter().position(|&byte| byte == b'\n');
        if end.is_some() || length == 0 {
            let typed = String::from_utf8_lossy(&line[..end.unwrap_or(line.len())]).trim().to_owned();
            let typed = Zeroizing::new(typed);
            let nothing = end.is_none() && typed.is_empty();
            return if nothing { Asked::Nothing } else { fitting(typed) };
        }
        if line.len() > LONGEST {
            return Asked::TooLong;
        }
    }
}

fn fitting(typed: Zeroizing<String>) -> Asked {
    if typed.len() > LONGEST { Asked::TooLong } else { Asked::Typed(typed) }
}

/// Asks through systemd's agents (`systemd-ask-password(1)`).
fn through_agent(program: &PathBuf, prompt: &str, gateway: BorrowedFd<'_>, until: Instant) -> Asked {
    let left = until.saturating_duration_since(Instant::now()).as_secs().max(1);
    let mut command = Command::new(program);
    command.args([
        "--no-tty",
        "--id=wgmfa",
        &format!("--timeout={left}"),
        "--",
        &prompt.trim_end().replace('\n', "; "),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else { return Asked::Nothing };
    let mut child = Ending(child);
    let Some(answer) = child.0.stdout.take() else { return Asked::Nothing };
    read_line(answer.as_fd(), None, gateway, until)
}

/// A question that is asked no longer when it is dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // asked to leave, it takes its question away
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let since = Instant::now();
        while let Ok(None) = self.0.try_wait() {
            if since.elapsed() > GOODBYE {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
