//! `wgmfa-sync`: for people who come to the bastion by the site's own sshd. It carries one command to the keeper, and the
//! answer back; it decides nothing.
//!
//! Installed set-group-id, with a group that nobody is in: by that the keeper's socket knows it, and the kernel keeps
//! other processes of the same person from looking into it. So it trusts neither its environment nor what its descriptors
//! are: both are the caller's, and all they can change is what is asked for in the caller's own name.

mod asked;
mod carry;
mod keeper;
mod terminal;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use wgmfa_bastion::cli::words::{SyncWords, what};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::words::words;

use self::asked::Asked;

/// The name in front of every error.
const PROGRAM: &str = "wgmfa-sync";

fn main() -> ExitCode {
    match run() {
        Ok(status) => status.into(),
        Err(failure) => {
            let _ = std::io::stderr().lock().write_all(failure.lines(PROGRAM).as_bytes());
            failure.exit.code().into()
        }
    }
}

fn run() -> Result<u8, Failure> {
    // set-group-id does the same, as long as the site has not changed fs.suid_dumpable (proc_sys_fs(5))
    let _ = nix::sys::prctl::set_dumpable(false);
    let argv: Option<Vec<String>> = std::env::args_os().map(|word| word.into_string().ok()).collect();
    let argv = argv.ok_or_else(|| Failure::new(Exit::Usage, "the words of a command are UTF-8"))?;
    let original = std::env::var_os("SSH_ORIGINAL_COMMAND").map(|command| command.to_string_lossy().into_owned());
    let (typed, shown) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    let Asked { command, subsystem } = asked::asked(&argv, original.as_deref(), typed);
    if !subsystem && let Some(said) = answer(&command) {
        let said = said?;
        // who has gone away does not read it
        let _ = std::io::stdout().lock().write_all(said.as_bytes());
        return Ok(Exit::Done.code());
    }
    carry::carry(keeper::connect()?, command, subsystem, typed && shown)
}

/// What needs no bastion: help, the version, and what is wrong with the words of `wgmfa-sync`. Every other command is for
/// the keeper to judge.
fn answer(command: &str) -> Option<Result<String, Failure>> {
    let words = words(command).ok().filter(|words| words.first().is_some_and(|name| name == PROGRAM))?;
    let error = SyncWords::try_parse_from(words).err()?;
    Some(match error.use_stderr() {
        false => Ok(error.render().to_string()),
        true => {
            Err(Failure::new(Exit::Usage, what(&error)).hint(format!("ssh bastion {PROGRAM} --help shows an example")))
        }
    })
}
