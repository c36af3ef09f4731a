//! Times as people read them: by the clock on their wall, and how much is left.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use wgmfa_core::interval::{Interval, left};

/// Writes and reads times for people.
#[derive(Debug, Clone)]
pub struct When {
    now: Timestamp,
    zone: TimeZone,
}

impl When {
    /// For someone who reads at this time in this time zone.
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        Self { now, zone }
    }

    /// When it is read.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// `15:55`, with the date when it is not today's.
    pub fn clock(&self, time: Timestamp) -> String {
        let (time, now) = (time.to_zoned(self.zone.clone()), self.now.to_zoned(self.zone.clone()));
        let format = if time.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        time.strftime(format).to_string()
    }

    /// `2026-11-21 15:55:00`
    pub fn moment(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `58 min left (until 15:55)`; `over since 15:55` when it has passed.
    pub fn left(&self, deadline: Timestamp) -> String {
        match u64::try_from(deadline.as_second().saturating_sub(self.now.as_second())) {
            Ok(seconds) if seconds > 0 => format!("{} (until {})", left(seconds), self.clock(deadline)),
            _ => format!("over since {}", self.clock(deadline)),
        }
    }

    /// `3 min ago (15:52)`; seconds below two minutes, hours and days above.
    pub fn ago(&self, time: Timestamp) -> String {
        let seconds = u64::try_from(self.now.as_second().saturating_sub(time.as_second())).unwrap_or(0);
        let ago = match seconds {
            0..120 => format!("{seconds} s ago"),
            120..7200 => format!("{} min ago", seconds / 60),
            7200..172_800 => format!("{} h ago", seconds / 3600),
            _ => format!("{} days ago", seconds / 86_400),
        };
        format!("{ago} ({})", self.clock(time))
    }

    /// Reads a time as people write it: RFC 3339, a date or a date and time of this time zone, a time of today, or how
    /// long ago (`90m`).
    pub fn parse(&self, text: &str) -> Option<Timestamp> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(time);
        }
        if let Ok(ago) = text.parse::<Interval>() {
            return self.now.checked_sub(jiff::SignedDuration::from_secs(i64::try_from(ago.as_seconds()).ok()?)).ok();
        }
        let today = self.now.to_zoned(self.zone.clone()).date();
        let civil: DateTime = text.parse().ok().or_else(|| Some(today.to_datetime(text.parse::<Time>().ok()?)))?;
        civil.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_the_clock_on_their_wall() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let when = When::new(at("2026-11-21T13:57:00Z"), berlin);
        assert_eq!(when.left(at("2026-11-21T14:55:30Z")), "58 min left (until 15:55)");
        assert_eq!(when.left(at("2026-11-21T13:57:59Z")), "59 s left (until 14:57)");
        assert_eq!(when.left(at("2026-11-21T23:30:00Z")), "573 min left (until 2026-11-22 00:30)");
        assert_eq!(when.left(at("2026-11-21T13:57:00Z")), "over since 14:57");
        assert_eq!(when.ago(at("2026-11-21T13:54:00Z")), "3 min ago (14:54)");
        assert_eq!(when.ago(at("2026-11-19T13:57:00Z")), "2 days ago (2026-11-19 14:57)");
        assert_eq!(when.moment(at("2026-07-01T12:00:00Z")), "2026-07-01 14:00:00");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let when = When::new("2026-11-21T13:57:00Z".parse().unwrap(), TimeZone::fixed(jiff::tz::offset(1)));
        for (text, time) in [
            ("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"),
            ("90m", "2026-11-21T12:27:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20 15:00", "2026-11-20T14:00:00Z"),
            ("09:30", "2026-11-21T08:30:00Z"),
        ] {
            assert_eq!(when.parse(text), Some(time.parse().unwrap()), "{text}");
        }
        assert_eq!(when.parse("yesterday"), None);
    }
}
