//! `log …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::reason;

/// Which lines of the audit log.
#[derive(Debug, Clone, Default, Args)]
pub struct LogFilter {
    /// Not before this time: 2026-11-21T15:55:00Z, 2026-11-21, or how long ago (90m)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Not after this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// About this person
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// About connections of this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// About connections whose names have this part
    #[arg(long, value_name = "CONNECTION")]
    pub connection: Option<String>,
    /// Of this kind, as the column `event` names it
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Go on with new lines as they are written; with --json, JSON lines
    #[arg(long)]
    pub follow: bool,
}

/// `log …`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Compute the hash chain anew and compare
    #[command(
        after_help = "Example:\n    wgmfa-bastion log verify\n    wgmfa-bastion log verify --file audit-2026.jsonl"
    )]
    Verify {
        /// An export instead, by itself; - is standard input
        #[arg(long, value_name = "FILE|-")]
        file: Option<PathBuf>,
    },
    /// Print the oldest lines as JSON lines that can be verified by themselves
    #[command(
        after_help = "Example:\n    wgmfa-bastion log export --before 365d > audit.jsonl\n    wgmfa-bastion log verify \
                            --file audit.jsonl"
    )]
    Export {
        /// Only lines from before this time
        #[arg(long, value_name = "TIME")]
        before: String,
    },
    /// Remove the oldest lines, up to the one that the end of an export names
    #[command(after_help = "Example:\n    wgmfa-bastion log prune 812 \
                            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Prune {
        /// The number of the last line to remove
        seq: u64,
        /// The hash of that line
        hash: String,
    },
    /// Agree that lines which hosts have seen are missing here, after a restore
    #[command(after_help = "Example:\n    wgmfa-bastion log accept --reason 'restored from the backup of Monday'")]
    Accept {
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// The number and hash of the last line
    #[command(after_help = "Example:\n    wgmfa-bastion log head")]
    Head,
}
