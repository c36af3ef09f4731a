//! The words behind `pam_wgmfa.so` in a PAM service file.

use std::fmt;
use std::path::PathBuf;

/// Where the keeper listens unless `socket=` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/wgmfa/keeper.sock";

/// What to do about a password that a module above has asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlierPassword {
    /// Ask again.
    #[default]
    Ignore,
    /// `try_first_pass`: take it, ask if there is none. A wrong one is not asked for a second time: nobody but the
    /// keeper knows whether the password or the code was wrong.
    Try,
    /// `use_first_pass`: take it, refuse if there is none.
    Require,
}

/// The options, all known and well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `password`, or neither question was named.
    pub password: bool,
    /// `otp`, or neither question was named.
    pub otp: bool,
    /// `try_first_pass`, `use_first_pass`; the stricter one wins.
    pub earlier_password: EarlierPassword,
    /// `prompt=TEXT`: the prompt for the one-time code.
    pub prompt: String,
    /// `socket=PATH`.
    pub socket: PathBuf,
    /// `debug`: log acceptances too.
    pub debug: bool,
}

/// An option that cannot be obeyed. The module then refuses everybody: an option that is passed over in silence could
/// be the one that asks for the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionFault {
    /// No such option.
    Unknown(String),
    /// `socket=` without an absolute path.
    Socket,
    /// `prompt=` without text, or with control characters.
    Prompt,
}

impl fmt::Display for OptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "unknown option {word:?} in the PAM service file: everybody is refused"),
            Self::Socket => write!(f, "option socket= needs an absolute path: everybody is refused"),
            Self::Prompt => write!(f, "option prompt= needs printable text: everybody is refused"),
        }
    }
}

impl Options {
    /// Reads the options as libpam hands them over.
    ///
    /// # Errors
    /// [`OptionFault`] for the first option that cannot be obeyed.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, OptionFault> {
        let mut options = Self {
            password: false,
            otp: false,
            earlier_password: EarlierPassword::Ignore,
            prompt: "One-time code: ".to_owned(),
            socket: PathBuf::from(DEFAULT_SOCKET),
            debug: false,
        };
        for word in words {
            let word = std::str::from_utf8(word)
                .map_err(|_| OptionFault::Unknown(String::from_utf8_lossy(word).into_owned()))?;
            match word.split_once('=') {
                None if word == "password" => options.password = true,
                None if word == "otp" => options.otp = true,
                None if word == "debug" => options.debug = true,
                None if word == "use_first_pass" => options.earlier_password = EarlierPassword::Require,
                None if word == "try_first_pass" => {
                    if options.earlier_password == EarlierPassword::Ignore {
                        options.earlier_password = EarlierPassword::Try;
                    }
                }
                Some(("prompt", text)) if !text.is_empty() && !text.contains(char::is_control) => {
                    options.prompt = text.to_owned();
                }
                Some(("prompt", _)) => return Err(OptionFault::Prompt),
                Some(("socket", path)) if path.starts_with('/') => options.socket = PathBuf::from(path),
                Some(("socket", _)) => return Err(OptionFault::Socket),
                _ => return Err(OptionFault::Unknown(word.to_owned())),
            }
        }
        if !options.password && !options.otp {
            (options.password, options.otp) = (true, true);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, OptionFault> {
        Options::parse(line.split_whitespace().map(str::as_bytes))
    }

    #[test]
    fn without_a_question_it_asks_both() {
        let options = parse("").unwrap();
        assert!(options.password && options.otp && !options.debug);
        assert_eq!(options.prompt, "One-time code: ");
        assert_eq!(options.socket, PathBuf::from("/run/wgmfa/keeper.sock"));
        assert_eq!(options.earlier_password, EarlierPassword::Ignore);
    }

    #[test]
    fn named_questions_are_asked_alone() {
        let (password, otp) = (parse("password").unwrap(), parse("otp debug").unwrap());
        assert!(password.password && !password.otp);
        assert!(!otp.password && otp.otp && otp.debug);
        assert!(parse("otp password").is_ok_and(|both| both.password && both.otp));
    }

    #[test]
    fn the_stricter_way_with_an_earlier_password_wins() {
        assert_eq!(parse("try_first_pass").unwrap().earlier_password, EarlierPassword::Try);
        for line in ["use_first_pass", "use_first_pass try_first_pass", "try_first_pass use_first_pass"] {
            assert_eq!(parse(line).unwrap().earlier_password, EarlierPassword::Require, "{line}");
        }
    }

    #[test]
    fn a_prompt_may_have_spaces() {
        let options = Options::parse([b"prompt=Code for ada: ".as_slice(), b"socket=/x/y"]).unwrap();
        assert_eq!((options.prompt.as_str(), options.socket), ("Code for ada: ", PathBuf::from("/x/y")));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        for (line, fault) in [
            ("opt", OptionFault::Unknown("opt".into())),
            ("otp nullok", OptionFault::Unknown("nullok".into())),
            ("OTP", OptionFault::Unknown("OTP".into())),
            ("otp=yes", OptionFault::Unknown("otp=yes".into())),
            ("socket=run/keeper.sock", OptionFault::Socket),
            ("socket", OptionFault::Unknown("socket".into())),
            ("prompt=", OptionFault::Prompt),
            ("prompt=a\u{1b}[2J", OptionFault::Prompt),
        ] {
            assert_eq!(parse(line), Err(fault), "{line}");
        }
        assert!(Options::parse([b"\xff".as_slice()]).is_err());
    }
}
