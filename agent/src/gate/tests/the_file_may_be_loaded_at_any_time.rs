use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn by_the_sites_own_ruleset() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        let openings = [opening(PEERS[0], "prod", HOUR)];
        gate.install(&layout(), &openings).unwrap();
        let file = bed.gateway.path("gate.nft");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let site = format!("flush ruleset\ninclude \"{}\"\ntable inet site {{ }}\n", file.display());
        for _ in 0..2 {
            bed.nft(&site);
            assert!(!bed.pings(PEERS[0], INSIDE) && !bed.pings(PEERS[1], INSIDE), "a gate stands, without grants");
            assert!(gate.intact().is_err());
            gate.install(&layout(), &openings).unwrap();
            assert!(bed.pings(PEERS[0], INSIDE));
        }
        gate.remove().unwrap();
        bed.nft(&site);
        assert!(bed.pings(PEERS[1], INSIDE), "nothing is held back, and the file is still there to be included");
    });
}

/// At boot, before the agent and before the interface.
#[test]
fn before_there_is_an_interface() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| gate.install(&layout(), &[]).unwrap());
    let file = bed.gateway.path("gate.nft");
    let fresh = Machine::new(&unique());
    fresh.run("nft", &["-f", file.to_str().unwrap()]).ok();
    assert!(fresh.run("nft", &["list", "table", "inet", "wgmfa"]).ok().stdout.contains("\"wg0\""));
}
