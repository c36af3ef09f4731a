//! `agent.toml`: what the agent is told about its machine and its bastion.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use wgmfa_core::diagnostic::Faults;
use wgmfa_core::document::Document;
use wgmfa_core::exit::Failure;
use wgmfa_core::gate::CODE_PORT;
use wgmfa_core::gate::identity::Width;
use wgmfa_core::name::{HostName, InterfaceName};
use wgmfa_core::tier::Tiers;
use wgmfa_system::trusted::{self, Readers};
use wgmfa_wireguard::conf::Folders;

use crate::gate::Backend;

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/wgmfa/agent.toml";

/// Where the agent keeps what it remembers when nobody says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/wgmfa-agent";

/// The configuration, every key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the bastion is reached.
    pub bastion: Address,
    /// The name under which the bastion knows this machine.
    pub host: HostName,
    /// This machine's SSH key, an OpenSSH private key file.
    pub identity: PathBuf,
    /// The bastion's SSH host keys, as `known_hosts` of `sshd(8)`.
    pub known_hosts: PathBuf,
    /// The interfaces that the agent looks after; none: all.
    pub interfaces: Option<BTreeSet<InterfaceName>>,
    /// Where the agent keeps what it remembers.
    pub state_dir: PathBuf,
    /// Whether the agent keeps lock keys in the interfaces' configuration files.
    pub manage_files: bool,
    /// Where the interfaces' configuration files are.
    pub folders: Folders,
    /// Which networks the firewall opens for whom.
    pub tiers: Tiers,
    /// What carries the gate out.
    pub gate: Backend,
    /// The TCP port on which codes are asked for inside the tunnels.
    pub code_port: u16,
    /// Whether a peer is let through with whole networks, and known by an address of one.
    pub width: Width,
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port; 22 as in ssh(1) when none was given.
    pub port: u16,
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// The file cannot be trusted, or has faults: all of them are named, each with its line and column.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = trusted::read_text(path, Readers::Anyone).map_err(|failure| {
            if path.exists() {
                failure
            } else {
                failure.hint("make one with wgmfa-agent init, or name one with --config")
            }
        })?;
        Ok(Self::parse(path, &text)?)
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// Every fault, each with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        let mut document = Document::parse(&path.display().to_string(), text)?;
        let keys = &mut document;
        let bastion = keys.parsed("bastion");
        let bastion = keys.required("bastion", bastion);
        let host = keys.parsed("host");
        let host = keys.required("host", host);
        let identity = absolute(keys, "identity", "/etc/wgmfa/agent_ed25519");
        let known_hosts = absolute(keys, "known-hosts", "/etc/wgmfa/known_hosts");
        let interfaces = interfaces(keys);
        let state_dir = absolute(keys, "state-dir", DEFAULT_STATE_DIR);
        let manage_files = keys.boolean("manage-files").is_none_or(|manage| manage.value);
        let folders = Folders {
            wireguard: absolute(keys, "wireguard-dir", Folders::WIREGUARD),
            networkd: absolutes(keys, "networkd-dirs", &Folders::NETWORKD),
            networkmanager: absolutes(keys, "networkmanager-dirs", &Folders::NETWORKMANAGER),
        };
        let tiers = Tiers::read(keys);
        let gate = backend(keys);
        let code_port = keys.port("code-port").map_or(CODE_PORT, |port| port.value);
        let networks = keys.boolean("codes-from-networks").is_some_and(|networks| networks.value);
        document.finish()?;
        let missing = "a missing key is a fault of the document";
        Ok(Self {
            bastion: bastion.expect(missing).value,
            host: host.expect(missing).value,
            identity,
            known_hosts,
            interfaces,
            state_dir,
            manage_files,
            folders,
            tiers,
            gate,
            code_port,
            width: if networks { Width::Networks } else { Width::Single },
        })
    }
}

fn backend(document: &mut Document) -> Backend {
    let Some(named) = document.string("gate") else { return Backend::Nftables };
    match named.value.as_str() {
        "nftables" => Backend::Nftables,
        "ip-rule" => Backend::IpRule,
        _ => {
            document.fault(&named.place, "gate: write nftables or ip-rule");
            Backend::Nftables
        }
    }
}

/// A path that does not depend on where the program was started.
fn absolute(document: &mut Document, key: &str, otherwise: &str) -> PathBuf {
    let Some(text) = document.string(key) else { return otherwise.into() };
    let path = PathBuf::from(&text.value);
    if !path.is_absolute() {
        document.fault(&text.place, format!("{key}: write an absolute path"));
    }
    path
}

