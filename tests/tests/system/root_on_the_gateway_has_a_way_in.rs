//! Rule 8: root on the gateway opens, locks and stands down without the bastion, which hears of it at the next round.

use wgmfa_tests::gated::PROTECTED;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::program::run;
use wgmfa_tests::tunnel::genkey;
use wgmfa_tests::wait::{LONG, until};
use wgmfa_tests::{Gated, Lab};

fn reasons(lab: &Lab, event: &str) -> Vec<String> {
    let lines = lab.bastion.log(event);
    lines.iter().map(|line| line["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits for an event that was reported with this reason.
fn await_event(lab: &Lab, event: &str, reason: &str) {
    until(&format!("{event}: {reason}"), LONG, || {
        reasons(lab, event).iter().any(|said| said.starts_with(reason)).then_some(())
    });
}

fn open(lab: &Lab, key: &str, time: &str) {
    let mut command = lab.gateway.command();
    command.args(["override", DEVICE, "--reason", "the bastion is down", "--for", time]);
    run(&mut command, key.as_bytes()).ok();
}

#[test]
fn an_override_opens_for_a_time_while_the_bastion_is_away_and_is_audited() {
    let mut lab = Lab::with_resident_agent("1h");
    let waited = lab.bastion.key(DEVICE)["generation"].as_u64();
    lab.bastion.kill();
    let key = genkey();
    open(&lab, &key, "15s");
    lab.await_accepted(&key);
    let pings = lab.pings();
    let locked = lab.gateway.agent.as_ref().expect("it runs").await_line("locked: the override's time is over");
    assert!(!lab.accepts(&key));
    pings.assert_none_after(locked.at);
    drop(pings);
    lab.bastion.start();
    await_event(&lab, "override", "the bastion is down");
    lab.await_waiting_key_above(waited);
    lab.log_in();
}

#[test]
fn what_root_has_opened_is_shown_with_its_evidence() {
    let lab = Lab::with_resident_agent("1h");
    let key = genkey();
    open(&lab, &key, "1m");
    let row = lab.bastion.await_state(DEVICE, "Match Pending");
    assert_eq!(row["reason"], "opened by root on the server side, not yet seen to match");
    lab.await_accepted(&key);
    lab.gateway.agent(&["rotate"]).ok();
    let row = lab.bastion.await_state(DEVICE, "OK");
    assert_eq!(row["reason"], "opened by root on the server side");
    assert!(!row["deadline"].is_null());
}

#[test]
fn a_lock_cuts_off_at_once_and_is_audited() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let pings = lab.pings();
    pings.first_reply_after(std::time::SystemTime::now());
    lab.gateway.agent(&["lock"]).ok();
    let locked = std::time::SystemTime::now();
    assert!(!lab.accepts(&released));
    pings.assert_none_after(locked);
    drop(pings);
    await_event(&lab, "locked", "ordered by root");
    lab.await_waiting_key();
    lab.log_in();
}

#[test]
fn standing_down_puts_the_configured_key_back_and_is_audited() {
    let mut lab = Lab::new("1h");
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    let file = lab.gateway.write_configuration();
    let before = std::fs::read_to_string(&file).expect("it was written");
    lab.gateway.start();
    lab.await_waiting_key();
    assert!(!lab.accepts(&configured));
    lab.gateway.agent(&["stand-down", "--reason", "migration"]).ok();
    assert!(lab.gateway.agent.as_mut().expect("it runs").await_end().success(), "there is nothing to stay for");
    lab.await_accepted(&configured);
    let row = lab.bastion.await_state(DEVICE, "Pending");
    assert_eq!(row["reason"], "root has had the agent of app-gw stand down: nothing is enforced there");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), before);

    lab.gateway.agent(&["rotate"]).ok();
    assert!(!lab.accepts(&configured), "it enforces again");
    assert_eq!(reasons(&lab, "stand-down").len(), 2);
    await_event(&lab, "stand-down", "migration");
    await_event(&lab, "stand-down", "enforcing begins again");
    lab.log_in();
    lab.await_answer();
}

#[test]
fn what_root_has_opened_at_the_firewall_is_shown_and_an_administrator_closes_it() {
    let gated = Gated::with_resident_agent("1h");
    let bastion = &gated.lab.bastion;
    for close in [&["key", "rotate", DEVICE, "--reason", "it is over"][..], &["device", "disable", DEVICE]] {
        open(&gated.lab, "", "1m");
        let row = bastion.await_state(DEVICE, "OK");
        assert_eq!(row["reason"], "opened by root on the server side", "{row}");
        assert!(!row["deadline"].is_null(), "{row}");
        gated.await_open(PROTECTED);
        bastion.admin(close).ok();
        assert!(!gated.reaches(PROTECTED), "{close:?}");
        bastion.await_state(DEVICE, "Expired");
    }
}
