//! The way to the bastion while the tunnel that it is to unlock takes all traffic (`AllowedIPs = 0.0.0.0/0, ::/0`).
//!
//! `wgmfa sync` asks `ssh` where it would connect to first, looks that up, and asks the kernel by which interface the
//! connection would leave. Only where that is one of the interfaces that it is to unlock, a routing rule is made for the
//! time of the login, by the privileged half ([`held`]). Nobody needs a name server for it: what was good at the last login
//! is remembered.

mod addresses;
mod first_hop;
mod held;
mod rules;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Stdio};

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::{VERSION, decode, encode};
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::leaves_by;
use zeroize::Zeroizing;

use self::addresses::{Addresses, Memory};
use self::first_hop::{FirstHop, Unknown};
pub use self::held::{Wanted, hold, remove_stale};
use crate::bastion::Bastion;
use crate::order::LONGEST;
use crate::person::Person;
use crate::rights::Hands;
use crate::voice;

/// How to come to the bastion now.
#[derive(Debug)]
pub struct Way {
    memory: Memory,
    hop: Option<FirstHop>,
    /// To be remembered if the login is good.
    fresh: Vec<IpAddr>,
    /// For ssh, before and after all other options: where the first hop is, when its name cannot be looked up.
    before: Vec<OsString>,
    after: Vec<OsString>,
    /// What makes it likely that ssh will not come through, with what to do about it.
    trouble: Option<(String, String)>,
    _held: Option<Held>,
}

/// What is asked about a login.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// Where.
    pub bastion: &'a Bastion,
    /// For ssh.
    pub options: &'a [OsString],
    /// Who.
    pub person: Option<&'a Person>,
    /// The interfaces that are to be unlocked.
    pub tunnels: &'a [InterfaceName],
    /// The one that was named.
    pub only: Option<&'a InterfaceName>,
}

impl Way {
    /// Finds it, and has a rule made if there is need of one. What cannot be found out is left to ssh.
    pub fn find(hands: &Hands, login: Login<'_>) -> Self {
        let memory = Memory::load(login.person);
        let nothing = |memory, trouble| Self {
            memory,
            hop: None,
            fresh: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            trouble,
            _held: None,
        };
        let hop = match first_hop::first_hop(login.bastion, login.options, login.person) {
            Ok(hop) => hop,
            Err(Unknown::ProxyCommand) => {
                let why = "ssh has a ProxyCommand, and where that connects to is not known here".to_owned();
                return nothing(memory, Some((why, by_hand(&[], "ADDRESS"))));
            }
            Err(Unknown::NotTold) => return nothing(memory, None),
        };
        let (found, remembered) = match addresses::find(&hop, &memory) {
            Addresses::Fresh(found) => (found, false),
            Addresses::Remembered(found) => (found, true),
            Addresses::Unknown => {
                let why = format!(
                    "{} cannot be looked up (is the name server behind the tunnel?), and no login from here has left \
                     its address",
                    hop.host
                );
                let hint = format!("once: wgmfa sync {} -- {}", login.bastion, by_address(&hop, "ADDRESS"));
                return nothing(memory, Some((why, hint)));
            }
        };
        let mut way = nothing(memory, None);
        let in_tunnel = in_tunnel(&hop, &found, login.tunnels);
        if !in_tunnel.is_empty() {
            let wanted = Wanted { version: VERSION, way: in_tunnel.clone(), past: login.only.cloned() };
            match Held::open(hands, &wanted) {
                Ok(held) => way._held = Some(held),
                Err(why) => {
                    let all: Vec<IpAddr> = in_tunnel.iter().map(SocketAddr::ip).collect();
                    way.trouble = Some((
                        format!("the way to {} runs into the tunnel: {why}", hop.host),
                        by_hand(&all, "ADDRESS"),
                    ));
                }
            }
        }
        if remembered {
            way.go_by_address(&hop, &found, login);
        } else {
            way.fresh = found;
        }
        way.hop = Some(hop);
        way
    }

    /// No way but that of ssh.
    pub fn of_ssh(person: Option<&Person>) -> Self {
        Self {
            memory: Memory::load(person),
            hop: None,
            fresh: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            trouble: None,
            _held: None,
        }
    }

    /// The options for ssh.
    pub fn options(&self, of_person: &[OsString]) -> Vec<OsString> {
        [&self.before, of_person, &self.after].into_iter().flatten().cloned().collect()
    }

