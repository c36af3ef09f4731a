//! CLOCK_BOOTTIME: reading it, and a timer that goes on in suspend.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use tokio::io::unix::AsyncFd;
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::tandem::Patience;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Now, in this boot.
pub fn now() -> Boottime {
    let time = clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME");
    let millis = time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000;
    Boottime::from_millis(millis)
}

/// Waits until a moment that is near.
pub fn wait_until(moment: Boottime) {
    // it may be woken up too early, but suspended it counts no time
    while now() < moment {
        std::thread::sleep(moment.since(now()));
    }
}

/// Which boot this is. In debug builds `WGMFA_BOOT_ID` overrides it, so that a test can reboot.
///
/// # Errors
/// `/proc` is not there.
pub fn boot_id() -> Result<BootId, Failure> {
    if cfg!(debug_assertions)
        && let Ok(id) = std::env::var("WGMFA_BOOT_ID")
    {
        return Ok(BootId(id));
    }
    let text = std::fs::read_to_string(BOOT_ID)
        .map_err(|error| Failure::new(Exit::Failed, format!("{BOOT_ID}: {error}")).hint("mount /proc"))?;
    Ok(BootId(text.trim().to_owned()))
}

/// How patient an end of a pair is. In debug builds `WGMFA_PATIENCE` (seconds, for a handshake and for an attempt)
/// overrides it, so that a test need not wait for minutes.
pub fn patience() -> Patience {
    if cfg!(debug_assertions)
        && let Ok(text) = std::env::var("WGMFA_PATIENCE")
        && let Some((stale_after, try_for)) = text.split_once(' ')
        && let (Ok(stale_after), Ok(try_for)) = (stale_after.parse(), try_for.parse())
    {
        return Patience { stale_after, try_for };
    }
    Patience::default()
}

/// How long before a deadline locks are made ready. In debug builds `WGMFA_LEAD` (milliseconds) overrides it, so that a test
/// sees whether they wait for it.
pub fn lead(measured: Duration) -> Duration {
    if cfg!(debug_assertions)
        && let Some(millis) = std::env::var("WGMFA_LEAD").ok().and_then(|text| text.parse().ok())
    {
        return Duration::from_millis(millis);
    }
    measured
}

/// A timer for one moment at a time.
pub struct Timer(AsyncFd<Descriptor>);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer that is not set. Needs a running event loop.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; Descriptor owns one descriptor, open as long as it lives"
        )]
        let registered = AsyncFd::new(Descriptor(timer))?;
        Ok(Self(registered))
    }

    /// Sets it to a moment (one that has passed: at once), or stops it.
    ///
    /// # Errors
    /// As `timerfd_settime(2)`.
    pub fn arm(&self, moment: Option<Boottime>) -> io::Result<()> {
        let timer = &self.0.get_ref().0;
        let Some(moment) = moment else { return Ok(timer.unset()?) };
        // A zero time would stop the timer instead of firing.
        let millis = moment.as_millis().max(1);
        let at = TimeSpec::new((millis / 1000) as i64, (millis % 1000 * 1_000_000) as i64);
        Ok(timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Waits until the moment is there. May be dropped and called again.
    ///
    /// # Errors
    /// As `read(2)`.
    pub async fn expired(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut count = [0; 8];
            match guard.try_io(|timer| Ok(nix::unistd::read(&timer.get_ref().0, &mut count)?)) {
                Ok(read) => return read.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timer_fires_at_its_moment_and_not_before() {
        let timer = Timer::new().unwrap();
        timer.arm(Some(Boottime::from_millis(0))).unwrap();
        timer.expired().await.unwrap();
        let moment = Boottime::from_millis(now().as_millis() + 30);
        timer.arm(Some(moment)).unwrap();
        timer.expired().await.unwrap();
        assert!(now() >= moment);
    }
}
