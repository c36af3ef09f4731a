//! `wgmfa`, on a person's machine: logs in on the bastion through the system's `ssh` and writes the released preshared
//! keys into the WireGuard interfaces.
//!
//! `sync` runs as the person; only what touches an interface (`apply`, `interfaces`) needs CAP_NET_ADMIN. `code` is the
//! other way in: it gives a one-time code to the gateway, inside the tunnel.

mod apply;
mod check;
mod clock;
mod code;
mod handshake;
mod host_keys;
mod interfaces;
mod last_login;
mod login;
mod opened;
mod order;
mod rights;
mod sessions;
mod status;
mod sync;
mod voice;
mod warned;
mod way;

use std::process::ExitCode;

use clap::Parser;
use wgmfa_core::exit::{Exit, Failure};

use wgmfa::{bastion, commands, config, person};

use commands::{Arguments, Command};

fn main() -> ExitCode {
    let exit = match Arguments::try_parse() {
        Ok(arguments) => run(&arguments).unwrap_or_else(|failure| {
            voice::failure(&failure);
            failure.exit
        }),
        Err(error) => voice::usage(&error),
    };
    ExitCode::from(exit.code())
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Sync(options) => sync::sync(options, arguments.config.as_deref()),
        Command::Code(options) => code::code(options, arguments.config.as_deref()),
        Command::Apply(options) => apply::apply(options),
        Command::Interfaces => interfaces::interfaces(),
        Command::Check(options) => check::check(options, arguments.config.as_deref()),
        Command::Status(options) => status::status(options, arguments.config.as_deref()),
    }
}
