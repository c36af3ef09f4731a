//! The front: the process that speaks SSH and nothing else.
//!
//! It runs unprivileged and sandboxed, started by the keeper with descriptor 3 (a socket to the keeper) and descriptors
//! 4 and up (listening sockets). It opens no file, makes no decision and keeps no secret: it carries a person's answers
//! to a login that the keeper owns, and lines between a channel and the command that the keeper runs for it.

mod channels;
mod connection;
mod deadline;
mod handler;
mod inherited;
mod input;
mod keeper;
mod limits;
mod log;
mod login;
mod sandbox;
mod seccomp;
mod server;

use std::process::ExitCode;

use wgmfa_core::message::front::ToFront;

/// Runs the front until the keeper's socket closes.
pub fn run() -> ExitCode {
    log::only_the_place_of_a_panic();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::line(&format!("error: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// In this order: the sandbox before the runtime and before the first byte is read.
fn serve() -> Result<(), String> {
    let stream = inherited::keeper()?;
    sandbox::enter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    runtime.block_on(async {
        let (keeper, mut replies) = keeper::talk(stream).map_err(|error| format!("keeper: {error}"))?;
        match replies.next().await? {
            Some(ToFront::Start { host_keys, listeners, limits, keys }) => {
                let sockets = inherited::listeners(listeners.len())?;
                let doors = sockets.into_iter().zip(listeners).collect();
                let front = server::open(doors, &host_keys, limits, keys, &keeper)?;
                drop(host_keys);
                while let Some(message) = replies.next().await? {
                    match message {
                        ToFront::HostKeys { host_keys } => server::take_keys(&front, &host_keys)?,
                        message => keeper.deliver(message),
                    }
                }
                Ok(())
            }
            Some(_) => Err("the keeper did not begin with `start`".into()),
            None => Ok(()),
        }
    })
}
