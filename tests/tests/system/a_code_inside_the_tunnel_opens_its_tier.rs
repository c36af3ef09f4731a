//! The second way: the tunnel is up, and only a one-time code given inside it opens the protected networks, in both
//! directions, by IPv4 and IPv6, until the deadline.

use std::time::{Duration, SystemTime};

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{ADMIN_ONLY, GATEWAY6, LAPTOP6, PROTECTED, PROTECTED6};
use wgmfa_tests::lab::{DEVICE, GATEWAY, LAPTOP};
use wgmfa_tests::ping::{Pings, is_answered};
use wgmfa_tests::stream::Stream;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn nothing_passes_before_the_code_and_what_the_tier_allows_after_it() {
    let mut gated = Gated::with_resident_agent("1h");
    gated.lab.bastion.await_state(DEVICE, "Expired");
    for address in [PROTECTED, PROTECTED6, ADMIN_ONLY, GATEWAY, GATEWAY6] {
        assert!(!gated.reaches(address), "{address} before the code");
    }
    assert!(!is_answered(&gated.protected, LAPTOP), "from the protected network to the laptop");

    let said = gated.give_code();
    assert!(said.starts_with("wgmfa app-gw: one-time code for justins-laptop:\nok: prod until "), "{said}");
    assert!(said.trim_end().ends_with(" min)"), "{said}");
    for address in [PROTECTED, PROTECTED6] {
        gated.await_open(address); // after the code
    }
    for address in [LAPTOP, LAPTOP6] {
        until("and back", LONG, || is_answered(&gated.protected, address).then_some(()));
    }
    for address in [ADMIN_ONLY, GATEWAY] {
        assert!(!gated.reaches(address), "{address} is not in the tier");
    }
    let row = gated.lab.bastion.await_state(DEVICE, "OK");
    assert!(row["deadline"].is_string(), "{row}");

    let code = gated.lab.laptop.authenticator.used_code();
    let again = gated.ask(&format!("{code}\n"));
    assert!(again.contains("\nwrong code, "), "a code is good once: {again}");
    let wrong = gated.lab.laptop.authenticator.wrong_code();
    assert!(gated.ask(&format!("{wrong}\n")).contains("\nwrong code, 3 tries left"));
    gated.await_open(PROTECTED); // wrong codes close nothing
    assert!(!gated.ask(&format!("{wrong}\n")).contains(&wrong), "no code is echoed");
}

#[test]
fn streams_and_pings_that_run_end_at_the_deadline() {
    let mut gated = Gated::with_resident_agent("30s");
    let before = SystemTime::now();
    gated.open();
    let opened = SystemTime::now();
    let (laptop, protected) = (&gated.lab.laptop.machine, &gated.protected);
    let streams = [Stream::open(laptop, protected, PROTECTED), Stream::open(protected, laptop, LAPTOP6)];
    let pings = [Pings::start(laptop, PROTECTED), Pings::start(laptop, PROTECTED6), Pings::start(protected, LAPTOP)];
    pings.iter().for_each(|pings| _ = pings.first_reply_after(opened));

    let deadline = opened + Duration::from_secs(30);
    for pings in &pings {
        let last = pings.await_silence(Duration::from_secs(3), LONG * 2).expect("they were answered");
        assert!(last.received > before + Duration::from_secs(25), "long before the deadline");
        pings.assert_none_after(deadline);
    }
    for stream in &streams {
        let heard = stream.await_silence(Duration::from_secs(3), LONG);
        assert!(heard > before + Duration::from_secs(25) && heard < deadline + Duration::from_secs(3), "{heard:?}");
    }
    gated.lab.bastion.await_state(DEVICE, "Expired");
    gated.open();
    until("the streams to go on", LONG, || {
        streams.iter().all(|stream| stream.heard() > Some(deadline + Duration::from_secs(1))).then_some(())
    });
}

#[test]
fn a_code_during_the_session_prolongs_it_and_status_and_logout_need_none() {
    let mut gated = Gated::with_resident_agent("5m");
    assert!(gated.ask("status\n").contains("\nclosed: a one-time code is needed"), "before");
    gated.open();
    let deadline = |gated: &Gated| gated.lab.bastion.key(DEVICE)["deadline"].as_str().map(str::to_owned);
    let first = deadline(&gated);
    assert!(gated.ask("status\n").contains("\nprod until "), "open");
    gated.open();
    assert!(deadline(&gated) > first, "{first:?}");

    let said = gated.ask("logout\n");
    assert!(said.contains("\nok: logged out"), "{said}");
    assert!(!gated.reaches(PROTECTED));
    let row = gated.lab.bastion.await_state(DEVICE, "Expired");
    assert!(row["reason"].is_string(), "{row}");
}
