//! The terminal: what is typed is hidden while a secret is asked for, and shown again whatever happens.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Standard input as a terminal. Dropped, it is as it was.
pub struct Terminal {
    before: Termios,
    /// The signals that would otherwise end the program and leave the terminal as it is.
    pub signals: SignalFd,
}

impl Terminal {
    /// None: standard input is no terminal.
    pub fn of_input() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let signals: SigSet = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().ok()?;
        Some(Self { before, signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).ok()? })
    }

    /// Whether what is typed is shown from now on. What was typed before is thrown away.
    pub fn echo(&self, shown: bool) {
        let mut now = self.before.clone();
        now.local_flags.set(LocalFlags::ECHO, shown);
        now.local_flags.set(LocalFlags::ECHONL, !shown);
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &now);
    }

    /// The status to end with after a signal, as shells show it: 128 and its number.
    pub fn signalled(&self) -> u8 {
        let number = self.signals.read_signal().ok().flatten().map_or(0, |signal| signal.ssi_signo);
        u8::try_from(number).unwrap_or(0).saturating_add(128)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}
