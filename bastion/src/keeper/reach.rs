//! Whether and when a host's agent hears of something, in seconds and in words.

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::exit::Failure;
use wgmfa_core::name::HostName;
use wgmfa_core::release::Hears;

use super::Keeper;
use crate::store::StoreError;

/// An agent that comes by is not overdue before it is so late: its rounds do not take equally long.
const MAY_BE_LATE: SignedDuration = SignedDuration::from_secs(15);

impl Keeper {
    /// For how many seconds a host's agent was not heard; one that is connected pings every ten seconds.
    pub(super) fn unheard(&self, host: &HostName, now: Timestamp) -> Result<Option<u64>, Failure> {
        let heard = match self.heard.borrow().get(host) {
            Some(heard) => Some(*heard),
            None => self.store.host(host)?.and_then(|record| record.last_seen),
        };
        Ok(heard.map(|heard| u64::try_from(now.duration_since(heard).as_secs()).unwrap_or(0)))
    }

    /// How much of a session a server that does not hear of it will cut off: all the time since its last contact. One
    /// that comes by as expected does hear of it.
    pub(super) fn uncounted(&self, host: &HostName, unheard: Option<u64>, now: Timestamp) -> Result<u64, Failure> {
        let on_time = self.store.host(host)?.and_then(|record| record.next_round).is_some_and(|next| next > now);
        Ok(unheard.filter(|_| !on_time).unwrap_or(0))
    }

    /// Whether a host will hear that a running session is prolonged.
    pub(super) fn hears(&self, host: &HostName, now: Timestamp) -> Result<Hears, Failure> {
        if self.has_resident(host) {
            return Ok(Hears::Asked);
        }
        let next = self.store.host(host)?.and_then(|record| record.next_round);
        let on_time = next.is_some_and(|next| now.duration_since(next) < MAY_BE_LATE);
        Ok(if on_time { Hears::ComesBy } else { Hears::NotReached(host.to_string()) })
    }

    /// When a server without a key to release is expected to have one, in words.
    pub(super) fn next_round(&self, host: &HostName, now: Timestamp) -> Result<String, Failure> {
        if self.has_resident(host) {
            return Ok(format!("{host} has no key ready yet; try again in a few seconds"));
        }
        let record = self.store.host(host)?;
        let (next, seen) = record.map_or((None, None), |record| (record.next_round, record.last_seen));
        Ok(match (next, seen) {
            (Some(next), _) if next > now => format!("next round of {host} expected by {}", self.clock(next)),
            (Some(next), _) => format!("{host} is overdue since {}", self.clock(next)),
            (None, Some(seen)) => format!("{host} was last heard at {}", self.clock(seen)),
            (None, None) => format!("{host} was never heard; its agent has not come yet"),
        })
    }

    /// When a gateway that is not connected will open, in words.
    pub(super) fn opens_later(&self, host: &HostName, now: Timestamp) -> Result<String, StoreError> {
        let record = self.store.host(host)?;
        let (next, seen) = record.map_or((None, None), |record| (record.next_round, record.last_seen));
        Ok(match (next, seen) {
            (Some(next), _) if next > now => {
                format!("opens at the next round of {host}, expected by {}", self.clock(next))
            }
            (Some(next), _) => format!("opens at the next round of {host}, overdue since {}", self.clock(next)),
            (None, Some(seen)) => {
                format!("opens at the next round of {host}, which was last heard at {}", self.clock(seen))
            }
            (None, None) => format!("opens at the next round of {host}, which was never heard"),
        })
    }
}
