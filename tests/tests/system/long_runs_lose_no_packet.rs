//! Minutes of pings, a hundred a second, through tunnels whose keys change all the while. `make test-long`.

use std::time::{Duration, Instant};

use wgmfa_tests::Lab;
use wgmfa_tests::lab::GATEWAY;
use wgmfa_tests::pair::Pair;
use wgmfa_tests::ping::Pings;

/// How long a run is; `WGMFA_LONG_SECONDS` says otherwise.
fn length() -> Duration {
    let seconds = std::env::var("WGMFA_LONG_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

/// Changes the key so many times, evenly spread over the run, and counts what was lost.
#[track_caller]
fn run(pings: &Pings, times: u32, mut change: impl FnMut(u32)) {
    let (begun, between) = (Instant::now(), length() / times);
    for turn in 0..times {
        std::thread::sleep((begun + between * turn).saturating_duration_since(Instant::now()));
        change(turn);
    }
    std::thread::sleep((begun + length()).saturating_duration_since(Instant::now()));
    let (replies, lost) = (pings.replies().len(), pings.lost());
    assert!(lost.is_empty(), "{} of {replies} pings were lost: {lost:?}", lost.len());
    // slower on a machine that is busy, or emulated
    assert!(replies > usize::try_from(length().as_secs()).unwrap() * 5, "only {replies} pings were answered");
}

#[test]
#[ignore = "five minutes: make test-long"]
fn twenty_rotations_of_a_pair_lose_no_packet() {
    let pair = Pair::with_resident_agents("1h");
    pair.await_ping();
    let pings = pair.pings();
    let mut settled = 1;
    run(&pings, 20, |_| {
        pair.rotate();
        settled = pair.await_settled(settled + 1);
    });
    assert_eq!(settled, 21, "each order made one generation");
}

#[test]
#[ignore = "five minutes: make test-long"]
fn renewals_of_a_session_lose_no_packet() {
    let mut lab = Lab::new("1h");
    lab.bastion.stop();
    // a login right after a release changes the generation too
    lab.bastion.start_with(&[("WGMFA_SAME_GENERATION_FOR", "0")]);
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    let pings = Pings::every(&lab.laptop.machine, GATEWAY, "0.01");
    let mut keys = std::collections::BTreeSet::from(lab.preshared_keys());
    // a code is good once, and there is a new one every 30 s
    let times = u32::try_from(length().as_secs() / 30).unwrap().max(2);
    run(&pings, times, |_| {
        lab.laptop.sync(&[]).ok();
        wgmfa_tests::wait::until("the renewed key on both ends", wgmfa_tests::wait::LONG, || {
            let [gateway, laptop] = lab.preshared_keys();
            (gateway == laptop && keys.insert(gateway)).then_some(())
        });
    });
}
