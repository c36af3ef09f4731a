//! `user …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wgmfa_core::interval::Interval;
use wgmfa_core::name::UserName;

use super::reason;

/// Where a new password comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// The password is another PAM module's affair
    #[arg(long)]
    pub system_password: bool,
}

impl PasswordSource {
    /// Whether either is given.
    pub fn is_given(&self) -> bool {
        self.password_stdin || self.system_password
    }
}

/// `user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person; prints an invitation, or the otpauth URL, a QR code and ten recovery codes, once
    #[command(after_help = "Example:\n    wgmfa-bastion user add justin --invite\n    wgmfa-bastion user add justin \
                      --password-stdin < password")]
    Add {
        /// The person's name
        name: UserName,
        /// May give the commands of this program over SSH
        #[arg(long)]
        admin: bool,
        /// Print a one-time invitation, with which the person sets password and code secret: ssh NAME@bastion wgmfa-enrol
        #[arg(long, conflicts_with = "password_stdin")]
        invite: bool,
        /// How long the invitation is good [default: 48h]
        #[arg(long = "for", value_name = "TIME", requires = "invite")]
        good_for: Option<Interval>,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List people
    #[command(after_help = "Example:\n    wgmfa-bastion user list")]
    List,
    /// Show one person
    #[command(after_help = "Example:\n    wgmfa-bastion user show justin")]
    Show {
        /// The person's name
        name: UserName,
    },
    /// Cut a person off at once, and keep them locked
    #[command(after_help = "Example:\n    wgmfa-bastion user disable justin")]
    Disable {
        /// The person's name
        name: UserName,
    },
    /// Let a disabled person in again
    #[command(
        after_help = "Example:\n    wgmfa-bastion user enable justin\n\nConnections that no policy covers stay locked, and are \
                      named: wgmfa-bastion key set puts a key there."
    )]
    Enable {
        /// The person's name
        name: UserName,
    },
    /// Forget a person's failed logins, and wrong codes inside tunnels
    #[command(after_help = "Example:\n    wgmfa-bastion user unlock justin")]
    Unlock {
        /// The person's name
        name: UserName,
    },
    /// Cut a person off at once, and forget them
    #[command(after_help = "Example:\n    wgmfa-bastion user remove justin")]
    Remove {
        /// The person's name
        name: UserName,
    },
    /// Give a person a new invitation, or at once new password, code secret and recovery codes; the old ones are dead
    #[command(after_help = "Example:\n    wgmfa-bastion user reset justin\n    wgmfa-bastion user reset justin \
                      --password-stdin < password")]
    Reset {
        /// The person's name
        name: UserName,
        /// How long the invitation is good [default: 48h]
        #[arg(long = "for", value_name = "TIME", conflicts_with_all = ["password_stdin", "system_password"])]
        good_for: Option<Interval>,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Print a one-time code to read out on the telephone: with it and the password the person logs in once
    #[command(after_help = "Example:\n    wgmfa-bastion user code justin --reason 'his telephone is broken'")]
    Code {
        /// The person's name
        name: UserName,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// How long the code is good [default: 1h]
        #[arg(long = "for", value_name = "TIME")]
        good_for: Option<Interval>,
    },
    /// A person's SSH keys, for where first-factor is "publickey" or "either"
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion user key add justin --key id_ed25519.pub")]
    Key(UserKeyCommand),
}

/// `user key …`
#[derive(Debug, Subcommand)]
pub enum UserKeyCommand {
    /// Register an SSH key
    #[command(after_help = "Example:\n    wgmfa-bastion user key add justin --key id_ed25519.pub")]
    Add {
        /// The person's name
        name: UserName,
        /// The SSH public key, one line; - is standard input
        #[arg(long, value_name = "FILE|-")]
        key: PathBuf,
    },
    /// List a person's SSH keys
    #[command(after_help = "Example:\n    wgmfa-bastion user key list justin")]
    List {
        /// The person's name
        name: UserName,
    },
    /// Forget an SSH key
    #[command(after_help = "Example:\n    wgmfa-bastion user key remove justin \
                      SHA256:ycQwGAV8WaqCEZqB5QVBJcFKqxWGJ0Ar6UOPnN2bmHQ")]
    Remove {
        /// The person's name
        name: UserName,
        /// The key's fingerprint, as `user key list` shows it
        #[arg(value_parser = fingerprint)]
        fingerprint: String,
    },
}

fn fingerprint(text: &str) -> Result<String, &'static str> {
    let known: Result<russh::keys::ssh_key::Fingerprint, _> = text.parse();
    known.map(|_| text.to_owned()).map_err(|_| "write it as SHA256:…, as user key list shows it")
}
