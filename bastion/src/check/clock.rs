//! The clock: one-time codes and deadlines depend on it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Findings;
use crate::config::Config;

/// No machine that runs it is right to show an earlier time than this (2025-01-01T00:00:00Z).
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

/// How far a file's time may lie ahead, for file servers whose clock differs a little.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Left behind by systemd-timesyncd once the clock is synchronised (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// Faults of the clock.
pub fn check(config: &Config, findings: &mut Findings) {
    let now = SystemTime::now();
    if let Some(fault) = wrong(now, newest(&config.state_dir)) {
        findings.fault(fault);
    }
    if synchronised() == Some(false) {
        findings.warning("clock: not synchronised (systemd-timesyncd runs, and has not reached a time server yet)");
    }
}

/// Why this time cannot be right.
fn wrong(now: SystemTime, last_written: Option<SystemTime>) -> Option<String> {
    if now < SystemTime::UNIX_EPOCH + EARLIEST {
        return Some("clock: shows a time before 2025; set it".to_owned());
    }
    match last_written {
        Some(last) if last > now + TOLERANCE => {
            let seconds = last.duration_since(now).unwrap_or_default().as_secs();
            Some(format!("clock: {seconds} s behind the last recorded time; set it"))
        }
        _ => None,
    }
}

/// Whether a time server sets the clock, as far as that can be known.
pub fn synchronised() -> Option<bool> {
    Path::new(TIMESYNCD).parent()?.is_dir().then(|| Path::new(TIMESYNCD).exists())
}

/// When something was last written in a folder.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_a_fault() {
        let now = SystemTime::UNIX_EPOCH + EARLIEST + Duration::from_secs(86_400);
        assert_eq!(wrong(now, None), None);
        assert_eq!(wrong(now, Some(now + TOLERANCE)), None);
        let ahead = Some(now + Duration::from_secs(7200));
        assert_eq!(wrong(now, ahead).unwrap(), "clock: 7200 s behind the last recorded time; set it");
        let stale = SystemTime::UNIX_EPOCH;
        assert_eq!(wrong(stale, None).unwrap(), "clock: shows a time before 2025; set it");
    }
}
