//! Which gateway asks for the code, as a person writes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wgmfa_core::gate::CODE_PORT;

/// `HOST`, `HOST:PORT`, an address, or `[IPV6]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Why a text names no gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayError;

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write HOST, HOST:PORT, an address or [IPV6]:PORT")
    }
}

impl std::error::Error for GatewayError {}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => address.fmt(f)?,
            Host::Name(name) => f.write_str(name)?,
        }
        if self.port == CODE_PORT { Ok(()) } else { write!(f, " port {}", self.port) }
    }
}

impl FromStr for Gateway {
    type Err = GatewayError;

    fn from_str(text: &str) -> Result<Self, GatewayError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { host: Host::Address(address), port: CODE_PORT });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(bare) = bare {
            let address = bare.parse().map_err(|_| GatewayError)?;
            return Ok(Self { host: Host::Address(address), port: CODE_PORT });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let good = address.port() > 0;
            return if good {
                Ok(Self { host: Host::Address(address.ip()), port: address.port() })
            } else {
                Err(GatewayError)
            };
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port_of(port)?),
            None => (text, CODE_PORT),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 253 || name.starts_with('-') || !name.chars().all(is_name) {
            return Err(GatewayError);
        }
        Ok(Self { host: Host::Name(name.to_owned()), port })
    }
}

fn port_of(text: &str) -> Result<u16, GatewayError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(GatewayError)
}

impl Gateway {
    /// Its addresses.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub fn addresses(&self, until: Instant) -> Result<Vec<SocketAddr>, String> {
        let name = match &self.host {
            Host::Address(address) => return Ok(vec![(*address, self.port).into()]),
            Host::Name(name) => name.clone(),
        };
        // the system's resolver knows no deadline, so it works beside us; one that is late is left behind
        let (answer, answered) = mpsc::channel();
        let asked = (name.clone(), self.port);
        std::thread::spawn(move || answer.send(asked.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match answered.recv_timeout(left) {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(Err(error)) => Err(format!("{name}: {error}")),
            Ok(Ok(_)) => Err(format!("{name}: the name has no address")),
            Err(_) => Err(format!("{name}: no name server answers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        let found = text.parse::<Gateway>().unwrap().addresses(Instant::now()).unwrap();
        found[0]
    }

    #[test]
    fn a_gateway_is_a_host_with_or_without_a_port() {
        assert_eq!(address("10.0.0.1").to_string(), "10.0.0.1:7777");
        assert_eq!(address("10.0.0.1:22").to_string(), "10.0.0.1:22");
        assert_eq!(address("fd00::1").to_string(), "[fd00::1]:7777");
        assert_eq!(address("[fd00::1]").to_string(), "[fd00::1]:7777");
        assert_eq!(address("[fd00::1]:22").to_string(), "[fd00::1]:22");
        let shown = |text: &str| text.parse::<Gateway>().unwrap().to_string();
        assert_eq!(shown("app-gw.example.net"), "app-gw.example.net");
        assert_eq!(shown("app-gw:7778"), "app-gw port 7778");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in
            ["", "-x", "a b", "a:", "a:0", "a:70000", "a:+1", "[fd00::1", "[a]", ":7777", "a/b", "10.0.0.1:0", "a\n"]
        {
            assert_eq!(bad.parse::<Gateway>(), Err(GatewayError), "{bad:?}");
        }
    }
}
