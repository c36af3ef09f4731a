//! The keeper's other processes, which are this same program: the front, and a PAM worker for each login.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;

use command_fds::CommandFdExt;
use command_fds::FdMapping;
use nix::unistd::{User, geteuid};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::LINE_FROM_PERSON;

use super::wire::Wire;

/// A PAM worker, and the conversation with it. Dropping it ends it.
pub struct Worker {
    /// The conversation.
    pub wire: Wire,
    /// Its process id: what the PAM module's socket will show as its peer.
    pub pid: i32,
    _child: Child,
}

/// Starts a PAM worker.
///
/// # Errors
/// The machine has no process or descriptor left.
pub fn start_worker() -> Result<Worker, Failure> {
    let cannot =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("cannot start a PAM worker: {error}"));
    let (ours, theirs) = pair().map_err(|error| cannot(&error))?;
    let mut command = this_program("pam-worker");
    let child = start(&mut command, vec![theirs.into()]).map_err(|error| cannot(&error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(|| cannot(&"it ended at once"))?;
    Ok(Worker { wire: Wire::new(ours, LINE_FROM_PERSON), pid, _child: child })
}

/// Starts the front with its listening sockets; as root, under its own user and without groups.
///
/// # Errors
/// There is no such user, or the machine has no process left.
pub fn start_front(listeners: Vec<TcpListener>, front_user: &str) -> Result<(UnixStream, Child), Failure> {
    let mut command = this_program("front");
    if geteuid().is_root() {
        let user = User::from_name(front_user).ok().flatten().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("front-user: there is no user '{front_user}' on this machine"))
                .hint(format!("useradd --system --no-create-home --shell /usr/sbin/nologin {front_user}"))
        })?;
        if user.uid.is_root() {
            return Err(
                Failure::new(Exit::Usage, "front-user: the front must not run as root").hint("name a user of its own")
            );
        }
        // std drops all supplementary groups when root sets another user
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let cannot = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot start the front: {error}"));
    let (ours, theirs) = pair().map_err(cannot)?;
    let mut fds = vec![OwnedFd::from(theirs)];
    fds.extend(listeners.into_iter().map(OwnedFd::from));
    Ok((ours, start(&mut command, fds).map_err(cannot)?))
}

/// This very program, also when its file was replaced or is not reachable for the front's user.
fn this_program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("wgmfa-bastion").arg(role).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    if let Some(zone) = std::env::var_os("TZ") {
        command.env("TZ", zone);
    }
    command
}

/// A socket pair: our end for the event loop, and theirs.
fn pair() -> std::io::Result<(UnixStream, StdUnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

/// Starts a process whose descriptors from 3 on are these.
fn start(command: &mut Command, fds: Vec<OwnedFd>) -> std::io::Result<Child> {
    let mappings = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    command.fd_mappings(mappings).map_err(std::io::Error::other)?;
    command.spawn()
}
