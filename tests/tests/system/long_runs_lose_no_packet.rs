//! Minutes of pings, a hundred a second, through tunnels whose keys change all the while. `make test-long`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use wgmfa_tests::Lab;
use wgmfa_tests::lab::GATEWAY;
use wgmfa_tests::pair::Pair;
use wgmfa_tests::ping::Pings;

/// How often the key changes in a run.
const TIMES: u32 = 20;

/// How long a run is; `WGMFA_LONG_SECONDS` says otherwise.
fn length() -> Duration {
    let seconds = std::env::var("WGMFA_LONG_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

/// Changes the key so many times, evenly spread over the run, counts what was lost, and says so.
#[track_caller]
#[allow(clippy::print_stdout)] // the figures are what one runs this for: --show-output
fn run(pings: &Pings, times: u32, mut change: impl FnMut(u32)) {
    let (begun, between) = (Instant::now(), length() / times);
    for turn in 0..times {
        std::thread::sleep((begun + between * turn).saturating_duration_since(Instant::now()));
        change(turn);
    }
    std::thread::sleep((begun + length()).saturating_duration_since(Instant::now()));
    pings.first_reply_after(SystemTime::now());
    let (replies, lost) = (pings.replies().len(), pings.lost());
    println!("{times} changes of the key in {} s: {replies} pings answered, {} lost", length().as_secs(), lost.len());
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
    run(&pings, TIMES, |_| {
        pair.rotate();
        settled = pair.await_settled(settled + 1);
    });
    assert_eq!(settled, u64::from(1 + TIMES), "each order made one generation");
}

#[test]
#[ignore = "five minutes: make test-long"]
fn twenty_renewals_of_a_session_lose_no_packet() {
    let mut lab = Lab::new("1h");
    lab.bastion.stop();
    // a login right after a release changes the generation too
    lab.bastion.start_with(&[("WGMFA_SAME_GENERATION_FOR", "0")]);
    lab.gateway.start();
    lab.await_waiting_key();
    // there is a new one-time code every 30 s: every other login is with one of ten recovery codes
    let made = lab.laptop.ssh(&["wgmfa-codes", "--json"]).ok().json();
    let mut recovery = made["recovery_codes"].as_array().expect("codes").iter().filter_map(|code| code.as_str());
    lab.log_in();
    let pings = Pings::every(&lab.laptop.machine, GATEWAY, "0.01");
    pings.first_reply_after(SystemTime::now());
    let mut keys = BTreeSet::from(lab.preshared_keys());
    let times = TIMES.min(2 * u32::try_from(length().as_secs() / 30).unwrap());
    run(&pings, times, |turn| {
        if turn % 2 == 0 {
            lab.laptop.set_code(recovery.next().expect("ten are enough"));
            lab.laptop.sync_as_set(&[]).ok();
        } else {
            lab.laptop.sync(&[]).ok();
        }
        let [gateway, laptop] = lab.preshared_keys();
        assert_eq!(gateway, laptop);
        assert!(keys.insert(gateway), "both ends are on the next generation");
    });
    assert_eq!(keys.len(), 1 + times as usize);
}
