use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// Whether somebody has changed the ruleset.
fn is_told(gate: &dyn Gate) -> bool {
    let descriptor = gate.changed().unwrap();
    let mut descriptors = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut descriptors, PollTimeout::from(2000u16)).unwrap() > 0
}

#[test]
fn and_is_made_anew_with_the_time_that_is_left() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        let openings = [opening(PEERS[0], "prod", HOUR)];
        gate.install(&layout(), &openings).unwrap();
        gate.intact().unwrap();
        bed.nft("flush ruleset");
        assert!(is_told(gate));
        assert_eq!(gate.intact().unwrap_err(), "table inet wgmfa is gone");
        assert!(gate.change(&openings, &[]).is_err(), "there is nothing to open");
        gate.install(&layout(), &[opening(PEERS[0], "prod", Duration::from_secs(2))]).unwrap();
        gate.intact().unwrap();
        assert!(bed.pings(PEERS[0], INSIDE) && !bed.pings(PEERS[1], INSIDE));
        wgmfa_tests::wait::until("its end", HOUR, || (!bed.pings(PEERS[0], INSIDE)).then_some(()));
        gate.intact().unwrap();
    });
}

#[test]
fn whatever_was_done_to_it() {
    let bed = Bed::new();
    bed.with_gate(Backend::Nftables, |gate| {
        let mut layout = layout();
        layout.free = [addresses(PEERS[1])].into();
        for (text, why) in [
            ("table inet wgmfa { flags dormant; }", "put to sleep"),
            ("delete table inet wgmfa\ntable inet wgmfa { }", "made anew"),
            ("flush chain inet wgmfa from_peers", "rules"),
            ("insert rule inet wgmfa forward accept", "rules"),
            ("add chain inet wgmfa mine", "chains"),
            ("add set inet wgmfa mine { type ipv4_addr; }", "sets"),
            ("add element inet wgmfa tier_prod_4 { \"wg0\" . 10.7.0.66 }", "without a grant"),
            ("add element inet wgmfa tier_prod_4 { \"wg0\" . 10.7.0.66 timeout 1h }", "without a grant"),
            ("delete element inet wgmfa tier_prod_4 { \"wg0\" . 10.7.0.2 }", "taken out"),
            (
                "delete element inet wgmfa tier_prod_4 { \"wg0\" . 10.7.0.2 }\n\
              add element inet wgmfa tier_prod_4 { \"wg0\" . 10.7.0.2 timeout 2h }",
                "longer",
            ),
            ("flush set inet wgmfa free_4", "free"),
        ] {
            gate.install(&layout, &[opening(PEERS[0], "prod", HOUR)]).unwrap();
            gate.intact().unwrap();
            bed.nft(text);
            assert!(is_told(gate), "{text}");
            let found = gate.intact().unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
            assert!(gate.intact().is_err(), "it stays so until the gate is made anew");
        }
        gate.install(&layout, &[]).unwrap();
        bed.nft("table inet other { chain c { }; }");
        gate.intact().expect("that is somebody else's table");
        gate.remove().unwrap();
        assert!(gate.intact().is_err());
        bed.nft("delete table inet other");
    });
}

#[test]
fn and_one_that_could_not_be_made_is_not_taken_for_the_one_from_before() {
    let bed = Bed::new();
    let names: Vec<String> = (0..7).map(|number| format!("t{number}")).collect();
    let tiers: String = names.iter().map(|name| format!("[tier.{name}]\nallow = [\"10.1.0.0/16\"]\n")).collect();
    let layout = layout_of(&tiers);
    // routing rules have room for 64 different sets of tiers, and the kernel takes no networks that overlap
    let set = |bits: u8| {
        let tiers = names.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
        tiers.map(move |(_, name)| opening(&format!("10.7.1.{bits}"), name, HOUR))
    };
    let many: Vec<Opening> = (1..=65).flat_map(set).collect();
    let overlapping = [opening("10.7.0.0/24", "t0", HOUR), opening("10.7.0.0/25", "t0", HOUR)];
    for (kind, cannot) in [(Backend::IpRule, &many[..]), (Backend::Nftables, &overlapping)] {
        bed.with_gate(kind, |gate| {
            gate.install(&layout, &[opening(PEERS[0], "t0", HOUR)]).unwrap();
            gate.install(&layout, cannot).unwrap_err();
            assert!(bed.pings(PEERS[0], INSIDE), "the one from before stands");
            gate.intact().unwrap_err();
            gate.install(&layout, &[]).unwrap();
            gate.intact().unwrap();
            assert!(!bed.pings(PEERS[0], INSIDE));
            gate.remove().unwrap();
        });
    }
}
