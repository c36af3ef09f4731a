//! Where a login comes from, as coarse as one attacker can change at will.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Where a login comes from. Whoever has one IPv6 address mostly has its whole /64, so that is one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    Ipv6(u64),
    /// No remote host: a login on this machine.
    Local,
    /// A host name instead of an address, as sshd gives it with `UseDNS yes`. Names are the other side's to choose, so
    /// all of them are one source.
    Named,
}

impl Source {
    /// The source that `PAM_RHOST` names; an IPv6 zone (`%eth0`) is ignored.
    pub fn from_rhost(rhost: Option<&str>) -> Self {
        let Some(rhost) = rhost.filter(|text| !text.is_empty()) else { return Self::Local };
        let address = rhost.split_once('%').map_or(rhost, |(address, _)| address);
        address.parse::<IpAddr>().map_or(Self::Named, Self::from)
    }
}

impl From<IpAddr> for Source {
    /// An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is its IPv4 address.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Ipv6([a, b, c, d].into_iter().fold(0, |bits, part| bits << 16 | u64::from(part)))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(prefix) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*prefix) << 64)),
            Self::Local => f.write_str("local"),
            Self::Named => f.write_str("named"),
        }
    }
}

/// The text is no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceError;

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source is an IPv4 address, an IPv6 network ending in /64, 'local' or 'named'")
    }
}

impl std::error::Error for SourceError {}

impl FromStr for Source {
    type Err = SourceError;

    /// Reads what `Display` writes: the form in which the store keeps a source.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text {
            "local" => Ok(Self::Local),
            "named" => Ok(Self::Named),
            _ => {
                let address = text.strip_suffix("/64").unwrap_or(text);
                let source = address.parse::<IpAddr>().map(Self::from).map_err(|_| SourceError)?;
                if source.to_string() == text { Ok(source) } else { Err(SourceError) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        for (rhost, source) in [
            (Some("192.0.2.7"), "192.0.2.7"),
            (Some("::ffff:192.0.2.7"), "192.0.2.7"),
            (Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
            (Some("2001:db8:1:2::"), "2001:db8:1:2::/64"),
            (Some("fe80::1%eth0"), "fe80::/64"),
            (Some("::1"), "::/64"),
            (Some("host.example.net"), "named"),
            (Some("192.0.2"), "named"),
            (Some(""), "local"),
            (None, "local"),
        ] {
            let read = Source::from_rhost(rhost);
            assert_eq!(read.to_string(), source, "{rhost:?}");
            assert_eq!(source.parse(), Ok(read), "{rhost:?}");
        }
        assert_ne!(Source::from_rhost(Some("2001:db8:1:2::1")), Source::from_rhost(Some("2001:db8:1:3::1")));
    }

    #[test]
    fn only_the_one_spelling_of_a_source_is_read_back() {
        for text in ["", "192.0.2.7/64", "2001:db8::1/64", "2001:db8::", "::ffff:192.0.2.7", "LOCAL", "x"] {
            assert_eq!(text.parse::<Source>(), Err(SourceError), "{text:?}");
        }
    }
}
