//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use wgmfa_core::interval::Interval;
use wgmfa_core::name::{DeviceName, InterfaceName};

use crate::bastion::Bastion;

/// Unlocks WireGuard connections with a login on the bastion.
#[derive(Debug, Parser)]
#[command(
    name = "wgmfa",
    version,
    arg_required_else_help = true,
    after_help = "Example, once a session is over:\n  $ wgmfa sync\n  Password:\n  One-time code:\n  \
                  app-gw/devices: OK, 60 min left (until 15:55), policy 101 Prod User Devices"
)]
pub struct Arguments {
    /// Reads this configuration and no other
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Logs in on the bastion and writes the released keys into the interfaces
    Sync(Sync),
    /// Writes keys read from standard input; touches only peers that exist; needs CAP_NET_ADMIN
    Apply(Apply),
    /// Names, public keys and peers of the interfaces as JSON, no secrets; needs CAP_NET_ADMIN
    #[command(after_help = "Example:\n  $ sudo wgmfa interfaces")]
    Interfaces,
    /// Each connection and what is left; exit status 4 when one is expired or about to be
    Status(Status),
}

/// `wgmfa sync`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  $ wgmfa sync                       # with bastion = \"…\" in client.toml\n  \
                        $ wgmfa sync justin@bastion.example.net\n  \
                        $ wgmfa sync ssh://bastion.example.net:2222 -- -J jump.example.net\n  \
                        PostUp = wgmfa sync --post-up --interface %i")]
pub struct Sync {
    /// [user@]host as in ssh(1), or ssh://[user@]host[:port]
    pub bastion: Option<Bastion>,
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    pub interface: Option<InterfaceName>,
    /// Also writes the keys where the interface is configured
    #[arg(long)]
    pub save: bool,
    /// The device whose keys are wanted, when the interfaces do not tell
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,
    /// Waits until the tunnel has shaken hands, 15 s at most
    #[arg(long)]
    pub wait: bool,
    /// For PostUp: logs in as the person behind sudo, waits 60 s at most, does not fail
    #[arg(long, requires = "interface")]
    pub post_up: bool,
    /// With --post-up: fails without a login, so that wg-quick takes the interface down again
    #[arg(long, requires = "post_up")]
    pub or_down: bool,
    /// For ssh
    #[arg(last = true, value_name = "SSH-OPTIONS")]
    pub ssh_options: Vec<OsString>,
}

/// `wgmfa apply`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  $ ssh bastion wgmfa-sync | sudo wgmfa apply\n\n\
                        Lines of PEER-PUBLIC-KEY<TAB>PRESHARED-KEY, or the JSON object of wgmfa-sync --format json.")]
pub struct Apply {
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    pub interface: Option<InterfaceName>,
    /// Also writes the keys where the interface is configured
    #[arg(long)]
    pub save: bool,
}

/// `wgmfa status`
#[derive(Debug, Args)]
#[command(after_help = "Example, for a warning from a timer, once in a session (wgmfa-warn.timer does that):\n  \
                  text=$(wgmfa status --once --warn-before 10m) || notify-send wgmfa \"$text\"")]
pub struct Status {
    /// For programs
    #[arg(long)]
    pub json: bool,
    /// Status 4 as early as this before a session ends
    #[arg(long, value_name = "TIME")]
    pub warn_before: Option<Interval>,
    /// Only what ends soon and was not shown before in its session; status 4 when there is such
    #[arg(long, conflicts_with = "json")]
    pub once: bool,
}
