//! Asking for a new password on a terminal.

use std::io::{BufRead, Stdin};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use zeroize::Zeroizing;

use crate::voice;

/// Asks for a new password, twice, without showing it.
///
/// # Errors
/// Standard input is no terminal, the two differ, or a signal came in between.
pub fn ask_twice() -> Result<SecretText, Failure> {
    let first = ask("New password: ")?;
    let second = ask("The same again: ")?;
    if first != second {
        return Err(Failure::new(Exit::Failed, "the two passwords differ").hint("nothing was changed; try again"));
    }
    Ok(SecretText::new(first.to_string()))
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = std::io::stdin();
    let mut hidden = Hidden::begin(&stdin).map_err(failed)?;
    voice::complain(prompt);
    let read = hidden.line();
    let shown_again = hidden.end();
    voice::complain("\n");
    shown_again.map_err(failed)?;
    read.map_err(failed)?.ok_or_else(|| Failure::new(Exit::Failed, "interrupted").hint("nothing was changed"))
}

fn failed(error: Errno) -> Failure {
    Failure::new(Exit::Failed, format!("cannot ask for a password: {}", error.desc().to_lowercase()))
}

/// A terminal that does not show what is typed. Signals wait until it shows it again, so that none ends the program
/// before.
struct Hidden<'t> {
    stdin: &'t Stdin,
    before: Termios,
    signals: SigSet,
    arrived: SignalFd,
}

impl<'t> Hidden<'t> {
    fn begin(stdin: &'t Stdin) -> Result<Self, Errno> {
        let before = tcgetattr(stdin.as_fd())?;
        let mut signals = SigSet::empty();
        signals.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP]);
        signals.thread_block()?;
        let arrived = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { stdin, before, signals, arrived })
    }

    /// What was typed; none: a signal came first.
    fn line(&mut self) -> Result<Option<Zeroizing<String>>, Errno> {
        let mut ready =
            [PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN), PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE)?;
        if ready[1].any().unwrap_or(true) {
            self.arrived.read_signal()?;
            return Ok(None);
        }
        let mut line = Zeroizing::new(String::new());
        let read = self.stdin.lock().read_line(&mut line);
        read.map_err(|error| error.raw_os_error().map_or(Errno::EILSEQ, Errno::from_raw))?;
        let length = line.trim_end_matches(['\n', '\r']).len();
        line.truncate(length);
        Ok(Some(line))
    }

    fn end(self) -> Result<(), Errno> {
        let shown = tcsetattr(self.stdin.as_fd(), SetArg::TCSAFLUSH, &self.before);
        self.signals.thread_unblock().and(shown)
    }
}
