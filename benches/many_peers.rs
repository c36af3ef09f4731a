//! A gateway with ten thousand peers: what a report costs the keeper when nothing has changed, what it costs a resident
//! agent to look at the interface once a second, and how long after one deadline the last of ten thousand sessions is
//! locked.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rusqlite::Connection;
use wgmfa_benches::deadline::{agents_deadline, release_all};
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::{cpu_time, words};
use wgmfa_benches::site::{Site, strangers};
use wgmfa_tests::machine::write_private;
use wgmfa_tests::tunnel::{Keys, Tunnel};
use wgmfa_tests::wait::until;

const PEERS: usize = 10_000;

/// Rounds in which nothing changes.
const ROUNDS: usize = 5;

/// Times in which nothing changes, and how long each is: rounds, one in a minute, come into one or two of them.
const LOOKS: (usize, Duration) = (9, Duration::from_secs(10));

/// How long the keeper may look at what has changed.
const REST: Duration = Duration::from_secs(120);

/// How long the sessions last: long enough that the agent has heard of all of them.
const SESSION: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let devices = strangers(PEERS);
    let mut site = Site::new(&devices);
    site.bastion.add_user("justin");
    let store = Connection::open(site.bastion.folder().join("state/wgmfa.db")).expect("the bastion made it");
    register(&store, &devices);
    write_file(&site, &devices);
    let mut report = Report::default();
    let mut tell = |name, samples, bound| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    let since = Instant::now();
    site.gateway.agent(&["rotate"]).ok();
    tell("the first round of 10,000 peers, which locks and rotates them", vec![millis(since.elapsed())], Bound::None);
    let keys = peers(&site);
    // its report was of before it; this one says what the locks and keys have changed
    site.gateway.agent(&["rotate"]).ok();
    rest(&site);
    let (cpu, wall): (Vec<_>, Vec<_>) = (0..ROUNDS)
        .map(|_| {
            let (since, before) = (Instant::now(), cpu_time(site.keeper()));
            site.gateway.agent(&["rotate"]).ok();
            (millis(cpu_time(site.keeper()) - before), millis(since.elapsed()))
        })
        .unzip();
    assert_eq!(peers(&site), keys, "nothing was to do");
    let name = "CPU time of the keeper for a report of 10,000 peers when nothing changed, its login included";
    tell(name, cpu, Bound::Median(200.0));
    tell("the whole of that round", wall, Bound::None);
    let (agent, wireguard) = looks(&mut site);
    let name = "CPU time of a resident agent in one second, which looks at 10,000 peers that do not change";
    tell(name, agent, Bound::Median(100.0));
    tell("CPU time of wireguard-go for that", wireguard, Bound::None);
    assert_eq!(peers(&site), keys, "nothing was to do");
    let late = locked_late(&mut site, &store, &keys);
    site.gateway.agent.take().expect("it runs").stop();
    let since = Instant::now();
    site.gateway.agent(&["lock"]).ok();
    let name = "wgmfa-agent lock for 10,000 peers, in the file and on the interface";
    tell(name, vec![millis(since.elapsed())], Bound::Median(5000.0));
    report.tell(&Figure {
        name: "from one deadline until 10,000 peers are locked",
        unit: Unit::Milliseconds,
        samples: vec![millis(late)],
        against: Some(("wg setconf, which makes them anew too", vec![millis(made_anew(&site))])),
        bound: Bound::Median(2000.0),
    });
    report.exit()
}

/// How long `wg setconf` takes for the interface's own configuration: what the daemon needs to make each peer anew.
fn made_anew(site: &Site) -> Duration {
    let Tunnel { name, .. } = &site.gateway.tunnel;
    let shown = site.gateway.machine.run("wg", &["showconf", name]).ok().stdout;
    let file = site.gateway.machine.path("shown.conf");
    write_private(&file, &shown);
    let since = Instant::now();
    site.gateway.machine.run("wg", &["setconf", name, &file.to_string_lossy()]).ok();
    since.elapsed()
}

