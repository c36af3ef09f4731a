//! The second way: how long it takes from a code that was accepted inside the tunnel to the first packet through the gate,
//! and how long after the deadline the last one passes. Real tunnels, `ncat`, nftables, a resident agent.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::pings::Pings as FirstPings;
use wgmfa_benches::site::{GATEWAY, Person, Site};
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::ping::Pings;
use wgmfa_tests::program::run;
use wgmfa_tests::wait::LONG;

const PEOPLE: usize = 30;

/// The tier is the gateway itself: what is measured is the gate, not a network behind it.
const TIERS: &str = "[tier.0]\nallow = []\n[tier.prod]\nallow = [\"10.77.0.1\"]\n";

/// So long without an answer, and the gate is closed.
const QUIET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let (people, mut site) = Site::with_gate(PEOPLE, "30s", TIERS);
    let opened: Vec<Opened> = people.into_iter().map(|person| open(&mut site, person)).collect();
    let closed = opened.iter().map(Opened::late).collect();
    let mut report = Report::default();
    let mut tell = |name, samples, bound| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    let first = opened.iter().map(|opened| opened.after_code).collect();
    tell("code accepted inside the tunnel to first packet", first, Bound::Median(50.0));
    let whole = opened.iter().map(|opened| opened.whole).collect();
    tell("  the same from when ncat was started", whole, Bound::None);
    tell("deadline to last packet through the gate", closed, Bound::Median(1000.0));
    report.exit()
}

/// What one person's code has opened. Times in milliseconds.
struct Opened {
    after_code: f64,
    whole: f64,
    deadline: Timestamp,
    pings: Pings,
    /// Whose tunnel it is.
    _laptop: Laptop,
}

fn open(site: &mut Site, person: Person) -> Opened {
    let (name, code) = (person.name.clone(), code_of(&person.authenticator));
    let laptop = site.laptop(person);
    let first = FirstPings::start(&laptop.machine, GATEWAY);
    let started = SystemTime::now();
    let said = ask(&laptop, &format!("{code}\n"));
    assert!(said.contains("\nok: prod until "), "{said}");
    let reply = first.await_first();
    drop(first);
    let accepted = time_of(site, "code-accepted", &name, "time");
    let row = site.bastion.keys().into_iter().find(|row| row["owner"] == name.as_str()).expect("it is listed");
    let deadline: Timestamp = row["deadline"].as_str().and_then(|text| text.parse().ok()).expect("it is open");
    let pings = Pings::every(&laptop.machine, GATEWAY, "0.05");
    let whole = reply.received.duration_since(started).expect("it came after the code").as_secs_f64() * 1000.0;
    Opened { after_code: since(reply.received, accepted), whole, deadline, pings, _laptop: laptop }
}

impl Opened {
    /// From the deadline to the last answer; pings are 50 ms apart.
    fn late(&self) -> f64 {
        since(self.pings.await_silence(QUIET, LONG * 2).expect("it was open").received, self.deadline)
    }
}

fn since(time: SystemTime, then: Timestamp) -> f64 {
    Timestamp::try_from(time).expect("now").duration_since(then).as_secs_f64() * 1000.0
}

fn code_of(authenticator: &Authenticator) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    authenticator.code_of(now / 30)
}

/// What the gateway answers inside the tunnel.
fn ask(laptop: &Laptop, lines: &str) -> String {
    let mut ncat = laptop.machine.command("ncat");
    run(ncat.args(["-w", "5", GATEWAY, "7777"]), lines.as_bytes()).stdout
}

/// When the audit log has the newest line of this event about a person.
fn time_of(site: &Site, event: &str, user: &str, field: &str) -> Timestamp {
    let lines = site.bastion.log(event);
    let line = lines.iter().rfind(|line| line["user"] == user).unwrap_or_else(|| panic!("{user}: no line {event}"));
    line[field].as_str().and_then(|text| text.parse().ok()).expect("RFC 3339")
}
