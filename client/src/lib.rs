//! What of `wgmfa` other crates reach: command line and configuration, for man pages, completions and samples.

pub mod bastion;
pub mod commands;
pub mod config;
pub mod person;

/// `wgmfa code`.
pub mod code {
    pub mod gateway;
}
