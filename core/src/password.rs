//! What a person may choose as a password.

use std::fmt;

/// Shortest password, in characters: NIST SP 800-63B-4, 3.1.1.2, for a password that is one of two factors.
pub const SHORTEST: usize = 8;

/// Longest password, in bytes: what an answer at a login may have.
pub const LONGEST: usize = 512;

/// Why a text is no password. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Fewer than [`SHORTEST`] characters.
    TooShort,
    /// More than [`LONGEST`] bytes.
    TooLong,
    /// A control character: an arrow key, mostly.
    Control,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "a password has at least {SHORTEST} characters"),
            Self::TooLong => write!(f, "a password has at most {LONGEST} bytes"),
            Self::Control => f.write_str("a password has no control characters"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Whether a text may become somebody's password. There is no rule about kinds of characters: they make passwords worse.
///
/// # Errors
/// [`Unfit`].
pub fn fit(text: &str) -> Result<(), Unfit> {
    if text.chars().any(char::is_control) {
        Err(Unfit::Control)
    } else if text.len() > LONGEST {
        Err(Unfit::TooLong)
    } else if text.chars().count() < SHORTEST {
        Err(Unfit::TooShort)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_and_can_be_typed() {
        for good in ["12345678", "äöüäöüäö", "correct horse", &"x".repeat(512)] {
            assert_eq!(fit(good), Ok(()), "{good}");
        }
        assert_eq!(fit("äöüäöüä").unwrap_err().to_string(), "a password has at least 8 characters");
        assert_eq!(fit(""), Err(Unfit::TooShort));
        assert_eq!(fit(&"x".repeat(513)), Err(Unfit::TooLong));
        assert_eq!(fit("password\u{1b}[A"), Err(Unfit::Control));
    }
}
