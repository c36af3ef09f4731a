//! Rule 5: one code, one login. Recording a code and accepting it are one act, whatever races or dies.

use wgmfa_tests::lab::DEVICE;

use super::site::{REFUSAL, Site, device_of, gate, step_now};

#[test]
fn also_when_twenty_race_for_two_devices() {
    let site = Site::new();
    let phone = site.device("justins-phone", "justin");
    let host = site.host("app-gw");
    host.connect(false).wait_with_keys(&[site.justin.public_key(), &phone], 1);
    let laptop = &site.justin.laptop;
    laptop.set_code(&laptop.authenticator.code_of(step_now()));
    let ended = std::thread::scope(|scope| {
        let logins = [(); 10].map(|()| {
            [device_of("justin"), "justins-phone".to_owned()]
                .map(|device| scope.spawn(move || laptop.ssh_as_set(&["wgmfa-sync", "--device", &device])))
        });
        logins.map(|pair| pair.map(|login| login.join().unwrap()))
    });
    let ended: Vec<_> = ended.iter().flatten().collect();
    assert_eq!(ended.iter().filter(|login| login.code() == 0).count(), 1, "{ended:#?}");
    for refused in ended.iter().filter(|login| login.code() != 0) {
        assert_eq!((refused.code(), refused.stdout.as_str()), (255, ""));
        assert!(refused.stderr.contains(REFUSAL), "{refused:?}");
    }
    assert_eq!((site.count("code-accepted"), site.count("login-accepted"), site.count("released")), (1, 1, 1));
    assert_eq!(site.count("login-refused"), 19);
}

#[test]
fn a_code_spends_the_steps_before_it() {
    let site = Site::new();
    let laptop = &site.justin.laptop;
    let try_step = |step: u64| {
        laptop.set_code(&laptop.authenticator.code_of(step));
        laptop.ssh_as_set(&["wgmfa-status"])
    };
    let now = step_now();
    try_step(now + 1).ok(); // a clock that runs ahead by less than a step
    for spent in [now + 1, now, now - 1] {
        assert!(try_step(spent).expect(255).stderr.contains(REFUSAL));
    }
    let reasons: Vec<_> = site.bastion.log("login-refused").iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons[..2], ["code already used", "code already used"]);
    try_step(now + 4).expect(255); // too far ahead
    assert_eq!(site.count("code-accepted"), 1);
}

#[test]
fn a_code_stays_spent_when_the_bastion_is_killed_right_after_accepting_it() {
    let mut site = Site::with(|_| {}, gate);
    let closed = site.bastion.machine.write("closed", "");
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let laptop = &site.justin.laptop;
    laptop.set_code(&laptop.authenticator.code_of(step_now()));
    let bastion = &mut site.bastion;
    std::thread::scope(|scope| {
        let login = scope.spawn(|| laptop.ssh_as_set(&["wgmfa-sync"]));
        wgmfa_tests::wait::until("the accepted code", wgmfa_tests::wait::LONG, || {
            (bastion.log("code-accepted").len() == 1).then_some(())
        });
        bastion.kill();
        assert_eq!(login.join().unwrap().expect(255).stdout, "");
    });
    std::fs::remove_file(closed).unwrap();
    bastion.start();
    assert!(laptop.ssh_as_set(&["wgmfa-sync"]).expect(255).stderr.contains(REFUSAL));
    assert_eq!((site.count("released"), site.count("login-accepted")), (0, 0));
    site.justin.ssh(&["wgmfa-sync"]).ok();
    assert!(!site.bastion.key(DEVICE)["released_at"].is_null());
    site.bastion.admin(&["log", "verify"]).ok();
}
