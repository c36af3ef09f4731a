//! A connection that never had a preshared key gets its first one from the policy that covers it.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn a_connection_without_a_preshared_key_is_locked_and_gets_its_first_generation() {
    let mut lab = Lab::new("1h");
    let ends = [(&lab.gateway.machine, &lab.gateway.tunnel), (&lab.laptop.machine, &lab.laptop.tunnel)];
    let peers = [&lab.laptop.tunnel.keys.public, &lab.gateway.tunnel.keys.public];
    for ((machine, tunnel), peer) in ends.into_iter().zip(peers) {
        machine.run("wg", &["set", &tunnel.name, "peer", peer, "preshared-key", "/dev/null"]).ok();
    }
    assert_eq!(lab.preshared_keys(), [None, None]);
    until("a tunnel without a preshared key", LONG, || is_answered(&lab.laptop.machine, GATEWAY).then_some(()));

    lab.gateway.start();
    lab.await_waiting_key();
    let [first, of_laptop] = lab.preshared_keys();
    let first = first.expect("a first generation stands on the gateway");
    assert_eq!(of_laptop, None);
    assert!(!is_answered(&lab.laptop.machine, GATEWAY), "the session without a second factor is over");
    let row = lab.bastion.key(DEVICE);
    assert_eq!((&row["generation"], &row["state"]), (&1.into(), &"Expired".into()), "{row:#}");

    lab.log_in();
    assert_eq!(lab.preshared_keys(), [Some(first.clone()), Some(first)]);
    lab.bastion.await_state(DEVICE, "OK");
}
