//! The bastion's time. It never runs below the last recorded one, so a clock that has jumped ahead is believed, but not
//! recorded: what is recorded rises only as fast as CLOCK_BOOTTIME, which nobody can set.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

use super::{Keeper, say};
use crate::store::{Event, Note};

/// How far the clock may run ahead of CLOCK_BOOTTIME in an hour: time servers mend small errors.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// After so long the clock and CLOCK_BOOTTIME are compared anew.
const COMPARED_EVERY: Duration = Duration::from_secs(3600);

/// A time that was used and not recorded may be so much later than now before the sessions of that time are over. More
/// than the minute for which nothing may be recorded.
const BACK: SignedDuration = SignedDuration::from_secs(120);

/// What the clock has shown.
pub struct Clock {
    /// A time that was right, and CLOCK_BOOTTIME then.
    base: Cell<(Timestamp, Duration)>,
    /// The latest time that was used.
    latest: Cell<Timestamp>,
    /// A jump ahead was named.
    named: Cell<bool>,
}

impl Clock {
    /// Begins with the bastion's time.
    pub fn new(now: Timestamp) -> Self {
        Self { base: Cell::new((now, boottime())), latest: Cell::new(now), named: Cell::default() }
    }

    /// The latest time that may be recorded when the clock shows this one. It lies below that one only if the clock has
    /// jumped ahead.
    fn ceiling(&self, system: Timestamp, boottime: Duration) -> Timestamp {
        let (then, at) = self.base.get();
        let elapsed = boottime.saturating_sub(at);
        let passed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        let expected = then.saturating_add(passed).unwrap_or(Timestamp::MAX);
        if system.duration_since(expected) > TOLERANCE {
            return expected;
        }
        if elapsed >= COMPARED_EVERY {
            self.base.set((system.max(then), boottime));
        }
        expected.max(system)
    }
}

impl Keeper {
    /// Now, never below the last recorded time.
    pub(super) fn now(&self) -> Timestamp {
        let system = Timestamp::now();
        if !self.store.is_time_limited() {
            // at the start, and when root has reset the time
            let now = self.store.now(system);
            self.clock.base.set((now, boottime()));
            self.clock.latest.set(now);
            self.clock.named.set(false);
        }
        self.store.limit_time(self.clock.ceiling(system, boottime()));
        let now = self.store.now(system);
        self.clock.latest.set(self.clock.latest.get().max(now));
        now
    }

    /// Names a clock that has jumped ahead, and ends what began in a time that was never recorded once it is back.
    pub(super) fn watch_clock(&self) {
        let (now, system) = (self.now(), Timestamp::now());
        let ahead = system.duration_since(self.clock.ceiling(system, boottime()));
        if ahead > SignedDuration::ZERO && !self.clock.named.replace(true) {
            let reason = format!(
                "the clock has jumped ahead by about {} s since this bastion was started; restart it if the clock is right now",
                ahead.as_secs()
            );
            say(&reason);
            self.note_or_say(Note::new(Event::ClockJumped).reason(reason));
        }
        let latest = self.clock.latest.get();
        if latest.duration_since(now) > BACK {
            self.clock.latest.set(now);
            self.clock.named.set(false);
            let reason = "the clock was set back";
            say(&format!("{reason}; all sessions are over"));
            if let Err(error) = self.store.end_all_sessions(now, reason) {
                say(&error.to_string());
            }
            let hosts: Vec<_> = self.links.borrow().keys().cloned().collect();
            hosts.iter().for_each(|host| _ = self.order_round(host, reason));
        }
    }

    fn note_or_say(&self, note: Note) {
        if let Err(error) = self.store.note(self.now(), note) {
            say(&error.to_string());
        }
    }
}

/// CLOCK_BOOTTIME now.
fn boottime() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME");
    time.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_recorded_rises_with_the_time_since_boot() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let clock = Clock::new(start);
        let boot = clock.base.get().1;
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let ceiling = |shown: i64, passed: u64| clock.ceiling(at(shown), boot + Duration::from_secs(passed));
        assert_eq!(ceiling(10, 10), at(10));
        assert_eq!(ceiling(86_400, 20), at(20), "a jump ahead raises nothing");
        assert_eq!(ceiling(86_400, 7200), at(7200), "also after hours");
        assert_eq!(ceiling(7230, 7200), at(7230));
        assert_eq!(ceiling(7240, 7210), at(7240), "what a time server mends is followed");
    }
}
