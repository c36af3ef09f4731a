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
    // where a packet came from is looked up in the same rules
    bed.gateway.run("sysctl", &["-qw", "net.ipv4.conf.all.rp_filter=1"]).ok();
    let (peers, inside) = (&bed.peers, &bed.inside);
    bed.with_gate(kind, |gate| {
        gate.install(&layout(), &[]).unwrap();
        gate.change(&[opening(PEERS[0], "prod", HOUR), opening(PEERS6[0], "prod", HOUR)], &[]).unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6) && bed.pings(PEERS[0], GATEWAY));
        assert!(bed.pings_back(INSIDE, PEERS[0]) && bed.pings_back(INSIDE6, PEERS6[0]));
        // a service is its port, and nothing else of its host
        for (peer, service) in [(PEERS[0], SERVICE), (PEERS6[0], SERVICE6)] {
            assert!(connects((peers, peer), (inside, service), 443));
            assert!(!connects((peers, peer), (inside, service), 444));
            assert!(!bed.pings(peer, service));
        }
        assert!(!bed.pings(PEERS[0], ADMIN), "another tier");
        assert!(!bed.pings(PEERS[1], INSIDE) && !bed.pings(PEERS6[1], INSIDE6), "another peer");
        // a step up, and back
        gate.change(&[opening(PEERS[0], "admin", HOUR)], &[]).unwrap();
        assert!(bed.pings(PEERS[0], ADMIN) && bed.pings(PEERS[0], INSIDE));
        gate.change(&[], &[(addresses(PEERS[0]), tier("admin"))]).unwrap();
        assert!(!bed.pings(PEERS[0], ADMIN) && bed.pings(PEERS[0], INSIDE));
        gate.change(&[], &[(addresses(PEERS[0]), tier("prod"))]).unwrap();
        assert!(!bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS6[0], INSIDE6));
        gate.intact().unwrap();
        assert!(gate.change(&[opening(PEERS[0], "nothing", HOUR)], &[]).unwrap_err().contains("nothing"));
    });
}
