//! The addresses of the first hop: looked up, or those of the last good login when the resolver is behind the tunnel.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgmfa_core::message::{VERSION, decode, encode};

use super::first_hop::FirstHop;
use super::held::MOST;
use super::rules::is_far;
use crate::person::Person;

/// How long a name may take when addresses are remembered, and when none are.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// How long each of several remembered addresses has to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// As many hosts as one person logs in through.
const MOST_HOSTS: usize = 32;

/// Addresses, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// The name says so now, or is an address.
    Fresh(Vec<IpAddr>),
    /// The name cannot be looked up; it was good at the last login.
    Remembered(Vec<IpAddr>),
    /// The name cannot be looked up, and no login has left an address.
    Unknown,
}

/// Looks a name up.
pub fn find(hop: &FirstHop, memory: &Memory) -> Addresses {
    let fits = |address: &IpAddr| match hop.family.as_deref() {
        Some("inet") => address.is_ipv4(),
        Some("inet6") => address.is_ipv6(),
        _ => true,
    };
    if let Ok(address) = hop.host.parse::<IpAddr>() {
        return Addresses::Fresh(vec![address]);
    }
    let remembered: Vec<IpAddr> = memory.of(&hop.host).into_iter().filter(fits).collect();
    let patience = if remembered.is_empty() { PATIENCE.1 } else { PATIENCE.0 };
    let mut found: Vec<IpAddr> = look_up(&hop.host, hop.port, patience).into_iter().filter(fits).collect();
    found.truncate(MOST);
    match (found.is_empty(), remembered.is_empty()) {
        (false, _) => Addresses::Fresh(found),
        (true, false) => Addresses::Remembered(remembered),
        (true, true) => Addresses::Unknown,
    }
}

/// The first of several addresses that takes a connection; the first of all if none does, so that ssh says why.
pub fn that_answers(addresses: &[IpAddr], port: u16) -> Option<IpAddr> {
    let answers = |address: &&IpAddr| TcpStream::connect_timeout(&SocketAddr::new(**address, port), ANSWER).is_ok();
    let found = if addresses.len() > 1 { addresses.iter().find(answers) } else { None };
    found.or(addresses.first()).copied()
}

/// The system's resolver knows no time limit of ours, so a thread waits for it, and ends with this program at the latest.
fn look_up(host: &str, port: u16, patience: Duration) -> Vec<IpAddr> {
    let (give, take) = mpsc::channel();
    let host = host.to_owned();
    std::thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|found| found.map(|one| one.ip()).collect());
        let _ = give.send(found.unwrap_or_default());
    });
    let mut found: Vec<IpAddr> = take.recv_timeout(patience).unwrap_or_default();
    let mut seen = Vec::new();
    found.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    found
}

/// What is remembered of good logins, in the person's own state folder.
#[derive(Debug)]
pub struct Memory {
    folder: Option<PathBuf>,
    known: Known,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    version: u32,
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Memory {
    /// Reads it; what cannot be read is as good as nothing.
    pub fn load(person: Option<&Person>) -> Self {
        let folder = person.map(Person::state_folder);
        let read = |folder: &PathBuf| decode::<Known>(&std::fs::read(folder.join("addresses.json")).ok()?).ok();
        let known = match (person, &folder) {
            (Some(person), Some(folder)) => person.with_own_files(|| read(folder)),
            _ => None,
        };
        let known = known.filter(|known| known.version == VERSION);
        Self { folder, known: known.unwrap_or(Known { version: VERSION, hosts: BTreeMap::new() }) }
    }

    fn of(&self, host: &str) -> Vec<IpAddr> {
        let known = self.known.hosts.get(host).cloned().unwrap_or_default();
        known.into_iter().filter(|address| is_far(*address)).take(MOST).collect()
    }

    /// Remembers the addresses by which a login was good.
    ///
    /// # Errors
    /// They cannot be written: the next login then needs the resolver.
    pub fn remember(&mut self, person: Option<&Person>, host: &str, addresses: &[IpAddr]) -> io::Result<()> {
        let (Some(person), Some(folder)) = (person, &self.folder) else { return Ok(()) };
        if host.parse::<IpAddr>().is_ok() || self.known.hosts.get(host).is_some_and(|known| known == addresses) {
            return Ok(());
        }
        while self.known.hosts.len() >= MOST_HOSTS {
            self.known.hosts.pop_first();
        }
        self.known.hosts.insert(host.to_owned(), addresses.to_vec());
        person.with_own_files(|| replace(folder, "addresses.json", &encode(&self.known)))
    }

    /// Puts a file for ssh beside it; gives its path.
    ///
    /// # Errors
    /// It cannot be written, or there is no person.
    pub fn write(&self, person: Option<&Person>, name: &str, text: &str) -> io::Result<PathBuf> {
        let (Some(person), Some(folder)) = (person, &self.folder) else { return Err(io::ErrorKind::NotFound.into()) };
        person.with_own_files(|| replace(folder, name, text.as_bytes()))?;
        Ok(folder.join(name))
    }
}

/// Puts a file in place of the old one, whole or not at all.
fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    std::fs::rename(&temporary, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(host: &str, family: Option<&str>) -> FirstHop {
        let family = family.map(str::to_owned);
        FirstHop { name: "b".to_owned(), host: host.to_owned(), port: 22, alias: None, family, jumps: false }
    }

    #[test]
    fn what_the_name_says_now_goes_before_what_is_remembered() {
        let [old, new]: [IpAddr; 2] = ["203.0.113.1", "127.0.0.1"].map(|address| address.parse().unwrap());
        let far = ["203.0.113.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        let hosts = ["localhost", "no.such.host.invalid"].map(|host| (host.to_owned(), far.to_vec()));
        let memory = Memory { folder: None, known: Known { version: VERSION, hosts: BTreeMap::from(hosts) } };
        assert_eq!(find(&hop("localhost", Some("inet")), &memory), Addresses::Fresh(vec![new]));
        assert_eq!(find(&hop("no.such.host.invalid", None), &memory), Addresses::Remembered(far.to_vec()));
        assert_eq!(find(&hop("no.such.host.invalid", Some("inet")), &memory), Addresses::Remembered(vec![old]));
        assert_eq!(find(&hop("192.0.2.7", None), &memory), Addresses::Fresh(vec!["192.0.2.7".parse().unwrap()]));
    }

    #[test]
    fn the_one_that_answers_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [other, here]: [IpAddr; 2] = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap());
        assert_eq!(that_answers(&[other, here], port), Some(here));
        assert_eq!(that_answers(&[other], port), Some(other));
        assert_eq!(that_answers(&[], port), None);
    }
}
