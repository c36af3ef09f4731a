//! When the time is over the server stops accepting the key, and nobody needs to do anything for that.

use std::time::{Duration, SystemTime};

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::ping::Pings;
use wgmfa_tests::wait::LONG;

/// Longer than the shortest session.
const SESSION_AND_MORE: Duration = Duration::from_secs(60);

/// Waits until the agent has locked the peer; gives the time at which it said so.
fn await_lock(lab: &Lab, from: usize) -> SystemTime {
    let agent = lab.gateway.agent.as_ref().unwrap();
    let locked = agent.await_line_from(from, "the lock", SESSION_AND_MORE, |line| line.text.contains(": locked"));
    locked.at
}

/// No ping that was sent after the lock is answered, also not a while later.
fn assert_silence_after(pings: &Pings, locked: SystemTime) {
    pings.await_silence(Duration::from_secs(2), LONG);
    pings.assert_none_after(locked);
}

#[test]
fn no_packet_passes_after_the_lock_and_a_new_login_opens_again() {
    let mut lab = Lab::with_resident_agent("30s");
    let said = lab.gateway.agent.as_ref().unwrap().lines().len();
    let login = SystemTime::now();
    lab.laptop.sync(&[]).ok();
    let pings = lab.pings();
    pings.first_reply_after(login);
    let [_, old_key] = lab.preshared_keys();

    let locked = await_lock(&lab, said);
    assert!(locked.duration_since(login).unwrap() > Duration::from_secs(29), "locked before the deadline");
    assert_silence_after(&pings, locked);
    let last = pings.replies().last().copied().unwrap();
    assert!(last.sent > login + Duration::from_secs(20), "the tunnel was down long before the deadline");
    let [gateway, laptop] = lab.preshared_keys();
    assert_eq!(laptop, old_key);
    assert_ne!(gateway, laptop);
    lab.bastion.await_state(DEVICE, "Expired");

    lab.await_waiting_key();
    lab.laptop.sync(&[]).ok();
    let again = SystemTime::now();
    pings.first_reply_after(again);
    assert_ne!(lab.preshared_keys()[1], old_key);
}

#[test]
fn a_deadline_needs_no_bastion() {
    let mut lab = Lab::with_resident_agent("30s");
    let said = lab.gateway.agent.as_ref().unwrap().lines().len();
    lab.laptop.sync(&[]).ok();
    let pings = lab.pings();
    pings.first_reply_after(SystemTime::now());
    lab.bastion.kill();
    let locked = await_lock(&lab, said);
    assert_silence_after(&pings, locked);

    // back again, everything converges without a person
    lab.bastion.start();
    lab.await_waiting_key();
    lab.laptop.sync(&[]).ok();
    lab.await_answer();
}
