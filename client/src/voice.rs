//! All that this program says: the only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{IsTerminal, Write};

use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure, sanitise};
use wgmfa_core::message;

use crate::order::Outcome;

const PROGRAM: &str = "wgmfa";

/// Longest text of a bastion that is shown in one line, in characters.
const LONGEST: usize = 400;

/// A line on standard output. A reader that has gone away is no fault of ours.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error.
pub fn remark(text: &str) {
    eprintln!("{text}");
}

/// Lines on standard error that are in the one voice already.
pub fn remarks(lines: &str) {
    eprint!("{lines}");
}

/// What is wrong and what to do, on standard error.
pub fn failure(failure: &Failure) {
    eprint!("{}", failure.lines(PROGRAM));
}

/// What has become of an order: a line for each key, and for each fault one on standard error.
pub fn outcome(outcome: &Outcome) {
    outcome.done.iter().for_each(|done| line(&done.line()));
    outcome.faults.iter().for_each(|fault| remark(fault));
}

/// One line of JSON on standard output.
pub fn json<T: Serialize>(value: &T) {
    let _ = std::io::stdout().write_all(&message::encode(value));
}

/// What clap has to say: help on standard output, or a fault of the command line.
pub fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    let text = error.to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{text}");
        return Exit::Usage;
    }
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let what: Vec<_> = lines.map(|line| line.trim().trim_start_matches("error: ")).collect();
    failure(
        &Failure::new(Exit::Usage, what.join(" ")).hint("wgmfa --help and wgmfa COMMAND --help show what there is"),
    );
    Exit::Usage
}

/// Text from the other side as one line that cannot steer a terminal or pass for a line of ours.
pub fn foreign(text: &str) -> String {
    let mut one = sanitise(text).replace(['\n', '\t'], " ");
    if let Some((end, _)) = one.char_indices().nth(LONGEST) {
        one.truncate(end);
        one.push('…');
    }
    one
}

/// Whether standard output wants colour (<https://no-color.org>).
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_in_its_line() {
        assert_eq!(foreign("a\u{1b}[2J\nroot: OK\tx"), "a?[2J root: OK x");
        assert_eq!(foreign(&"é".repeat(500)).chars().count(), LONGEST + 1);
    }
}
