//! `wgmfa-agent`: what runs on a WireGuard server.

mod agent;
mod carry_out;
mod clock;
mod codes;
mod commands;
mod conversation;
mod crash;
mod files;
mod host_keys;
mod identity;
mod orders;
mod pairs;
mod resident;
mod seen;
mod speech;
mod ssh;
mod state;
mod store;
mod voice;

use std::process::ExitCode;

use clap::Parser;
use wgmfa_agent::{cli, config, gate};

use crate::cli::{Command, CommandLine};

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return voice::usage(&error).code().into(),
    };
    let path = &line.config;
    let ended = match line.command {
        Command::Init(init) => commands::init::run(path, &init),
        Command::NewKey => commands::new_key::run(path),
        Command::Rotate { dry_run } => commands::rotate::run(path, dry_run),
        Command::Run => commands::run::run(path),
        Command::Lock => commands::lock::run(path),
        Command::Override { peer, reason, time } => commands::override_::run(path, peer, reason, time),
        Command::StandDown { reason } => commands::stand_down::run(path, reason),
        Command::Status { json } => commands::status::run(path, json),
        Command::Check { json } => commands::check::run(path, json),
    };
    ended.unwrap_or_else(|failure| voice::fail(&failure)).code().into()
}
