//! Waiting for what tells nobody that it has happened: looking again, bounded, with a clear failure.

use std::time::{Duration, Instant};

/// How long anything may take that should take milliseconds; machines are shared and slow at times.
pub const LONG: Duration = Duration::from_secs(30);

/// Looks again until `look` finds something.
///
/// # Panics
/// It found nothing within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
