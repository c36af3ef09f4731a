//! `wgmfa-bastion`: the front, the keeper with its store, the PAM worker, and the administrator's commands.

mod admin;
mod check;
mod cli;
mod confine;
mod crash;
mod credential;
mod front;
mod host_key;
mod init;
mod keeper;
mod policies;
mod store;
mod voice;
mod worker;

use wgmfa_bastion::config;

fn main() -> std::process::ExitCode {
    cli::main()
}
