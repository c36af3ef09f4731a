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

use wgmfa_core::exit::{Exit, Failure};

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
    let words: Option<Vec<String>> = std::env::args_os().map(|word| word.into_string().ok()).collect();
    let words = words.ok_or_else(|| Failure::new(Exit::Usage, "the words of a command are UTF-8"))?;
    let original = std::env::var_os("SSH_ORIGINAL_COMMAND").map(|command| command.to_string_lossy().into_owned());
    let (typed, shown) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    let Asked { command, subsystem } = asked::asked(&words, original.as_deref(), typed);
    carry::carry(keeper::connect()?, command, subsystem, typed && shown)
}