    /// The login was good: by these addresses the bastion is found again without a name server.
    pub fn was_good(&mut self, person: Option<&Person>) {
        if let Some(hop) = self.hop.as_ref().filter(|_| !self.fresh.is_empty())
            && let Err(error) = self.memory.remember(person, &hop.host, &self.fresh)
        {
            voice::remark(&format!("the address of {} is not remembered: {error}", hop.host));
        }
    }

    /// Says why ssh did not come through, if that is known.
    pub fn explain(&self, failure: Failure) -> Failure {
        match &self.trouble {
            Some((why, hint)) if failure.exit == Exit::Unreachable => {
                Failure::new(Exit::Unreachable, format!("{failure}: {why}")).hint(hint)
            }
            _ => failure,
        }
    }

    /// The name cannot be looked up: ssh is told the address, and goes on knowing the host by its name.
    fn go_by_address(&mut self, hop: &FirstHop, found: &[IpAddr], login: Login<'_>) {
        let Some(address) = addresses::that_answers(found, hop.port) else { return };
        if !hop.jumps {
            self.before.extend(by_address(hop, &address.to_string()).split(' ').map(OsString::from));
            return;
        }
        match self.memory.write(login.person, &format!("ssh_config-{}", hop.host), &by_config(hop, address, login)) {
            Ok(path) => self.after.extend(["-F".into(), path.into()]),
            Err(error) => {
                let why = format!("{} cannot be looked up, and a file for ssh cannot be written: {error}", hop.host);
                self.trouble = Some((why, format!("give ssh the address of the jump host {}", hop.name)));
            }
        }
    }
}

/// The addresses to which connections leave by one of the tunnels, or would if another login had no rule there.
fn in_tunnel(hop: &FirstHop, addresses: &[IpAddr], tunnels: &[InterfaceName]) -> Vec<SocketAddr> {
    let leaves = |to: &SocketAddr| leaves_by(*to).ok().flatten();
    let runs_in = |to: &SocketAddr| leaves(to).is_some_and(|name| tunnels.iter().any(|one| one.as_str() == name));
    let all = addresses.iter().map(|address| SocketAddr::new(*address, hop.port));
    all.filter(|to| rules::is_far(to.ip()) && (runs_in(to) || rules::stands_for(*to))).collect()
}

/// `-o HostName=… -o HostKeyAlias=…`: another way to the host, the same key.
fn by_address(hop: &FirstHop, address: &str) -> String {
    format!("-o HostName={address} -o HostKeyAlias={}", known_as(hop))
}

/// The name under which ssh knows the key of a host (`known_hosts`, sshd(8)).
fn known_as(hop: &FirstHop) -> String {
    match &hop.alias {
        Some(alias) => alias.clone(),
        None if hop.port == 22 => hop.host.clone(),
        None => format!("[{}]:{}", hop.host, hop.port),
    }
}

/// The same for a jump host, which gets no option of ssh's but the configuration file.
fn by_config(hop: &FirstHop, address: IpAddr, login: Login<'_>) -> String {
    let mut text = format!(
        "# written by wgmfa sync: a jump host whose name could not be looked up\nHost {}\n  HostName {address}\n  \
         HostKeyAlias {}\nMatch all\n",
        hop.name,
        known_as(hop)
    );
    let named = first_hop::configuration_file(login.options);
    match named.last().map(|file| file.to_string_lossy().into_owned()) {
        Some(file) => {
            let file = if named.len() == 1 { file.trim_start_matches("-F") } else { &file };
            if file != "none" {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
                text += &format!("Include \"{}\"\n", file.display());
            }
        }
        None => text += "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n",
    }
    text
}

/// The lines for wg-quick(8) with which stock ssh finds its way too.
fn by_hand(addresses: &[IpAddr], otherwise: &str) -> String {
    let one = |address: &IpAddr| {
        let ip = if address.is_ipv6() { "ip -6" } else { "ip" };
        format!("{ip} rule add to {address} lookup main")
    };
    let lines: Vec<String> = addresses.iter().map(one).collect();
    let lines = if lines.is_empty() { vec![format!("ip rule add to {otherwise} lookup main")] } else { lines };
    format!("as root, or as PostUp in the interface's wg-quick file: {}", lines.join("; "))
}

