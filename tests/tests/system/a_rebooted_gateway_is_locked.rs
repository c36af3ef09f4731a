//! After a reboot, or a configuration file from before, no old key opens anything.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::GATEWAY;
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn an_interface_made_anew_is_locked_before_the_bastion_has_spoken() {
    let mut lab = Lab::with_resident_agent("1h");
    let file = lab.gateway.machine.path(&format!("{}.conf", lab.gateway.tunnel.name));
    let text = std::fs::read_to_string(&file).unwrap();
    let configured = text.lines().find_map(|line| line.strip_prefix("PresharedKey = ")).unwrap();
    lab.laptop.sync(&[]).ok();
    assert!(is_answered(&lab.laptop.machine, GATEWAY));
    let [_, session_key] = lab.preshared_keys();

    lab.bastion.kill();
    lab.gateway.agent.as_mut().unwrap().kill();
    lab.gateway.tunnel.down(&lab.gateway.machine);
    lab.gateway.tunnel.make(&lab.gateway.machine, &file);
    assert_eq!(lab.preshared_keys()[0].as_deref(), Some(configured), "the file has the old key");
    lab.gateway.start();
    until("the lock", LONG, || (lab.preshared_keys()[0].as_deref() != Some(configured)).then_some(()));
    assert_ne!(lab.preshared_keys()[0], session_key);
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));

    lab.bastion.start();
    lab.await_waiting_key();
    lab.laptop.sync(&[]).ok();
    assert!(is_answered(&lab.laptop.machine, GATEWAY));
}

#[test]
fn a_reloaded_configuration_file_brings_no_key_back() {
    let mut lab = Lab::with_resident_agent("1h");
    let file = lab.gateway.machine.path(&format!("{}.conf", lab.gateway.tunnel.name));
    lab.laptop.sync(&[]).ok();
    let [_, session_key] = lab.preshared_keys();
    lab.gateway.machine.run("wg", &["syncconf", &lab.gateway.tunnel.name, &file.to_string_lossy()]).ok();
    let [restored, _] = lab.preshared_keys();
    assert_ne!(restored, session_key);
    until("the lock", LONG, || (lab.preshared_keys()[0] != restored).then_some(()));
    assert_ne!(lab.preshared_keys()[0], session_key);
    lab.await_waiting_key();
    lab.laptop.sync(&[]).ok();
    assert!(is_answered(&lab.laptop.machine, GATEWAY));
}
