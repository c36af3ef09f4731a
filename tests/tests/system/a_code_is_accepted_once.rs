//! One code, one login, one release.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;

#[test]
fn a_replayed_code_is_refused() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.laptop.sync(&[]).ok();
    let released = lab.bastion.log("released").len();
    let ended = lab.laptop.sync_as_set(&[]).expect(3);
    assert!(ended.stderr.contains("login refused: password or code wrong, code already used"), "{ended:?}");
    assert!(ended.stderr.contains("wgmfa: error: bastion refused the login\n"), "{ended:?}");
    assert_eq!(lab.bastion.log("released").len(), released);
    lab.await_answer(); // the running session has nothing to do with it
}

#[test]
fn of_two_logins_with_one_code_at_once_one_gets_in() {
    let mut lab = Lab::with_resident_agent("1h");
    let code = lab.laptop.authenticator.next_code();
    lab.laptop.set_code(&code);
    let laptop = &lab.laptop;
    let ended = std::thread::scope(|scope| {
        let logins = [0; 4].map(|_| scope.spawn(|| laptop.ssh_as_set(&["wgmfa-sync"])));
        logins.map(|login| login.join().unwrap())
    });
    let mut statuses = ended.clone().map(|ended| ended.code());
    statuses.sort_unstable();
    assert_eq!(statuses, [0, 255, 255, 255], "{ended:#?}");
    assert_eq!(lab.bastion.log("code-accepted").len(), 1);
    assert_eq!(lab.bastion.log("released").len(), 1);
}

#[test]
fn a_code_stays_used_when_the_bastion_dies() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.laptop.sync(&[]).ok();
    lab.bastion.kill();
    lab.bastion.start();
    lab.laptop.sync_as_set(&[]).expect(3);
    lab.laptop.sync(&[]).ok();
    assert_eq!(lab.bastion.key(DEVICE)["generation"], lab.laptop.status()["connections"][0]["generation"]);
}
