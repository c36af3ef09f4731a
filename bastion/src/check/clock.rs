//! The clock: one-time codes and deadlines depend on it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Findings;
use crate::config::Config;
use crate::store::FILE_NAME;

/// No machine that runs it is right to show an earlier time than this (2025-01-01T00:00:00Z).
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

/// How far a file's time may lie ahead, for file servers whose clock differs a little.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Left behind by systemd-timesyncd once the clock is synchronised (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// Faults of the clock.
pub fn check(findings: &mut Findings) {
    if SystemTime::now() < SystemTime::UNIX_EPOCH + EARLIEST {
        findings.fault("clock: shows a time before 2025; set it");
    }
    if synchronised() == Some(false) {
        findings.warning("clock: not synchronised (systemd-timesyncd runs, and has not reached a time server yet)");
    }
}

/// Whether it runs behind the store, as far as one can tell who does not open it.
pub fn check_store(config: &Config, findings: &mut Findings) {
    if let Some(fault) = behind(SystemTime::now(), last_written(&config.state_dir)) {
        findings.fault(fault);
    }
}

fn behind(now: SystemTime, last_written: Option<SystemTime>) -> Option<String> {
    let seconds = last_written?.duration_since(now + TOLERANCE).ok()?.as_secs() + TOLERANCE.as_secs();
    Some(format!("clock: {seconds} s behind the last recorded time; set it"))
}

/// Whether a time server sets the clock, as far as that can be known.
pub fn synchronised() -> Option<bool> {
    Path::new(TIMESYNCD).parent()?.is_dir().then(|| Path::new(TIMESYNCD).exists())
}

/// When the store was last written: the earlier time of the database and its log, because a time that was wrong and is
/// mended stays on the one that was not written since.
fn last_written(folder: &Path) -> Option<SystemTime> {
    let written = |name: String| folder.join(name).metadata().ok()?.modified().ok();
    [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")].into_iter().filter_map(written).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_a_fault() {
        let now = SystemTime::now();
        assert_eq!(behind(now, None), None);
        assert_eq!(behind(now, Some(now - TOLERANCE)), None);
        assert_eq!(behind(now, Some(now + TOLERANCE / 2)), None);
        let ahead = Some(now + Duration::from_secs(7200));
        assert_eq!(behind(now, ahead).unwrap(), "clock: 7200 s behind the last recorded time; set it");
    }

    #[test]
    fn a_wrong_time_that_was_mended_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = SystemTime::now() + Duration::from_secs(7200);
        let file = std::fs::File::create(folder.path().join(FILE_NAME)).unwrap();
        file.set_modified(ahead).unwrap();
        assert_eq!(last_written(folder.path()), Some(ahead));
        std::fs::write(folder.path().join(format!("{FILE_NAME}-wal")), "").unwrap();
        assert!(last_written(folder.path()).unwrap() < ahead);
    }
}
