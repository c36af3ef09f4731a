//! The descriptors that the keeper hands to the front: 3 is the socket to the keeper, the listening sockets follow.
#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The socket to the keeper.
const KEEPER: RawFd = 3;

/// Takes over the socket to the keeper. To be called once.
///
/// # Errors
/// When the descriptor is not open: somebody has called the front by hand.
pub fn keeper() -> Result<UnixStream, String> {
    let stream = UnixStream::from(take(KEEPER)?);
    stream.set_nonblocking(true).map_err(|error| format!("descriptor {KEEPER}: {error}"))?;
    Ok(stream)
}

/// Takes over the listening sockets. To be called once.
///
/// # Errors
/// When one of them is not open.
pub fn listeners(count: usize) -> Result<Vec<TcpListener>, String> {
    (KEEPER + 1..)
        .take(count)
        .map(|descriptor| {
            let listener = TcpListener::from(take(descriptor)?);
            listener.set_nonblocking(true).map_err(|error| format!("descriptor {descriptor}: {error}"))?;
            Ok(listener)
        })
        .collect()
}

fn take(descriptor: RawFd) -> Result<OwnedFd, String> {
    // SAFETY: F_GETFD only asks whether the descriptor is open.
    if unsafe { nix::libc::fcntl(descriptor, nix::libc::F_GETFD) } == -1 {
        return Err(format!("descriptor {descriptor} is not open; `wgmfa-bastion serve` starts the front"));
    }
    // SAFETY: it is open, it was made for this process, and each number is taken once, before anything else in this
    // process has opened a descriptor of that number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
