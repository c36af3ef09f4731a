//! The one voice of this program: everything it prints goes through here.

use std::io::{IsTerminal, Write};

use wgmfa_core::exit::{Exit, Failure};

/// The name in front of every error.
pub const PROGRAM: &str = "wgmfa-bastion";

/// Prints to standard output. A reader that has gone away is no fault of ours.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints to standard error.
pub fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a failure and returns the status to end with.
pub fn fail(failure: &Failure) -> Exit {
    complain(&failure.lines(PROGRAM));
    failure.exit
}

/// A warning in the one voice, ended by a newline.
pub fn warning(text: &str) -> String {
    format!("{PROGRAM}: warning: {}\n", wgmfa_core::exit::sanitise(text))
}

/// A remark in the one voice, ended by a newline.
pub fn note(text: &str) -> String {
    format!("{PROGRAM}: {}\n", wgmfa_core::exit::sanitise(text))
}

/// Whether standard output is a terminal.
pub fn terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether colour is wanted: only on a terminal, and never with `NO_COLOR` (no-color.org: set and not empty).
pub fn colour() -> bool {
    terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
