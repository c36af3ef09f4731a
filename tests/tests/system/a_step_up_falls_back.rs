//! A tier above the policy's own costs another code and has a lifetime of its own; at its end the tier below is left.

use std::time::Duration;

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, PROTECTED};
use wgmfa_tests::ping::Pings;
use wgmfa_tests::wait::LONG;

#[test]
fn a_step_up_opens_what_lies_above_for_its_own_lifetime() {
    let mut gated = Gated::with_resident_agent("5m");
    gated.open();
    assert!(!gated.reaches(ADMIN_ONLY));
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("tier admin\n{code}\n"));
    assert!(said.contains("\nok: admin until "), "{said}");
    let (above, below) = (Pings::start(&gated.lab.laptop.machine, ADMIN_ONLY), gated_pings(&gated));
    let status = gated.ask("status\n");
    let lines: Vec<_> = status.lines().filter(|line| line.contains(" until ")).collect();
    assert!(matches!(lines[..], [admin, prod] if admin.starts_with("admin ") && prod.starts_with("prod ")), "{status}");

    let last = above.await_silence(Duration::from_secs(3), LONG * 2).expect("it was open");
    below.first_reply_after(last.sent + Duration::from_secs(1));
    assert!(!gated.ask("status\n").contains("admin"));
}

#[test]
fn there_is_no_tier_but_those_above_the_policys_own() {
    let mut gated = Gated::new("5m");
    gated.configure_agent("[tier.others]\nallow = [\"10.9.0.0/24\"]\n");
    gated.start();
    for name in ["0", "others", "nothing", "../prod", ""] {
        let said = gated.ask(&format!("tier {name}\n"));
        assert!(said.contains("\nno such tier"), "{name}: {said}");
    }
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("tier admin\n{code}\n"));
    assert!(said.contains("\nok: admin until "), "one code opens both: {said}");
    gated.await_open(ADMIN_ONLY);
    gated.await_open(PROTECTED);
}

fn gated_pings(gated: &Gated) -> Pings {
    Pings::start(&gated.lab.laptop.machine, PROTECTED)
}
