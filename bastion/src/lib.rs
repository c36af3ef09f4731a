//! What of `wgmfa-bastion` other crates reach: command line and configuration, for man pages, completions and samples.

pub mod config;

/// The command line.
pub mod cli {
    pub mod words;
}
