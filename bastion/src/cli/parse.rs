//! From words to a command, with usage errors in the one voice.

use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use wgmfa_core::exit::{Exit, Failure};

use super::words::{Command, CommandLine, HostCommand, LogCommand, PolicyCommand, UserCommand, UserKeyCommand, what};
use crate::voice::PROGRAM;

/// Why words are no command to be carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum NoCommand {
    /// Help or the version was asked for: this is it.
    Shown(String),
    /// Wrong usage.
    Wrong(Failure),
}

/// Parses the words after the program's name.
///
/// # Errors
/// Help was asked for, or the usage is wrong.
pub fn parse(words: &[String]) -> Result<CommandLine, NoCommand> {
    let all = std::iter::once(PROGRAM).chain(words.iter().map(String::as_str));
    CommandLine::try_parse_from(all).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NoCommand::Shown(error.to_string()),
        _ => NoCommand::Wrong(usage_failure(&error, words)),
    })
}

/// Parses words that came to the keeper: from the command line, which has replaced each FILE by `-`, or over SSH.
///
/// # Errors
/// As [`parse`]; also for what only the one at the machine may ask for.
pub fn parse_forwarded(words: &[String]) -> Result<CommandLine, NoCommand> {
    let line = parse(words)?;
    let refuse = |what: &str| {
        let hint = "give this command on the bastion itself";
        Err(NoCommand::Wrong(Failure::new(Exit::Usage, format!("{what} is refused here")).hint(hint)))
    };
    if line.config.is_some() {
        return refuse("--config");
    }
    let stdin = Path::new("-");
    match &line.command {
        Command::Init { .. } => refuse("init"),
        Command::Serve | Command::Front | Command::PamWorker => refuse("serve"),
        Command::Restore { .. } => {
            let hint = "it needs the bastion stopped: on the bastion itself, systemctl stop wgmfa-bastion, then this";
            Err(NoCommand::Wrong(Failure::new(Exit::Usage, "restore is refused here").hint(hint)))
        }
        Command::Backup { file, .. } if file != stdin => refuse("a file other than -"),
        Command::Log { act: Some(LogCommand::Verify { file: Some(file) }), .. } if file != stdin => {
            refuse("a file other than -")
        }
        Command::Host(HostCommand::Add { key, .. })
        | Command::User(UserCommand::Key(UserKeyCommand::Add { key, .. }))
            if key != stdin =>
        {
            refuse("a file other than -")
        }
        Command::Policy(PolicyCommand::Check { dir: Some(dir) }) if dir != stdin => refuse("a folder other than -"),
        Command::Policy(PolicyCommand::Explain { inventory: Some(file), .. }) if file != stdin => {
            refuse("a file other than -")
        }
        Command::Policy(PolicyCommand::Explain { policy_dir: Some(dir), .. }) if dir != stdin => {
            refuse("a folder other than -")
        }
        _ => Ok(line),
    }
}

/// The command that the words name, without what they say of it: `key rotate`.
pub fn named(words: &[String]) -> String {
    let meant = meant(words);
    let name = meant.get_bin_name().and_then(|name| name.strip_prefix(PROGRAM)).unwrap_or_default().trim();
    if name.is_empty() { "no command".to_owned() } else { name.to_owned() }
}

/// What clap says, in our voice: one line, and the usage as the hint.
fn usage_failure(error: &clap::Error, words: &[String]) -> Failure {
    let mut meant = meant(words);
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        let command = meant.get_bin_name().unwrap_or(PROGRAM);
        return Failure::new(Exit::Usage, "a command is missing").hint(format!("{command} --help lists them"));
    }
    let usage = meant.render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    Failure::new(Exit::Usage, what(error)).hint(format!("usage: {usage}; --help shows an example"))
}

/// The command that the words name, as far as they name one.
fn meant(words: &[String]) -> clap::Command {
    let mut command = CommandLine::command();
    command.build();
    for word in words {
        if let Some(deeper) = command.find_subcommand(word).cloned() {
            command = deeper;
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> Failure {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match parse_forwarded(&words) {
            Err(NoCommand::Wrong(failure)) => failure,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn wrong_usage_is_told_in_one_line_with_the_usage_as_the_hint() {
        for (line, error, hint) in [
            ("", "a command is missing", "wgmfa-bastion --help lists them"),
            ("user", "a command is missing", "wgmfa-bastion user --help lists them"),
            ("--json key", "a command is missing", "wgmfa-bastion key --help lists them"),
            (
                "user disable",
                "the following required arguments were not provided: <NAME>",
                "usage: wgmfa-bastion user disable [OPTIONS] <NAME>; --help shows an example",
            ),
            ("user disable justin hunter2", "one word too many", "usage: wgmfa-bastion user disable [OPTIONS] <NAME>;"),
            (
                "user disable Justin",
                "<NAME>: a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'",
                "usage: wgmfa-bastion user disable [OPTIONS] <NAME>;",
            ),
            ("user add root", "<NAME>: 'agent' and 'root' are reserved names", "usage: wgmfa-bastion user add"),
            ("user add justin --invited", "unexpected argument '--invited' found", "usage: wgmfa-bastion user add"),
            ("nonsense", "unrecognized subcommand 'nonsense'", "usage: wgmfa-bastion [OPTIONS] <COMMAND>;"),
            ("key rotate laptop --reason", "--reason <TEXT>: a value is missing", "usage: wgmfa-bastion key rotate"),
            (
                "user key remove justin AAAA",
                "<FINGERPRINT>: write it as SHA256:…, as user key list shows it",
                "usage: ",
            ),
            (
                "key rotate --reason x --all laptop",
                "the argument '--all' cannot be used with '[CONNECTIONS]...'",
                "usage: ",
            ),
            ("key rotate laptop --reason=", "--reason <TEXT>: say why", "usage: wgmfa-bastion key rotate"),
        ] {
            let failure = failure(line);
            assert_eq!(failure.error, error, "{line}");
            assert!(failure.hint.as_deref().unwrap().starts_with(hint), "{line}: {failure:?}");
            assert_eq!(failure.exit, Exit::Usage);
        }
    }

    #[test]
    fn what_only_the_one_at_the_machine_may_ask_for_is_refused() {
        for (line, error) in [
            ("init", "init is refused here"),
            ("serve", "serve is refused here"),
            ("front", "serve is refused here"),
            ("restore -", "restore is refused here"),
            ("backup /etc/shadow", "a file other than - is refused here"),
            ("log verify --file /etc/shadow", "a file other than - is refused here"),
            ("check --config /etc/shadow", "--config is refused here"),
            ("host add a --key /etc/shadow", "a file other than - is refused here"),
            ("user key add a --key /etc/shadow", "a file other than - is refused here"),
            ("policy check /etc", "a folder other than - is refused here"),
            ("policy explain --inventory /etc/shadow", "a file other than - is refused here"),
        ] {
            assert_eq!(failure(line).error, error, "{line}");
        }
        assert!(failure("restore -").hint.is_some_and(|hint| hint.starts_with("it needs the bastion stopped")));
        assert!(parse_forwarded(&["host", "add", "a", "--key", "-"].map(str::to_owned)).is_ok());
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        fn look(command: &clap::Command, path: &str) {
            for each in command.get_subcommands().filter(|each| !each.is_hide_set()) {
                let path = format!("{path} {}", each.get_name());
                let help = each.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    help.contains(&format!("Example:\n    {path}")) || help.contains(&format!("sudo {path}")),
                    "{path}: {help}"
                );
                look(each, &path);
            }
        }
        CommandLine::command().debug_assert();
        look(&CommandLine::command(), PROGRAM);
    }
}
