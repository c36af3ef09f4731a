//! A host has one connection to the bastion, and one agent that changes anything.

use wgmfa_tests::Lab;
use wgmfa_tests::machine::write_private;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn a_second_connection_of_a_host_replaces_the_first() {
    let lab = Lab::with_resident_agent("1h");
    // the same host key from a machine that does not know of the first agent: a clone, say
    let machine = &lab.gateway.machine;
    let config = std::fs::read_to_string(machine.path("agent.toml")).expect("enrol writes it");
    let clone = machine.path("clone.toml");
    write_private(&clone, &config.replace("agent-state", "clone-state"));
    let before = lab.gateway.preshared_key(&lab.laptop.tunnel.keys.public);
    let clone = clone.to_string_lossy().into_owned();
    let agent = wgmfa_tests::program::ours("wgmfa-agent");
    machine.run(&agent.to_string_lossy(), &["--config", &clone, "rotate", "--dry-run"]).ok();

    let first = lab.gateway.agent.as_ref().expect("it runs");
    first.await_line("another connection of this host has taken over");
    let replaced = lab.bastion.log("host-replaced");
    assert_eq!(replaced.len(), 1, "{replaced:#?}");
    assert_eq!((replaced[0]["host"].as_str(), replaced[0]["from"].as_str()), (Some("app-gw"), Some("10.99.0.2")));
    until("the first agent comes back", LONG, || (lab.bastion.log("host-connected").len() == 2).then_some(()));
    assert_eq!(lab.gateway.preshared_key(&lab.laptop.tunnel.keys.public), before);
}

#[test]
fn rotate_beside_a_resident_agent_asks_that_one() {
    let mut lab = Lab::with_resident_agent("1h");
    let rounds = || {
        let hosts = lab.bastion.admin(&["--json", "host", "show", "app-gw"]).ok().json();
        hosts["hosts"][0]["last_seen"].clone()
    };
    let before = rounds();
    lab.gateway.agent(&["rotate"]).ok();
    assert_ne!(rounds(), before, "a round was done");
    let planned = lab.gateway.agent(&["rotate", "--dry-run"]).ok();
    assert_eq!(planned.said(), "", "nothing is to be done");
    assert_eq!(lab.bastion.log("host-replaced").len(), 0);
    assert_eq!(lab.bastion.log("host-connected").len(), 1);
    lab.gateway.agent(&["run"]).expect(1);
    lab.log_in();
}
