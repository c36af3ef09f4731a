//! `inventory`: hosts, their interfaces and peers as last reported, and devices.

use std::collections::BTreeSet;

use wgmfa_core::connection::{Connection, InterfaceRef, Other};
use wgmfa_core::key::PublicKey;

use super::answer::{Answer, json_line, shown};
use super::site::Site;
use super::table::{Table, or_dash};
use super::tier_row::GrantJson;
use super::{Asked, Context};
use crate::store::Place;

/// Shows everything, or only peers whose public key nobody registered.
///
/// # Errors
/// The store cannot be read.
pub fn run(unregistered: bool, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let mut site = Site::read(context.store)?;
    if unregistered {
        only_unregistered(&mut site);
    }
    site.inventory.version = 1;
    context.add_residents(&mut site.inventory);
    if asked.json {
        return Ok(shown(json_line(&with_grants(&site))));
    }
    let when = context.when();
    let mut table =
        Table::new(&["HOST", "INTERFACE", "PEER", "ALLOWED IPS", "PRESHARED KEY", "LATEST HANDSHAKE"], asked.colour);
    for host in &site.inventory.hosts {
        for interface in &host.interfaces {
            for peer in &interface.peers {
                table.row([
                    (&host.name).into(),
                    (&interface.name).into(),
                    peer_name(&site.connections, &peer.public_key).into(),
                    peer.allowed_ips.join(", ").into(),
                    (if peer.has_preshared_key { "yes" } else { "no" }).into(),
                    or_dash(peer.latest_handshake.map(|time| when.ago(time))).into(),
                ]);
            }
        }
    }
    let mut text = table.render("no peers");
    if !unregistered && !site.inventory.devices.is_empty() {
        let mut devices = Table::new(&["DEVICE", "OWNER", "PUBLIC KEY"], asked.colour);
        for device in &site.inventory.devices {
            devices.row([(&device.name).into(), or_dash(device.owner.as_ref()).into(), device.public_key.into()]);
        }
        text.push_str(&format!("\n{}", devices.render("")));
    }
    Ok(shown(text))
}

/// The inventory for programs; a peer for which tiers are open bears `grants`.
fn with_grants(site: &Site) -> serde_json::Value {
    let mut inventory = serde_json::json!(site.inventory);
    for (at, host) in site.inventory.hosts.iter().enumerate() {
        for (number, interface) in host.interfaces.iter().enumerate() {
            let server_side = InterfaceRef { host: host.name.clone(), interface: interface.name.clone() };
            for (which, peer) in interface.peers.iter().enumerate() {
                let place = Place { server_side: server_side.clone(), public_key: peer.public_key };
                let grants: Vec<_> = site.grants(&place).iter().map(GrantJson::of).collect();
                if !grants.is_empty() {
                    inventory["hosts"][at]["interfaces"][number]["peers"][which]["grants"] = serde_json::json!(grants);
                }
            }
        }
    }
    inventory
}

/// Leaves only peers that are neither a device nor another host's interface.
fn only_unregistered(site: &mut Site) {
    let unregistered: BTreeSet<PublicKey> = site
        .connections
        .iter()
        .filter_map(|connection| match connection.name.other {
            Other::Unmonitored(key) => Some(key),
            Other::Device(_) | Other::Interface(_) => None,
        })
        .collect();
    for host in &mut site.inventory.hosts {
        for interface in &mut host.interfaces {
            interface.peers.retain(|peer| unregistered.contains(&peer.public_key));
        }
        host.interfaces.retain(|interface| !interface.peers.is_empty());
    }
    site.inventory.hosts.retain(|host| !host.interfaces.is_empty());
    site.inventory.devices.clear();
}

/// The name of whoever has this key, or the key.
fn peer_name(connections: &[Connection], key: &PublicKey) -> String {
    let named = connections.iter().find_map(|connection| {
        if connection.other_public_key == *key {
            Some(connection.name.other.to_string())
        } else if connection.public_key == *key {
            Some(connection.name.one.to_string())
        } else {
            None
        }
    });
    named.unwrap_or_else(|| key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::site::tests::article;

    #[test]
    fn only_unregistered_peers_are_left() {
        let mut site = article();
        only_unregistered(&mut site);
        assert!(site.inventory.hosts.is_empty(), "all keys of the worked example are registered");

        let mut inventory = article().inventory;
        inventory.devices.retain(|device| device.name.as_str() != "alice-laptop");
        let mut site = Site::of(inventory);
        only_unregistered(&mut site);
        let peers: Vec<_> =
            site.inventory.hosts.iter().flat_map(|host| &host.interfaces).flat_map(|i| &i.peers).collect();
        assert_eq!(peers.len(), 4);
        assert!(peers.iter().all(|peer| peer.public_key.to_string() == "Lz/D0WoH+6P57u+LFEYweVtJ4cg5ia4nkNyyawxApWY="));
    }
}
