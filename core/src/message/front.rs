//! Front and keeper, over a socket pair: the short table of what the front may ask, each row only in its state.
//!
//! A conversation is one SSH connection. States: *new* → `login` → *asked* → (`accepted` → *in* | `refused` → *new*,
//! at most [`MAX_ATTEMPTS`] times); *new* → `person-key` → *new*, from then on for that person alone and without a
//! password; *new* → `host-key` → *host*. `exec` and `subsystem` only *in*, `agent` only as
//! *host*; anything else ends the conversation.

use serde::{Deserialize, Serialize};

use crate::key::SecretText;
use crate::message::worker::Prompt;

/// How often one connection may try to log in.
pub const MAX_ATTEMPTS: u32 = 3;

/// Front to keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromFront {
    /// A login begins: keyboard-interactive for this user name.
    Login {
        /// The SSH connection.
        conversation: u64,
        /// The user name as the client gave it, at most 64 bytes.
        user: String,
        /// Where the connection comes from.
        source: std::net::IpAddr,
    },
    /// Answers to the last prompts.
    Answers {
        /// The SSH connection.
        conversation: u64,
        /// One for each question.
        answers: Vec<SecretText>,
    },
    /// Is this the key of a host that may come? (asked before and after its signature was verified)
    HostKey {
        /// The SSH connection.
        conversation: u64,
        /// The key in OpenSSH's one-line form.
        public_key: String,
        /// Where the connection comes from.
        source: std::net::IpAddr,
        /// The front has verified a signature by this key.
        verified: bool,
    },
    /// May this person use this key as the first factor? (asked before and after its signature was verified)
    PersonKey {
        /// The SSH connection.
        conversation: u64,
        /// The user name as the client gave it, at most 64 bytes.
        user: String,
        /// The key in OpenSSH's one-line form.
        public_key: String,
        /// Where the connection comes from.
        source: std::net::IpAddr,
        /// The front has verified a signature by this key.
        verified: bool,
    },
    /// A channel asks for a command or subsystem.
    Exec {
        /// The SSH connection.
        conversation: u64,
        /// The channel, by the front's number.
        channel: u32,
        /// The command line; empty when the person asked for a shell.
        command: String,
        /// The command is the name of a subsystem.
        subsystem: bool,
        /// The person has a terminal on this channel.
        terminal: bool,
    },
    /// A line that came on a channel whose command is running.
    Line {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
        /// The line without its newline; it may hold a secret.
        line: SecretText,
    },
    /// The other side will send nothing more on this channel.
    InputEnded {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
    },
    /// Output that was to be confirmed is on its way; more may come.
    Taken {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
    },
    /// The channel is gone.
    ChannelGone {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
    },
    /// The connection is gone.
    Gone {
        /// The SSH connection.
        conversation: u64,
    },
}

impl FromFront {
    /// The SSH connection that this is about.
    pub fn conversation(&self) -> u64 {
        match self {
            Self::Login { conversation, .. }
            | Self::Answers { conversation, .. }
            | Self::HostKey { conversation, .. }
            | Self::PersonKey { conversation, .. }
            | Self::Exec { conversation, .. }
            | Self::Line { conversation, .. }
            | Self::InputEnded { conversation, .. }
            | Self::Taken { conversation, .. }
            | Self::ChannelGone { conversation, .. }
            | Self::Gone { conversation } => *conversation,
        }
    }
}

/// Keeper to front.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToFront {
    /// First message: what the front needs to serve.
    Start {
        /// The SSH host keys, OpenSSH private key files.
        host_keys: Vec<SecretText>,
        /// For each inherited listening socket, in order, who may come there.
        listeners: Vec<Admits>,
        /// Limits on connections and times.
        limits: Limits,
        /// People may come with SSH keys.
        #[serde(default)]
        keys: bool,
    },
    /// These host keys take the place of those of `start`, for connections that begin from now on.
    HostKeys {
        /// OpenSSH private key files.
        host_keys: Vec<SecretText>,
    },
    /// Show these, ask those that are questions.
    Prompts {
        /// The SSH connection.
        conversation: u64,
        /// What the PAM stack says.
        prompts: Vec<Prompt>,
    },
    /// The login is accepted.
    Accepted {
        /// The SSH connection.
        conversation: u64,
    },
    /// The login is refused.
    Refused {
        /// The SSH connection.
        conversation: u64,
        /// What to show.
        text: String,
    },
    /// The answer to `host-key`.
    Host {
        /// The SSH connection.
        conversation: u64,
        /// Let this key in as a host.
        known: bool,
    },
    /// The answer to `person-key`.
    PersonKey {
        /// The SSH connection.
        conversation: u64,
        /// It is a key of this person.
        known: bool,
    },
    /// Bytes for a channel; with `exit`, the last ones.
    Output {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
        /// For standard output.
        #[serde(default)]
        stdout: SecretText,
        /// For standard error.
        #[serde(default)]
        stderr: String,
        /// The exit status; the channel is closed after it.
        #[serde(default)]
        exit: Option<u8>,
        /// Say `taken` when it has gone out, or waits for nothing but the network.
        #[serde(default)]
        confirm: bool,
    },
    /// A command runs that has no end of its own: the connection lives until its client leaves, or until `end`.
    Stay {
        /// The SSH connection.
        conversation: u64,
    },
    /// Whether what is typed at this channel's terminal is shown from now on; at first it is not.
    Echo {
        /// The SSH connection.
        conversation: u64,
        /// The channel.
        channel: u32,
        /// Show it.
        shown: bool,
    },
    /// Hang up.
    End {
        /// The SSH connection.
        conversation: u64,
        /// For the log.
        reason: String,
    },
}

impl ToFront {
    /// The SSH connection that this is about; none: it is about none.
    pub fn conversation(&self) -> Option<u64> {
        match self {
            Self::Start { .. } | Self::HostKeys { .. } => None,
            Self::Prompts { conversation, .. }
            | Self::Accepted { conversation }
            | Self::Refused { conversation, .. }
            | Self::Host { conversation, .. }
            | Self::PersonKey { conversation, .. }
            | Self::Output { conversation, .. }
            | Self::Stay { conversation }
            | Self::Echo { conversation, .. }
            | Self::End { conversation, .. } => Some(*conversation),
        }
    }
}

/// Who may come to a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admits {
    /// People and agents.
    Everyone,
    /// People only.
    People,
    /// Agents only.
    Agents,
}

/// Limits that the front keeps by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one source (an IPv4 address or an IPv6 /64) that have not logged in.
    pub connections_per_source: usize,
    /// Channels of one connection.
    pub channels: usize,
    /// From the first byte until a login is accepted, in seconds.
    pub login_seconds: u64,
    /// How long a person's connection may live after the login, in seconds.
    pub session_seconds: u64,
    /// Prompts in one login.
    pub prompts: usize,
    /// Longest answer to a prompt, in bytes.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_source: 32,
            channels: 4,
            login_seconds: 60,
            session_seconds: 120,
            prompts: 8,
            answer_bytes: 512,
        }
    }
}
