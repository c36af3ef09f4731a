//! How long after the deadline of a session the last packet passes: a hundred real tunnels, a ping every 50 ms in each,
//! all of whose sessions end at one moment. With a resident agent, and with one that comes by every few seconds as cron
//! would (every minute).

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use wgmfa_benches::deadline::{agents_deadline, release_all};
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::site::{GATEWAY, Site};
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::ping::Pings;
use wgmfa_tests::wait::{LONG, until};

const PEOPLE: usize = 100;

/// How long the sessions last: until all tunnels stand.
const SESSION: Duration = Duration::from_secs(30);

/// How often the agent comes by in place of cron.
const COMES_EVERY: Duration = Duration::from_secs(5);

/// So long without an answer after the last round, and there is no session any more.
const QUIET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let (people, mut site) = Site::with_people(PEOPLE);
    let laptops: Vec<Laptop> = people.into_iter().map(|person| site.laptop(person)).collect();
    let store = Connection::open(site.bastion.folder().join("state/wgmfa.db")).expect("the bastion made it");
    let mut report = Report::default();
    let mut tell = |name, samples, bound| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    let resident = late(&site, &store, &laptops, true);
    tell("deadline to last packet, resident agent", resident, Bound::Median(1000.0));
    site.gateway.agent.as_mut().expect("it runs").stop();
    site.gateway.agent = None;
    site.gateway.agent(&["rotate"]).ok();
    let cron = late(&site, &store, &laptops, false);
    tell("deadline to last packet, an agent that comes by every 5 s", cron, Bound::None);
    report.exit()
}

/// For each laptop: from the deadline that the gateway counts to the last answer, in milliseconds.
fn late(site: &Site, store: &Connection, laptops: &[Laptop], resident: bool) -> Vec<f64> {
    let gateway = &site.gateway.tunnel.keys.public;
    until("a waiting key for everybody", LONG, || {
        let sql = "SELECT count(*) FROM generations WHERE phase = 'applied'";
        let waiting: usize = store.query_row(sql, [], |row| row.get(0)).expect("the store answers");
        (waiting == laptops.len()).then_some(())
    });
    assert_eq!(release_all(store, SESSION), laptops.len());
    site.gateway.agent(&["rotate"]).ok();
    // not by a login: only what happens at the end is measured
    for laptop in laptops {
        let key = site.gateway.preshared_key(&laptop.tunnel.keys.public).expect("it has one");
        laptop.tunnel.readd(&laptop.machine, gateway, &key);
    }
    let pings: Vec<Pings> = laptops.iter().map(|laptop| Pings::every(&laptop.machine, GATEWAY, "0.05")).collect();
    let (deadline, open) = agents_deadline(site);
    assert_eq!(open, laptops.len(), "the agent knows of all of them");
    while !resident && SystemTime::now() < deadline {
        std::thread::sleep(COMES_EVERY);
        site.gateway.agent(&["rotate"]).ok();
    }
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    std::thread::sleep(left + Duration::from_secs(1));
    let last = pings.iter().map(|pings| {
        let last = pings.await_silence(QUIET, LONG).expect("its tunnel stood").received;
        // a ping is sent every 50 ms: the last one that was answered may be from before the deadline
        last.duration_since(deadline).map_or_else(|before| -millis(before.duration()), millis)
    });
    last.collect()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
