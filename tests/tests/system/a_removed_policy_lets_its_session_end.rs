//! Removing a policy ends no session; at the deadline the connection is locked and stays so.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, HOST, policy};
use wgmfa_tests::wait::LONG;

#[test]
fn a_running_session_keeps_its_deadline_and_then_nobody_comes_in() {
    let mut lab = Lab::with_resident_agent("30s");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let said = lab.gateway.agent.as_ref().expect("it runs").lines().len();
    let deadline = lab.bastion.key(DEVICE)["deadline"].clone();
    lab.bastion.policy("9-elsewhere.toml", &policy("30s", "db-gw/devices"));
    let file = lab.bastion.folder().join("policy.d/101-devices.toml");
    std::fs::remove_file(file).expect("the lab writes it");
    lab.bastion.admin(&["reload"]).ok();
    lab.gateway.agent(&["rotate"]).ok();
    lab.await_answer(); // the session goes on
    assert_eq!(lab.bastion.key(DEVICE)["deadline"], deadline);

    let pings = lab.pings();
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let locked = agent.await_line_from(said, "the lock", LONG * 2, |line| line.text.contains(": locked: "));
    assert!(!lab.accepts(&released));
    lab.gateway.agent(&["rotate"]).ok();
    let [stands, _] = lab.preshared_keys();
    assert_eq!(lab.gateway.status()["peers"][0]["hold"], "locked");
    let said = lab.laptop.sync(&[]).expect(6);
    assert!(said.stderr.contains(": refused: no policy with a second factor covers it any more"), "{said:#?}");
    lab.gateway.agent.as_mut().expect("it runs").stop();
    lab.gateway.start();
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(lab.preshared_keys()[0], stands, "also over a restart");
    pings.assert_none_after(locked.at);
    drop(pings);

    let text = policy("30s", &format!("{HOST}/{}", lab.gateway.tunnel.name));
    lab.bastion.policy("7-another.toml", &text);
    lab.bastion.admin(&["reload"]).ok();
    lab.await_waiting_key();
    lab.log_in();
}
