//! What the policies say about a connection, in the terms in which core decides about releases and standings.

use jiff::Timestamp;
use wgmfa_core::connection::Connection;
use wgmfa_core::interval::Interval;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::policy::{Enforce, Selection, Sides};
use wgmfa_core::release::{Cover, Newest, Phase};

use crate::admin::site::places;
use crate::store::{Place, Record};

/// What one place is to a connection.
pub struct Served {
    /// What the policies say.
    pub cover: Cover,
    /// The policy that applies.
    pub policy: Option<PolicyRef>,
    /// Its rotation interval, in seconds; 0 without a policy.
    pub rotation_interval: u64,
    /// Its idle timeout, in seconds.
    pub idle_timeout: Option<u64>,
}

impl Served {
    /// No policy says anything.
    pub fn nobody() -> Self {
        Self::nothing(Cover::NotReleased)
    }

    /// A session from when the sides were others runs at the other end, until then.
    pub fn at_other_end(until: String) -> Self {
        Self::nothing(Cover::SessionAtOtherEnd { until })
    }

    fn nothing(cover: Cover) -> Self {
        Self { cover, policy: None, rotation_interval: 0, idle_timeout: None }
    }
}

/// What a place is to its connection: covered when it is the server side of an MFA policy.
pub fn serves(selection: &Selection<'_>, connection: &Connection, place: &Place) -> Served {
    match selection {
        Selection::Applies { policy, sides: sides @ Sides::Server(_) } => {
            if sides.server_side(connection) != Some(&place.server_side) {
                return Served::nothing(Cover::ClientSide);
            }
            let rotation_interval = policy.rotation_interval.as_seconds();
            let idle_timeout = policy.idle_timeout.map(Interval::as_seconds);
            if let Enforce::Firewall(tier) = &policy.enforce {
                let (policy, tier) = (policy.reference(), tier.clone());
                return Served::nothing(Cover::Firewall { policy, tier, rotation_interval });
            }
            let policy = policy.reference();
            Served {
                cover: Cover::Mfa { policy: policy.clone(), rotation_interval },
                policy: Some(policy),
                rotation_interval,
                idle_timeout,
            }
        }
        Selection::Conflict { reason, .. } => Served::nothing(Cover::Conflict(reason.to_string())),
        Selection::Applies { .. } | Selection::None => Served::nobody(),
    }
}

/// When a place's session is over; none: none runs.
pub fn session_end(record: &Record, now: Timestamp) -> Option<Timestamp> {
    match record.current.as_ref()?.phase {
        Phase::Released { deadline } if deadline > now => Some(deadline),
        _ => None,
    }
}

/// When the session at the other end of a connection is over; none: none runs there.
pub fn session_at_other_end(
    connection: &Connection,
    place: &Place,
    session_end: impl Fn(&Place) -> Option<Timestamp>,
) -> Option<Timestamp> {
    places(connection).iter().filter(|end| *end != place).find_map(session_end)
}

/// The generation that counts at a place.
pub fn newest(record: Option<&Record>) -> Option<Newest> {
    record.and_then(Record::that_counts)
}
