//! Wrong, unknown, locked: one word, always both questions, and nothing is released.

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::lab::GATEWAY;
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::Ended;

/// What the bastion says, whatever was wrong.
const REFUSAL: &str =
    "login refused: password or code wrong, code already used, or too many tries; wait for the next code";

fn refusal(ended: &Ended) -> String {
    ended.stderr.lines().filter(|line| !line.contains("Permission denied (")).collect::<Vec<_>>().join("\n")
}

#[test]
fn password_code_and_name_are_refused_alike() {
    let mut lab = Lab::with_resident_agent("1h");
    let code = lab.laptop.authenticator.next_code();
    let wrong_code = lab.laptop.authenticator.wrong_code();
    let mut refusals = Vec::new();
    for (user, password, code) in [
        ("justin", "wrong", &code),
        ("justin", PASSWORD, &wrong_code),
        ("justin", "", &code),
        ("nobody-here", PASSWORD, &code),
        ("root", PASSWORD, &code),
    ] {
        lab.laptop.set_password(password);
        lab.laptop.set_code(code);
        let asked = lab.laptop.asked().len();
        let ended = lab.laptop.ssh_as_set(&["-l", user, "wgmfa-sync"]).expect(255);
        assert_eq!(lab.laptop.asked().len(), asked + 2, "both questions: {:?}", lab.laptop.asked());
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert!(ended.stderr.contains(REFUSAL), "{ended:?}");
        refusals.push(refusal(&ended));
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    assert_eq!(lab.bastion.log("released").len(), 0);
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));

    lab.laptop.set_password(PASSWORD);
    lab.laptop.sync(&[]).ok();
    lab.await_answer();
}
