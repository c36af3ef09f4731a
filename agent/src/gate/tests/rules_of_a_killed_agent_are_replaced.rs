use super::*;

/// What anybody but us has there, and what we have.
fn shown(bed: &Bed) -> String {
    let listed = |words: &[&str]| bed.gateway.run("ip", words).ok().stdout;
    [
        listed(&["rule"]),
        listed(&["-6", "rule"]),
        listed(&["route", "show", "table", "all"]),
        listed(&["-6", "route", "show", "table", "all"]),
    ]
    .concat()
}

#[test]
fn and_those_of_one_that_stands_down_vanish() {
    let bed = Bed::new();
    bed.gateway.ip(&["rule", "add", "from", "10.99.0.0/16", "lookup", "42", "priority", "300"]);
    let before = shown(&bed);
    let grant = |peer: &str| opening(peer, "prod", HOUR);
    bed.with_gate(Backend::IpRule, |gate| gate.install(&layout(), &[grant(PEERS[0]), grant(PEERS6[0])]).unwrap());
    assert!(bed.pings(PEERS[0], INSIDE), "nobody closes it");
    bed.with_gate(Backend::IpRule, |gate| {
        assert!(gate.change(&[grant(PEERS[0])], &[]).is_err(), "not before it was installed");
        gate.install(&layout(), &[grant(PEERS[1])]).unwrap();
        assert!(!bed.pings(PEERS[0], INSIDE) && !bed.pings(PEERS6[0], INSIDE6) && bed.pings(PEERS[1], INSIDE));
        gate.remove().unwrap();
        assert_eq!(shown(&bed), before);
        assert!(bed.pings(PEERS[0], INSIDE));
    });
}

#[test]
fn and_those_that_were_touched() {
    let bed = Bed::new();
    bed.with_gate(Backend::IpRule, |gate| {
        let install = |gate: &mut dyn Gate| gate.install(&layout(), &[opening(PEERS[0], "prod", HOUR)]).unwrap();
        for words in [
            vec!["rule", "delete", "priority", "211"],
            vec!["-6", "rule", "flush"],
            vec!["rule", "add", "from", PEERS[1], "goto", "500", "priority", "201", "protocol", "119"],
            vec!["route", "flush", "table", "777790"],
        ] {
            install(gate);
            gate.intact().unwrap();
            bed.gateway.ip(&words);
            assert!(gate.intact().is_err(), "{words:?}");
        }
        install(gate);
        // a network that is routed to the peers later on
        bed.gateway.ip(&["route", "add", "10.8.0.0/24", "dev", "wg0"]);
        bed.peers.ip(&["address", "add", "10.8.0.2/32", "dev", "lo"]);
        let mac = bed.peers.run("cat", &["/sys/class/net/eth0/address"]).ok().stdout;
        bed.gateway.ip(&["neighbour", "replace", "10.8.0.2", "lladdr", mac.trim(), "dev", "wg0", "nud", "permanent"]);
        gate.intact().unwrap();
        let refused = bed.inside.run("ping", &["-n", "-c", "1", "-W", "1", "10.8.0.2"]);
        assert!(refused.stdout.contains("filtered") || refused.stdout.contains("100% packet loss"), "{refused:?}");
        assert_ne!(refused.code(), 0);
    });
}

/// When agent.toml names another backend.
#[test]
fn and_those_of_the_other_backend() {
    let bed = Bed::new();
    let before = shown(&bed);
    let install = |kind, peer| {
        bed.with_gate(kind, |gate| gate.install(&layout(), &[opening(peer, "prod", HOUR)]).unwrap());
        assert_eq!(bed.pings(PEERS[0], INSIDE), peer == PEERS[0]);
        assert_eq!(bed.pings(PEERS[1], INSIDE), peer == PEERS[1]);
    };
    install(Backend::IpRule, PEERS[0]);
    install(Backend::Nftables, PEERS[1]);
    assert_eq!(shown(&bed), before);
    install(Backend::IpRule, PEERS[0]);
    assert_eq!(bed.gateway.run("nft", &["list", "tables"]).ok().stdout, "");
    let file = std::fs::read_to_string(bed.gateway.path("gate.nft")).unwrap();
    assert!(!file.contains("chain"), "{file}");
}
