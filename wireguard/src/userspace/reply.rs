//! What a daemon answers.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::net::if_::if_nametoindex;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use zeroize::{Zeroize, Zeroizing};

use crate::interface::merge;
use crate::{AllowedIp, Error, Interface, Peer};

/// Fails unless the reply ends with `errno=0`.
pub(super) fn check(reply: &[u8]) -> io::Result<()> {
    let text = std::str::from_utf8(reply).map_err(|_| broken())?;
    let number: i32 = text.lines().find_map(|line| line.strip_prefix("errno=")).ok_or_else(broken).and_then(value)?;
    // wireguard-go numbers its errors downwards
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number.wrapping_abs())) }
}

/// The reply to `get=1`, and whether the daemon is of boringtun's kind.
pub(super) fn parse(name: &InterfaceName, reply: &[u8]) -> Result<(Interface, bool), Error> {
    let found = check(reply).and_then(|()| Found::collect(reply)).map_err(|error| Error::Io(name.clone(), error))?;
    let public_key = found.public_key.ok_or_else(|| Error::Unconfigured(name.clone()))?;
    let interface =
        Interface { name: name.clone(), public_key, listen_port: found.listen_port, peers: merge(found.peers) };
    Ok((interface, found.boringtun))
}

#[derive(Default)]
struct Found {
    public_key: Option<PublicKey>,
    listen_port: Option<u16>,
    boringtun: bool,
    peers: Vec<Peer>,
}

impl Found {
    fn collect(reply: &[u8]) -> io::Result<Self> {
        let mut found = Self::default();
        for line in std::str::from_utf8(reply).map_err(|_| broken())?.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or_else(broken)?;
            found.line(key, value)?;
        }
        Ok(found)
    }

    fn line(&mut self, key: &str, text: &str) -> io::Result<()> {
        match (key, self.peers.last_mut()) {
            ("public_key", _) => self.peers.push(new_peer(PublicKey::from_bytes(*unhex(text)?))),
            ("private_key", None) => {
                let mut private_key = wireguard_control::Key(*unhex(text)?);
                self.public_key = Some(PublicKey::from_bytes(private_key.get_public().0));
                private_key.0.zeroize();
            }
            // boringtun shows this and no private key
            ("own_public_key", None) => {
                self.public_key = Some(PublicKey::from_bytes(*unhex(text)?));
                self.boringtun = true;
            }
            ("listen_port", None) => self.listen_port = Some(value(text)?),
            ("preshared_key", Some(peer)) => peer.preshared_key = PresharedKey::from_bytes(*unhex(text)?).ok(),
            ("endpoint", Some(peer)) => peer.endpoint = Some(endpoint(text)?),
            ("allowed_ip", Some(peer)) => peer.allowed_ips.push(allowed_ip(text)?),
            ("persistent_keepalive_interval", Some(peer)) => {
                peer.persistent_keepalive = Some(value(text)?).filter(|seconds| *seconds != 0);
            }
            ("last_handshake_time_sec", Some(peer)) => {
                let seconds = Duration::from_secs(value(text)?);
                // boringtun says how long ago it was, the others when
                peer.latest_handshake = if self.boringtun {
                    // in whole seconds, by which it is known (`is_same_handshake`)
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                    Duration::from_secs(now).checked_sub(seconds).map(|since| UNIX_EPOCH + since)
                } else {
                    UNIX_EPOCH.checked_add(seconds).filter(|time| *time != UNIX_EPOCH)
                };
            }
            ("last_handshake_time_nsec", Some(Peer { latest_handshake: Some(time), .. })) if !self.boringtun => {
                *time += Duration::from_nanos(value(text)?);
            }
            ("rx_bytes", Some(peer)) => peer.received = value(text)?,
            ("tx_bytes", Some(peer)) => peer.sent = value(text)?,
            // errno was looked at; fwmark, protocol_version and what later daemons may add are of no use here
            _ => {}
        }
        Ok(())
    }
}

fn new_peer(public_key: PublicKey) -> Peer {
    Peer {
        public_key,
        preshared_key: None,
        endpoint: None,
        allowed_ips: Vec::new(),
        persistent_keepalive: None,
        latest_handshake: None,
        received: 0,
        sent: 0,
    }
}

fn value<T: FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| broken())
}

fn allowed_ip(text: &str) -> io::Result<AllowedIp> {
    let (address, prefix_length) = text.split_once('/').ok_or_else(broken)?;
    Ok(AllowedIp { address: value::<IpAddr>(address)?, prefix_length: value(prefix_length)? })
}

/// `[fe80::1%eth0]:51820` too: the standard library reads a zone only as a number.
fn endpoint(text: &str) -> io::Result<SocketAddr> {
    if let Ok(endpoint) = text.parse() {
        return Ok(endpoint);
    }
    let (address, rest) = text.strip_prefix('[').and_then(|text| text.split_once('%')).ok_or_else(broken)?;
    let (zone, port) = rest.split_once("]:").ok_or_else(broken)?;
    let scope = if_nametoindex(zone).map_err(|_| broken())?;
    Ok(SocketAddrV6::new(value(address)?, value(port)?, 0, scope).into())
}