/// What each second of looking costs the agent, and the daemon of the interface that it looks at; nothing where that is the
/// kernel's.
fn looks(site: &mut Site) -> (Vec<f64>, Vec<f64>) {
    let rounds = || site.bastion.log("host-connected").len();
    let before = rounds();
    site.gateway.start();
    until("the resident agent in contact", REST, || (rounds() > before).then_some(()));
    rest(site);
    let agent = site.gateway.agent.as_ref().expect("it runs").pid();
    let is_daemon = |pid: &Pid| words(*pid).first().is_some_and(|word| word.ends_with("wireguard-go"));
    let daemon = site.gateway.machine.pids().into_iter().find(is_daemon);
    let used = || (cpu_time(agent), daemon.map_or(Duration::ZERO, cpu_time));
    let samples = (0..LOOKS.0).map(|_| {
        let (since, before) = (Instant::now(), used());
        std::thread::sleep(LOOKS.1);
        let (after, seconds) = (used(), since.elapsed().as_secs_f64());
        (millis(after.0 - before.0) / seconds, millis(after.1 - before.1) / seconds)
    });
    let samples = samples.unzip();
    site.gateway.agent.take().expect("it runs").stop();
    samples
}

/// Waits until the keeper has looked at all that the round has changed: it does so a few hundred connections at a time.
fn rest(site: &Site) {
    until("the keeper to come to rest", REST, || {
        let before = cpu_time(site.keeper());
        std::thread::sleep(Duration::from_secs(1));
        (millis(cpu_time(site.keeper()) - before) < 10.0).then_some(())
    });
}

/// Releases every waiting key until one moment, as ten thousand logins would, and waits for the locks of the resident
/// agent; how long after that moment the last one came.
fn locked_late(site: &mut Site, store: &Connection, keys: &BTreeSet<String>) -> Duration {
    assert_eq!(release_all(store, SESSION), PEERS);
    site.gateway.start();
    let deadline = until("the agent knows of all sessions", SESSION, || {
        let (deadline, open) = agents_deadline(site);
        (open == PEERS).then_some(deadline)
    });
    // the agent says so when it has read all of them back; looking meanwhile would keep the interface busy
    let agent = site.gateway.agent.as_ref().expect("it runs");
    let locked =
        agent.await_line_from(0, "the locks", 2 * SESSION, |line| line.text == format!("{PEERS} peers locked"));
    assert!(keys.is_disjoint(&peers(site)), "none of the keys of before is accepted");
    locked.at.duration_since(deadline).expect("nothing is locked before its deadline")
}

/// Ten thousand devices at once, where `device add` would take one after the other.
fn register(store: &Connection, devices: &[Keys]) {
    store.execute_batch("BEGIN").expect("a transaction");
    let sql = "INSERT INTO devices (name, owner, public_key, added_at) VALUES ('device' || ?1, 'justin', ?2, 0)";
    let mut insert = store.prepare(sql).expect("the schema has them");
    for (index, keys) in devices.iter().enumerate() {
        insert.execute((index, &keys.public)).expect("each is new");
    }
    store.execute_batch("COMMIT").expect("the disk has room");
}

/// The configuration file of the gateway's interface, as wg-quick(8) reads it.
fn write_file(site: &Site, devices: &[Keys]) {
    let mut text = format!("[Interface]\nPrivateKey = {}\n", site.gateway.tunnel.keys.private);
    for keys in devices {
        text += &format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.77.0.0/32\n", keys.public);
    }
    write_private(&site.gateway.configuration(), &text);
}

/// Every peer with its preshared key.
fn peers(site: &Site) -> BTreeSet<String> {
    let tunnel = &site.gateway.tunnel;
    let shown = site.gateway.machine.run("wg", &["show", &tunnel.name, "preshared-keys"]).ok().stdout;
    shown.lines().map(str::to_owned).collect()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
