//! `wgmfa-sync` on the bastion itself and the keeper, over `people.sock`: one command of a person who came by the site's
//! own sshd. `exec` comes first, then whatever stands on standard input; the answer ends with an exit status.

use serde::{Deserialize, Serialize};

use crate::key::SecretText;

/// Program to keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromPerson {
    /// The person asks for this.
    Exec {
        /// Version of the conversation.
        version: u32,
        /// The command line; empty: the person named no command.
        command: String,
        /// The command is the name of a subsystem.
        subsystem: bool,
        /// The person has a terminal.
        terminal: bool,
    },
    /// A line of standard input.
    Line {
        /// The line without its newline; it may hold a secret.
        line: SecretText,
    },
    /// Standard input has ended.
    InputEnded,
    /// Output that was to be confirmed has been written; more may come.
    Taken,
}

/// Keeper to program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToPerson {
    /// Write this; with `exit`, end with that status.
    Output {
        /// For standard output.
        #[serde(default)]
        stdout: SecretText,
        /// For standard error.
        #[serde(default)]
        stderr: String,
        /// The exit status.
        #[serde(default)]
        exit: Option<u8>,
        /// Say `taken` when it is written.
        #[serde(default)]
        confirm: bool,
    },
    /// Whether the terminal shows what is typed from now on.
    Echo {
        /// Show it.
        shown: bool,
    },
}
