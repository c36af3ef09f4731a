use super::*;

/// Elements of the set of tier prod, as nft lists them.
fn listed(bed: &Bed) -> String {
    bed.gateway.run("nft", &["list", "set", "inet", "wgmfa", "tier_prod_4"]).ok().stdout
}

#[test]
fn and_a_refused_one_changes_nothing() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[opening(PEERS[1], "prod", Duration::from_secs(1000))]).unwrap();
        gate.change(&[opening(PEERS[0], "prod", HOUR)], &[]).unwrap();
        // what is not there may be closed, again and again
        let nobody = (addresses("10.7.0.99"), tier("prod"));
        gate.change(&[], &[nobody.clone(), (addresses(PEERS[0]), tier("admin"))]).unwrap();
        gate.change(&[], &[nobody, (addresses("10.77.0.0/24"), tier("prod"))]).unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && bed.pings(PEERS[1], INSIDE));
        assert!(listed(&bed).contains("10.7.0.3 timeout 16m40s"), "its time is its own: {}", listed(&bed));
        // one of these cannot be: so none is
        let long = Addresses { interface: "a-name-that-is-too-long".parse().unwrap(), ..addresses("10.7.0.4") };
        let refused = Opening { addresses: long, ..opening("10.7.0.4", "prod", HOUR) };
        gate.change(&[opening("10.7.0.4", "prod", HOUR), refused], &[(addresses(PEERS[0]), tier("prod"))]).unwrap_err();
        assert!(bed.pings(PEERS[0], INSIDE) && !listed(&bed).contains("10.7.0.4"));
        gate.intact().unwrap();
    });
}

#[test]
fn what_is_opened_and_closed_at_once_is_open() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        gate.install(&layout(), &[]).unwrap();
        gate.change(&[opening(PEERS[0], "prod", HOUR)], &[(addresses(PEERS[0]), tier("prod"))]).unwrap();
        assert!(bed.pings(PEERS[0], INSIDE));
        gate.intact().unwrap();
    });
}
