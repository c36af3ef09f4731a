//! `init`: this host's SSH key and configuration. It trusts nothing that it was not given, and overwrites nothing.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::known_hosts;
use wgmfa_core::name::HostName;
use wgmfa_system::trusted::{self, Readers};
use zeroize::Zeroizing;

use crate::cli::Init;
use crate::config::{Address, Config, DEFAULT_PATH, DEFAULT_STATE_DIR};
use crate::identity;
use crate::ssh;
use crate::voice;

/// Makes what is missing and prints the line for the bastion.
///
/// # Errors
/// A file cannot be written, or stands there with other values than these.
pub fn run(path: &Path, init: &Init) -> Result<Exit, Failure> {
    let path = &std::path::absolute(path).map_err(|error| failed(path, &error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| failed(folder, &error))?;
    let known = init.known_host.as_deref().map(parse_known_host).transpose()?;

    let (config, made_config) = configuration(path, folder, init)?;
    let made_key = !config.identity.exists();
    if made_key {
        let key = identity::make(&config.host);
        trusted::make(&config.identity, key.as_bytes(), 0o600).map_err(|error| failed(&config.identity, &error))?;
    }
    let learned = known.map_or(Ok(false), |keys| learn(&config, &keys))?;
    let public = identity::public_line(&*identity::read(&config.identity)?);
    if init.print_key {
        voice::say(&public);
    } else if made_config || made_key || learned {
        voice::say(&format!("{}: ready; next, on the bastion:", path.display()));
        voice::say(&format!("  echo '{public}' | wgmfa-bastion host add {} --key -", config.host));
    } else {
        voice::say("unchanged");
    }
    if ssh::read_known_keys(&config.known_hosts, &config.bastion.host, config.bastion.port)?.is_empty() {
        voice::note(&format!(
            "hint: {} is not known yet: wgmfa-bastion host-key on the bastion prints its LINE, then: wgmfa-agent init --known-host 'LINE'",
            config.bastion
        ));
    }
    Ok(Exit::Done)
}

/// The configuration that is there, compared with what was asked for; or a new one.
fn configuration(path: &Path, folder: &Path, init: &Init) -> Result<(Config, bool), Failure> {
    if path.exists() {
        let config = Config::load(path)?;
        let other = |key: &str| {
            Failure::new(Exit::Failed, format!("{}: {key} has another value", path.display()))
                .hint("nothing was changed; edit the file, or remove it first")
        };
        if init.bastion.as_ref().is_some_and(|bastion| *bastion != config.bastion) {
            return Err(other("bastion"));
        }
        if init.host.as_ref().is_some_and(|host| *host != config.host) {
            return Err(other("host"));
        }
        return Ok((config, false));
    }
    let Some(bastion) = &init.bastion else {
        return Err(Failure::new(Exit::Usage, "where is the bastion?").hint("--bastion bastion.example.net:2222"));
    };
    let host = init.host.clone().map_or_else(own_name, Ok)?;
    let text = text(path, folder, bastion, &host);
    trusted::make(path, text.as_bytes(), 0o644).map_err(|error| failed(path, &error))?;
    Ok((Config::load(path)?, true))
}

fn text(path: &Path, folder: &Path, bastion: &Address, host: &HostName) -> String {
    let state_dir: PathBuf =
        if path == Path::new(DEFAULT_PATH) { DEFAULT_STATE_DIR.into() } else { folder.join("agent-state") };
    let Address { host: name, port } = bastion;
    let bastion = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
    // a JSON string is a TOML string
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string());
    format!(
        "bastion       = \"{bastion}\"\n\
         host          = \"{host}\"\n\
         identity      = {}\n\
         known-hosts   = {}\n\
         state-dir     = {}\n\
         # interfaces    = [\"devices\"]      # default: all\n\
         # manage-files  = true             # keep lock keys where the interfaces are configured\n\
         # wireguard-dir = \"/etc/wireguard\" # wg-quick; next, the folders of systemd-networkd and NetworkManager:\n\
         # the site's, the one that is gone after a reboot, those of packages (never changed); [] for none\n\
         # networkd-dirs = [\"/etc/systemd/network\", \"/run/systemd/network\", \"/usr/lib/systemd/network\"]\n\
         # networkmanager-dirs = [\"/etc/NetworkManager/system-connections\"]\n\
         # gate          = \"nftables\"       # or ip-rule; for policies that enforce by the firewall\n\
         # code-port     = 7777             # where codes are asked for inside the tunnels\n\
         # [tier.prod]                      # what such a policy opens\n\
         # allow         = [\"10.1.0.0/16\"]\n",
        quoted(&folder.join("agent_ed25519")),
        quoted(&folder.join("known_hosts")),
        quoted(&state_dir),
    )
}

/// The first label of the machine's name, in lower case.
fn own_name() -> Result<HostName, Failure> {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let label = name.split('.').next().unwrap_or_default();
    label.parse().map_err(|error| {
        Failure::new(Exit::Usage, format!("the machine's name is no name for a host: {error}"))
            .hint("give one with --host NAME")
    })
}

/// The keys in lines as `known_hosts` has them. The names in front are not needed: the key is meant for this bastion.
fn parse_known_host(lines: &str) -> Result<Vec<PublicKey>, Failure> {
    let fault =
        || Failure::new(Exit::Usage, "--known-host: write NAME KEYTYPE KEY, as wgmfa-bastion host-key prints it");
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        let (_name, kind, key) = (words.next()?, words.next()?, words.next()?);
        PublicKey::from_openssh(&format!("{kind} {key}")).ok()
    };
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| key(line).ok_or_else(fault)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(fault()) } else { Ok(keys) }
}

/// Adds the bastion's keys that are not there yet; says whether there were any.
fn learn(config: &Config, keys: &[PublicKey]) -> Result<bool, Failure> {
    let path = &config.known_hosts;
    let known = ssh::read_known_keys(path, &config.bastion.host, config.bastion.port)?;
    let known: Vec<String> = known.iter().map(ssh::one_line).collect();
    // those that are known stay
    let all: Vec<String> = keys.iter().map(ssh::one_line).chain(known.iter().cloned()).collect();
    let text = if path.exists() { trusted::read_text(path, Readers::Anyone)? } else { Zeroizing::default() };
    let name = config.bastion.to_string();
    let Some(learned) = known_hosts::learn(&text, &[&name], &known, &all[0], &all) else { return Ok(false) };
    trusted::replace_for(path, learned.text.as_bytes(), 0o644).map_err(|error| failed(path, &error))?;
    Ok(true)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", path.display(), error.to_string().to_lowercase()))
}
