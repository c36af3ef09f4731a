//! The one voice of this program: everything it prints goes through here.

use std::io::{IsTerminal, Write};

use clap::error::{ContextKind, ErrorKind};
use wgmfa_core::exit::{Exit, Failure, sanitise};

use crate::speech::Speech;

/// The name in front of every line on standard error.
pub const PROGRAM: &str = "wgmfa-agent";

/// Prints a line to standard output. A reader that has gone away is no fault of ours.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", sanitise(line)).and_then(|()| out.flush());
}

/// Prints a line to standard error.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{PROGRAM}: {}", sanitise(line));
}

/// Prints lines that are in the one voice already.
pub fn print(lines: &str) {
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}

/// Prints a failure and returns the status to end with.
pub fn fail(failure: &Failure) -> Exit {
    let _ = std::io::stderr().lock().write_all(failure.lines(PROGRAM).as_bytes());
    failure.exit
}

/// What clap says: help and version on standard output, wrong usage in the one voice, without the rejected value.
pub fn usage(error: &clap::Error) -> Exit {
    let text = error.to_string();
    if !error.use_stderr() {
        say(text.trim_end());
        return Exit::Done;
    }
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        return fail(&Failure::new(Exit::Usage, "a command is missing").hint("wgmfa-agent --help lists them"));
    }
    let what = match (error.get(ContextKind::InvalidArg), std::error::Error::source(error)) {
        (Some(argument), Some(why)) => format!("{argument}: {why}"),
        _ => {
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            lines.map(|line| line.trim().trim_start_matches("error: ")).collect::<Vec<_>>().join(" ")
        }
    };
    fail(&Failure::new(Exit::Usage, what).hint("wgmfa-agent COMMAND --help shows its words and an example"))
}

/// Whether a person reads standard error.
pub fn is_read_by_a_person() -> bool {
    std::io::stderr().is_terminal()
}

/// What is no failure, but is to be known.
pub fn warning(failure: &Failure) -> String {
    format!("warning: {}", failure.error)
}

/// Prints what there is to say after a round.
pub fn speak(speech: &Speech) {
    speech.notes.iter().for_each(|line| note(line));
    for failure in &speech.failures {
        if failure.exit == Exit::Done {
            note(&warning(failure));
        } else {
            fail(failure);
        }
    }
}
