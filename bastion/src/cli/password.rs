//! Asking for a new password on a terminal.

use std::io::BufRead;
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use zeroize::Zeroizing;

use crate::voice;

/// Asks for a new password, twice, without showing it.
///
/// # Errors
/// Standard input is no terminal, or the two differ.
pub fn ask_twice() -> Result<SecretText, Failure> {
    let first = ask("New password: ")?;
    let second = ask("The same again: ")?;
    if first != second {
        return Err(Failure::new(Exit::Failed, "the two passwords differ").hint("nothing was changed; try again"));
    }
    Ok(SecretText::new(first.to_string()))
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("cannot ask for a password: {error}"));
    let stdin = std::io::stdin();
    let before = tcgetattr(stdin.as_fd()).map_err(|error| failed(&error.desc()))?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    voice::complain(prompt);
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &hidden).map_err(|error| failed(&error.desc()))?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    let restored = tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &before);
    voice::complain("\n");
    restored.map_err(|error| failed(&error.desc()))?;
    read.map_err(|error| failed(&error))?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(line)
}
