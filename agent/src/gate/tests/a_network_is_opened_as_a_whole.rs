use wgmfa_core::gate::identity::{Owners, Width};
use wgmfa_core::key::PublicKey;

use super::*;

#[test]
fn when_its_peer_has_one() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[opening(PEERS[1], "admin", HOUR)]).unwrap();
        gate.change(&[opening("10.7.0.2/31", "prod", HOUR), opening("fd07::2/127", "prod", HOUR)], &[]).unwrap();
        gate.intact().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS[1], INSIDE) && bed.pings(PEERS6[1], INSIDE6));
        assert!(bed.pings(PEERS[1], ADMIN), "what was open is still open");
        // beside it, now that there is a set for networks
        gate.change(&[opening("10.7.8.0/24", "prod", HOUR), opening("10.7.0.2/31", "prod", HOUR)], &[]).unwrap();
        gate.intact().unwrap();
        gate.change(&[], &[(addresses("10.7.0.2/31"), tier("prod")), (addresses("10.7.9.0/24"), tier("prod"))])
            .unwrap();
        gate.intact().unwrap();
        assert!(!bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6));
        // nobody asks a whole network for codes
        let mut layout = layout();
        layout.free = ["10.7.0.0/31", "10.7.0.2/31", "10.7.0.2/32", "fd07::/64"].map(addresses).into();
        gate.install(&layout, &[]).unwrap();
        gate.intact().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6));
    });
}

#[test]
fn though_its_peer_has_a_part_of_it_too() {
    let bed = Bed::new();
    let peer = PublicKey::from_bytes([1; 32]);
    let openings = |networks: &[&str]| -> Vec<Opening> {
        let owners = Owners::new(networks.iter().map(|network| (peer, network.parse().unwrap())));
        let own = owners.addresses(&peer, Width::Networks);
        own.iter().map(|network| opening(&network.to_string(), "prod", HOUR)).collect()
    };
    bed.with_gate(Backend::Nftables, |gate| {
        for networks in
            [&["10.7.0.0/24", "10.7.0.2/31"][..], &["0.0.0.0/0", "10.8.0.0/24"], &["fd07::/64", "fd07::/96"]]
        {
            gate.install(&layout(), &openings(networks)).unwrap();
            gate.intact().unwrap();
            assert_eq!(bed.pings(PEERS[0], INSIDE), !networks[0].starts_with("fd07"), "{networks:?}");
        }
        // and when it gets all of it, or is left with a part
        let (part, all) = (openings(&["10.7.0.2/31"]), openings(&["10.7.0.0/24"]));
        gate.install(&layout(), &part).unwrap();
        for (now, before) in [(&all, &part), (&part, &all)] {
            let before: Vec<_> = before.iter().map(|one| (one.addresses.clone(), one.tier.clone())).collect();
            gate.change(now, &before).unwrap();
            gate.intact().unwrap();
            assert!(bed.pings(PEERS[0], INSIDE));
        }
    });
}