/// Paths that do not depend on where the program was started.
fn absolutes(document: &mut Document, key: &str, otherwise: &[&str]) -> Vec<PathBuf> {
    let Some(list) = document.strings(key) else { return otherwise.iter().map(PathBuf::from).collect() };
    let mut paths = Vec::new();
    for text in list.value {
        if !Path::new(&text.value).is_absolute() {
            document.fault(&text.place, format!("{key}: write absolute paths"));
        }
        paths.push(text.value.into());
    }
    paths
}

fn interfaces(document: &mut Document) -> Option<BTreeSet<InterfaceName>> {
    let list = document.strings("interfaces")?;
    if list.value.is_empty() {
        document.fault(&list.place, "interfaces: name at least one, or leave the key out for all");
    }
    let mut names = BTreeSet::new();
    for text in list.value {
        match text.value.parse() {
            Ok(name) => _ = names.insert(name),
            Err(error) => document.fault(&text.place, format!("interfaces: {error}")),
        }
    }
    Some(names)
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write HOST, HOST:PORT or [IPV6]:PORT";
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(FORM)?)),
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(22), str::parse).ok().filter(|port| *port != 0).ok_or(FORM)?;
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.starts_with('-') || !host.chars().all(inner) {
            return Err(FORM);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// As `known_hosts` files name it: the port is written only when it is not 22.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == 22 { f.write_str(&self.host) } else { write!(f, "[{}]:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Faults> {
        Config::parse(Path::new("/e/agent.toml"), text)
    }

    #[test]
    fn a_short_configuration_has_the_documented_values() {
        let config = parse("bastion = \"bastion.example.net:2222\"\nhost = \"app-gw\"\n").unwrap();
        assert_eq!(config.bastion.to_string(), "[bastion.example.net]:2222");
        assert_eq!(config.identity, Path::new("/etc/wgmfa/agent_ed25519"));
        assert_eq!(config.known_hosts, Path::new("/etc/wgmfa/known_hosts"));
        assert_eq!(config.state_dir, Path::new("/var/lib/wgmfa-agent"));
        assert_eq!(config.folders, Folders::default());
        assert!(config.manage_files && config.interfaces.is_none());
    }

    #[test]
    fn the_gate_is_configured_with_tiers() {
        let short = "bastion = \"b\"\nhost = \"app-gw\"\n";
        let config = parse(short).unwrap();
        assert_eq!((config.gate, config.code_port, config.width), (Backend::Nftables, 7777, Width::Single));
        let more =
            "gate = \"ip-rule\"\ncode-port = 77\ncodes-from-networks = true\n[tier.prod]\nallow = [\"10.1.0.0/16\"]\n";
        let config = parse(&format!("{short}{more}")).unwrap();
        assert_eq!((config.gate, config.code_port, config.width), (Backend::IpRule, 77, Width::Networks));
        assert!(config.tiers.get(&"prod".parse().unwrap()).is_some());
        let shown = parse(&format!("{short}gate = \"pf\"\ncode-port = 0\n[tier.prod]\n")).unwrap_err().to_string();
        for line in [
            "/e/agent.toml:3:8: gate: write nftables or ip-rule\n",
            "/e/agent.toml:4:13: code-port must be a port: 1 to 65535\n",
            "/e/agent.toml: tier.prod.allow is required",
            "\n3 faults",
        ] {
            assert!(shown.contains(line), "{line}\n--- not in\n{shown}");
        }
    }

    #[test]
    fn every_fault_is_shown_with_its_place() {
        let text = "bastion = \"b:0\"\nidentity = \"key\"\ninterfaces = [\"wg0\", \"WG 1\"]\nmanage-file = true\n";
        let shown = parse(text).unwrap_err().to_string();
        for line in [
            "/e/agent.toml:1:11: bastion: write HOST, HOST:PORT or [IPV6]:PORT\n    bastion = \"b:0\"\n              ^^^^^\n",
            "/e/agent.toml: host is required",
            "/e/agent.toml:2:12: identity: write an absolute path\n",
            "/e/agent.toml:3:22: interfaces: a name begins with a-z or 0-9",
            "/e/agent.toml:4:1: ",
            "\n5 faults",
        ] {
            assert!(shown.contains(line), "{line}\n--- not in\n{shown}");
        }
    }

    #[test]
    fn addresses_are_read_as_ssh_reads_them() {
        for (text, shown) in [
            ("b", "b"),
            ("b:22", "b"),
            ("b:2222", "[b]:2222"),
            ("[::1]:2222", "[::1]:2222"),
            ("::1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for bad in ["", ":22", "b:", "b:x", "b:70000", "[::1", "[::1]x", "-oProxy", "a b"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
