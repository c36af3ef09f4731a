//! After a reboot every MFA peer is locked until the bastion has spoken. A session whose deadline has not passed then goes
//! on without another login; no other key of before is accepted again.

use std::process::Stdio;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::machine::end;
use wgmfa_tests::wait::{LONG, until};

/// What the agent takes for another boot of this machine.
const AFTER_THE_REBOOT: (&str, &str) = ("WGMFA_BOOT_ID", "after the reboot");

/// The power goes: every process ends, the interface is gone.
fn power_off(lab: &mut Lab) {
    let machine = &lab.gateway.machine;
    until("the end of the gateway's processes", LONG, || {
        machine.pids().iter().for_each(|pid| end(*pid));
        machine.pids().is_empty().then_some(())
    });
    lab.gateway.agent = None;
    until("the end of the interface", LONG, || {
        let there = machine.run("ip", &["link", "show", &lab.gateway.tunnel.name]).code() == 0;
        if there {
            machine.run("ip", &["link", "del", &lab.gateway.tunnel.name]); // the kernel's own; or it is just going
        }
        (!there).then_some(())
    });
    let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", lab.gateway.tunnel.name));
}

/// What `wgmfa-lock.service` does before anything is up: no network, no bastion.
#[track_caller]
fn lock_at_boot(lab: &Lab) {
    let ended = lab.gateway.command().arg("lock").envs([AFTER_THE_REBOOT]).output().expect("it can be started");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

/// The interface comes up as at boot.
fn wg_quick_up(lab: &Lab) {
    let mut command = lab.gateway.machine.command("wg-quick");
    // what goes on in the background keeps the outputs that it was given
    command.arg("up").arg(lab.gateway.configuration()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("wg-quick is installed").success());
}

/// A gateway whose interface has a file, and a session that runs; gives the key of before wgmfa and the session's.
fn with_session(rotation_interval: &str) -> (Lab, String, String) {
    let mut lab = Lab::new(rotation_interval);
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    lab.gateway.write_configuration();
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    (lab, configured, released)
}

/// Waits until the session's key stands on the gateway again, and a packet passes.
#[track_caller]
fn await_session(lab: &Lab, released: &String) {
    until("the key of the session", LONG, || (lab.preshared_keys()[0].as_ref() == Some(released)).then_some(()));
    lab.await_accepted(released);
}

#[test]
fn it_comes_up_with_lock_keys_and_a_session_goes_on_when_the_bastion_has_spoken() {
    let (mut lab, configured, released) = with_session("1h");
    let deadline = lab.bastion.key(DEVICE)["deadline"].clone();
    let file = lab.gateway.configuration();
    let written = std::fs::read_to_string(&file).expect("it is there");
    assert!(!written.contains(&configured) && !written.contains(&released), "a lock key stands in the file");
    assert!(written.contains("PresharedKey = "), "a peer without one would come up with no second factor");

    power_off(&mut lab);
    lab.bastion.kill();
    lock_at_boot(&lab);
    let locked_anew = std::fs::read_to_string(&file).expect("it is there");
    assert!(locked_anew != written && !locked_anew.contains(&released), "a fresh lock key");
    wg_quick_up(&lab);
    assert!(!lab.accepts(&released) && !lab.accepts(&configured), "before the agent runs");
    lab.gateway.start_with(&[AFTER_THE_REBOOT]);
    lab.gateway.agent.as_ref().expect("it runs").await_line("locked: this machine was rebooted");
    assert!(!lab.accepts(&released), "while the bastion is away");

    lab.bastion.start();
    let restored = lab.gateway.agent.as_ref().expect("it runs").await_line(": restored: generation ");
    assert!(restored.text.ends_with(" min left"), "{restored:?}");
    await_session(&lab, &released);
    assert_eq!(lab.bastion.key(DEVICE)["deadline"], deadline, "it is not prolonged");
    assert_eq!(lab.bastion.log("handed-back").len(), 1);
    assert_eq!(lab.bastion.log("changed-outside").len(), 0);
    assert_eq!(lab.bastion.log("released").len(), 1, "nobody has logged in again");
    lab.log_in();
}

#[test]
fn a_round_of_cron_restores_a_session_too() {
    let (mut lab, _, released) = with_session("1h");
    power_off(&mut lab);
    wg_quick_up(&lab);
    assert!(!lab.accepts(&released), "before the agent has come by");
    let round = lab.gateway.command().arg("rotate").envs([AFTER_THE_REBOOT]).output().expect("it can be started");
    assert!(round.status.success(), "{round:?}");
    lab.await_accepted(&released);
}

#[test]
fn a_session_whose_deadline_has_passed_meanwhile_is_over() {
    let (mut lab, _, released) = with_session("30s");
    power_off(&mut lab);
    let is_over = || (lab.bastion.key(DEVICE)["state"] == "Mismatch Pending").then_some(());
    until("the deadline, which is as far away as others wait at most", 2 * LONG, is_over);
    wg_quick_up(&lab);
    lab.gateway.start_with(&[AFTER_THE_REBOOT]);
    lab.await_waiting_key();
    assert_eq!(lab.bastion.log("handed-back").len(), 0);
    assert!(!lab.accepts(&released));
    lab.log_in();
}

#[test]
fn a_session_that_an_administrator_has_ended_meanwhile_is_over() {
    let (mut lab, _, released) = with_session("1h");
    power_off(&mut lab);
    lab.bastion.admin(&["device", "disable", DEVICE]);
    wg_quick_up(&lab);
    lab.gateway.start_with(&[AFTER_THE_REBOOT]);
    lab.gateway.await_contact(&lab.bastion);
    lab.gateway.agent(&["rotate"]);
    assert!(!lab.accepts(&released));
    lab.bastion.admin(&["device", "enable", DEVICE]).ok();
    lab.await_waiting_key();
    assert!(!lab.accepts(&released));
    assert_eq!(lab.bastion.log("handed-back").len(), 0);
    lab.log_in();
}

#[test]
fn a_key_that_comes_back_with_the_interface_is_locked_without_the_bastion() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    power_off(&mut lab);
    lab.bastion.kill();
    // a file that somebody else wrote, with the very key of the session
    let file = lab.gateway.write_configuration();
    let text = std::fs::read_to_string(&file).expect("it was written");
    let line = text.lines().find(|line| line.starts_with("PresharedKey")).expect("the lab begins with one");
    std::fs::write(&file, text.replace(line, &format!("PresharedKey = {released}"))).expect("it can be written");
    wg_quick_up(&lab);
    assert_eq!(lab.preshared_keys()[0].as_ref(), Some(&released));
    lab.gateway.command().arg("rotate").envs([AFTER_THE_REBOOT]).output().expect("it can be started");
    assert!(!lab.accepts(&released), "the same key on the interface is not trusted");
    lab.bastion.start();
    lab.gateway.start_with(&[AFTER_THE_REBOOT]);
    await_session(&lab, &released);
    lab.await_answer();
}

#[test]
fn a_lock_at_boot_needs_nothing_at_all() {
    let mut lab = Lab::new("1h");
    power_off(&mut lab);
    lab.bastion.kill();
    lab.gateway.machine.ip(&["link", "set", "eth0", "down"]);
    lock_at_boot(&lab); // no peer was ever under a policy
}
