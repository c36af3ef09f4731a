//! `check`: every fault that can be found without the bastion, then a count.

use std::path::Path;

use wgmfa_core::diagnostic::count;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
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

/// Says what is wrong. Status 2 for a broken configuration, 6 for peers and files that are not as they should be.
///
/// # Errors
/// The configuration cannot be read at all.
pub fn run(path: &Path) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let mut failures = Vec::new();
    failures.extend(identity::read(&config.identity).err());
    match ssh::read_known_keys(&config.known_hosts, &config.bastion.host, config.bastion.port) {
        Ok(keys) if keys.is_empty() => {
            let error = format!("{}: no host key for {}", config.known_hosts.display(), config.bastion);
            failures.push(Failure::new(Exit::Usage, error).hint("wgmfa-agent init --known-host LINE"));
        }
        Ok(_) => {}
        Err(failure) => failures.push(failure),
    }
    let state = match Store::at(&config.state_dir).load() {
        Ok(state) => Some(state),
        Err(failure) => {
            failures.push(failure);
            None
        }
    };
    let pairs = Store::at(&config.state_dir).load_pairs().unwrap_or_else(|failure| {
        failures.push(failure);
        Pairs::new()
    });
    let seen = Seen::now(&config);
    for (peer, pair) in pairs.iter().filter(|(peer, _)| seen.peer(peer).is_some()) {
        if let Some(fault) = pair.fault(seen.fingerprint(peer)) {
            let failure = Failure::new(Exit::Partly, format!("{}: {fault}", pair.connection));
            failures.push(failure.hint("wgmfa-agent rotate puts the right one there"));
        }
    }
    failures.extend(seen.faults.iter().map(|fault| Failure::new(Exit::Partly, fault)));
    if seen.interfaces.is_empty() && seen.faults.is_empty() {
        failures.push(Failure::new(Exit::Partly, "there is no WireGuard interface here").hint("wg-quick up INTERFACE"));
    }
    if config.interfaces.is_none()
        && let Ok(found) = wgmfa_wireguard::interfaces()
    {
        for skipped in found.skipped {
            voice::note(&format!("note: {}: passed over: {}", skipped.name, skipped.reason));
        }
    }
    for interface in seen.interfaces.keys() {
        match Configuration::open(&config.folders, interface) {
            Ok(Some(file)) => check_file(&file, &state, interface.as_str(), &config, &mut failures),
            Ok(None) => voice::note(&format!(
                "note: {interface}: wg-quick, systemd-networkd and NetworkManager have no file for it; whoever makes the \
                 interface must not give a peer an old key"
            )),
            Err(failure) => failures.push(Failure { exit: Exit::Partly, ..failure }),
        }
    }
    if let Some(state) = state.as_ref().filter(|state| !state.gated.is_empty()) {
        failures.extend(gate_faults(state, &config));
    }
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if wall.as_secs() < YEAR_2024 {
        failures.push(
            Failure::new(Exit::Partly, "this machine's clock stands before 2024")
                .hint("set it, for example with chrony"),
        );
    }
    failures.iter().for_each(|failure| _ = voice::fail(failure));
    voice::say(&count(failures.len(), "fault"));
    let worst = |exit| failures.iter().any(|failure| failure.exit == exit);
    Ok(if worst(Exit::Usage) || worst(Exit::Failed) {
        Exit::Usage
    } else if failures.is_empty() {
        Exit::Done
    } else {
        Exit::Partly
    })
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

fn check_file(
    file: &Configuration,
    state: &Option<State>,
    interface: &str,
    config: &Config,
    failures: &mut Vec<Failure>,
) {
    if file.save_config() {
        failures.push(Failure::new(Exit::Partly, save_config_fault(file)));
    }
    let repeated = file.repeated().into_iter().map(|fault| Failure::new(Exit::Partly, fault));
    failures.extend(repeated.map(|failure| failure.hint("write one section with all of its settings")));
    let Some(state) = state.as_ref().filter(|_| config.manage_files) else { return };
    let there: std::collections::HashSet<PublicKey> = file.peers().into_iter().collect();
    let own =
        state.peers.iter().filter(|(peer, _)| peer.interface.as_str() == interface && there.contains(&peer.public_key));
    let mut exposed = Vec::new();
    for (peer, kept) in own {
        let stands = file.preshared_key(&peer.public_key).map(|key| file_fingerprint(&key, peer));
        if stands.is_none() || stands != kept.file_key {
            let error = format!("{}: {}: no lock key of this agent", file.path().display(), state.name_of(peer));
            failures.push(Failure::new(Exit::Partly, error).hint("wgmfa-agent rotate puts one there"));
        }
        if let Some(failure) = file.exposed(&peer.public_key).filter(|failure| !exposed.contains(failure)) {
            exposed.push(failure);
        }
    }
    failures.extend(exposed.into_iter().map(|failure| Failure { exit: Exit::Partly, ..failure }));
}
