//! An administrator's command and the keeper, over `admin.sock`: the words go there, what to print comes back.

use serde::{Deserialize, Serialize};

use crate::key::SecretText;

/// Command line to keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdminRequest {
    /// Version of the conversation.
    pub version: u32,
    /// The words after `wgmfa-bastion` and its common options; files in them are replaced by `-`.
    pub words: Vec<String>,
    /// What the command reads from standard input or from its FILE.
    #[serde(default)]
    pub stdin: Option<SecretText>,
    /// Standard output is a terminal (a QR code may be drawn).
    #[serde(default)]
    pub terminal: bool,
    /// Colour is wanted.
    #[serde(default)]
    pub colour: bool,
}

/// Keeper to command line. Any number of these; the one with `exit` is the last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AdminReply {
    /// For standard output; it may hold a secret that is shown once.
    #[serde(default)]
    pub stdout: SecretText,
    /// For standard error.
    #[serde(default)]
    pub stderr: String,
    /// The exit status.
    #[serde(default)]
    pub exit: Option<u8>,
}
