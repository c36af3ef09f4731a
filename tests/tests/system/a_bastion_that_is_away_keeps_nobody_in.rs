//! An outage of the bastion prolongs nothing: sessions end at their deadline, waiting keys one interval after the last
//! contact, and when it is back a key waits again without a person.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn a_resident_agent_locks_a_session_at_its_deadline() {
    let mut lab = Lab::with_resident_agent("30s");
    lab.log_in();
    lab.bastion.kill();
    let [released, _] = lab.preshared_keys();
    let pings = lab.pings();
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let locked = agent.await_line_from(0, "the lock", LONG * 2, |line| {
        line.text.contains(": locked: the session's deadline has passed")
    });
    assert!(!lab.accepts(&released.expect("a key was released")));
    pings.assert_none_after(locked.at);
    drop(pings);
    lab.bastion.start();
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn a_resident_agent_locks_a_waiting_key_one_interval_after_the_last_contact() {
    let mut lab = Lab::with_resident_agent("30s");
    let [waiting, _] = lab.preshared_keys();
    let waiting = waiting.expect("a key waits");
    lab.bastion.kill();
    lab.await_accepted(&waiting); // it may have been released just before
    let pings = lab.pings();
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let locked = agent.await_line_from(0, "the lock", LONG * 2, |line| {
        line.text.contains(": locked: the bastion was not reached for 30s, and the waiting key may have been released")
    });
    assert!(!lab.accepts(&waiting));
    pings.assert_none_after(locked.at);
    drop(pings);
    lab.bastion.start();
    lab.bastion.await_generation(DEVICE, 2);
    lab.log_in();
}

#[test]
fn a_cron_agent_locks_in_the_first_round_after_it_and_speaks_once() {
    let mut lab = Lab::new("30s");
    lab.gateway.agent(&["rotate"]).ok();
    // released while the agent is away: it has not heard of it when the bastion goes
    lab.log_in();
    let [released, _] = lab.preshared_keys();
    let released = released.expect("a key was released");
    lab.bastion.kill();

    let told = lab.gateway.agent(&["rotate"]).expect(5);
    let first = told.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("wgmfa-agent: error: bastion [10.99.0.1]:2222: connection refused"), "{told:#?}");
    lab.await_answer(); // before the deadline nobody is cut off
    let mut said = String::new();
    until("the lock", LONG * 2, || {
        said += &lab.gateway.agent(&["rotate"]).expect(5).said();
        std::thread::sleep(std::time::Duration::from_millis(500)); // cron comes by; there is nothing to wait for
        (lab.gateway.preshared_key(&lab.laptop.tunnel.keys.public).as_ref() != Some(&released)).then_some(())
    });
    assert!(!lab.accepts(&released));
    assert_eq!(said, "", "the outage was told already");

    lab.bastion.start();
    let told = lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(told.said(), "wgmfa-agent: bastion [10.99.0.1]:2222: reached again\n");
    assert_eq!(lab.gateway.agent(&["rotate"]).ok().said(), "");
    lab.await_waiting_key();
    lab.log_in();
}
