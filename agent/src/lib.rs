//! What of `wgmfa-agent` other crates reach: the gate, for the benches; command line and configuration, for man pages,
//! completions and samples.

pub mod cli;
pub mod config;
pub mod gate;
