//! `check`: what is wrong on this machine and on its way to the bastion, each with what mends it, then a count.

mod bastion;
mod route;

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::findings::Findings;
use wgmfa_core::key::PublicKey;
use wgmfa_system::trusted::{self, Readers};
use wgmfa_wireguard::conf::Configuration;

use crate::config::Config;
use crate::files::{file_fingerprint, save_config_fault};
use crate::gate;
use crate::identity;
use crate::pairs::Pairs;
use crate::seen::Seen;
use crate::ssh;
use crate::state::State;
use crate::store::Store;
use crate::voice;

/// No real-time clock: a machine that begins at the epoch shows handshakes of the wrong age.
const YEAR_2024: u64 = 1_704_067_200;

/// Where the kernel shows that it has WireGuard, built in or loaded.
const KERNEL_WIREGUARD: &str = "/sys/module/wireguard";

/// Says what is wrong, and changes nothing. Status 2 for a broken configuration, 6 for peers and files that are not as they
/// should be, 3 and 5 for a bastion that refuses this host or is not reached.
///
/// # Errors
/// The configuration cannot be read at all.
pub fn run(path: &Path, json: bool) -> Result<Exit, Failure> {
    let findings = match Config::load(path) {
        Ok(config) => everything(&config),
        Err(failure) if json => {
            let mut findings = Findings::default();
            findings.fault(failure);
            findings
        }
        Err(failure) => return Err(failure),
    };
    if json {
        voice::say(&findings.json().to_string());
    } else {
        voice::print(&findings.lines(voice::PROGRAM));
        voice::say(&findings.count());
    }
    Ok(findings.exit())
}

fn everything(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let own = findings.keep(identity::read(&config.identity));
    findings.keep(identity::next(&config.identity));
    let known = findings.keep(ssh::read_known_keys(&config.known_hosts, &config.bastion.host, config.bastion.port));
    if known.as_ref().is_some_and(Vec::is_empty) {
        let error = format!("{}: no host key for {}", config.known_hosts.display(), config.bastion);
        findings.fault(Failure::new(Exit::Usage, error).hint("wgmfa-agent init --known-host 'LINE'"));
    }
    if config.state_dir.symlink_metadata().is_ok() {
        findings.keep(trusted::folder(&config.state_dir, Readers::Anyone));
    }
    let state = findings.keep(Store::at(&config.state_dir).load());
    let pairs = findings.keep(Store::at(&config.state_dir).load_pairs()).unwrap_or_else(Pairs::new);
    let seen = Seen::now(config);
    for (peer, pair) in pairs.iter().filter(|(peer, _)| seen.peer(peer).is_some()) {
        if let Some(fault) = pair.fault(seen.fingerprint(peer)) {
            let failure = Failure::new(Exit::Partly, format!("{}: {fault}", pair.connection));
            findings.fault(failure.hint("wgmfa-agent rotate puts the right one there"));
        }
    }
    seen.faults.iter().for_each(|fault| findings.fault(Failure::new(Exit::Partly, fault)));
    interfaces(config, &seen, &mut findings);
    for interface in seen.interfaces.keys() {
        match Configuration::open(&config.folders, interface) {
            Ok(Some(file)) => check_file(&file, &state, interface.as_str(), config, &mut findings),
            Ok(None) => findings.note(format!(
                "{interface}: wg-quick, systemd-networkd and NetworkManager have no file for it; whoever makes the \
                 interface must not give a peer an old key"
            )),
            Err(failure) => findings.fault(Failure { exit: Exit::Partly, ..failure }),
        }
    }
    if let Some(state) = state.as_ref().filter(|state| !state.gated.is_empty()) {
        gate_faults(state, config).into_iter().for_each(|fault| findings.fault(fault));
    }
    clock(&mut findings);
    if let Some(state) = &state {
        route::check(config, state, &seen, &mut findings);
    }
    if own.is_some() && known.is_some_and(|known| !known.is_empty()) {
        bastion::check(config, &mut findings);
    }
    findings
}

/// Whether there is an interface, or at least a WireGuard that could make one.
fn interfaces(config: &Config, seen: &Seen, findings: &mut Findings) {
    if seen.interfaces.is_empty() && seen.faults.is_empty() {
        let hint = match Path::new(KERNEL_WIREGUARD).exists() {
            true => "wg-quick up INTERFACE",
            false => "modprobe wireguard, or install wireguard-go; then wg-quick up INTERFACE",
        };
        findings.fault(Failure::new(Exit::Partly, "there is no WireGuard interface here").hint(hint));
    }
    if config.interfaces.is_none()
        && let Ok(found) = wgmfa_wireguard::interfaces()
    {
        for skipped in found.skipped {
            findings.note(format!("{}: passed over: {}", skipped.name, skipped.reason));
        }
    }
}

fn clock(findings: &mut Findings) {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if wall.as_secs() < YEAR_2024 {
        let failure = Failure::new(Exit::Partly, "this machine's clock stands before 2024");
        findings.fault(failure.hint("set it, for example with chrony"));
    } else if wgmfa_system::clock::is_synchronised() == Some(false) {
        findings.warn("clock: no time service keeps it right", "install chrony, or: timedatectl set-ntp true");
    }
}

/// What keeps the gate from standing, or from opening.
fn gate_faults(state: &State, config: &Config) -> Vec<Failure> {
    let missing = state.grants.iter().filter(|(_, gated)| config.tiers.get(&gated.tier).is_none());
    let missing = missing.map(|(_, gated)| {
        let hint = format!("name its networks: [tier.{}] allow = [\"10.1.0.0/16\"]", gated.tier);
        Failure::new(Exit::Partly, format!("{}: agent.toml has no tier {}", gated.connection, gated.tier)).hint(hint)
    });
    let made = gate::backend(config.gate, &config.state_dir);
    let not_made = made.err().map(|why| Failure::new(Exit::Partly, format!("the gate cannot be put up: {why}")));
    let fault = state.gate_fault.as_ref().filter(|_| not_made.is_none());
    let fault = fault.map(|why| Failure::new(Exit::Partly, why));
    missing.chain(not_made).chain(fault).collect()
}

fn check_file(file: &Configuration, state: &Option<State>, interface: &str, config: &Config, findings: &mut Findings) {
    if file.save_config() {
        findings.fault(Failure::new(Exit::Partly, save_config_fault(file)));
    }
    for fault in file.repeated() {
        findings.fault(Failure::new(Exit::Partly, fault).hint("write one section with all of its settings"));
    }
    let Some(state) = state.as_ref().filter(|_| config.manage_files) else { return };
    let there: std::collections::HashSet<PublicKey> = file.peers().into_iter().collect();
    let own =
        state.peers.iter().filter(|(peer, _)| peer.interface.as_str() == interface && there.contains(&peer.public_key));
    let mut exposed = Vec::new();
    for (peer, kept) in own {
        let stands = file.preshared_key(&peer.public_key).map(|key| file_fingerprint(&key, peer));
        if stands.is_none() || stands != kept.file_key {
            let error = format!("{}: {}: no lock key of this agent", file.path().display(), state.name_of(peer));
            findings.fault(Failure::new(Exit::Partly, error).hint("wgmfa-agent rotate puts one there"));
        }
        if let Some(failure) = file.exposed(&peer.public_key).filter(|failure| !exposed.contains(failure)) {
            exposed.push(failure);
        }
    }
    exposed.into_iter().for_each(|failure| findings.fault(Failure { exit: Exit::Partly, ..failure }));
}
