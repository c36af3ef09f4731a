use super::*;

#[test]
fn of_nftables() {
    holds(Backend::Nftables);
}

#[test]
fn of_ip_rule() {
    holds(Backend::IpRule);
}

/// Else a connection would begin, and come to a halt with the first large packet.
fn holds(kind: Backend) {
    let bed = Bed::new();
    bed.gateway.ip(&["link", "set", "lan0", "mtu", "1300"]);
    bed.with_gate(kind, |gate| {
        gate.install(&layout(), &[opening(PEERS[0], "prod", HOUR), opening(PEERS6[0], "prod", HOUR)]).unwrap();
        for (from, to) in [(PEERS[0], INSIDE), (PEERS6[0], INSIDE6)] {
            let arguments = ["-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", "-I", from, to];
            let said = bed.peers.run("ping", &arguments).said();
            assert!(said.contains("1300"), "{said}");
        }
    });
}
