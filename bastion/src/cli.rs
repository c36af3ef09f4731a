//! The command line: which words are carried out here, and which the running keeper is asked for.

mod ask;
mod life_cycle;
pub mod over_ssh;
mod parse;
mod password;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::inventory::Inventory;

use self::words::{Command, CommandLine, LogCommand, PolicyCommand, SealingKeyCommand};
use crate::config::{Config, DEFAULT_PATH};
use crate::policies::Trust;
use crate::{check, front, init, keeper, voice, worker};

pub use self::ask::{inventory, memory};
pub use self::parse::{NoCommand, named, parse_forwarded};
pub use self::words::what;
pub use wgmfa_bastion::cli::words;

/// Carries out the words with which this program was started.
pub fn main() -> ExitCode {
    let words: Option<Vec<String>> = std::env::args_os().skip(1).map(|word| word.into_string().ok()).collect();
    let Some(words) = words else {
        return voice::fail(&Failure::new(Exit::Usage, "the words of a command are UTF-8")).code().into();
    };
    match parse::parse(&words) {
        Ok(line) => carry_out(&line, &words),
        Err(NoCommand::Shown(text)) => {
            voice::say(&format!("{}\n", text.trim_end()));
            ExitCode::SUCCESS
        }
        Err(NoCommand::Wrong(failure)) => voice::fail(&failure).code().into(),
    }
}

fn carry_out(line: &CommandLine, words: &[String]) -> ExitCode {
    let path = line.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    let done = match &line.command {
        Command::Front => return front::run(),
        Command::PamWorker => return worker::run(),
        Command::Init { dir } => init::run(dir.as_deref(), &path, line.json).map(Exit::code),
        Command::Serve => Config::load(&path).and_then(keeper::serve).map(|()| Exit::Done.code()),
        Command::Check => Ok(check::run(&path, line.json).code()),
        Command::Policy(PolicyCommand::Check { dir }) => {
            check_policies(dir.as_deref(), &path, line.json).map(Exit::code)
        }
        Command::Policy(PolicyCommand::Explain { names, inventory: Some(file), policy_dir, at }) => {
            let try_out = check::explain::TryOut { names, file, policy_dir: policy_dir.as_deref(), at: *at };
            try_out.run(&path, line.json).map(Exit::code)
        }
        Command::Backup { file, force } => {
            Config::load(&path).and_then(|config| life_cycle::backup(&config, file, *force, line.json))
        }
        Command::Restore { file } => {
            Config::load(&path).and_then(|config| life_cycle::restore(&config, file, line.json)).map(Exit::code)
        }
        Command::Log { act: Some(LogCommand::Verify { file: Some(file) }), .. } => life_cycle::verify(file, line.json),
        Command::SealingKey(SealingKeyCommand::Rotate) => {
            Config::load(&path).and_then(|config| match life_cycle::change_sealing_key(&config, line.json) {
                Some(changed) => changed.map(Exit::code),
                None => ask::ask(&config, line, words),
            })
        }
        _ => Config::load(&path).and_then(|config| ask::ask(&config, line, words)),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => voice::fail(&failure).code().into(),
    }
}

/// Without a folder, or with `-`, those of the configuration, on the connections that the keeper knows if it runs.
fn check_policies(dir: Option<&Path>, config: &Path, json: bool) -> Result<Exit, Failure> {
    let (text, exit) = if let Some(dir) = dir.filter(|dir| *dir != Path::new("-")) {
        check::policies::check(dir, Trust::NotNeeded, &Inventory::default(), json)
    } else {
        let config = Config::load(config)?;
        let inventory = inventory(&config).unwrap_or_default();
        check::policies::check(&config.policy_dir, Trust::Required, &inventory, json)
    };
    voice::say(&text);
    Ok(exit)
}
