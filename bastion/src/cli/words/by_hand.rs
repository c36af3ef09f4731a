//! Letting somebody in without a login.

use clap::Args;
use wgmfa_core::interval::Interval;

use super::reason;

/// `override`
#[derive(Debug, Args)]
pub struct Override {
    /// Connections, or unique parts of their names
    #[arg(required = true, value_name = "CONNECTION")]
    pub connections: Vec<String>,
    /// For how long [default: the rotation interval of the policy]
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<Interval>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
}
