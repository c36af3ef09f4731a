//! A policy that wins from now on applies to the next session, not to the one that runs.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, HOST, policy};
use wgmfa_tests::wait::LONG;

#[test]
fn a_lower_ordinal_with_a_shorter_interval_takes_effect_at_the_deadline() {
    let mut lab = Lab::with_resident_agent("1m");
    lab.log_in();
    let (keys, before) = (lab.preshared_keys(), lab.bastion.key(DEVICE));
    let said = lab.gateway.agent.as_ref().expect("it runs").lines().len();
    let shorter = policy("30s", &format!("{HOST}/{}", lab.gateway.tunnel.name));
    lab.bastion.policy("50-shorter.toml", &shorter);
    let told = lab.bastion.admin(&["reload"]).ok().stdout;
    assert!(told.starts_with("1 connection changes policy\n") && told.contains("policy 101 -> policy 50"), "{told}");
    lab.gateway.agent(&["rotate"]).ok();
    let row = lab.bastion.key(DEVICE);
    assert_eq!((&row["deadline"], &row["generation"]), (&before["deadline"], &before["generation"]), "{row:#}");
    assert_eq!(lab.preshared_keys(), keys);
    lab.await_answer(); // the session goes on

    // longer than the new interval lasts
    let pings = lab.pings();
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let locked = agent.await_line_from(said, "the lock", LONG * 3, |line| line.text.contains(": locked: "));
    assert!(locked.text.contains("the session's deadline has passed"), "{locked:?}");
    pings.assert_none_after(locked.at);
    drop(pings);
    lab.await_waiting_key();
    let synced = lab.laptop.sync(&[]).ok().said();
    assert!(synced.contains("policy 50"), "{synced}");
    lab.gateway.agent.as_ref().expect("it runs").await_line("opened: generation 2, 30 s left");
}
