//! A private key that is in two places: both machines use it, and take the session from each other.

use std::sync::Arc;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY, LAPTOP};
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::tunnel::{PeerConfig, Tunnel};
use wgmfa_tests::wait::{LONG, until};

/// Begins a session anew, as a machine does that gets no answers any more.
fn come(lab: &Lab, machine: &Machine, tunnel: &Tunnel, preshared_key: &str) {
    let shook = || lab.gateway.tunnel.latest_handshake(&lab.gateway.machine, &tunnel.keys.public);
    let before = shook();
    // the gateway takes a handshake only if it is some time after the last one, and tells its time in seconds
    until("a new handshake", LONG, || {
        tunnel.readd(machine, &lab.gateway.tunnel.keys.public, preshared_key);
        (is_answered(machine, GATEWAY) && shook() > before).then_some(())
    });
    // the gateway looks once a second
    let looked = std::time::Instant::now();
    until("a look of the agent", LONG, || {
        is_answered(machine, GATEWAY);
        (looked.elapsed() > std::time::Duration::from_millis(2500)).then_some(())
    });
}

#[test]
fn the_alarm_is_one_line_and_a_machine_that_moves_raises_none() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    // the agent has seen the handshake, and where it came from
    lab.bastion.await_state(DEVICE, "OK");
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let name = unique();
    let thief = Arc::new(Machine::new(&format!("{name}t")));
    lab.wire.plug(&thief);
    let peer = PeerConfig {
        public_key: lab.gateway.tunnel.keys.public.clone(),
        preshared_key: Some(released.clone()),
        endpoint: Some(lab.laptop.tunnel.endpoint(&lab.laptop.machine, &lab.gateway.tunnel.keys.public)),
        allowed_ips: "10.77.0.0/24".to_owned(),
    };
    let keys = lab.laptop.tunnel.keys.clone();
    let stolen = Tunnel::up(&thief, &format!("{name}t0"), keys, &format!("{LAPTOP}/24"), 0, &[peer]);

    come(&lab, &thief, &stolen, &released);
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(lab.bastion.log("two-endpoints").len(), 0, "it may be a machine that has moved");

    come(&lab, &lab.laptop.machine, &lab.laptop.tunnel, &released);
    let lines = until("an alarm", LONG, || Some(lab.bastion.log("two-endpoints")).filter(|lines| !lines.is_empty()));
    assert!(lines[0]["connection"].as_str().is_some_and(|name| name.ends_with(DEVICE)), "{lines:?}");
    assert!(lines[0]["reason"].as_str().is_some_and(|reason| reason.starts_with("two endpoints take turns: ")));
    let status = lab.bastion.admin(&["status"]).expect(1);
    assert!(status.stdout.contains("two endpoints take turns"), "{status:?}");

    come(&lab, &thief, &stolen, &released);
    come(&lab, &lab.laptop.machine, &lab.laptop.tunnel, &released);
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(lab.bastion.log("two-endpoints").len(), 1, "one line an hour");
    stolen.down(&thief);
}
