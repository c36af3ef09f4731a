//! Why an interface was not read or changed.

use std::fmt;
use std::io;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::InterfaceName;

/// Why an interface was not read or changed. No variant holds a secret.
#[derive(Debug)]
pub enum Error {
    /// There is no such WireGuard interface in this network namespace, or its daemon is gone.
    Gone(InterfaceName),
    /// The interface exists and has no private key yet, so it has no public key and no peer can reach it.
    Unconfigured(InterfaceName),
    /// The caller lacks CAP_NET_ADMIN, or may not open the daemon's socket.
    Rights(InterfaceName),
    /// These peers are not on the interface. Nothing was changed.
    UnknownPeers(InterfaceName, Vec<PublicKey>),
    /// After the change the interface was read again, and these peers are not as they were asked to be; all others are.
    NotTaken(InterfaceName, Vec<PublicKey>),
    /// The kernel or the daemon answered with an error, or not at all within some seconds.
    Io(InterfaceName, io::Error),
    /// The interfaces could not be listed.
    List(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(name) => write!(f, "{name}: no such WireGuard interface here"),
            Self::Unconfigured(name) => write!(f, "{name}: the interface has no private key yet"),
            Self::Rights(name) => write!(f, "{name}: no right to read or change the interface"),
            Self::UnknownPeers(name, peers) => write!(f, "{name}: not a peer of this interface: {}", list(peers)),
            Self::NotTaken(name, peers) => write!(f, "{name}: the change did not take effect for: {}", list(peers)),
            Self::Io(name, error) => write!(f, "{name}: {error}"),
            Self::List(error) => write!(f, "WireGuard interfaces could not be listed: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Gone(_) => Some("bring the interface up, for example with wg-quick up; wg show lists what is there"),
            Self::Unconfigured(_) => Some("set its private key first, for example with wg-quick up"),
            Self::Rights(_) => Some("it needs CAP_NET_ADMIN: run it with sudo"),
            Self::UnknownPeers(..) => Some("nothing was changed; a peer is added by an administrator, never by wgmfa"),
            Self::NotTaken(..) => Some("look with wg show; another program may be changing the interface, try again"),
            Self::Io(..) | Self::List(_) => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if matches!(error, Error::NotTaken(..)) { Exit::Partly } else { Exit::Failed };
        let failure = Failure::new(exit, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn list(peers: &[PublicKey]) -> String {
    peers.iter().map(PublicKey::to_string).collect::<Vec<_>>().join(", ")
}
