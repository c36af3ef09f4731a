//! A command line that came over SSH, cut into words as a shell would by its quotes, and nothing more: no expansion, no
//! substitution, no operators (POSIX.1-2024, Shell Command Language, 2.2 Quoting).

use std::fmt;

/// Longest command line, in bytes.
pub const LONGEST: usize = 4096;

/// Most words of a command line.
pub const MOST_WORDS: usize = 64;

/// Why a text is no command line. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordsError {
    /// A quote that is not closed, or a backslash at the end.
    Unbalanced,
    /// A control character.
    Control,
    /// More than [`LONGEST`] bytes.
    TooLong,
    /// More than [`MOST_WORDS`] words.
    TooMany,
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbalanced => f.write_str("the command has a quote that is not closed"),
            Self::Control => f.write_str("the command has a control character"),
            Self::TooLong => write!(f, "the command is longer than {LONGEST} bytes"),
            Self::TooMany => write!(f, "the command has more than {MOST_WORDS} words"),
        }
    }
}

impl std::error::Error for WordsError {}

/// The words of a command line; none for an empty one.
///
/// # Errors
/// See [`WordsError`].
pub fn words(line: &str) -> Result<Vec<String>, WordsError> {
    if line.len() > LONGEST {
        return Err(WordsError::TooLong);
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(WordsError::Control);
    }
    let mut words = Vec::new();
    // none between words; an empty word is one that was quoted
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => single_quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(WordsError::Unbalanced)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.len() > MOST_WORDS { Err(WordsError::TooMany) } else { Ok(words) }
}

/// The command line that is cut into these words.
pub fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = words.into_iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// Every character stands for itself.
fn single_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), WordsError> {
    loop {
        match rest.next().ok_or(WordsError::Unbalanced)? {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
}

/// A backslash quotes only what would be special in here, and otherwise stands for itself.
fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), WordsError> {
    loop {
        match rest.next().ok_or(WordsError::Unbalanced)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(WordsError::Unbalanced)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_cuts_them() {
        for (line, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("wgmfa-sync", &["wgmfa-sync"]),
            (" a  b\tc ", &["a", "b", "c"]),
            ("log --reason 'she lost it'", &["log", "--reason", "she lost it"]),
            (r#"a "b c"d'e f'"#, &["a", "b cde f"]),
            (r"a\ b \'", &["a b", "'"]),
            (r#""a\"b\\c\d\$""#, &[r#"a"b\c\d$"#]),
            (r"'a\b'", &[r"a\b"]),
            ("'' \"\"", &["", ""]),
            ("$HOME `id` *; a|b && c > d # e", &["$HOME", "`id`", "*;", "a|b", "&&", "c", ">", "d", "#", "e"]),
            ("é 'ü'", &["é", "ü"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(words(line), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_command_is_refused_with_its_reason() {
        for (line, message) in [
            ("a 'b", "the command has a quote that is not closed"),
            ("a \"b", "the command has a quote that is not closed"),
            ("a\\", "the command has a quote that is not closed"),
            ("\"a\\", "the command has a quote that is not closed"),
            ("a\nb", "the command has a control character"),
            ("a\u{0}", "the command has a control character"),
            ("'\u{1b}[2J'", "the command has a control character"),
            (&"a".repeat(4097), "the command is longer than 4096 bytes"),
            (&"a ".repeat(65), "the command has more than 64 words"),
        ] {
            assert_eq!(words(line).unwrap_err().to_string(), message, "{line:?}");
        }
        assert_eq!(words(&"a ".repeat(64)).unwrap().len(), 64);
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(wanted in proptest::collection::vec("\\PC{0,12}", 0..20), style in any::<bool>()) {
            let escaped = |word: &String| word.chars().fold("\"\"".to_owned(), |line, c| line + "\\" + &c.to_string());
            let line = match style {
                true => quoted(wanted.iter().map(String::as_str)),
                false => wanted.iter().map(escaped).collect::<Vec<_>>().join(" "),
            };
            prop_assert_eq!(words(&line), Ok(wanted));
        }
    }
}
