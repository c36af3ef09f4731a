//! Two servers without a person: both change their key together, and no packet is lost.

use wgmfa_tests::pair::{Beginning, End, IN_TUNNEL, Pair, SECOND};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::run;
use wgmfa_tests::tunnel::genkey;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn a_pair_reaches_its_bastion_through_the_tunnel_alone() {
    for behind in [End::First, End::Second] {
        let mut pair = Pair::begin(&Beginning { behind: Some(behind), ..Beginning::new("1h") });
        pair.await_ping();
        let address = pair.bastion.address.clone();
        let machine = pair.gateway(behind).machine.clone();
        until(&format!("{behind:?} reaches it"), LONG, || is_answered(&machine, &address).then_some(()));
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

#[test]
fn a_pair_without_a_key_gets_its_first_one_in_place() {
    let mut pair = Pair::begin(&Beginning { preshared_key: false, ..Beginning::new("1h") });
    pair.await_ping();
    let pings = pair.pings();
    pair.first.start();
    pair.second.start();
    pair.await_settled(1);
    let [first, second] = pair.preshared_keys();
    assert!(first.is_some() && first == second);
    assert!(pings.lost().is_empty(), "{:?} of {} pings", pings.lost(), pings.replies().len());
    let status = pair.second.status();
    assert_eq!((&status["peers"][0]["hold"], &status["peers"][0]["generation"]), (&"together".into(), &1.into()));
}

#[test]
fn one_round_after_a_stand_down_shows_both_ends_alike_again() {
    let mut pair = Pair::with_resident_agents("1h");
    for end in [End::First, End::Second] {
        let gateway = pair.gateway(end);
        gateway.agent(&["stand-down", "--reason", "a test"]).ok();
        gateway.agent.as_mut().expect("it ran").await_end();
        gateway.agent(&["rotate"]).ok();
        let row = pair.bastion.key(&pair.connection());
        assert_eq!(row["state"], "OK", "{end:?}: {row:#}");
        let [first, second] = pair.preshared_keys();
        assert_eq!(first, second, "{end:?}");
    }
}

#[test]
fn who_is_cut_off_is_locked_at_the_other_end_until_let_in_again() {
    let pair = Pair::with_resident_agents("1h");
    pair.await_ping();
    pair.bastion.admin(&["host", "disable", SECOND]).ok();
    assert!(!is_answered(&pair.first.machine, IN_TUNNEL[1]), "locked at once");
    pair.bastion.admin(&["host", "enable", SECOND]).ok();
    pair.await_settled(2);
    pair.await_ping();
}

#[test]
fn a_policy_that_goes_leaves_the_keys_as_they_are() {
    let pair = Pair::with_resident_agents("1h");
    let keys = pair.preshared_keys();
    let file = pair.bastion.folder().join("policy.d/103-infra.toml");
    let text = std::fs::read_to_string(&file).expect("the lab wrote it");
    pair.bastion.policy("103-infra.toml", &text.replace(&pair.first.tunnel.name, "elsewhere"));
    pair.bastion.admin(&["reload"]).ok();
    pair.first.agent(&["rotate"]).ok();
    pair.second.agent(&["rotate"]).ok();
    assert_eq!(pair.preshared_keys(), keys);
    assert_eq!(pair.bastion.await_state(&pair.connection(), "Match")["policy"], serde_json::Value::Null);
    pair.bastion.policy("103-infra.toml", &text);
    pair.bastion.admin(&["reload"]).ok();
    pair.rotate();
    pair.await_settled(2);
}

#[test]
fn a_key_from_another_hand_is_replaced_in_place() {
    let pair = Pair::with_resident_agents("1h");
    pair.await_ping();
    let keys = pair.preshared_keys();
    let (second, peer) = (&pair.second, &pair.first.tunnel.keys.public);
    let mut set = second.machine.command("wg");
    set.args(["set", &second.tunnel.name, "peer", peer, "preshared-key", "/dev/stdin"]);
    run(&mut set, genkey().as_bytes()).ok();
    until("the key of the pair", LONG, || (pair.preshared_keys() == keys).then_some(()));
    until("the audit line", LONG, || (pair.bastion.log("changed-outside").len() == 1).then_some(()));
    assert_ne!(second.tunnel.latest_handshake(&second.machine, peer), 0, "the peer was not added again");
}

#[test]
fn stand_down_puts_the_configured_keys_back() {
    let mut pair = Pair::new("1h");
    let configured = pair.preshared_keys();
    pair.first.start();
    pair.second.start();
    pair.await_settled(1);
    assert_ne!(pair.preshared_keys(), configured);
    for gateway in [&pair.first, &pair.second] {
        gateway.agent(&["stand-down", "--reason", "test"]).ok();
    }
    assert_eq!(pair.preshared_keys(), configured);
    pair.await_ping();
    pair.first.start();
    pair.second.start();
    pair.await_settled(1);
    until("one key on both ends", LONG, || {
        let [first, second] = pair.preshared_keys();
        (first == second && first != configured[0]).then_some(())
    });
}

#[test]
fn agents_from_cron_rotate_a_pair_in_a_few_rounds() {
    let pair = Pair::new("1h");
    let planned = || pair.first.agent(&["rotate", "--dry-run"]).ok().stdout;
    for gateway in [&pair.first, &pair.second, &pair.first, &pair.second] {
        gateway.agent(&["rotate"]).ok();
    }
    assert!(planned().contains("would change to generation 1 in place"), "{}", planned());
    for gateway in [&pair.first, &pair.second] {
        gateway.agent(&["rotate"]).ok();
    }
    pair.await_settled(1);
    let [first, second] = pair.preshared_keys();
    assert_eq!(first, second);
}
