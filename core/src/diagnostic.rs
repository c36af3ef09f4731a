//! How a broken configuration is shown: the place, what is wrong, the line, an underline; every fault, then a count.

use std::fmt;

use crate::exit::{Exit, Failure, sanitise};

/// Longest part of a source line that is shown, in characters.
const SHOWN: usize = 200;

/// A stretch of one line of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The first character of the stretch in its line, counted from 1.
    pub column: usize,
    /// How many characters of this line belong to it; at least 1.
    pub length: usize,
}

impl Place {
    /// The place of a stretch of bytes of `text`; of a stretch over several lines, what lies in the first of them.
    pub fn of(text: &str, span: std::ops::Range<usize>) -> Self {
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let start = boundary(span.start);
        let end = boundary(span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_rest = text[start..end].lines().next().unwrap_or_default();
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            length: line_rest.chars().count().max(1),
        }
    }
}

/// One fault of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, as the person named it.
    pub file: String,
    /// Where in the file; none: the fault is the file itself.
    pub place: Option<Place>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The line in question, for showing; empty: it is not shown.
    pub source_line: String,
}

impl Fault {
    /// A fault of a whole file.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, message: message.into(), source_line: String::new() }
    }

    /// A fault at a place of a file's text.
    pub fn at(file: impl Into<String>, text: &str, place: Place, message: impl Into<String>) -> Self {
        // no more than is shown: a line may be very long, and have very many faults
        let source_line = text.lines().nth(place.line - 1).unwrap_or_default().chars().take(SHOWN).collect();
        Self { file: file.into(), place: Some(place), message: message.into(), source_line }
    }
}

/// `FILE:LINE:COLUMN: message`, the line, and an underline; no newline at the end. Safe for a terminal.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_line = |text: &str| sanitise(text).replace('\n', "?");
        let (file, message) = (one_line(&self.file), one_line(&self.message));
        let Some(place) = self.place else {
            return write!(f, "{file}: {message}");
        };
        write!(f, "{file}:{}:{}: {message}", place.line, place.column)?;
        if self.source_line.is_empty() || place.column > SHOWN {
            return Ok(());
        }
        // a tab stays a tab above and below, so that the underline stands where the terminal puts the text
        let line: String = one_line(&self.source_line).chars().take(SHOWN).collect();
        let indent: String = line
            .chars()
            .chain(std::iter::repeat(' '))
            .take(place.column - 1)
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        let length = place.length.min(SHOWN + 1 - place.column);
        write!(f, "\n    {line}\n    {indent}{}", "^".repeat(length))
    }
}

/// Every fault that was found, sorted by file and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// These faults, in order.
    pub fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup();
        Self(faults)
    }

    /// The faults, sorted by file and place.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// The faults, to be joined with others.
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// Each fault, then a line with their count; no newline at the end.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        f.write_str(&count(self.0.len(), "fault"))
    }
}

impl std::error::Error for Faults {}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::new(Exit::Usage, format!("broken configuration\n{faults}"))
    }
}

/// `no faults`, `1 fault`, `3 faults`.
pub fn count(number: usize, word: &str) -> String {
    match number {
        0 => format!("no {word}s"),
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, span: std::ops::Range<usize>) -> String {
        Fault::at("a.toml", text, Place::of(text, span), "wrong").to_string()
    }

    #[test]
    fn a_fault_shows_its_line_with_an_underline() {
        assert_eq!(fault("a = 1\nbc = 2\n", 6..8), "a.toml:2:1: wrong\n    bc = 2\n    ^^");
        assert_eq!(fault("ä = \"ö\"", 5..9), "a.toml:1:5: wrong\n    ä = \"ö\"\n        ^^^");
        // over several lines: only the first; at the very end: one mark behind the text
        assert_eq!(fault("a = [\n1,\n]", 4..10), "a.toml:1:5: wrong\n    a = [\n        ^");
        assert_eq!(fault("a =", 3..3), "a.toml:1:4: wrong\n    a =\n       ^");
        assert_eq!(fault("a = 1\r\nb\r\n", 7..8), "a.toml:2:1: wrong\n    b\n    ^");
        assert_eq!(fault("", 0..0), "a.toml:1:1: wrong");
        assert_eq!(fault("a", 5..9), "a.toml:1:2: wrong\n    a\n     ^");
    }

    #[test]
    fn a_tab_in_front_moves_the_underline_too() {
        assert_eq!(fault("\ta = 1", 5..6), "a.toml:1:6: wrong\n    \ta = 1\n    \t    ^");
    }

    #[test]
    fn nothing_in_a_fault_steers_the_terminal() {
        let fault = Fault::at("a\u{1b}\nb", "x\u{9b}y", Place::of("x", 0..1), "w\u{7}\n2");
        assert_eq!(fault.to_string(), "a??b:1:1: w??2\n    x?y\n    ^");
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let text = "x".repeat(10_000);
        assert_eq!(fault(&text, 0..10_000).lines().map(str::len).collect::<Vec<_>>(), [17, 204, 204]);
        assert_eq!(fault(&text, 900..901), "a.toml:1:901: wrong");
    }

    #[test]
    fn faults_are_sorted_and_counted() {
        let place = |line| Place { line, column: 1, length: 1 };
        let faults = Faults::new(vec![
            Fault::at("b", "", place(1), "x"),
            Fault::at("a", "", place(10), "x"),
            Fault::at("a", "", place(9), "x"),
            Fault::of_file("a", "y"),
            Fault::of_file("a", "y"),
        ]);
        assert_eq!(faults.to_string(), "a: y\na:9:1: x\na:10:1: x\nb:1:1: x\n4 faults");
        assert_eq!([count(0, "warning"), count(1, "warning")], ["no warnings", "1 warning"]);
    }
}
