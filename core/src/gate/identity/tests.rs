use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn owners(rows: &[(u8, &str)]) -> Owners {
    Owners::new(rows.iter().map(|(peer, network)| (key(*peer), network.parse().unwrap())))
}

fn caller(owners: &Owners, address: &str, width: Width) -> Result<PublicKey, Stranger> {
    owners.caller(address.parse().unwrap(), width)
}

#[test]
fn the_longest_prefix_says_whose_an_address_is() {
    let owners = owners(&[(1, "10.7.0.0/24"), (2, "10.7.0.2/32"), (3, "0.0.0.0/0"), (2, "fd00::2/128"), (4, "::/0")]);
    assert_eq!(caller(&owners, "10.7.0.2", Width::Single), Ok(key(2)));
    assert_eq!(caller(&owners, "::ffff:10.7.0.2", Width::Single), Ok(key(2)), "as a dual-stack socket shows it");
    assert_eq!(caller(&owners, "fd00::2", Width::Single), Ok(key(2)));
    assert_eq!(caller(&owners, "10.7.0.3", Width::Networks), Ok(key(1)));
    assert_eq!(caller(&owners, "10.7.0.3", Width::Single), Err(Stranger::Wide));
    assert_eq!(caller(&owners, "10.8.0.3", Width::Networks), Ok(key(3)));
    assert_eq!(caller(&owners, "fd00::3", Width::Single), Err(Stranger::Wide));
}

#[test]
fn an_address_of_nobody_is_nobodys() {
    let owners = owners(&[(1, "10.7.0.2/32"), (1, "::ffff:10.9.0.1/128")]);
    for address in ["10.7.0.3", "fd00::2", "0.0.0.0", "::ffff:10.7.0.3", "10.9.0.1"] {
        assert_eq!(caller(&owners, address, Width::Networks), Err(Stranger::Unknown), "{address}");
    }
}

#[test]
fn a_network_that_moved_is_only_the_last_peers() {
    let owners = owners(&[(1, "10.7.0.2/32"), (2, "10.7.0.2/32")]);
    assert_eq!(caller(&owners, "10.7.0.2", Width::Single), Ok(key(2)));
    assert!(owners.addresses(&key(1), Width::Networks).is_empty());
}

#[test]
fn what_is_opened_for_a_network_leaves_out_what_others_have_in_it() {
    let rows = [(1, "10.7.0.0/24"), (2, "10.7.0.128/25"), (1, "10.7.0.200/32"), (1, "192.168.1.0/24")];
    let owners = owners(&rows);
    let open: Vec<_> = owners.addresses(&key(1), Width::Networks).iter().map(ToString::to_string).collect();
    assert_eq!(open, ["10.7.0.0/25", "10.7.0.200/32", "192.168.1.0/24"]);
    let single: Vec<_> = owners.addresses(&key(1), Width::Single).iter().map(ToString::to_string).collect();
    assert_eq!(single, ["10.7.0.200/32"]);
}

#[test]
fn a_network_within_another_of_the_same_peer_is_opened_with_that_one() {
    let rows = [(1, "10.7.0.0/24"), (1, "10.7.0.128/25"), (1, "10.7.0.9/32"), (2, "0.0.0.0/0"), (2, "10.8.0.0/24")];
    let owners = owners(&rows);
    let open = |peer| owners.addresses(&key(peer), Width::Networks);
    assert_eq!(open(1), BTreeSet::from(["10.7.0.0/24".parse().unwrap()]));
    assert!(open(2).iter().all(|one| !one.contains(&"10.8.0.0/24".parse::<IpNet>().unwrap()) || one.prefix_len() < 24));
    let single: Vec<_> = owners.addresses(&key(1), Width::Single).iter().map(ToString::to_string).collect();
    assert_eq!(single, ["10.7.0.9/32"]);
}

fn network() -> impl Strategy<Value = IpNet> {
    // few bits, so that networks meet
    let v4 = (0u32..64, 0u8..=32).prop_map(|(low, prefix)| {
        IpNet::from(Ipv4Net::new(Ipv4Addr::from(0x0a07_0000 | low), prefix).unwrap()).trunc()
    });
    let v6 = (0u128..64, 0u8..=128).prop_map(|(low, prefix)| {
        IpNet::from(Ipv6Net::new(Ipv6Addr::from((0xfd00 << 112) | low), prefix).unwrap()).trunc()
    });
    prop_oneof![v4, v6]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..80).prop_map(|low| IpAddr::from(Ipv4Addr::from(0x0a07_0000 | low))),
        (0u128..80).prop_map(|low| IpAddr::from(Ipv6Addr::from((0xfd00 << 112) | low))),
    ]
}

proptest! {
    #[test]
    fn an_address_is_opened_for_the_peer_that_has_it_and_for_nobody_else(
        rows in proptest::collection::vec((1u8..6, network()), 0..24),
        address in address(),
    ) {
        let owners = Owners::new(rows.iter().map(|(peer, network)| (key(*peer), *network)));
        // the same by looking at all of them
        let mut best: Option<(IpNet, u8)> = None;
        for (peer, network) in &rows {
            let is_better = best.is_none_or(|(found, _)| network.prefix_len() >= found.prefix_len());
            if network.contains(&address) && is_better {
                best = Some((*network, *peer));
            }
        }
        prop_assert_eq!(owners.owner(address), best.map(|(network, peer)| (network, key(peer))));
        for peer in 1..6 {
            for width in [Width::Single, Width::Networks] {
                let open = owners.addresses(&key(peer), width);
                let opened = open.iter().filter(|network| network.contains(&address)).count();
                prop_assert!(opened <= 1, "they overlap");
                prop_assert_eq!(opened == 1, owners.caller(address, width) == Ok(key(peer)));
            }
        }
    }
}
