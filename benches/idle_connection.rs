//! What an authenticated connection costs that nobody uses: memory that is there for it alone, beside sshd's.

use std::process::ExitCode;

use nix::unistd::Pid;
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::own_memory;
use wgmfa_benches::site::Site;

const PEOPLE: usize = 40;

/// Connections before the first sample: what is allocated once must not be counted.
const WARM: usize = 20;

const BATCHES: usize = 5;

/// Connections in a batch: on the bastion (they share pages of its two processes), and on sshd (two processes each).
const OURS: usize = 20;
const THEIRS: usize = 4;

fn main() -> ExitCode {
    let (mut people, mut site) = Site::with_people(PEOPLE);
    let sshd = site.start_sshd();
    let (front, keeper) = (site.front(), site.keeper());
    // one after the other, so that nobody needs three codes within a moment
    let mut login = 0;
    let mut stay = || {
        login += 1;
        people[(login - 1) % PEOPLE].with_account(|account| site.client.stay(account))
    };
    let mut connections: Vec<_> = (0..WARM).map(|_| stay()).collect();
    let (mut in_front, mut in_both, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut sessions = Vec::new();
    for _ in 0..BATCHES {
        let before = [front, keeper].map(kib);
        connections.extend((0..OURS).map(|_| stay()));
        let more = [kib(front) - before[0], kib(keeper) - before[1]];
        in_front.push(more[0] / OURS as f64);
        in_both.push((more[0] + more[1]) / OURS as f64);
        // sshd's processes lose pages to nobody when others come, so a batch is measured by itself
        sessions.clear();
        sshd.await_sessions(0);
        sessions.extend((0..THEIRS).map(|_| sshd.with_account(|account| site.client.stay(account))));
        sshd.await_sessions(2 * THEIRS);
        theirs.push(sshd.sessions().into_iter().map(kib).sum::<f64>() / THEIRS as f64);
    }
    assert!(connections.iter_mut().all(|connection| connection.ended().is_none()), "a connection was not kept");
    let mut report = Report::default();
    report.tell(&Figure {
        name: "own memory of front and keeper per idle connection",
        unit: Unit::Kibibytes,
        samples: in_both,
        against: Some(("own memory of sshd's two processes", theirs)),
        bound: Bound::Ratio(1.0 / 20.0),
    });
    report.tell(&Figure {
        name: "  of which the front",
        unit: Unit::Kibibytes,
        samples: in_front,
        against: None,
        bound: Bound::None,
    });
    report.note(&format!(
        "  in all, with {} connections: front {} KiB, keeper {} KiB",
        connections.len(),
        kib(front),
        kib(keeper)
    ));
    report.exit()
}

fn kib(pid: Pid) -> f64 {
    own_memory(pid) as f64
}
