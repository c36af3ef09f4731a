//! How long it takes from the accepted code to the first ping through the tunnel, with `wgmfa sync` and a resident agent,
//! and where that time goes.
//!
//! The bastion's audit log says when the code was accepted and the key released (to the millisecond). Pings go out every
//! 2 ms; the first answered one went out right after the key stood in the interface, since re-adding a peer drops what
//! waited for it.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::pings::Pings;
use wgmfa_benches::site::{GATEWAY, Person, Site};

const PEOPLE: usize = 30;

/// Moments in milliseconds since 1970.
struct Path {
    accepted: f64,
    passed: f64,
    released: f64,
    written: f64,
    replied: f64,
}

fn main() -> ExitCode {
    let (people, mut site) = Site::with_people(PEOPLE);
    let paths: Vec<Path> = people.into_iter().map(|person| walk(&mut site, person)).collect();
    let mut report = Report::default();
    let mut tell = |name, from: fn(&Path) -> f64, to: fn(&Path) -> f64, bound| {
        let samples = paths.iter().map(|path| to(path) - from(path)).collect();
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    tell("code accepted to first ping", |path| path.accepted, |path| path.replied, Bound::Median(150.0));
    tell("  code accepted to login accepted", |path| path.accepted, |path| path.passed, Bound::None);
    tell("  login accepted to key released", |path| path.passed, |path| path.released, Bound::None);
    tell("  key released to key in the interface", |path| path.released, |path| path.written, Bound::None);
    tell("  key in the interface to first reply", |path| path.written, |path| path.replied, Bound::None);
    report.exit()
}

/// One person's login, from a machine that is gone afterwards.
fn walk(site: &mut Site, person: Person) -> Path {
    let name = person.name.clone();
    let mut laptop = site.laptop(person);
    let pings = Pings::start(&laptop.machine, GATEWAY);
    assert!(pings.first().is_none(), "the tunnel was open before the login");
    laptop.sync(&[]).ok();
    let reply = pings.await_first();
    let at = |event: &str| {
        let lines = site.bastion.log(event);
        let line = lines.iter().rfind(|line| line["user"] == name.as_str());
        let time = line.and_then(|line| line["time"].as_str()).unwrap_or_else(|| panic!("{name}: no line {event}"));
        time.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond() as f64
    };
    Path {
        accepted: at("code-accepted"),
        passed: at("login-accepted"),
        released: at("released"),
        written: millis(reply.sent),
        replied: millis(reply.received),
    }
}

fn millis(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}
