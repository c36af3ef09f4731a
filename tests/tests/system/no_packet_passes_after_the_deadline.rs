//! The property for which all of this is there: after the gateway has confirmed the lock not one packet passes, in
//! either direction, whatever the other side goes on sending; and a login opens it again.

use jiff::Timestamp;
use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, LAPTOP};
use wgmfa_tests::ping::Pings;
use wgmfa_tests::wait::LONG;

#[test]
fn from_the_confirmed_lock_on_no_ping_is_answered() {
    let mut lab = Lab::with_resident_agent("30s");
    let said = lab.gateway.agent.as_ref().expect("it runs").lines().len();
    lab.log_in();
    let deadline = lab.bastion.key(DEVICE)["deadline"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    let (out, back) = (lab.pings(), Pings::start(&lab.gateway.machine, LAPTOP));
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    // by its own timer, or because the bastion, whose deadline is a moment earlier, was the first to notice
    let locked = agent.await_line_from(said, "the lock", LONG * 2, |line| line.text.contains(": locked: the session"));
    assert!(Timestamp::try_from(locked.at).ok() >= deadline, "{}: not before {deadline:?}", locked.text);
    for pings in [&out, &back] {
        assert!(pings.replies().len() > 100, "they passed before");
    }
    lab.await_waiting_key();
    let log = |event| lab.bastion.log(event);
    assert_eq!((log("expired").len() + log("ended").len(), log("released").len()), (1, 1));
    assert!(!lab.accepts(&released), "with the key of before");
    let [waiting, _] = lab.preshared_keys();
    assert_ne!(waiting.as_ref(), Some(&released));
    for pings in [&out, &back] {
        pings.assert_none_after(locked.at);
    }
    let state = std::fs::read_to_string(lab.gateway.machine.path("agent-state/state.json")).expect("it is there");
    assert!(!state.contains(&released) && !state.contains(&waiting.expect("a key waits")), "no key in clear on disk");

    let again = std::time::SystemTime::now();
    lab.log_in();
    out.first_reply_after(again);
    // a waiting key that is one interval old has been replaced by then
    assert!(lab.bastion.await_state(DEVICE, "OK")["generation"].as_u64() >= Some(2));
}
