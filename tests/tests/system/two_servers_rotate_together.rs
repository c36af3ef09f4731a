//! Two servers without a person: both change their key together, and no packet is lost.

use wgmfa_tests::pair::{Beginning, End, Pair};
use wgmfa_tests::ping::is_answered;

#[test]
fn a_pair_reaches_its_bastion_through_the_tunnel_alone() {
    for behind in [End::First, End::Second] {
        let mut pair = Pair::begin(&Beginning { behind: Some(behind), ..Beginning::new("1h") });
        pair.await_ping();
        let address = pair.bastion.address.clone();
        let machine = pair.gateway(behind).machine.clone();
        assert!(is_answered(&machine, &address), "{behind:?}");
        let before = pair.gateway(behind.other());
        before.tunnel.down(&before.machine);
        assert!(!is_answered(&machine, &address), "{behind:?}: there is no other way");
    }
}

#[test]
fn a_pair_rotates_several_times_and_loses_no_packet() {
    let pair = Pair::with_resident_agents("1h");
    pair.await_ping();
    let [first, second] = pair.preshared_keys();
    assert!(first.is_some() && first == second);
    let mut seen = std::collections::BTreeSet::from([first]);
    let pings = pair.pings();
    for generation in 2..=5 {
        pair.rotate();
        pair.await_settled(generation);
        let [first, second] = pair.preshared_keys();
        assert_eq!(first, second, "generation {generation}");
        assert!(seen.insert(first), "each generation has a key of its own");
    }
    assert!(pings.lost().is_empty(), "{:?} of {} pings", pings.lost(), pings.replies().len());
}
