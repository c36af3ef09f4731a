//! What the keeper listens on: TCP for the front, Unix sockets for the PAM module and for administrators.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::front::Admits;
use wgmfa_system::trusted::{self, Readers};

use super::metrics::http::Listener;
use super::{Keeper, say};
use crate::config::{Config, MetricsAt};
use crate::{check, store};

/// The listening sockets that the front will inherit, and who may come to each.
///
/// # Errors
/// An address is in use, or not of this machine.
pub fn listeners(config: &Config) -> Result<(Vec<TcpListener>, Vec<Admits>), Failure> {
    let people = if config.agent_listen.is_empty() { Admits::Everyone } else { Admits::People };
    let wanted = config.listen.iter().map(|address| (address, people));
    let wanted = wanted.chain(config.agent_listen.iter().map(|address| (address, Admits::Agents)));
    let bound = wanted.map(|(address, admits)| tcp(*address).map(|socket| (socket, admits)));
    Ok(bound.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

/// Binds a TCP socket that the front will inherit. An IPv6 address takes no IPv4 connections, so that `0.0.0.0` and
/// `[::]` can stand side by side.
///
/// # Errors
/// The address is in use, or not of this machine.
fn tcp(address: SocketAddr) -> Result<TcpListener, Failure> {
    let attempt = || -> nix::Result<TcpListener> {
        let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if address.is_ipv6() {
            setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        }
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        listen(&fd, Backlog::new(128)?)?;
        Ok(TcpListener::from(fd))
    };
    attempt().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen on {address}: {}", error.desc())).hint(
            "another program may use this port, or the address may not be of this machine (see listen in bastion.toml)",
        )
    })
}

/// Makes the folder of the sockets if it is missing: `/run` is empty after a boot. Nobody else may put sockets there.
///
/// # Errors
/// It cannot be made, or others can write to it.
pub fn folder(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| {
        Failure::new(Exit::Failed, format!("{}: {error}", path.display())).hint("see run-dir in bastion.toml")
    })?;
    trusted::folder(path, Readers::Anyone)
}

/// Binds a Unix socket of mode 0600, in place of one that a dead keeper left behind.
///
/// # Errors
/// The folder is missing or not writable.
pub fn unix(path: &Path) -> Result<UnixListener, Failure> {
    unix_with(path, 0o177)
}

/// Where people ask who came by the site's own sshd: a Unix socket of mode 0660, of their program's group. None: there is no
/// such group on this machine (`check` says so), or the bastion does not run as root.
///
/// # Errors
/// The folder is missing or not writable.
pub fn people(config: &Config) -> Result<Option<UnixListener>, Failure> {
    let path = config.people_socket();
    let Ok(group) = check::people::group(config) else {
        let _ = std::fs::remove_file(path); // one of an earlier configuration
        return Ok(None);
    };
    if !geteuid().is_root() {
        return Ok(None);
    }
    let listener = unix(&path)?;
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot give {} to its group: {error}", path.display()))
            .hint("the bastion needs CAP_CHOWN for it")
    };
    std::os::unix::fs::lchown(&path, None, Some(group.as_raw())).map_err(cannot)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).map_err(cannot)?;
    Ok(Some(listener))
}

/// Where metrics are read: a Unix socket of mode 0660, or a port of the loopback interface.
///
/// # Errors
/// It cannot be bound.
pub fn metrics(at: &MetricsAt) -> Result<Listener, Failure> {
    let address = match at {
        MetricsAt::Unix(path) => return unix_with(path, 0o117).map(Listener::Unix),
        MetricsAt::Loopback(address) => address,
    };
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("metrics: cannot listen on {address}: {error}"))
            .hint("another program may use this port")
    };
    let listener = tcp(*address)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map(Listener::Loopback).map_err(failed)
}

fn unix_with(path: &Path, mask: u32) -> Result<UnixListener, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot listen on {}: {error}", path.display()))
            .hint("see run-dir in bastion.toml; the path of a Unix socket has at most 107 bytes")
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let before = umask(Mode::from_bits_truncate(mask));
    let bound = UnixListener::bind(path);
    umask(before);
    bound.map_err(cannot)
}

/// Takes connections until the keeper ends, each served by a task of its own; what went wrong goes to the log.
pub async fn accept<F>(keeper: Rc<Keeper>, listener: UnixListener, serve: fn(Rc<Keeper>, UnixStream) -> F)
where
    F: Future<Output = Result<(), String>> + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = serve(keeper.clone(), stream);
                tokio::task::spawn_local(async move {
                    if let Err(reason) = served.await {
                        say(&format!("a local request: {reason}"));
                    }
                });
            }
            Err(error) => {
                // no descriptor left, most likely: others will be closed
                say(&format!("a local request: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Makes sure that only one keeper works on a state folder, and nobody puts another store there meanwhile.
///
/// # Errors
/// Another one does.
pub fn only_one(state_dir: &Path) -> Result<Flock<std::fs::File>, Failure> {
    store::prepare_folder(state_dir)?;
    let path = state_dir.join("lock");
    let file = std::fs::File::create(&path)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Failure::new(Exit::Failed, format!("{}: another wgmfa-bastion serves this state-dir", path.display()))
            .hint("stop it first; `wgmfa-bastion reload` takes new policies without a restart")
    })
}
