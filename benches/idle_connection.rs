//! How much memory an authenticated connection takes that nobody uses, beside sshd's.

use std::process::ExitCode;

use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::memory;
use wgmfa_benches::site::Site;
use wgmfa_tests::daemon::Daemon;

const PEOPLE: usize = 40;

/// Connections before the first sample: what is taken once must not be counted.
const WARM: (usize, usize) = (20, 2);

/// Connections from one sample to the next: on the bastion, and on sshd.
const BATCH: (usize, usize) = (20, 4);

const SAMPLES: usize = 5;

fn main() -> ExitCode {
    let (mut people, mut site) = Site::with_people(PEOPLE);
    let sshd = site.start_sshd();
    let (front, keeper) = (site.front(), site.keeper());
    let mut everybody = (0..PEOPLE).cycle();
    let mut stay = |count| -> Vec<Daemon> {
        let who = everybody.by_ref().take(count);
        who.map(|who| people[who].with_account(|account| site.client.stay(account))).collect()
    };
    let stay_at_sshd =
        |count| -> Vec<Daemon> { (0..count).map(|_| sshd.with_account(|account| site.client.stay(account))).collect() };
    let (mut here, mut there) = (stay(WARM.0), stay_at_sshd(WARM.1));
    let (mut ours, mut by_front, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let before = (memory(&[front]), memory(&[keeper]), memory(&sshd.processes(there.len())));
        here.extend(stay(BATCH.0));
        there.extend(stay_at_sshd(BATCH.1));
        let more_in_front = memory(&[front]) - before.0;
        by_front.push(more_in_front / BATCH.0 as f64);
        ours.push((more_in_front + memory(&[keeper]) - before.1) / BATCH.0 as f64);
        theirs.push((memory(&sshd.processes(there.len())) - before.2) / BATCH.1 as f64);
    }
    let kept = here.iter_mut().chain(&mut there).all(|connection| connection.ended().is_none());
    assert!(kept, "a connection ended before it was measured");
    let mut report = Report::default();
    report.tell(&Figure {
        name: "memory of an idle connection",
        unit: Unit::Kibibytes,
        samples: ours,
        against: Some(("sshd", theirs)),
        bound: Bound::Ratio(1.0 / 20.0),
    });
    let mut part = |name, samples| {
        report.tell(&Figure { name, unit: Unit::Kibibytes, samples, against: None, bound: Bound::None });
    };
    part("  of which in the front", by_front);
    part("the front with all connections", vec![memory(&[front])]);
    part("the keeper with all connections", vec![memory(&[keeper])]);
    report.exit()
}
