//! `bastion.toml`: what the bastion is told about its machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use wgmfa_core::diagnostic::Faults;
use wgmfa_core::document::Document;
use wgmfa_core::exit::Failure;
use wgmfa_system::trusted::{self, Readers};

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/wgmfa/bastion.toml";

/// The configuration, every key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that it came from.
    pub path: PathBuf,
    /// Where people (and agents, unless `agent_listen` says otherwise) come; empty: people come by the site's own sshd.
    pub listen: Vec<SocketAddr>,
    /// Where agents come; empty: to `listen`.
    pub agent_listen: Vec<SocketAddr>,
    /// The folder of the store.
    pub state_dir: PathBuf,
    /// The folder of the policy files.
    pub policy_dir: PathBuf,
    /// The folder of the sockets.
    pub run_dir: PathBuf,
    /// The SSH host keys, OpenSSH private key files.
    pub host_keys: Vec<PathBuf>,
    /// The key that seals secrets in the store: 32 bytes.
    pub sealing_key: PathBuf,
    /// The PAM service that every login runs through.
    pub pam_service: String,
    /// A private PAM folder (`pam_start_confdir(3)`); none: the system's.
    pub pam_dir: Option<PathBuf>,
    /// Whether the keeper must itself have accepted a login's one-time code.
    pub require_code: bool,
    /// What comes before the one-time code.
    pub first_factor: FirstFactor,
    /// Whom to call, shown after a refusal; empty: nobody.
    pub contact: String,
    /// The user as whom the front runs when the bastion is started by root.
    pub front_user: String,
    /// The group of `wgmfa-sync`, the program through which people ask who came by the site's own sshd.
    pub people_group: String,
    /// Where Prometheus reads; none: nowhere.
    pub metrics: Option<MetricsAt>,
}

/// Where metrics can be read: by nobody from outside this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAt {
    /// A Unix socket, for root and its group.
    Unix(PathBuf),
    /// A loopback address, for everybody on this machine.
    Loopback(SocketAddr),
}

/// What a person proves before the one-time code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstFactor {
    /// A password, asked for by PAM.
    Password,
    /// An SSH key; PAM asks for the code alone.
    Publickey,
    /// Either of them.
    Either,
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
                failure.hint("make one with wgmfa-bastion init, or name one with --config")
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
        let config = Self {
            path: path.to_owned(),
            listen: addresses(keys, "listen", &["0.0.0.0:2222", "[::]:2222"]),
            agent_listen: addresses(keys, "agent-listen", &[]),
            state_dir: absolute(keys, "state-dir").unwrap_or("/var/lib/wgmfa".into()),
            policy_dir: absolute(keys, "policy-dir").unwrap_or("/etc/wgmfa/policy.d".into()),
            run_dir: absolute(keys, "run-dir").unwrap_or("/run/wgmfa".into()),
            host_keys: host_keys(keys),
            sealing_key: absolute(keys, "sealing-key").unwrap_or("/etc/wgmfa/sealing.key".into()),
            pam_service: file_name(keys, "pam-service", "wgmfa"),
            pam_dir: absolute(keys, "pam-dir"),
            require_code: keys.boolean("require-code").is_none_or(|code| code.value),
            first_factor: first_factor(keys),
            contact: keys.string("contact").map(|contact| contact.value).unwrap_or_default(),
            front_user: file_name(keys, "front-user", "wgmfa"),
            people_group: file_name(keys, "people-group", "wgmfa-sync"),
            metrics: keys.parsed("metrics").map(|at| at.value),
        };
        document.finish()?;
        Ok(config)
    }

    /// The file of the PAM service.
    pub fn pam_file(&self) -> PathBuf {
        self.pam_dir.as_deref().unwrap_or(Path::new("/etc/pam.d")).join(&self.pam_service)
    }

    /// The socket on which the PAM module asks.
    pub fn keeper_socket(&self) -> PathBuf {
        self.run_dir.join("keeper.sock")
    }

    /// The socket on which people ask who came by the site's own sshd.
    pub fn people_socket(&self) -> PathBuf {
        self.run_dir.join("people.sock")
    }

    /// The socket on which administrators' commands ask.
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir.join("admin.sock")
    }
}

impl FromStr for MetricsAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = match text.strip_prefix("unix:") {
            Some(path) => Some(Self::Unix(path.into())).filter(|_| Path::new(path).is_absolute()),
            None => text.parse().ok().filter(|at: &SocketAddr| at.ip().is_loopback()).map(Self::Loopback),
        };
        at.ok_or("write \"unix:/run/wgmfa/metrics.sock\", or a loopback address and a port: \"127.0.0.1:9586\"")
    }
}

impl FromStr for FirstFactor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "password" => Ok(Self::Password),
            "publickey" => Ok(Self::Publickey),
            "either" => Ok(Self::Either),
            _ => Err("write \"password\", \"publickey\" or \"either\""),
        }
    }
}

