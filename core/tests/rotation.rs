//! The golden files of `tests/rotation/`: policies, connections, now, and what must happen next, and why.
#![allow(clippy::disallowed_methods)] // a test reads its files itself

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use wgmfa_core::connection::InterfaceRef;
use wgmfa_core::explain::{NextAction, explain};
use wgmfa_core::inventory::{Device, Host, Interface, Inventory, Peer};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::UserName;
use wgmfa_core::policy::PolicySet;

/// One golden file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    now: Timestamp,
    /// Hosts and devices that were cut off.
    #[serde(default)]
    disabled: Vec<String>,
    /// Who owns which device, or which host.
    #[serde(default)]
    owners: BTreeMap<String, UserName>,
    /// The text of each policy by the name of its file.
    policies: BTreeMap<String, String>,
    connection: Vec<GoldenConnection>,
}

/// One connection, as its first end reports it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GoldenConnection {
    /// `HOST/INTERFACE` or a name; a name that nobody owns is an unmonitored end.
    ends: [String; 2],
    generation: Option<u64>,
    rotated_at: Option<Timestamp>,
    released_at: Option<Timestamp>,
    deadline: Option<Timestamp>,
    latest_handshake: Option<Timestamp>,
    expect: Expect,
}

/// What must come out.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    winner: Option<u64>,
    action: NextAction,
    at: Option<Timestamp>,
    reason: String,
}

/// A public key for each name.
fn key(name: &str) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    PublicKey::from_bytes(bytes)
}

impl Golden {
    fn inventory(&self) -> Inventory {
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        let mut devices: BTreeMap<String, Device> = BTreeMap::new();
        for connection in &self.connection {
            for end in &connection.ends {
                if let Ok(end) = end.parse::<InterfaceRef>() {
                    let host = hosts.entry(end.host.to_string()).or_insert_with(|| self.host(&end));
                    if host.interfaces.iter().all(|interface| interface.name != end.interface) {
                        host.interfaces.push(interface(&end));
                    }
                } else if let Some(owner) = self.owners.get(end) {
                    let (name, disabled) = (end.parse().unwrap(), self.disabled.contains(end));
                    let device = Device { name, owner: Some(owner.clone()), public_key: key(end), disabled };
                    devices.insert(end.clone(), device);
                }
            }
            let [one, other] = &connection.ends;
            let one: InterfaceRef = one.parse().expect("the first end is a host's interface");
            let interfaces = &mut hosts.get_mut(one.host.as_str()).unwrap().interfaces;
            let interface = interfaces.iter_mut().find(|interface| interface.name == one.interface).unwrap();
            interface.peers.push(connection.peer(other));
        }
        Inventory { version: 1, hosts: hosts.into_values().collect(), devices: devices.into_values().collect() }
    }

    fn host(&self, end: &InterfaceRef) -> Host {
        let name = end.host.as_str();
        Host {
            name: end.host.clone(),
            owner: self.owners.get(name).cloned(),
            disabled: self.disabled.iter().any(|disabled| disabled == name),
            agent: None,
            stood_down: false,
            interfaces: Vec::new(),
        }
    }
}

fn interface(end: &InterfaceRef) -> Interface {
    let public_key = key(&end.to_string());
    Interface { name: end.interface.clone(), public_key, listen_port: None, peers: Vec::new() }
}

impl GoldenConnection {
    fn peer(&self, name: &str) -> Peer {
        Peer {
            public_key: key(name),
            allowed_ips: Vec::new(),
            has_preshared_key: self.generation.is_some(),
            fingerprint: None,
            latest_handshake: self.latest_handshake,
            handshake_with_this_key: false,
            opened_by_root_for: None,
            opened_by_root_until: None,
            kept_locked: false,
            generation: self.generation,
            rotated_at: self.rotated_at,
            released_at: self.released_at,
            deadline: self.deadline,
        }
    }
}

#[test]
fn every_golden_file_comes_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rotation");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(files.len() >= 4, "golden files are missing: {files:?}");
    for file in files {
        let shown = file.display();
        let golden: Golden =
            toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let texts: Vec<_> = golden.policies.clone().into_iter().collect();
        let set = PolicySet::parse(&texts).unwrap_or_else(|faults| panic!("{shown}:\n{faults}"));
        let explained = explain(&set, &golden.inventory(), golden.now).connections;
        assert_eq!(explained.len(), golden.connection.len(), "{shown}: each connection stands once");
        for GoldenConnection { ends, expect, .. } in &golden.connection {
            let keys = [key(&ends[0]), key(&ends[1])];
            let about = |of: &&_| {
                let wgmfa_core::explain::Explanation { public_key, other_public_key, .. } = of;
                keys.contains(public_key) && keys.contains(other_public_key)
            };
            let found = explained.iter().find(about).unwrap_or_else(|| panic!("{shown}: {ends:?} is no connection"));
            let (winner, next) = (found.winner.map(|ordinal| ordinal.0), found.next.clone());
            let outcome = Expect { winner, action: next.action, at: next.at, reason: next.reason };
            assert_eq!(&outcome, expect, "{shown}: {ends:?}");
        }
    }
}
