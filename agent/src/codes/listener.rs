//! One port on one interface, for IPv4 and IPv6. It is bound to the interface, so that only what came through the tunnel
//! gets here: elsewhere a source address says nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wgmfa_core::name::InterfaceName;

use super::Shared;
use super::conversation::converse;

/// How many connections may wait to be taken.
const BACKLOG: u32 = 128;

/// How long it waits when none can be taken, for example for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Said to whoever has too many conversations.
const TOO_MANY: &[u8] = b"error: too many conversations at once, end one of them\n";

/// A port that is open as long as this lives. Conversations end by themselves.
pub(super) struct Port {
    index: u32,
    accept: Vec<JoinHandle<()>>,
}

impl Port {
    /// Listens. A machine without IPv6 is asked over IPv4 alone, and the other way round.
    pub(super) fn open(interface: &InterfaceName, index: u32, port: u16, shared: &Arc<Shared>) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        for address in any {
            match listen(interface, SocketAddr::new(address, port)) {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if listeners.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let accept = |listener| tokio::spawn(accept(listener, interface.clone(), shared.clone()));
        Ok(Self { index, accept: listeners.into_iter().map(accept).collect() })
    }

    /// The number of the interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accept.iter().for_each(JoinHandle::abort);
    }
}

fn listen(interface: &InterfaceName, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        // an IPv4 address that looks like an IPv6 one would be one more way to be somebody
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind_device(Some(interface.as_str().as_bytes()))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether this machine does not have that kind of address.
fn is_absent(error: &io::Error) -> bool {
    let absent = [nix::libc::EAFNOSUPPORT, nix::libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|errno| absent.contains(&errno))
}

async fn accept(listener: TcpListener, interface: InterfaceName, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => begin(stream, from, &interface, &shared),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

fn begin(stream: TcpStream, from: SocketAddr, interface: &InterfaceName, shared: &Arc<Shared>) {
    match shared.places.enter(from.ip()) {
        Some((place, asked_to_go)) => {
            let (interface, shared) = (interface.clone(), shared.clone());
            tokio::spawn(async move {
                converse(stream, interface, from.ip(), &shared, asked_to_go).await;
                drop(place);
            });
        }
        None => drop(stream.try_write(TOO_MANY)),
    }
}