/// Rules that stand until this is dropped, also when this program is killed: their process notices.
#[derive(Debug)]
struct Held {
    child: Child,
}

impl Held {
    fn open(hands: &Hands, wanted: &Wanted) -> Result<Self, String> {
        let mut child = hands.start("apply", Stdio::piped()).map_err(|failure| failure.error)?;
        let mut line = Vec::new();
        if let Some(stdin) = &mut child.stdin {
            let _ = stdin.write_all(&encode(wanted)); // a fault in writing shows in the answer
        }
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).take(LONGEST as u64).read_until(b'\n', &mut line);
        }
        let held = Self { child };
        let standing: held::Standing = decode(&line).map_err(|_| "wgmfa apply makes no rule".to_owned())?;
        match standing.refused.first() {
            Some(why) if standing.way.is_empty() => Err(voice::foreign(why)),
            _ => Ok(held),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait(); // then routing is as it was
    }
}

/// The first line of standard input, if it asks for a way; else what was read of it.
///
/// # Errors
/// It cannot be read.
pub fn asked_for(input: &mut impl BufRead) -> io::Result<Result<Wanted, Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 1)); // never moved, so that no copy stays behind
    input.take(LONGEST as u64 + 1).read_until(b'\n', &mut line)?;
    Ok(decode::<Wanted>(&line).map_err(|_| line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(port: u16, alias: Option<&str>) -> FirstHop {
        let alias = alias.map(str::to_owned);
        FirstHop { name: "b".to_owned(), host: "b.example.net".to_owned(), port, alias, family: None, jumps: true }
    }

    #[test]
    fn a_host_that_is_reached_by_its_address_keeps_the_name_of_its_key() {
        let by = |hop: &FirstHop| by_address(hop, "192.0.2.7");
        assert_eq!(by(&hop(22, None)), "-o HostName=192.0.2.7 -o HostKeyAlias=b.example.net");
        assert_eq!(by(&hop(2222, None)), "-o HostName=192.0.2.7 -o HostKeyAlias=[b.example.net]:2222");
        assert_eq!(by(&hop(2222, Some("key"))), "-o HostName=192.0.2.7 -o HostKeyAlias=key");
    }

    #[test]
    fn a_jump_host_is_told_by_a_configuration_that_includes_the_persons() {
        let bastion = "bastion".parse().unwrap();
        let text = |options: &[&str]| {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            let login = Login { bastion: &bastion, options: &options, person: None, tunnels: &[], only: None };
            by_config(&hop(22, None), "2001:db8::7".parse().unwrap(), login)
        };
        let own = text(&[]);
        assert!(own.contains("Host b\n  HostName 2001:db8::7\n  HostKeyAlias b.example.net\nMatch all\n"), "{own}");
        assert!(own.ends_with("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"), "{own}");
        assert!(text(&["-F", "/x/c"]).ends_with("Match all\nInclude \"/x/c\"\n"));
        assert!(text(&["-F/x/c"]).ends_with("Match all\nInclude \"/x/c\"\n"));
        assert!(text(&["-F", "none"]).ends_with("Match all\n"));
    }

    #[test]
    fn a_way_is_asked_for_in_one_line_and_anything_else_is_an_order() {
        let mut way = &b"{\"version\":1,\"way\":[\"192.0.2.7:22\",\"[2001:db8::7]:22\"]}\n"[..];
        let wanted = asked_for(&mut way).unwrap().unwrap();
        assert_eq!((wanted.way.len(), wanted.past), (2, None));
        for other in [
            &b""[..],
            b"{\n",
            b"peer\tkey\npeer\tkey\n",
            b"{\"version\":1,\"user\":\"j\",\"device\":\"d\",\"keys\":[]}",
        ] {
            let mut input = other;
            let read = asked_for(&mut input).unwrap().unwrap_err();
            assert_eq!([&read[..], input].concat(), other);
        }
    }

    #[test]
    fn the_line_for_wg_quick_has_both_families() {
        let all = ["192.0.2.7", "2001:db8::7"].map(|address| address.parse().unwrap());
        let hint = by_hand(&all, "ADDRESS");
        assert!(hint.ends_with("ip rule add to 192.0.2.7 lookup main; ip -6 rule add to 2001:db8::7 lookup main"));
    }
}
