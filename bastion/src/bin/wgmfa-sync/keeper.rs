//! The connection to the keeper.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt};
use wgmfa_core::exit::{Exit, Failure};

/// Where the keeper listens. Whoever starts this program cannot name another place.
const SOCKET: &str = "/run/wgmfa/people.sock";

/// Connects, and makes sure that root listens there.
///
/// # Errors
/// Nobody listens, or this program does not have its group.
pub fn connect() -> Result<UnixStream, Failure> {
    let stream = UnixStream::connect(SOCKET).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(Exit::Failed, format!("{SOCKET}: {error}"))
            .hint("this program is to be set-group-id: chgrp wgmfa-sync wgmfa-sync && chmod 2755 wgmfa-sync"),
        _ => Failure::new(Exit::Unreachable, format!("the bastion does not answer: {SOCKET}: {error}"))
            .hint("wgmfa-bastion serves people here when the group wgmfa-sync exists: wgmfa-bastion check"),
    })?;
    let listener = getsockopt(&stream, sockopt::PeerCredentials).map(|peer| peer.uid());
    if listener != Ok(0) {
        return Err(Failure::new(Exit::Unreachable, format!("{SOCKET}: root does not listen there"))
            .hint("look who has made it"));
    }
    Ok(stream)
}
