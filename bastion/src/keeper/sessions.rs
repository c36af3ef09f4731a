//! How long running sessions have lasted, by a clock that nobody can set: the bastion's own time stands still while the
//! machine's clock is behind it, and a session that is told to last as long as before in every round would never end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::name::TierName;

use crate::store::Place;

/// The sessions and grants that a server's rounds have shown, in this run.
#[derive(Default)]
pub struct Sessions(RefCell<BTreeMap<(Place, Option<TierName>), Seen>>);

struct Seen {
    deadline: Timestamp,
    at: Timestamp,
    since: Instant,
}

impl Sessions {
    /// The time by which to say what is left of a session: `now`, or later if the bastion's time has stood still since
    /// this deadline was first seen.
    pub fn now(&self, place: &Place, deadline: Timestamp, now: Timestamp) -> Timestamp {
        self.now_of(place, None, deadline, now)
    }

    /// The same of a tier that is granted; none: of the key's session.
    pub fn now_of(&self, place: &Place, tier: Option<&TierName>, deadline: Timestamp, now: Timestamp) -> Timestamp {
        let mut sessions = self.0.borrow_mut();
        let first = || Seen { deadline, at: now, since: Instant::now() };
        let seen = sessions.entry((place.clone(), tier.cloned())).or_insert_with(first);
        if seen.deadline != deadline {
            *seen = first();
        }
        let lasted = SignedDuration::try_from(seen.since.elapsed()).unwrap_or(SignedDuration::MAX);
        now.max(seen.at.saturating_add(lasted).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use wgmfa_core::key::PublicKey;

    use super::*;

    #[test]
    fn a_time_that_stands_still_prolongs_nothing() {
        let server_side = "app-gw/devices".parse().unwrap();
        let place = Place { server_side, public_key: PublicKey::from_bytes([1; 32]) };
        let (sessions, start) = (Sessions::default(), Timestamp::UNIX_EPOCH);
        let deadline = Timestamp::from_second(60).unwrap();
        assert!(sessions.now(&place, deadline, start) < deadline);
        let pause = std::time::Duration::from_millis(20);
        std::thread::sleep(pause);
        let later = SignedDuration::try_from(pause).unwrap();
        assert!(sessions.now(&place, deadline, start) >= start + later);
        let renewed = Timestamp::from_second(120).unwrap();
        assert!(sessions.now(&place, renewed, start) < start + later);
    }
}
