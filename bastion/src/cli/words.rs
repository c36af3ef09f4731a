//! The words that an administrator may write, on the bastion itself and (without `init`, `serve` and files) over SSH.

mod by_hand;
mod life_cycle;
mod log;
mod machines;
mod people;
mod sync;
mod wrong;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use wgmfa_core::name::{HostName, UserName};

pub use self::by_hand::Override;
pub use self::life_cycle::{ClockCommand, HostKeyCommand, SealingKeyCommand};
pub use self::log::{LogCommand, LogFilter};
pub use self::machines::{DeviceCommand, HostCommand};
pub use self::people::{PasswordSource, UserCommand, UserKeyCommand};
pub use self::sync::{SyncFormat, SyncWords};
pub use self::wrong::what;

const CONFIG_HELP: &str = "The configuration file [default: /etc/wgmfa/bastion.toml]";

/// The second factor in front of WireGuard: keys are released only after a login with a one-time code.
#[derive(Debug, Parser)]
#[command(name = "wgmfa-bastion", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Example:\n    wgmfa-bastion init\n    wgmfa-bastion check && wgmfa-bastion serve")]
pub struct CommandLine {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub config: Option<PathBuf>,
    /// Answer with JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The first word.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make configuration, PAM service, keys and folders; overwrites nothing
    #[command(after_help = "Example:\n    sudo wgmfa-bastion init\n    wgmfa-bastion init --dir ~/trial")]
    Init {
        /// Put everything below this folder, for a trial without root
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Run the bastion until SIGTERM
    #[command(after_help = "Example:\n    wgmfa-bastion serve --config /etc/wgmfa/bastion.toml")]
    Serve,
    /// Speak SSH to the network; started by `serve`.
    #[command(hide = true)]
    Front,
    /// Run one login through libpam; started by `serve`.
    #[command(hide = true)]
    PamWorker,
    /// Take the policy files anew, all or nothing, and tell what changes
    #[command(
        after_help = "Example:\n    wgmfa-bastion reload --dry-run\n    19 connections lock now, 2 change policy"
    )]
    Reload {
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for faults in configuration, PAM stack, policies, file modes and clock
    #[command(after_help = "Example:\n    wgmfa-bastion check")]
    Check,
    /// How the bastion, its agents and its people are
    #[command(after_help = "Example:\n    wgmfa-bastion status || echo 'the bastion needs care'")]
    Status,
    /// The first thing that stands in the way of a person or a connection, and what mends it
    #[command(
        after_help = "Example:\n    wgmfa-bastion why justin\n    wgmfa-bastion why app-gw/devices:justins-laptop"
    )]
    Why {
        /// A person, or any unique part of a connection's name
        name: String,
    },
    /// Lines for people's known_hosts, under this machine's own name (whoever writes another one puts that in its place);
    /// and a change of the bastion's SSH host key
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example:\n    wgmfa-bastion host-key >> ~/.ssh/known_hosts"
    )]
    HostKey {
        /// SSHFP records for the DNS (RFC 4255) instead
        #[arg(long)]
        sshfp: bool,
        /// Another act than showing lines.
        #[command(subcommand)]
        act: Option<HostKeyCommand>,
    },
    /// People
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion user add justin --password-stdin < password")]
    User(UserCommand),
    /// Machines with an agent
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion host add app-gw --key app-gw.pub")]
    Host(HostCommand),
    /// People's WireGuard keys
    #[command(
        subcommand,
        after_help = "Example:\n    wgmfa-bastion device add justins-laptop --owner justin --public-key \
                      ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE="
    )]
    Device(DeviceCommand),
    /// Policy files
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion policy check ./policy.d")]
    Policy(PolicyCommand),
    /// Hosts, their interfaces and peers as last reported, and devices
    #[command(after_help = "Example:\n    wgmfa-bastion inventory --json > inventory.json")]
    Inventory {
        /// Only peers whose public key nobody registered
        #[arg(long)]
        unregistered: bool,
    },
    /// Connections and their preshared keys
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion key list")]
    Key(KeyCommand),
    /// Let somebody in without a login: an owned host gets the keys, or a gateway opens its tier
    #[command(
        after_help = "Example:\n    wgmfa-bastion override app-gw/infra:justins-workstation --for 1h --reason 'phone \
                      lost'"
    )]
    Override(Override),
    /// The audit log
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example:\n    wgmfa-bastion log --since 1d --user justin\n    wgmfa-bastion log verify"
    )]
    Log {
        /// Which lines.
        #[command(flatten)]
        filter: LogFilter,
        /// Another act than showing lines.
        #[command(subcommand)]
        act: Option<LogCommand>,
    },
    /// Copy the store while the bastion runs; secrets stay sealed, and the sealing key is not in the copy
    #[command(
        after_help = "Example:\n    wgmfa-bastion backup /root/wgmfa.backup\n    wgmfa-bastion backup - | ssh vault \
                            'cat > wgmfa.backup'\n\nKeep a copy of the sealing key (sealing-key in bastion.toml) \
                            apart from the backups: without it a backup cannot be restored, and with it its \
                            secrets can be read."
    )]
    Backup {
        /// The new file; - is standard output
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// Replace the file if there is one
        #[arg(long)]
        force: bool,
    },
    /// Put a backup in the place of the store of a bastion that is stopped; locks all sessions and voids all codes
    #[command(
        after_help = "Example:\n    wgmfa-bastion restore /root/wgmfa.backup\n\nStop the bastion first. The store that was there is kept beside. All sessions are \
                            locked, codes used before are refused, recovery codes and invitations are void. People, hosts and \
                            devices are as they were when the backup was made: remove or disable again whom you have \
                            removed or disabled since."
    )]
    Restore {
        /// The backup; - is standard input
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
    },
    /// The key that seals secrets in the store
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion sealing-key rotate")]
    SealingKey(SealingKeyCommand),
    /// The bastion's own time
    #[command(subcommand, after_help = "Example:\n    wgmfa-bastion clock reset --reason 'the time server was wrong'")]
    Clock(ClockCommand),
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Every fault and warning of the policy files, then a count; a DIR needs neither configuration nor root
    #[command(after_help = "Example:\n    wgmfa-bastion policy check ./policy.d")]
    Check {
        /// The folder to check; without it, or with -, the one that the configuration names
        #[arg(value_name = "DIR|-")]
        dir: Option<PathBuf>,
    },
    /// For each connection: every policy that names it, which one wins and why, which side rotates, when next
    #[command(
        after_help = "Example:\n    wgmfa-bastion policy explain justins-laptop\n    wgmfa-bastion policy explain \
                      --inventory inventory.json --policy-dir ./policy.d"
    )]
    Explain {
        /// Connections, or unique parts of their names; without any, all connections
        names: Vec<String>,
        /// A file as `inventory --json` writes it: needs no running bastion; - is standard input
        #[arg(long, value_name = "FILE|-")]
        inventory: Option<PathBuf>,
        /// The folder of policies to try; without it, or with -, the one that the configuration names
        #[arg(long, value_name = "DIR|-", requires = "inventory")]
        policy_dir: Option<PathBuf>,
        /// As if it were this time (RFC 3339)
        #[arg(long, value_name = "TIME", requires = "inventory", value_parser = time)]
        at: Option<Timestamp>,
    },
}

