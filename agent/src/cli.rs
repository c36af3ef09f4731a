//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use wgmfa_core::interval::Interval;
use wgmfa_core::name::HostName;

use crate::config::{Address, DEFAULT_PATH};

/// The server side of wgmfa: rotates the preshared keys of peers under an MFA policy, and locks them on time.
#[derive(Debug, Parser)]
#[command(name = "wgmfa-agent", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Example, in a crontab:\n  * * * * * root wgmfa-agent rotate")]
pub struct CommandLine {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this host's SSH key and configuration, and print the line for `wgmfa-bastion host add`. Overwrites nothing.
    #[command(after_help = "Example, in one pipe from an administrator's machine:\n  \
        ssh app-gw sudo wgmfa-agent init --bastion bastion.example.net:2222 --known-host \"'LINE'\" --print-key \\\n    \
        | ssh bastion wgmfa-bastion host add app-gw --key -\nLINE comes from: ssh bastion wgmfa-bastion host-key")]
    Init(Init),
    /// Make another SSH key for this host, and print the line that replaces the one that the bastion knows
    #[command(after_help = "Example, in one pipe from an administrator's machine:\n  \
        ssh app-gw sudo wgmfa-agent new-key | ssh bastion wgmfa-bastion host add app-gw --key - --replace\n\n\
        Until the bastion has the line, the agent goes on with the old key; from then on the bastion refuses that one, and the \
        agent puts the new key in its place. The same again prints the same line.")]
    NewKey,
    /// One round: report, rotate what is due, apply, confirm. For cron; quiet when all is well.
    #[command(
        after_help = "Example:\n  wgmfa-agent rotate --dry-run\n\nBeside a resident agent it asks that one for a round. \
        In an outage of the bastion it speaks once, and once when it is over; deadlines are kept all the same."
    )]
    Rotate {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Stay connected and do it on time.
    #[command(
        after_help = "Example, in a systemd unit:\n  ExecStart=/usr/sbin/wgmfa-agent run\n\nOn SIGTERM it leaves; the \
        keys stay as they are, and nobody locks them at their deadline until it runs again. Where a policy enforces by \
        the firewall it also asks for one-time codes inside the tunnels, on the port code-port; open tiers close at \
        their deadline without it."
    )]
    Run,
    /// Put a fresh lock key on every MFA peer, in the configuration files and on running interfaces, and put the gate up
    /// with nothing open. For boot.
    #[command(after_help = "Example, before the interfaces come up:\n  wgmfa-agent lock && wg-quick up devices")]
    Lock,
    /// Root's way in when the bastion is gone: open a peer with a key from standard input. Reported later.
    #[command(
        after_help = "Example:\n  wg genpsk | tee /dev/tty | wgmfa-agent override justins-laptop --reason 'bastion is down' --for 2h\n\n\
        A peer that the firewall alone holds back needs no key: its policy's tier is opened."
    )]
    Override {
        /// The peer: its public key, its connection's name, or a part of that which no other has.
        peer: String,
        /// Why; the bastion's audit log tells it.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        reason: String,
        /// For how long, at most 30d.
        #[arg(long = "for", value_name = "TIME", default_value = "1h")]
        time: Interval,
    },
    /// Stop enforcing: put back the configured keys and take the gate away; `run` or `rotate` begins again.
    #[command(
        after_help = "Example:\n  systemctl disable --now wgmfa-rotate.timer\n  systemctl disable wgmfa-agent\n  wgmfa-agent stand-down --reason 'migration'"
    )]
    StandDown {
        /// Why; the bastion's audit log tells it.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        reason: String,
    },
    /// The last round, and each peer: its policy, generation, open tiers, what is left. Exit 5: the last round failed; 6: a
    /// peer is not as the policy says, or the gate does not stand.
    #[command(after_help = "Example:\n  wgmfa-agent status --json")]
    Status {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Look at configuration, keys, interfaces, files, clock and the way to the bastion: every fault with what mends it,
    /// then a count.
    #[command(
        after_help = "Example:\n  wgmfa-agent check\n\nIt changes nothing, here or on the bastion, and disturbs no agent that is running."
    )]
    Check {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

/// What `init` is told.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Where the bastion is reached: HOST, HOST:PORT or [IPV6]:PORT.
    #[arg(long, value_name = "B")]
    pub bastion: Option<Address>,
    /// The name of this host; otherwise the machine's own.
    #[arg(long, value_name = "NAME")]
    pub host: Option<HostName>,
    /// The bastion's host key, as `wgmfa-bastion host-key` prints it.
    #[arg(long, value_name = "LINE")]
    pub known_host: Option<String>,
    /// Print nothing on standard output but this host's public key.
    #[arg(long)]
    pub print_key: bool,
}

/// Longest reason, in characters, as on the bastion: it is kept until the bastion is reached, and stands in its audit log.
const LONGEST_REASON: usize = 500;

fn text(reason: &str) -> Result<String, &'static str> {
    match reason.trim() {
        "" => Err("say why"),
        reason if reason.chars().count() > LONGEST_REASON => Err("at most 500 characters"),
        reason => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_is_not_too_long() {
        assert_eq!(text("  the bastion is down "), Ok("the bastion is down".to_owned()));
        assert_eq!(text(&"\u{e4}".repeat(500)).map(|reason| reason.chars().count()), Ok(500));
        assert_eq!(text(" \n"), Err("say why"));
        assert_eq!(text(&"x".repeat(501)), Err("at most 500 characters"));
    }
}