fn unhex(text: &str) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    match base16ct::mixed::decode(text, &mut bytes[..]) {
        Ok(decoded) if decoded.len() == 32 => Ok(bytes),
        _ => Err(broken()),
    }
}

/// Quotes nothing: what could not be read may be a key.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its daemon's answer could not be understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    fn wg0() -> InterfaceName {
        "wg0".parse().unwrap()
    }

    #[test]
    fn a_wireguard_go_interface_is_read() {
        // a pair as `wg pubkey` computes it
        let private = "77076d0a7318a57d3c16c17251b26645df4c2f92ebc0992ac177fba51db92c2a";
        let public = "f8a9535a2d2ff605e8e144d54f4ef5c62313a2055dbb21fddd3fd9c299eb015d";
        let (ones, twos, zeros, secret) = (hex(1), hex(2), hex(0), hex(7));
        let reply = format!(
            "private_key={private}\nlisten_port=51820\nfwmark=1\n\
             public_key={ones}\npreshared_key={zeros}\nprotocol_version=1\nlast_handshake_time_sec=0\n\
             last_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\npersistent_keepalive_interval=0\n\
             public_key={twos}\npreshared_key={secret}\nprotocol_version=1\nendpoint=[2001:db8::1]:7\n\
             last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=2\nrx_bytes=3\n\
             persistent_keepalive_interval=25\nallowed_ip=10.77.0.2/32\nallowed_ip=fd77::/64\nnew_word=1\nerrno=0\n\n"
        );
        let (interface, boringtun) = parse(&wg0(), reply.as_bytes()).unwrap();
        assert!(!boringtun);
        assert_eq!(interface.public_key.as_bytes(), &*unhex(public).unwrap());
        assert_eq!(interface.listen_port, Some(51820));
        let [silent, busy] = &interface.peers[..] else { panic!("two peers") };
        assert!(silent.preshared_key.is_none() && silent.latest_handshake.is_none());
        assert_eq!((silent.persistent_keepalive, silent.endpoint), (None, None));
        assert_eq!(busy.preshared_key, PresharedKey::from_bytes([7; 32]).ok());
        assert_eq!(busy.latest_handshake, Some(UNIX_EPOCH + Duration::new(1_700_000_000, 5)));
        assert_eq!((busy.sent, busy.received, busy.persistent_keepalive), (2, 3, Some(25)));
        assert_eq!(busy.endpoint, "[2001:db8::1]:7".parse().ok());
        assert_eq!(busy.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.77.0.2/32", "fd77::/64"]);
        assert!(!format!("{interface:?}").contains(&secret[..8]) && format!("{interface:?}").contains("hidden"));
    }

    #[test]
    fn a_boringtun_interface_is_known_by_the_name_of_its_public_key_and_tells_ages() {
        let reply =
            format!("own_public_key={}\npublic_key={}\nlast_handshake_time_sec=60\nerrno=0\n\n", hex(1), hex(2));
        let before = SystemTime::now();
        let (interface, boringtun) = parse(&wg0(), reply.as_bytes()).unwrap();
        assert!(boringtun);
        assert_eq!(interface.public_key, PublicKey::from_bytes([1; 32]));
        let handshake = interface.peers[0].latest_handshake.unwrap();
        assert!(handshake > before - Duration::from_secs(61) && handshake < SystemTime::now());
        assert_eq!(handshake.duration_since(UNIX_EPOCH).unwrap().subsec_nanos(), 0);
    }

    #[test]
    fn a_link_local_endpoint_keeps_its_zone() {
        let SocketAddr::V6(address) = endpoint("[fe80::1%lo]:51820").unwrap() else { panic!("IPv6") };
        assert_eq!((address.port(), address.scope_id()), (51820, 1));
        assert_eq!(endpoint("[fe80::1%7]:1").unwrap(), SocketAddrV6::new("fe80::1".parse().unwrap(), 1, 0, 7).into());
        assert!(endpoint("[fe80::1%no-such-link]:1").is_err());
    }

    #[test]
    fn a_broken_answer_is_an_error_that_quotes_nothing() {
        let secret = hex(0x5e);
        for reply in [
            String::new(),
            "errno=x\n\n".to_owned(),
            format!("private_key={secret}\n"),
            format!("private_key={secret}0\nerrno=0\n\n"),
            format!("{secret}\nerrno=0\n\n"),
            format!("public_key={secret}\nallowed_ip={secret}\nerrno=0\n\n"),
        ] {
            let error = parse(&wg0(), reply.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "wg0: its daemon's answer could not be understood", "{reply}");
        }
        assert!(matches!(parse(&wg0(), b"listen_port=1\nerrno=0\n\n"), Err(Error::Unconfigured(_))));
        let error = parse(&wg0(), b"errno=-22\n\n").unwrap_err();
        assert_eq!(error.to_string(), "wg0: Invalid argument (os error 22)");
    }
}
