//! Userspace WireGuard (wireguard-go, boringtun, amneziawg-go …), through the socket of its configuration protocol.
//!
//! The protocol: <https://www.wireguard.com/xplatform/#configuration-protocol>. It is spoken here and not by the library,
//! which starts a daemon when the socket does not answer, waits for a stopped one for ever, creates unknown peers, prints
//! what it does not know to standard output, and does not know how boringtun names its public key.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::InterfaceName;
use zeroize::Zeroizing;

use crate::steps::{Limits, Step, Wanted, Way, calls, requests};
use crate::{AllowedIp, Error, Interface};

mod reply;

/// Where the daemons put their sockets (wireguard-tools, `SOCK_PATH`).
pub(crate) const FOLDER: &str = "/var/run/wireguard";

/// A daemon that is silent for so long is stopped or stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it has at the next looks: whoever looks has other interfaces to look after.
const PATIENCE_AGAIN: Duration = Duration::from_secs(1);

/// Whose daemon was silent when it was last asked.
static SILENT: Mutex<BTreeSet<InterfaceName>> = Mutex::new(BTreeSet::new());

/// What a request may take, so that one write hands it over whole (a Unix socket buffers 200 KiB).
const LIMITS: Limits = Limits { bytes: 128 * 1024, allowed_ips: usize::MAX };

/// The names that have a socket, sorted; `Err` when the folder may not be read.
pub(crate) fn names() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        names.extend(file.to_string_lossy().strip_suffix(".sock").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Whether somebody listens on the socket.
pub(crate) fn answers(name: &str) -> bool {
    match call_up(name) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Reads one interface, and says whether its daemon needs [`Way::Apart`].
pub(crate) fn read(name: &InterfaceName) -> Result<(Interface, bool), Error> {
    let reply = request(name, "get=1\n\n")?;
    reply::parse(name, &reply)
}

/// Carries out a change.
pub(crate) fn write(name: &InterfaceName, wanted: &[Wanted<'_>], way: Way) -> Result<(), Error> {
    send(name, requests(wanted, way, LIMITS, size))
}

/// Has peers called.
pub(crate) fn call(name: &InterfaceName, peers: &[&PublicKey]) -> Result<(), Error> {
    send(name, calls(peers, LIMITS, size))
}

/// An upper bound of a step's bytes in a request, from the longest value of each line.
fn size(step: &Step<'_>) -> usize {
    const KEY: usize = "preshared_key=".len() + 64 + 1; // the longer one of the two keys' names
    const ALLOWED_IP: usize = "allowed_ip=".len() + 43 + 1; // an IPv6 address has 39 characters
    match step {
        Step::Add(_, ips) => 2 * KEY + 200 + ALLOWED_IP * ips.len(),
        Step::Allow(_, ips) => KEY + 20 + ALLOWED_IP * ips.len(),
        Step::Set(_) => 2 * KEY + 20,
        Step::Remove(_) | Step::Keepalive(..) => KEY + 60,
    }
}

fn send(name: &InterfaceName, requests: Vec<Vec<Step<'_>>>) -> Result<(), Error> {
    for steps in requests {
        let sections: Vec<_> = steps.iter().map(section).collect();
        let mut text =
            Zeroizing::new(String::with_capacity(16 + sections.iter().map(|text| text.len()).sum::<usize>()));
        text.push_str("set=1\n");
        sections.iter().for_each(|section| text.push_str(section));
        text.push('\n');
        let reply = request(name, &text)?;
        reply::check(&reply).map_err(|error| Error::Io(name.clone(), error))?;
    }
    Ok(())
}

fn section(step: &Step<'_>) -> Zeroizing<String> {
    let public_key = match step {
        Step::Set(one) | Step::Add(one, _) => &one.before.public_key,
        Step::Remove(public_key) | Step::Allow(public_key, _) | Step::Keepalive(public_key, _) => public_key,
    };
    let allowed_ips: &[AllowedIp] = if let Step::Add(_, ips) | Step::Allow(_, ips) = step { ips } else { &[] };
    // a secret must not stay behind in a buffer that a growing string has left: room for all
    let mut text = Zeroizing::new(String::with_capacity(size(step)));
    key_line(&mut text, "public_key", public_key.as_bytes());
    match step {
        // creates no peer; boringtun does not know it, and gets neither
        Step::Set(_) | Step::Allow(..) | Step::Keepalive(..) => line(&mut text, "update_only", "true"),
        Step::Remove(_) => line(&mut text, "remove", "true"),
        Step::Add(..) => {}
    }
    if let Step::Set(one) | Step::Add(one, _) = step {
        key_line(&mut text, "preshared_key", one.preshared_key.expose_bytes());
    }
    if let Step::Add(one, _) = step {
        line(&mut text, "replace_allowed_ips", "true");
        if let Some(endpoint) = one.endpoint {
            line(&mut text, "endpoint", endpoint);
        }
        if let Some(seconds) = one.before.persistent_keepalive {
            line(&mut text, "persistent_keepalive_interval", seconds);
        }
    }
    if let Step::Keepalive(_, seconds) = step {
        line(&mut text, "persistent_keepalive_interval", seconds);
    }
    allowed_ips.iter().for_each(|ip| line(&mut text, "allowed_ip", ip));
    debug_assert!(text.len() <= size(step));
    text
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key}={value}").expect("a String takes all");
}

fn key_line(text: &mut String, key: &str, bytes: &[u8; 32]) {
    let mut digits = Zeroizing::new([0; 64]);
    line(text, key, base16ct::lower::encode_str(bytes, &mut digits[..]).expect("two digits a byte"));
}

fn place(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.sock"))
}

/// Connects without waiting. A daemon that was stopped takes nobody out of the queue of its socket, and connect(2) waits for
/// ever once that is full; here it is `WouldBlock`, and whoever looks after other interfaces too goes on with them.
fn call_up(name: &str) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
    connect(stream.as_raw_fd(), &UnixAddr::new(&place(name))?)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// One request on one connection (boringtun answers one only), and the whole reply.
fn request(name: &InterfaceName, text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let silent = || SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    let patience = if silent().contains(name) { PATIENCE_AGAIN } else { PATIENCE };
    let answer = call_up(name.as_str()).and_then(|mut stream| converse(&mut stream, text, patience));
    if matches!(&answer, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        silent().insert(name.clone());
    } else {
        silent().remove(name);
    }
    answer.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Gone(name.clone()),
        io::ErrorKind::PermissionDenied => Error::Rights(name.clone()),
        io::ErrorKind::WouldBlock => {
            Error::Io(name.clone(), io::Error::new(io::ErrorKind::TimedOut, "its daemon does not answer"))
        }
        _ => Error::Io(name.clone(), error),
    })
}

fn converse(stream: &mut UnixStream, text: &str, patience: Duration) -> io::Result<Zeroizing<Vec<u8>>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(text.as_bytes())?;
    let mut reply = Zeroizing::new(vec![0; 64 * 1024]);
    let mut filled = 0;
    loop {
        if filled == reply.len() {
            let mut wider = Zeroizing::new(vec![0; 2 * reply.len()]);
            wider[..filled].copy_from_slice(&reply);
            reply = wider;
        }
        match stream.read(&mut reply[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // a reply ends with an empty line, and has none inside
        if reply[..filled].ends_with(b"\n\n") {
            break;
        }
    }
    reply.truncate(filled);
    Ok(reply)
}
