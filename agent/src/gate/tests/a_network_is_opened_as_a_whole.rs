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
