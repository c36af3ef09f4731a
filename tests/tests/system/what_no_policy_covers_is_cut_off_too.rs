//! A connection that no policy covers, or that rests under one, is cut off like any other; an administrator's key opens it
//! again.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, HOST};
use wgmfa_tests::wait::{LONG, until};

const ELSEWHERE: &str =
    "description = \"Elsewhere\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"db-gw/devices\"]\n";

/// The tunnel with the configured key, which the gateway's file has too; this policy is the only one.
fn uncovered(policy: &str) -> (Lab, String) {
    let lab = Lab::new("1h");
    lab.gateway.write_configuration();
    lab.bastion.policy("101-devices.toml", policy);
    lab.bastion.admin(&["reload"]).ok();
    lab.gateway.agent(&["rotate"]).ok();
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    lab.await_accepted(&configured); // wgmfa has nothing to do with it
    (lab, configured)
}

#[test]
fn at_once_where_an_agent_stays() {
    let (mut lab, configured) = uncovered(ELSEWHERE);
    lab.gateway.start();
    lab.gateway.await_contact(&lab.bastion);
    lab.bastion.admin(&["device", "disable", DEVICE]).ok();
    assert!(!lab.accepts(&configured));
    lab.gateway.agent(&["rotate"]).ok();
    assert!(!lab.accepts(&configured), "and it is kept so");

    let name = lab.bastion.key(DEVICE)["connection"].as_str().expect("a name").to_owned();
    let said = lab.bastion.admin(&["device", "enable", DEVICE]).ok();
    let named = format!("{name} stays locked, no policy opens it: wgmfa-bastion key set {name} --reason TEXT");
    assert!(said.stderr.contains(&named), "{said:#?}");
    lab.gateway.agent(&["rotate"]).ok();
    assert!(!lab.accepts(&configured));
    lab.bastion.admin_with(&["key", "set", &name, "--reason", "it was found"], configured.as_bytes()).ok();
    lab.await_accepted(&configured);

    lab.bastion.admin(&["device", "disable", DEVICE]).ok();
    assert!(!lab.accepts(&configured));
    lab.gateway.agent(&["stand-down", "--reason", "migration"]).ok();
    lab.await_accepted(&configured); // the lock has not taken the configured key away for ever
}

#[test]
fn at_the_next_round_of_an_agent_that_comes_by() {
    let rests = "description = \"Rests\"\nrotation-interval = \"1h\"\nmfa = false\npeers = [\"app-gw/*\"]\n";
    for (policy, cut) in [(ELSEWHERE, "remove"), (rests, "disable"), (rests, "remove")] {
        let (lab, configured) = uncovered(policy);
        let said = lab.bastion.admin(&["device", cut, DEVICE]).expect(6);
        assert!(said.stderr.contains(&format!("{HOST} has not confirmed the lock yet")), "{said:#?}");
        lab.gateway.agent(&["rotate"]).ok();
        assert!(!lab.accepts(&configured), "{cut}");
        lab.gateway.agent(&["rotate"]).ok();
        assert!(!lab.accepts(&configured), "{cut}, and it is kept so");
    }
}

#[test]
fn also_a_peer_that_comes_after_the_cut() {
    let (mut lab, configured) = uncovered(ELSEWHERE);
    let (key, name) = (lab.laptop.tunnel.keys.public.clone(), lab.gateway.tunnel.name.clone());
    lab.gateway.machine.run("wg", &["set", &name, "peer", &key, "remove"]).ok();
    lab.gateway.agent(&["rotate"]).ok();
    lab.gateway.start();
    lab.gateway.await_contact(&lab.bastion);
    lab.bastion.admin(&["device", "disable", DEVICE]).ok();
    lab.gateway.machine.run("wg", &["set", &name, "peer", &key, "allowed-ips", "10.77.0.2/32"]).ok();
    lab.gateway.agent(&["rotate"]).ok();
    until("a lock key on the peer that came", LONG, || lab.gateway.preshared_key(&key));
    assert!(!lab.accepts(&configured));
}
