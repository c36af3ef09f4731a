//! `wgmfa-bastion`: the front, the keeper with its store, the PAM worker, and the administrator's commands.

mod admin;
mod check;
mod cli;
mod config;
mod confine;
mod crash;
mod front;
mod host_key;
mod init;
mod keeper;
mod policies;
mod store;
mod trusted;
mod voice;
mod worker;

fn main() -> std::process::ExitCode {
    cli::main()
}
