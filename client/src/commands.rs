//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use wgmfa_core::interval::Interval;
use wgmfa_core::name::{DeviceName, InterfaceName, TierName};

use crate::bastion::Bastion;
use crate::code::gateway::Gateway;

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
    /// Gives a one-time code to the gateway, inside the tunnel, so that its firewall opens
    Code(Code),
    /// Writes keys read from standard input; touches only peers that exist; needs CAP_NET_ADMIN
    Apply(Apply),
    /// Names, public keys and peers of the interfaces as JSON, no secrets; needs CAP_NET_ADMIN
    #[command(after_help = "Example:\n  $ sudo wgmfa interfaces")]
    Interfaces,
    /// Each connection and what is left; exit status 4 when one is expired or about to be
    Status(Status),
    /// What is wrong on this machine and on its way to the bastion, and how to mend it; needs no root and no login
    Check(Check),
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
    /// Writes no key, and needs no right to change an interface: for gateways whose firewall is all that opens
    #[arg(long)]
    pub tiers_only: bool,
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

/// `wgmfa code`
#[derive(Debug, Args)]
#[command(after_help = "Example, where the tunnel is up and the networks behind it are closed:\n  $ wgmfa code\n  \
                        wgmfa app-gw: one-time code for justins-laptop:\n  ok: prod until 15:55 (60 min)\n\n\
                        With wg-quick, in the [Interface] section:\n  PostUp = wgmfa code --interface %i --post-up\n\n\
                        Without GATEWAY the peers whose allowed IPs are one address are asked, then the first address of \
                        each of the interface's networks; always through the interface, never outside of the tunnel.")]
pub struct Code {
    /// HOST, HOST:PORT, an address or [IPV6]:PORT; port 7777 unless it says another one
    pub gateway: Option<Gateway>,
    /// Through this interface
    #[arg(long, value_name = "NAME")]
    pub interface: Option<InterfaceName>,
    /// A step up: the tier that the code is to open
    #[arg(long, value_name = "NAME")]
    pub tier: Option<TierName>,
    /// For PostUp: asks on the terminal or through systemd-ask-password, does not fail
    #[arg(long, requires = "interface")]
    pub post_up: bool,
    /// With --post-up: fails without a good code, so that wg-quick takes the interface down again
    #[arg(long, requires = "post_up")]
    pub or_down: bool,
    /// All of it takes at most so long; no gateway waits longer than 60s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub limit: Interval,
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
                  text=$(wgmfa status --once --warn-before 10m) || notify-send \"$text\"")]
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

/// `wgmfa check`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  $ wgmfa check\n  wgmfa: error: ssh://bastion:2222: its host key is not known here\n  \
                        wgmfa: hint: get the line from its administrator (wgmfa-bastion host-key) and put it into \
                        ~/.ssh/known_hosts\n  1 fault"
)]
pub struct Check {
    /// [user@]host as in ssh(1), or ssh://[user@]host[:port]
    pub bastion: Option<Bastion>,
    /// This interface must be there
    #[arg(long, value_name = "NAME")]
    pub interface: Option<InterfaceName>,
    /// For programs
    #[arg(long)]
    pub json: bool,
    /// For ssh
    #[arg(last = true, value_name = "SSH-OPTIONS")]
    pub ssh_options: Vec<OsString>,
}
