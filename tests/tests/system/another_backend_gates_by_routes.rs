//! The second backend: routing rules and a table per tier in place of a firewall.

use std::time::{Duration, SystemTime};

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, PROTECTED, PROTECTED6};
use wgmfa_tests::lab::LAPTOP;
use wgmfa_tests::ping::{Pings, is_answered};
use wgmfa_tests::wait::{LONG, until};

const FIREWALL: &str = "enforce = [\"firewall\"]\ntier = \"prod\"\n";

#[test]
fn routes_open_after_a_code_and_are_gone_at_the_deadline() {
    let mut gated = Gated::with("30s", FIREWALL, "gate = \"ip-rule\"\n");
    let rules = |gated: &Gated| {
        let machine = &gated.lab.gateway.machine;
        let shown = [["-4", "rule"], ["-6", "rule"]].map(|words| machine.run("ip", &words).ok().stdout);
        shown.concat()
    };
    let before = rules(&gated);
    gated.start();
    for address in [PROTECTED, PROTECTED6, ADMIN_ONLY] {
        assert!(!gated.reaches(address), "{address} before the code");
    }
    assert!(!is_answered(&gated.protected, LAPTOP));
    let said = gated.lab.gateway.agent.as_ref().expect("it runs").lines().len();
    gated.open();
    let opened = SystemTime::now();
    for address in [PROTECTED, PROTECTED6] {
        gated.await_open(address); // after the code
    }
    until("and back", LONG, || is_answered(&gated.protected, LAPTOP).then_some(()));
    assert!(!gated.reaches(ADMIN_ONLY));
    let pings = [Pings::start(&gated.lab.laptop.machine, PROTECTED), Pings::start(&gated.protected, LAPTOP)];
    let agent = gated.lab.gateway.agent.as_ref().expect("it runs");
    // by its own timer, or because the bastion, whose deadline is a moment earlier, was the first to notice
    let closed = agent.await_line_from(said, "the end", LONG * 2, |line| line.text.contains(": prod closed: "));
    assert!(closed.at < opened + Duration::from_secs(40), "{}: long after the deadline", closed.text);
    for pings in &pings {
        pings.await_silence(Duration::from_secs(3), LONG * 2);
        pings.assert_none_after(closed.at);
    }

    // a crash leaves rules behind, the next agent finds them, and root's order to stand down takes all of them away
    gated.lab.gateway.agent.as_mut().expect("it runs").kill();
    gated.start();
    assert!(!gated.reaches(PROTECTED));
    gated.lab.gateway.agent(&["stand-down", "--reason", "test"]).ok();
    assert_eq!(rules(&gated), before, "nothing is left behind");
    until("no gate", LONG, || gated.reaches(ADMIN_ONLY).then_some(()));
}
