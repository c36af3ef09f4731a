//! How many may come: connections in all, and those of one source that have not logged in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use wgmfa_core::message::front::Limits;

/// Where connections come from, as limits count it: an IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source to which an address belongs; an IPv4 address in IPv6 clothes is an IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(IpAddr::V6((v6.to_bits() >> 64 << 64).into())),
            v4 => Self(v4),
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub struct Doors {
    limits: Limits,
    all: usize,
    not_logged_in: HashMap<Source, usize>,
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The limit on connections in all.
    All,
    /// The limit on connections of one source that have not logged in.
    Source,
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub struct Place {
    doors: Arc<Mutex<Doors>>,
    source: Option<Source>,
}

impl Doors {
    /// Nobody is here yet.
    pub fn new(limits: Limits) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { limits, all: 0, not_logged_in: HashMap::new() }))
    }

    /// Lets one in, or says which limit is reached.
    pub fn enter(doors: &Arc<Mutex<Self>>, source: Source) -> Result<Place, Full> {
        let mut here = doors.lock().unwrap_or_else(PoisonError::into_inner);
        if here.all >= here.limits.connections {
            return Err(Full::All);
        }
        if here.not_logged_in.get(&source).is_some_and(|&count| count >= here.limits.connections_per_source) {
            return Err(Full::Source);
        }
        here.all += 1;
        *here.not_logged_in.entry(source).or_default() += 1;
        Ok(Place { doors: Arc::clone(doors), source: Some(source) })
    }

    fn proved(&mut self, source: Source) {
        if let Some(count) = self.not_logged_in.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.not_logged_in.remove(&source);
            }
        }
    }
}

impl Place {
    /// From now on it counts among all connections only.
    pub fn logged_in(&mut self) {
        if let Some(source) = self.source.take() {
            self.doors.lock().unwrap_or_else(PoisonError::into_inner).proved(source);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.logged_in();
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).all -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    }

    #[test]
    fn a_place_is_given_back_and_a_login_frees_its_source() {
        let doors = Doors::new(Limits { connections: 3, connections_per_source: 1, ..Limits::default() });
        let (a, b) = (source("192.0.2.1"), source("192.0.2.2"));
        let mut first = Doors::enter(&doors, a).unwrap();
        assert_eq!(Doors::enter(&doors, a).unwrap_err(), Full::Source);
        first.logged_in();
        let _second = Doors::enter(&doors, a).unwrap();
        let third = Doors::enter(&doors, b).unwrap();
        assert_eq!(Doors::enter(&doors, b).unwrap_err(), Full::All);
        drop((first, third));
        let _fourth = Doors::enter(&doors, b).unwrap();
        assert_eq!(doors.lock().unwrap().all, 2);
    }
}