/// `key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// The connections: host, interface, other end, policy, state, deadline
    #[command(after_help = "Example:\n    wgmfa-bastion key list justins-laptop\n    wgmfa-bastion key list --watch")]
    List {
        /// Parts of connections' names; without any, all connections
        names: Vec<String>,
        /// Only connections without a second factor
        #[arg(long)]
        without_mfa: bool,
        /// Again whenever something has changed: redrawn in place on a terminal; with --json, JSON lines
        #[arg(long)]
        watch: bool,
    },
    /// Show preshared keys, to be carried to where nobody can log in; a release, with its deadline and audit line
    #[command(
        after_help = "Example:\n    wgmfa-bastion key show app-gw/devices:justins-laptop --reason 'no ssh there'"
    )]
    Show {
        /// Connections, or unique parts of their names
        #[arg(required = true, value_name = "CONNECTION")]
        connections: Vec<String>,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Put a preshared key, read from standard input, on a connection's hosts now: their resident agents must be connected
    #[command(after_help = "Example:\n    wgmfa-bastion key set app-gw/infra:db-gw/infra --reason moved < key")]
    Set {
        /// The connection, or a unique part of its name
        connection: String,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Make new generations now, which ends running sessions, and close tiers
    #[command(
        after_help = "Example:\n    wgmfa-bastion key rotate app-gw/devices:justins-laptop --reason 'laptop was lent'"
    )]
    Rotate {
        /// Connections, or unique parts of their names
        connections: Vec<String>,
        /// All connections of this person
        #[arg(long, value_name = "USER")]
        user: Option<UserName>,
        /// All connections of this host
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
        /// All connections
        #[arg(long, conflicts_with_all = ["connections", "user", "host"])]
        all: bool,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "write a time as 2026-11-21T15:55:00Z")
}

/// Longest reason, in characters: it stands in the audit log, in lists, and in messages to agents.
const LONGEST_REASON: usize = 500;

fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("say why"),
        text if text.chars().count() > LONGEST_REASON => Err("at most 500 characters"),
        text => Ok(text.to_owned()),
    }
}
