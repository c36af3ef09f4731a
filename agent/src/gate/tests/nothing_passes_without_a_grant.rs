use super::*;

#[test]
fn of_nftables() {
    holds(Backend::Nftables);
}

#[test]
fn of_ip_rule() {
    holds(Backend::IpRule);
}

fn holds(kind: Backend) {
    let bed = Bed::new();
    assert!(
        bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6) && bed.pings(PEERS[0], GATEWAY),
        "no gate yet"
    );
    bed.with_gate(kind, |gate| {
        let mut layout = layout();
        layout.free = [addresses(PEERS[1]), addresses(PEERS6[1])].into();
        gate.install(&layout, &[]).unwrap();
        gate.intact().unwrap();
        for (from, to) in
            [(PEERS[0], INSIDE), (PEERS[0], SERVICE), (PEERS[0], GATEWAY), (PEERS6[0], INSIDE6), (PEERS6[0], GATEWAY6)]
        {
            assert!(!bed.pings(from, to), "{from} reaches {to}");
        }
        assert!(!bed.pings_back(INSIDE, PEERS[0]) && !bed.pings_back(INSIDE6, PEERS6[0]), "nor does anybody reach it");
        let (peers, gateway, inside) = (&bed.peers, &bed.gateway, &bed.inside);
        assert!(!connects((peers, PEERS[0]), (inside, SERVICE), 443));
        assert!(!connects((peers, PEERS[0]), (gateway, GATEWAY), 22));
        assert!(!connects((gateway, GATEWAY), (peers, PEERS[0]), 22), "the gateway itself keeps away from it");
        // but for codes, and tier 0
        for (peer, gateway_address) in [(PEERS[0], GATEWAY), (PEERS6[0], GATEWAY6)] {
            assert!(connects((peers, peer), (gateway, gateway_address), 7777));
        }
        assert!(connects((peers, PEERS[0]), (inside, OPEN), 22));
        assert!(!connects((peers, PEERS[0]), (inside, OPEN), 23));
        assert!(!connects((peers, PEERS[0]), (inside, INSIDE), 7777), "the port for codes is open on the gateway only");
        // and those of whom nobody asks a code
        assert!(bed.pings(PEERS[1], INSIDE) && bed.pings(PEERS[1], GATEWAY) && bed.pings(PEERS6[1], INSIDE6));
        assert!(bed.pings_back(INSIDE, PEERS[1]));
        gate.remove().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6));
    });
}
