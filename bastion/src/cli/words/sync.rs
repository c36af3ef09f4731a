//! The words of `wgmfa-sync`, which people write over SSH.

use clap::{Parser, ValueEnum};

/// The words after `wgmfa-sync`.
#[derive(Debug, Parser)]
#[command(
    name = "wgmfa-sync",
    about = "Releases the current preshared keys of your connections",
    after_help = "Examples:\n  ssh bastion wgmfa-sync --device justins-laptop\n  ssh bastion wgmfa-sync --push \
                  justins-workstation",
    version
)]
pub struct SyncWords {
    /// tsv: PEER-PUBLIC-KEY<TAB>PRESHARED-KEY, a line each; json: one object
    #[arg(long, value_enum, default_value = "tsv")]
    pub format: SyncFormat,
    /// The device whose keys are wanted, if you have several
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Has the agent of an owned host put the keys into its interface; prints no key
    #[arg(long, value_name = "HOST", conflicts_with = "device")]
    pub push: Option<String>,
    /// Only these connections: any unique part of their names
    #[arg(value_name = "CONNECTION")]
    pub connections: Vec<String>,
}

/// How the keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncFormat {
    /// A line for each key.
    Tsv,
    /// One object.
    Json,
}
