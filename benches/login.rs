//! How long a person waits for a login with stock `ssh`, beside sshd; and what the front itself works for it.

use std::process::ExitCode;
use std::time::Duration;

use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::cpu_time;
use wgmfa_benches::site::Site;

const PEOPLE: usize = 40;

/// Logins of each person: as many as there are codes that are good at one time.
const LOGINS: usize = 3;

fn main() -> ExitCode {
    let (mut people, mut site) = Site::with_people(PEOPLE);
    let sshd = site.start_sshd();
    let (front, keeper) = (site.front(), site.keeper());
    sshd.with_account(|account| site.client.time(account, "true", false)); // both sides are warm
    let (mut ours, mut theirs, mut by_front, mut by_keeper) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LOGINS {
        for person in &mut people {
            let before = (cpu_time(front), cpu_time(keeper));
            ours.push(millis(person.with_account(|account| site.client.time(account, "wgmfa-sync", true))));
            by_front.push(millis(cpu_time(front) - before.0));
            by_keeper.push(millis(cpu_time(keeper) - before.1));
            theirs.push(millis(sshd.with_account(|account| site.client.time(account, "true", false))));
        }
    }
    let mut report = Report::default();
    report.tell(&Figure {
        name: "ssh bastion wgmfa-sync",
        unit: Unit::Milliseconds,
        samples: ours,
        against: Some(("ssh sshd true", theirs)),
        bound: Bound::Ratio(0.5),
    });
    let mut cpu = |name, samples, bound| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    cpu("CPU time of the front per login", by_front, Bound::Median(3.0));
    cpu("CPU time of the keeper per login, password hash included", by_keeper, Bound::None);
    report.exit()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
