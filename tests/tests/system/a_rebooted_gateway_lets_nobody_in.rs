//! After a reboot every MFA peer is locked until the bastion has spoken, and no key of before is accepted again.

use std::process::Stdio;

use wgmfa_tests::Lab;
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

/// The interface comes up as at boot.
fn wg_quick_up(lab: &Lab) {
    let mut command = lab.gateway.machine.command("wg-quick");
    // what goes on in the background keeps the outputs that it was given
    command.arg("up").arg(lab.gateway.configuration()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("wg-quick is installed").success());
}

#[test]
fn it_comes_up_with_lock_keys_and_a_login_opens_it() {
    let mut lab = Lab::new("1h");
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    let file = lab.gateway.write_configuration();
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let generation = lab.bastion.key("app-gw")["generation"].as_u64();
    let written = std::fs::read_to_string(&file).expect("it is there");
    assert!(!written.contains(&configured) && !written.contains(&released), "a lock key stands in the file");
    assert!(written.contains("PresharedKey = "), "a peer without one would come up with no second factor");

    power_off(&mut lab);
    lab.bastion.kill();
    wg_quick_up(&lab);
    assert!(!lab.accepts(&released) && !lab.accepts(&configured), "before the agent runs");
    lab.gateway.start_with(&[AFTER_THE_REBOOT]);
    lab.gateway.agent.as_ref().expect("it runs").await_line("locked: this machine was rebooted");
    assert!(!lab.accepts(&released), "while the bastion is away");

    lab.bastion.start();
    lab.await_waiting_key();
    assert!(lab.bastion.key("app-gw")["generation"].as_u64() > generation, "generations go up");
    assert!(!lab.accepts(&released), "the session was not over, but its key was");
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
    lab.await_waiting_key();
    lab.log_in();
}
