//! Asking the running keeper over `admin.sock`.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::de::DeserializeOwned;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::inventory::Inventory;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::{AdminReply, AdminRequest};
use wgmfa_core::message::{self, Lines};
use wgmfa_system::trusted::io_words;
use zeroize::Zeroizing;

use super::password;
use super::words::{Command, CommandLine, HostCommand, KeyCommand, PasswordSource, UserCommand, UserKeyCommand};
use crate::check::memory::Memory;
use crate::config::Config;
use crate::voice;

/// Longest input of a command, in bytes.
const LONGEST_INPUT: u64 = 1024 * 1024;

/// Has the keeper carry out a command, prints its answer as it comes, and returns the exit status.
///
/// # Errors
/// The command's input cannot be read, or the keeper cannot be reached.
pub fn ask(config: &Config, line: &CommandLine, words: &[String]) -> Result<u8, Failure> {
    let mut words = forwarded(words);
    let stdin = input(&line.command, &mut words)?;
    let request =
        AdminRequest { version: message::VERSION, words, stdin, terminal: voice::terminal(), colour: voice::colour() };
    print(config, &request)
}

/// Sends a request and prints the answer as it comes; returns the exit status.
///
/// # Errors
/// The keeper cannot be reached.
pub fn print(config: &Config, request: &AdminRequest) -> Result<u8, Failure> {
    converse_or_say_why(config, request, |reply| {
        voice::say(reply.stdout.expose());
        voice::complain(&reply.stderr);
    })
}

/// Sends a request, hands on what comes, and returns the exit status.
///
/// # Errors
/// The keeper cannot be reached.
pub fn converse_or_say_why(
    config: &Config,
    request: &AdminRequest,
    take: impl FnMut(&AdminReply),
) -> Result<u8, Failure> {
    let path = config.admin_socket();
    converse(&path, request, take).map_err(|error| {
        let text = format!("{}: {}", path.display(), io_words(&error));
        let failure = Failure::new(Exit::Unreachable, text);
        match error.kind() {
            ErrorKind::PermissionDenied => failure.hint("run this command as root"),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => failure.hint("look at the log of the bastion"),
            _ => failure.hint("the bastion does not run: systemctl start wgmfa-bastion, or wgmfa-bastion serve"),
        }
    })
}

/// The inventory of the running keeper; none when it cannot be asked.
pub fn inventory(config: &Config) -> Option<Inventory> {
    looked_up(config, "inventory")
}

/// What the running keeper remembers, for `check`; none when it cannot be asked.
pub fn memory(config: &Config) -> Option<Memory> {
    looked_up(config, "status")
}

/// What a command that only looks answers to a program, whatever its exit status.
fn looked_up<T: DeserializeOwned>(config: &Config, command: &str) -> Option<T> {
    let words = [command, "--json"].map(str::to_owned).to_vec();
    let request = AdminRequest { version: message::VERSION, words, stdin: None, terminal: false, colour: false };
    let mut text = String::new();
    converse(&config.admin_socket(), &request, |reply| text.push_str(reply.stdout.expose())).ok()?;
    serde_json::from_str(&text).ok()
}

/// Sends a request, hands on what comes until a reply bears the exit status, and returns that.
fn converse(path: &Path, request: &AdminRequest, mut take: impl FnMut(&AdminReply)) -> std::io::Result<u8> {
    let invalid = |error| std::io::Error::new(ErrorKind::InvalidData, error);
    let mut socket = UnixStream::connect(path)?;
    socket.write_all(&Zeroizing::new(message::encode(request)))?;
    // The keeper is trusted, and an inventory may be long.
    let mut lines = Lines::new(usize::MAX - 1);
    let mut buffer = Zeroizing::new([0; 64 * 1024]);
    loop {
        while let Some(line) = lines.next_line().map_err(invalid)? {
            let line = Zeroizing::new(line);
            let reply: AdminReply = message::decode(&line).map_err(invalid)?;
            take(&reply);
            if let Some(exit) = reply.exit {
                return Ok(exit);
            }
        }
        match socket.read(&mut buffer[..])? {
            0 => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the keeper hung up")),
            length => lines.push(&buffer[..length]),
        }
    }
}

/// The words without `--config`, and with each FILE replaced by `-`.
fn forwarded(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--" => {
                kept.push(word.clone());
                kept.extend(rest.cloned());
                break;
            }
            "--config" => drop(rest.next()),
            "--key" => {
                rest.next();
                kept.extend(["--key".to_owned(), "-".to_owned()]);
            }
            _ if word.starts_with("--config=") => {}
            _ if word.starts_with("--key=") => kept.push("--key=-".to_owned()),
            _ => kept.push(word.clone()),
        }
    }
    kept
}

/// What the command reads, if it reads anything. A password that is asked for becomes `--password-stdin`.
fn input(command: &Command, words: &mut Vec<String>) -> Result<Option<SecretText>, Failure> {
    match command {
        Command::User(
            UserCommand::Add { password: PasswordSource { password_stdin: true, .. }, .. }
            | UserCommand::Reset { password: PasswordSource { password_stdin: true, .. }, .. },
        ) => read_all(Path::new("-")).map(Some),
        Command::User(UserCommand::Add { invite: false, password, .. }) => match password {
            PasswordSource { system_password: true, .. } => Ok(None),
            _ if std::io::stdin().is_terminal() => {
                let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
                words.insert(at, "--password-stdin".to_owned());
                password::ask_twice().map(Some)
            }
            _ => Err(Failure::new(Exit::Usage, "no password").hint(
                "give --invite, --password-stdin or --system-password; a password is asked for only on a terminal",
            )),
        },
        Command::Host(HostCommand::Add { key, .. })
        | Command::User(UserCommand::Key(UserKeyCommand::Add { key, .. })) => read_all(key).map(Some),
        Command::Key(KeyCommand::Set { .. }) => read_all(Path::new("-")).map(Some),
        _ => Ok(None),
    }
}

/// Reads a FILE, or standard input for `-`. The file need not be trusted: its content is looked at.
fn read_all(path: &Path) -> Result<SecretText, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST_INPUT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_INPUT).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let what = if error.kind() == ErrorKind::InvalidData { "not UTF-8".to_owned() } else { io_words(&error) };
        Failure::new(Exit::Failed, format!("{shown}: {what}"))
            .hint("name a text file that can be read; - is standard input")
    })?;
    Ok(SecretText::new(std::mem::take(&mut *text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_the_configuration_stay_on_this_side() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (typed, sent) in [
            ("--config /c user list", "user list"),
            ("user list --config=/c --json", "user list --json"),
            ("host add a --key /k --owner b", "host add a --key - --owner b"),
            ("host add a --key=/k", "host add a --key=-"),
            ("key list -- --config x", "key list -- --config x"),
        ] {
            assert_eq!(forwarded(&words(typed)), words(sent));
        }
    }
}
