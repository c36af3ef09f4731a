//! What is asked for: sshd hands on a command and the name of a subsystem in the same way, through the person's shell.

use wgmfa_core::words::{quoted, words};

/// The program's own name, which is also the name of the subsystem.
const SYNC: &str = "wgmfa-sync";

/// What the keeper is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The command line; empty: no command was named.
    pub command: String,
    /// It is the name of a subsystem.
    pub subsystem: bool,
}

/// Finds it from the words with which this program was started and `SSH_ORIGINAL_COMMAND`; `typed`: standard input is a
/// terminal.
///
/// Words of its own count before `SSH_ORIGINAL_COMMAND`, which sshd sets when a `ForceCommand` (or a key's `command=`) has
/// started us. As somebody's login shell we are started with `-c COMMAND`, or with a name that begins with `-`. A path and
/// nothing more (`/usr/bin/wgmfa-sync`, as the `Subsystem` line of `sshd_config` has it) means the subsystem, a plain name
/// the command: nobody types a path. On a terminal there is no subsystem.
pub fn asked(argv: &[String], original: Option<&str>, typed: bool) -> Asked {
    let line = match argv {
        [_, option, line] if option == "-c" => line.clone(),
        [name] if name.starts_with('-') => String::new(),
        [_] if original.is_some() => original.unwrap_or_default().to_owned(),
        _ => quoted(argv.iter().map(String::as_str)),
    };
    let Ok(words) = words(&line) else {
        // the keeper says what is wrong with it
        return Asked { command: line, subsystem: false };
    };
    let Some((program, options)) = words.split_first() else {
        return Asked { command: String::new(), subsystem: false };
    };
    let name = program.rsplit('/').next().unwrap_or_default();
    let bare = options.is_empty() && program.contains('/') && name == SYNC;
    match options {
        [option] if option == "--subsystem" && name == SYNC => Asked { command: SYNC.to_owned(), subsystem: true },
        [] if bare && typed => Asked { command: String::new(), subsystem: false },
        [] if bare => Asked { command: SYNC.to_owned(), subsystem: true },
        options => {
            let command = quoted(std::iter::once(name).chain(options.iter().map(String::as_str)));
            Asked { command, subsystem: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(argv: &[&str], original: Option<&str>, typed: bool) -> (String, bool) {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let Asked { command, subsystem } = asked(&argv, original, typed);
        (command, subsystem)
    }

    const PATH: &str = "/usr/bin/wgmfa-sync";

    #[test]
    fn a_plain_name_is_a_command_and_a_path_the_subsystem() {
        for typed in [false, true] {
            assert_eq!(of(&["wgmfa-sync"], None, typed), ("'wgmfa-sync'".to_owned(), false));
            let line = "'wgmfa-sync' '--device' 'a b'".to_owned();
            assert_eq!(of(&["wgmfa-sync", "--device", "a b"], None, typed), (line, false));
            assert_eq!(of(&["wgmfa-status"], None, typed), ("'wgmfa-status'".to_owned(), false));
            assert_eq!(of(&[PATH, "--subsystem"], None, typed), (SYNC.to_owned(), true));
        }
        assert_eq!(of(&[PATH], None, false), (SYNC.to_owned(), true));
        assert_eq!(of(&[PATH], None, true), (String::new(), false));
        assert_eq!(of(&["/usr/bin/wgmfa-status"], None, false), ("'wgmfa-status'".to_owned(), false));
    }

    #[test]
    fn a_forced_command_asks_for_what_the_person_asked_for() {
        for own in [PATH, "wgmfa-sync"] {
            assert_eq!(of(&[own], Some("wgmfa-sync"), false), ("'wgmfa-sync'".to_owned(), false));
            assert_eq!(of(&[own], Some(PATH), false), (SYNC.to_owned(), true));
            let line = "'wgmfa-sync' '--push' 'pi'".to_owned();
            assert_eq!(of(&[own], Some("wgmfa-sync --push pi"), false), (line, false));
            assert_eq!(of(&[own], Some("scp -t /"), false), ("'scp' '-t' '/'".to_owned(), false));
            assert_eq!(of(&[own], Some("wgmfa-sync 'x"), false), ("wgmfa-sync 'x".to_owned(), false));
            assert_eq!(of(&[own], Some(""), false), (String::new(), false));
        }
        // words of its own are the site's
        let line = "'wgmfa-sync' '--device' 'a'".to_owned();
        assert_eq!(of(&["wgmfa-sync", "--device", "a"], Some("wgmfa-sync --device b"), false), (line, false));
    }

    #[test]
    fn it_can_be_a_login_shell() {
        assert_eq!(of(&["-wgmfa-sync"], None, true), (String::new(), false));
        assert_eq!(
            of(&["wgmfa-sync", "-c", "wgmfa-sync --format json"], None, false).0,
            "'wgmfa-sync' '--format' 'json'"
        );
        assert_eq!(of(&["wgmfa-sync", "-c", PATH], None, false), (SYNC.to_owned(), true));
    }
}
