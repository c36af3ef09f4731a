//! An inventory that somebody wrote or edited: what in it cannot be.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use wgmfa_core::inventory::Inventory;
use wgmfa_core::key::PublicKey;

/// What breaks the rules that a bastion's own inventory keeps, in words: hosts and devices share one name space, and a
/// public key belongs to one interface or one device.
pub fn contradictions(inventory: &Inventory) -> Vec<String> {
    let mut rules = Rules::default();
    for host in &inventory.hosts {
        rules.name(host.name.as_str(), "host");
        let mut interfaces = BTreeSet::new();
        for interface in &host.interfaces {
            let shown = format!("{}/{}", host.name, interface.name);
            if !interfaces.insert(&interface.name) {
                rules.found.push(format!("{shown} stands there twice"));
            }
            let mut peers = HashSet::new();
            for peer in &interface.peers {
                if peer.public_key == interface.public_key {
                    rules.found.push(format!("{shown} is its own peer"));
                } else if !peers.insert(peer.public_key) {
                    rules.found.push(format!("{shown} has the peer {} twice", peer.public_key));
                }
            }
            rules.key(interface.public_key, &shown);
        }
    }
    for device in &inventory.devices {
        rules.name(device.name.as_str(), "device");
        rules.key(device.public_key, device.name.as_str());
    }
    rules.found
}

#[derive(Default)]
struct Rules<'i> {
    names: BTreeMap<&'i str, &'static str>,
    keys: HashMap<PublicKey, String>,
    found: Vec<String>,
}

impl<'i> Rules<'i> {
    fn name(&mut self, name: &'i str, kind: &'static str) {
        match self.names.insert(name, kind) {
            None => {}
            Some(before) if before == kind => self.found.push(format!("the {kind} {name} stands there twice")),
            Some(before) => self.found.push(format!("{name} is the name of a {before} and of a {kind}")),
        }
    }

    fn key(&mut self, key: PublicKey, owner: &str) {
        if let Some(before) = self.keys.insert(key, owner.to_owned())
            && before != owner
        {
            self.found.push(format!("the public key {key} belongs to {before} and to {owner}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=";
    const TWO: &str = "ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE=";

    fn found(hosts: &str, devices: &str) -> Vec<String> {
        let text = format!(r#"{{"version": 1, "hosts": [{hosts}], "devices": [{devices}]}}"#);
        contradictions(&serde_json::from_str(&text).unwrap())
    }

    fn host(name: &str, interfaces: &[(&str, &str, &[&str])]) -> String {
        let peers = |keys: &[&str]| keys.iter().map(|key| serde_json::json!({"public_key": key})).collect::<Vec<_>>();
        let interfaces: Vec<_> = interfaces
            .iter()
            .map(|(name, key, keys)| serde_json::json!({"name": name, "public_key": key, "peers": peers(keys)}))
            .collect();
        serde_json::json!({"name": name, "interfaces": interfaces}).to_string()
    }

    fn device(name: &str, key: &str) -> String {
        serde_json::json!({"name": name, "owner": "ann", "public_key": key}).to_string()
    }

    #[test]
    fn the_inventory_of_the_worked_example_is_sound() {
        let text = include_str!("../../../tests/vectors/article/inventory.json");
        assert_eq!(contradictions(&serde_json::from_str(text).unwrap()), [""; 0]);
    }

    #[test]
    fn what_stands_there_twice_is_named() {
        let gw = host("gw", &[("wg0", ONE, &[TWO])]);
        for (hosts, devices, expected) in [
            (format!("{gw}, {}", host("gw", &[])), String::new(), "the host gw stands there twice".to_owned()),
            (gw.clone(), device("gw", TWO), "gw is the name of a host and of a device".to_owned()),
            (
                String::new(),
                format!("{}, {}", device("phone", ONE), device("phone", TWO)),
                "the device phone stands there twice".to_owned(),
            ),
            (
                host("gw", &[("wg0", ONE, &[]), ("wg0", TWO, &[])]),
                String::new(),
                "gw/wg0 stands there twice".to_owned(),
            ),
            (
                host("gw", &[("wg0", ONE, &[]), ("wg1", ONE, &[])]),
                String::new(),
                format!("the public key {ONE} belongs to gw/wg0 and to gw/wg1"),
            ),
            (gw, device("phone", ONE), format!("the public key {ONE} belongs to gw/wg0 and to phone")),
            (
                String::new(),
                format!("{}, {}", device("one", ONE), device("other", ONE)),
                format!("the public key {ONE} belongs to one and to other"),
            ),
            (host("gw", &[("wg0", ONE, &[TWO, TWO])]), String::new(), format!("gw/wg0 has the peer {TWO} twice")),
            (host("gw", &[("wg0", ONE, &[ONE])]), String::new(), "gw/wg0 is its own peer".to_owned()),
        ] {
            assert_eq!(found(&hosts, &devices), [expected]);
        }
    }
}
