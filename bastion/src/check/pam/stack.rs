//! The lines of a PAM service file (pam.conf(5)), with those that it includes.

use std::fmt;
use std::path::{Path, PathBuf};

use wgmfa_core::exit::Failure;
use wgmfa_system::trusted::{self, Readers};

/// Includes go no deeper (Linux-PAM's own limit is 32).
const DEEPEST: usize = 16;

/// Where our module asks the keeper when its line does not say.
const SOCKET: &str = "/run/wgmfa/keeper.sock";

/// Which of the four stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `auth`
    Auth,
    /// `account`
    Account,
    /// `session`
    Session,
    /// `password`
    Password,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A module in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The stack.
    pub kind: Kind,
    /// `required`, `[success=1 default=ignore]`, …
    pub control: String,
    /// The module's file.
    pub module: String,
    /// Where it stands.
    pub place: Place,
    arguments: Vec<String>,
    /// Within a `substack`, `done` ends only that.
    in_substack: bool,
}

impl Entry {
    /// Whether this is `pam_wgmfa.so`, installed or as it was built.
    pub fn ours(&self) -> bool {
        matches!(self.file_name(), "pam_wgmfa.so" | "libpam_wgmfa.so")
    }

    /// Whether it is there for form's sake and asks nobody anything.
    pub fn is_a_formality(&self) -> bool {
        let names = ["pam_permit.so", "pam_deny.so", "pam_env.so", "pam_faildelay.so", "pam_nologin.so", "pam_echo.so"];
        names.contains(&self.file_name())
    }

    /// Whether our module asks this question (`password` or `otp`): without options it asks both.
    pub fn asks(&self, question: &str) -> bool {
        let named = |question: &str| self.arguments.iter().any(|argument| argument == question);
        named(question) || !(named("password") || named("otp"))
    }

    /// Where our module asks the keeper.
    pub fn socket(&self) -> &Path {
        let named = self.arguments.iter().rev().find_map(|argument| {
            // one with blanks stands in brackets
            let plain = argument.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(argument);
            plain.strip_prefix("socket=")
        });
        Path::new(named.unwrap_or(SOCKET))
    }

    /// Whether the login fails when this module refuses.
    pub fn must_succeed(&self) -> bool {
        match self.control.as_str() {
            "required" | "requisite" => true,
            _ => {
                let refusal = self.action("auth_err").or_else(|| self.action("default"));
                matches!(refusal.as_deref(), Some("bad" | "die"))
            }
        }
    }

    /// Whether success of this module can end the whole stack with success.
    pub fn may_end_the_stack(&self) -> bool {
        let done = |result: &str| self.action(result).is_some_and(|action| action == "done");
        !self.in_substack && (self.control == "sufficient" || done("success") || done("default"))
    }

    /// Over how many modules success can jump.
    pub fn longest_jump(&self) -> usize {
        let jump = |result: &str| self.action(result).and_then(|action| action.parse().ok()).unwrap_or(0);
        jump("success").max(jump("default"))
    }

    fn action(&self, result: &str) -> Option<String> {
        let inner = self.control.strip_prefix('[')?.strip_suffix(']')?;
        let pairs = inner.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == result).map(|(_, action)| action.to_owned()).next()
    }

    fn file_name(&self) -> &str {
        Path::new(&self.module).file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// All modules of a service in their order, and what is wrong with its files.
pub fn read(path: &Path) -> (Vec<Entry>, Vec<String>) {
    let mut reader = Reader { entries: Vec::new(), faults: Vec::new() };
    reader.file(path, None, false, 0);
    (reader.entries, reader.faults)
}

/// The text of a PAM file. Links are followed, as PAM does (on some systems every shared stack is one); what counts is
/// who can have written the file itself.
pub fn text(path: &Path) -> Result<String, Failure> {
    trusted::read_text(&path.canonicalize().unwrap_or_else(|_| path.to_owned()), Readers::Anyone)
        .map(|text| text.to_string())
}

struct Reader {
    entries: Vec<Entry>,
    faults: Vec<String>,
}

impl Reader {
    /// Reads a file; of an included one only the lines of the stack that includes it.
    fn file(&mut self, path: &Path, only: Option<Kind>, in_substack: bool, depth: usize) {
        let text = match text(path) {
            Ok(text) => text,
            Err(failure) => return self.faults.push(failure.error),
        };
        if depth > DEEPEST {
            return self.faults.push(format!("{}: includes go too deep", path.display()));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        for (line, text) in joined(&text) {
            let place = Place { file: path.to_owned(), line };
            let words = words(&text);
            let Some(first) = words.first() else { continue };
            if first == "@include" {
                match words.get(1) {
                    Some(name) => self.file(&folder.join(name), only, in_substack, depth + 1),
                    None => self.faults.push(format!("{place}: @include without a file")),
                }
                continue;
            }
            let kind = match first.trim_start_matches('-').to_ascii_lowercase().as_str() {
                "auth" => Kind::Auth,
                "account" => Kind::Account,
                "session" => Kind::Session,
                "password" => Kind::Password,
                _ => {
                    self.faults.push(format!("{place}: begins with none of auth, account, password, session"));
                    continue;
                }
            };
            if only.is_some_and(|only| only != kind) {
                continue;
            }
            let [_, control, module, arguments @ ..] = words.as_slice() else {
                self.faults.push(format!("{place}: a control and a module are missing"));
                continue;
            };
            match control.as_str() {
                "include" => self.file(&folder.join(module), Some(kind), in_substack, depth + 1),
                "substack" => self.file(&folder.join(module), Some(kind), true, depth + 1),
                _ => self.entries.push(Entry {
                    kind,
                    control: control.clone(),
                    module: module.clone(),
                    place,
                    arguments: arguments.to_vec(),
                    in_substack,
                }),
            }
        }
    }
}

/// Lines with their numbers: comments gone, those that end in a backslash joined with the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let (first, mut so_far) = open.take().unwrap_or((number + 1, String::new()));
        match line.trim_end().strip_suffix('\\') {
            Some(line) => {
                so_far.push_str(line);
                so_far.push(' ');
                open = Some((first, so_far));
            }
            None => lines.push((first, so_far + line)),
        }
    }
    lines.extend(open);
    lines
}

/// Words between blanks; what stands in brackets is one word.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with('[') {
            rest.find(']').map_or(rest.len(), |end| end + 1)
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    words
}
