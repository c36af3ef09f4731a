//! This machine's clocks: time since boot for what is left, local time for people.

use std::time::Duration;

use jiff::{Timestamp, Zoned};
use nix::time::{ClockId, clock_gettime};
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::interval::left;

/// Now, in this boot.
pub fn boottime() -> Boottime {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME since 2.6.39");
    Boottime::from_millis(u64::try_from(Duration::from(now).as_millis()).expect("a boot is shorter than an age"))
}

/// Which boot this is.
pub fn boot_id() -> std::io::Result<BootId> {
    Ok(BootId(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned()))
}

/// The time of day that is so many seconds ahead.
pub fn timestamp_in(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(Timestamp::now().as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// `58 min left (until 15:55)`, in local time; with the day when that is not today.
pub fn left_until(seconds: u64) -> String {
    until(seconds, &Zoned::now())
}

/// The same for what was so many seconds when it came in.
pub fn left_of(seconds: u64, received: Boottime) -> String {
    left_until(seconds.saturating_sub(boottime().since(received).as_secs()))
}

fn until(seconds: u64, now: &Zoned) -> String {
    let seconds_ahead = i64::try_from(seconds).unwrap_or(i64::MAX);
    let Ok(then) = now.checked_add(jiff::SignedDuration::from_secs(seconds_ahead)) else {
        return left(seconds);
    };
    let form = if then.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{} (until {})", left(seconds), then.strftime(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_with_the_time_of_day() {
        let now: Zoned = "2026-11-21T14:55:10+00:00[UTC]".parse().unwrap();
        assert_eq!(until(3600, &now), "60 min left (until 15:55)");
        assert_eq!(until(30, &now), "30 s left (until 14:55)");
        assert_eq!(until(86_400, &now), "1440 min left (until 2026-11-22 14:55)");
        assert_eq!(until(u64::MAX, &now), left(u64::MAX));
    }
}
