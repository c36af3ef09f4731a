//! Each transition of a connection's state is one line of the audit log, in the words of `key list`.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::wait::{LONG, until};

/// The transitions so far, without their reasons.
fn transitions(lab: &Lab) -> Vec<String> {
    let words = |line: &serde_json::Value| {
        assert!(line["connection"].as_str().is_some_and(|name| name.ends_with(DEVICE)), "{line}");
        let reason = line["reason"].as_str().expect("a transition has words");
        reason.split(": ").next().unwrap_or_default().to_owned()
    };
    lab.bastion.log("state").iter().map(words).collect()
}

#[test]
fn a_session_is_told_from_its_login_to_the_next_key() {
    let mut lab = Lab::with_resident_agent("30s");
    lab.bastion.await_state(DEVICE, "Expired");
    lab.log_in();
    // a transition in and out between two looks may be merged: a second is enough for them
    lab.bastion.await_state(DEVICE, "OK");
    let open = until("a line about the open session", LONG, || {
        Some(transitions(&lab)).filter(|lines| lines.last().is_some_and(|line| line.ends_with("-> OK")))
    });
    assert!(open.iter().all(|line| !line.starts_with("OK")), "{open:?}");
    lab.bastion.await_generation(DEVICE, 2);
    let closed = until("a line about its end", LONG, || {
        Some(transitions(&lab)).filter(|lines| lines.last().is_some_and(|line| line.ends_with("-> Expired")))
    });
    // each begins where the one before has ended
    for pair in closed.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(before.split(" -> ").nth(1), after.split(" -> ").next(), "{closed:?}");
    }
    lab.bastion.stop();
    lab.bastion.start();
    lab.gateway.await_contact(&lab.bastion);
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(transitions(&lab), closed, "a restart changes no state");
    lab.bastion.admin(&["log", "verify"]).ok();
}
