//! Exit statuses that all programs share, and the two lines in which they speak of a failure.

use std::fmt;

/// Why a program ended, as its exit status tells scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All was done, or nothing was to do.
    Done = 0,
    /// It failed; nothing was changed.
    Failed = 1,
    /// Wrong usage or broken configuration.
    Usage = 2,
    /// Login refused.
    LoginRefused = 3,
    /// A login is needed: a session has expired.
    LoginNeeded = 4,
    /// The other side could not be reached.
    Unreachable = 5,
    /// Done in part; the lines that failed are named.
    Partly = 6,
}

impl Exit {
    /// The number that `exit(2)` takes.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A failure in the one voice of all programs: what is wrong, and what to do.
///
/// Lower case, no full stop. It must never contain a secret or a rejected value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status to end with.
    pub exit: Exit,
    /// What is wrong, and where.
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with its status and what is wrong.
    pub fn new(exit: Exit, error: impl Into<String>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The lines for standard error: `PROGRAM: error: …` and `PROGRAM: hint: …`, sanitised, each ended by a newline.
    pub fn lines(&self, program: &str) -> String {
        let mut lines = format!("{program}: error: {}\n", sanitise(&self.error));
        if let Some(hint) = &self.hint {
            lines.push_str(&format!("{program}: hint: {}\n", sanitise(hint)));
        }
        lines
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Failure {}

/// Text from the other side without what could steer a terminal: control and format characters become `?`; newlines and
/// tabs stay.
pub fn sanitise(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_what_to_do() {
        let failure = Failure::new(Exit::Usage, "no such file: a\u{1b}[2J").hint("make it");
        assert_eq!(failure.lines("wgmfa"), "wgmfa: error: no such file: a?[2J\nwgmfa: hint: make it\n");
        assert_eq!(failure.exit.code(), 2);
    }
}
