//! Whoever guesses codes inside a tunnel is made to wait there, and nowhere else; a code is good once in both places.

use wgmfa_tests::Gated;
use wgmfa_tests::gated::PROTECTED;
use wgmfa_tests::lab::USER;

#[test]
fn five_wrong_codes_lock_the_tunnel_and_not_the_person() {
    let mut gated = Gated::with_resident_agent("5m");
    let wrong = gated.lab.laptop.authenticator.wrong_code();
    for left in (1..5).rev() {
        let said = gated.ask(&format!("{wrong}\n"));
        let word = if left == 1 { "try" } else { "tries" };
        assert!(said.contains(&format!("\nwrong code, {left} {word} left")), "{said}");
    }
    let said = gated.ask(&format!("{wrong}\n"));
    assert!(said.contains("\nlocked for "), "the fifth: {said}");
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("{code}\n"));
    assert!(said.contains("\nlocked for ") && !said.contains("ok:"), "also a good code: {said}");
    assert!(!gated.reaches(PROTECTED));

    // the same person comes in over SSH, with the very code that was not looked at
    gated.lab.laptop.set_code(&code);
    gated.lab.laptop.ssh_as_set(&["wgmfa-status"]).ok();
    let refusals = gated.lab.bastion.log("code-refused");
    assert!(refusals.len() >= 5, "{refusals:?}");
    assert!(
        refusals.iter().all(|line| line["user"] == USER && !line["reason"].as_str().unwrap_or("").contains(&wrong))
    );

    // an administrator forgives here too
    gated.lab.bastion.admin(&["user", "unlock", USER]).ok();
    gated.open();
    gated.await_open(PROTECTED);
}

#[test]
fn a_code_that_was_used_over_ssh_opens_nothing_in_the_tunnel() {
    let mut gated = Gated::with_resident_agent("5m");
    let code = gated.lab.laptop.authenticator.next_code();
    gated.lab.laptop.set_code(&code);
    gated.lab.laptop.ssh_as_set(&["wgmfa-status"]).ok();
    assert!(gated.ask(&format!("{code}\n")).contains("\nwrong code, "));

    let code = gated.lab.laptop.authenticator.next_code();
    assert!(gated.ask(&format!("{code}\n")).contains("\nok: prod until "));
    gated.lab.laptop.set_code(&code);
    assert_ne!(gated.lab.laptop.ssh_as_set(&["wgmfa-status"]).code(), 0, "used inside the tunnel");
}