/// A list of addresses to listen on.
fn addresses(document: &mut Document, key: &str, otherwise: &[&str]) -> Vec<SocketAddr> {
    let Some(list) = document.strings(key) else {
        return otherwise.iter().map(|address| address.parse().expect("our defaults are addresses")).collect();
    };
    let mut addresses = Vec::new();
    for text in list.value {
        match text.value.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => document.fault(
                &text.place,
                format!("{key}: write an address and a port, as in \"0.0.0.0:2222\" or \"[::]:2222\""),
            ),
        }
    }
    addresses
}

/// A path that does not depend on where the program was started.
fn absolute(document: &mut Document, key: &str) -> Option<PathBuf> {
    let text = document.string(key)?;
    let path = PathBuf::from(&text.value);
    if !path.is_absolute() {
        document.fault(&text.place, format!("{key}: write an absolute path"));
    }
    Some(path)
}

fn host_keys(document: &mut Document) -> Vec<PathBuf> {
    let Some(list) = document.strings("host-keys") else {
        return vec!["/etc/wgmfa/ssh_host_ed25519_key".into()];
    };
    if list.value.is_empty() {
        document.fault(&list.place, "host-keys: name at least one key file");
    }
    let mut paths = Vec::new();
    for text in list.value {
        if !Path::new(&text.value).is_absolute() {
            document.fault(&text.place, "host-keys: write an absolute path");
        }
        paths.push(text.value.into());
    }
    paths
}

fn first_factor(document: &mut Document) -> FirstFactor {
    document.parsed("first-factor").map_or(FirstFactor::Password, |factor| factor.value)
}

/// A word that names a PAM service, a user or a group.
fn file_name(document: &mut Document, key: &str, otherwise: &str) -> String {
    let Some(text) = document.string(key) else { return otherwise.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.value.is_empty() || text.value.starts_with(['.', '-']) || !text.value.chars().all(plain) {
        document.fault(&text.place, format!("{key}: write a plain name"));
    }
    text.value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Faults> {
        Config::parse(Path::new("/e/bastion.toml"), text)
    }

    #[test]
    fn an_empty_configuration_has_the_documented_values() {
        let config = parse("").unwrap();
        assert_eq!(config.listen, ["0.0.0.0:2222".parse().unwrap(), "[::]:2222".parse().unwrap()]);
        assert_eq!(config.agent_listen, []);
        assert_eq!(config.pam_file(), Path::new("/etc/pam.d/wgmfa"));
        assert_eq!(config.keeper_socket(), Path::new("/run/wgmfa/keeper.sock"));
        assert_eq!(config.first_factor, FirstFactor::Password);
        assert!(config.require_code);
        assert_eq!((config.contact.as_str(), config.front_user.as_str()), ("", "wgmfa"));
        assert_eq!(config.people_group, "wgmfa-sync");
        assert_eq!(config.people_socket(), Path::new("/run/wgmfa/people.sock"));
        assert_eq!(config.metrics, None);
    }

    #[test]
    fn metrics_are_for_this_machine_alone() {
        let metrics = |value: &str| parse(&format!("metrics = \"{value}\"\n")).map(|config| config.metrics);
        assert_eq!(metrics("unix:/run/m.sock").unwrap(), Some(MetricsAt::Unix("/run/m.sock".into())));
        for loopback in ["127.0.0.1:9586", "[::1]:9586", "127.1.2.3:1"] {
            assert_eq!(metrics(loopback).unwrap(), Some(MetricsAt::Loopback(loopback.parse().unwrap())));
        }
        for refused in ["0.0.0.0:9586", "[::]:9586", "192.0.2.1:9586", "9586", "localhost:9586", "unix:m.sock", ""] {
            let shown = metrics(refused).unwrap_err().to_string();
            assert!(
                shown.starts_with("/e/bastion.toml:1:11: metrics: write \"unix:/run/wgmfa/metrics.sock\""),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_key_may_be_the_first_factor() {
        assert_eq!(parse("first-factor = \"publickey\"\n").unwrap().first_factor, FirstFactor::Publickey);
        assert_eq!(parse("first-factor = \"either\"\n").unwrap().first_factor, FirstFactor::Either);
    }

    #[test]
    fn every_fault_is_shown_with_its_place() {
        let text = "listen = [\"2222\", \"[::]:22\"]\nstate-dir = \"state\"\nhost-keys = []\npam-service = \"../x\"\n\
                    first-factor = \"none\"\nrequire-code = \"no\"\nlisen = []\n";
        let shown = parse(text).unwrap_err().to_string();
        for line in [
            "/e/bastion.toml:1:11: listen: write an address and a port, as in \"0.0.0.0:2222\" or \"[::]:2222\"\n    \
             listen = [\"2222\", \"[::]:22\"]\n              ^^^^^^\n",
            "/e/bastion.toml:2:13: state-dir: write an absolute path\n",
            "/e/bastion.toml:3:13: host-keys: name at least one key file\n",
            "/e/bastion.toml:4:15: pam-service: write a plain name\n",
            "/e/bastion.toml:5:16: first-factor: write \"password\", \"publickey\" or \"either\"\n",
            "/e/bastion.toml:6:16: ",
            "/e/bastion.toml:7:1: ",
            "\n7 faults",
        ] {
            assert!(shown.contains(line), "{line}\n--- not in\n{shown}");
        }
    }
}
