//! The bastion's clock is set back: no code of before works, none works twice, and no session lasts longer.

use std::time::{SystemTime, UNIX_EPOCH};

use wgmfa_tests::Lab;
use wgmfa_tests::wait::{LONG, until};

/// Where Debian's package faketime has it, under the name of the architecture.
pub fn libfaketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").expect("it is there").flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    found.next().expect("the package faketime is installed").to_string_lossy().into_owned()
}

/// Starts the bastion with a clock that is wrong by so many seconds. Its children see the right one.
fn start_at(lab: &mut Lab, offset: &str) {
    lab.bastion.stop();
    let library = libfaketime();
    lab.bastion.start_with(&[("LD_PRELOAD", &library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
}

#[test]
fn no_code_of_before_and_none_twice() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    start_at(&mut lab, "-1h");
    lab.laptop.sync_as_set(&[]).expect(3); // the code of the last login
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 30;
    let old = lab.laptop.authenticator.code_of(now - 120);
    lab.laptop.set_code(&old);
    lab.laptop.sync_as_set(&[]).expect(3); // the code of an hour ago, which nobody used
    let times = lab.bastion.log("login-refused");
    assert_eq!(times.len(), 2, "{times:#?}");
    let after = |line: &serde_json::Value| line["time"].as_str() >= lab.bastion.log("released")[0]["time"].as_str();
    assert!(times.iter().all(after), "the log's time does not run backwards");
    lab.log_in();
}

#[test]
fn no_session_lasts_longer() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    start_at(&mut lab, "-1h");
    until("a new key that nobody has", LONG, || (lab.gateway.status()["peers"][0]["hold"] == "waiting").then_some(()));
    assert!(!lab.accepts(&released), "the session is over: nobody knows how long it has lasted");
    let status = lab.bastion.admin(&["status"]).expect(1);
    assert!(status.stdout.contains("behind the last recorded time"), "{status:#?}");
}
