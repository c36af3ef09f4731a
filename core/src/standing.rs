//! What the bastion tells a server about one of its peers: from what it knows, where the newest generation stands.

use jiff::Timestamp;

use crate::release::{Cover, Newest, Phase};
use crate::rotation::Standing;

/// What the bastion knows about a connection whose server side asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the policies say.
    pub cover: Cover,
    /// Why nobody may come in, when an administrator has cut off the person, the device or the host.
    pub cut_off: Option<String>,
    /// The newest generation.
    pub newest: Option<Newest>,
    /// When it was applied.
    pub applied_at: Option<Timestamp>,
    /// Why a new generation was ordered, if the newest one was there already at that time.
    pub rotation_ordered: Option<String>,
}

/// Whether the server is told of the peer at all.
///
/// Not when it is the client side: what stands there is the client's key, and must not be locked. But first it locks
/// what it may still accept from when it was the server side itself.
pub fn is_told(facts: &Facts, now: Timestamp) -> bool {
    let is_client = matches!(facts.cover, Cover::ClientSide | Cover::SessionAtOtherEnd { .. });
    let may_accept = match facts.newest.map(|newest| newest.phase) {
        Some(Phase::Released { deadline }) => deadline > now,
        // it was told once, which orders another generation
        Some(Phase::Applied) => facts.rotation_ordered.is_none(),
        Some(Phase::Deposited | Phase::Expired) | None => false,
    };
    !is_client || facts.cut_off.is_some() || may_accept
}

/// Where the newest generation stands, for the server.
///
/// A running session keeps its deadline whatever the policies say meanwhile; only an administrator's cut-off or order
/// ends it early.
pub fn standing(facts: &Facts, now: Timestamp) -> Standing {
    if let Some(reason) = &facts.cut_off {
        return Standing::KeepLocked { reason: reason.clone() };
    }
    if let (Some(Newest { generation, phase: Phase::Released { deadline } }), None) =
        (facts.newest, &facts.rotation_ordered)
        && deadline > now
    {
        let seconds_left = deadline.as_second().saturating_sub(now.as_second());
        return Standing::Released { generation, seconds_left: u64::try_from(seconds_left).unwrap_or(0) };
    }
    match &facts.cover {
        Cover::NotReleased | Cover::Firewall { .. } => {
            return Standing::KeepLocked { reason: "no policy with a second factor covers it any more".to_owned() };
        }
        Cover::Conflict(reason) => {
            return Standing::KeepLocked { reason: format!("the policies contradict each other: {reason}") };
        }
        Cover::ClientSide | Cover::SessionAtOtherEnd { .. } => {
            return Standing::KeepLocked { reason: "the other end is the server side now".to_owned() };
        }
        Cover::Mfa { .. } => {}
    }
    let missing = |reason: &str| Standing::Missing { reason: reason.to_owned() };
    if let Some(reason) = &facts.rotation_ordered {
        return missing(reason);
    }
    match facts.newest {
        Some(Newest { generation, phase: Phase::Applied }) => {
            let age = facts.applied_at.map_or(0, |at| now.as_second().saturating_sub(at.as_second()));
            Standing::Waiting { generation, age_seconds: u64::try_from(age).unwrap_or(0) }
        }
        Some(Newest { phase: Phase::Released { .. } | Phase::Expired, .. }) => missing("the session is over"),
        Some(Newest { phase: Phase::Deposited, .. }) => missing("the deposited key was never confirmed"),
        None => missing("there is no key yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::sync::PolicyRef;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn facts(phase: Option<Phase>) -> Facts {
        let policy = PolicyRef { ordinal: 1, description: "Prod".to_owned(), mfa: true };
        Facts {
            cover: Cover::Mfa { policy, rotation_interval: 30 },
            cut_off: None,
            newest: phase.map(|phase| Newest { generation: 7, phase }),
            applied_at: Some(at(0)),
            rotation_ordered: None,
        }
    }

    #[test]
    fn a_running_session_keeps_its_deadline_when_its_policy_goes() {
        let running = facts(Some(Phase::Released { deadline: at(30) }));
        for cover in [running.cover.clone(), Cover::NotReleased, Cover::Conflict("x".to_owned())] {
            let facts = Facts { cover, ..running.clone() };
            assert_eq!(standing(&facts, at(10)), Standing::Released { generation: 7, seconds_left: 20 });
        }
        let gone = Facts { cover: Cover::NotReleased, ..running };
        assert!(matches!(standing(&gone, at(30)), Standing::KeepLocked { .. }));
    }

    #[test]
    fn a_former_server_side_is_locked_once_and_then_left_to_the_clients_key() {
        for cover in [Cover::ClientSide, Cover::SessionAtOtherEnd { until: "15:55".to_owned() }] {
            let of = |phase| Facts { cover: cover.clone(), ..facts(phase) };
            let running = of(Some(Phase::Released { deadline: at(30) }));
            assert!(is_told(&running, at(10)), "its session keeps its deadline");
            assert!(matches!(standing(&running, at(10)), Standing::Released { .. }));
            assert!(!is_told(&running, at(30)), "the session is over");
            let waiting = of(Some(Phase::Applied));
            assert!(is_told(&waiting, at(10)) && matches!(standing(&waiting, at(10)), Standing::KeepLocked { .. }));
            assert!(!is_told(&Facts { rotation_ordered: Some("told to lock".to_owned()), ..waiting }, at(10)));
            for phase in [None, Some(Phase::Deposited), Some(Phase::Expired)] {
                assert!(!is_told(&of(phase), at(10)), "{phase:?}");
                assert!(is_told(&Facts { cut_off: Some("host disabled".to_owned()), ..of(phase) }, at(10)));
            }
        }
        assert!(is_told(&Facts { cover: Cover::NotReleased, ..facts(Some(Phase::Expired)) }, at(10)));
    }

    #[test]
    fn an_administrator_ends_a_running_session() {
        let running = facts(Some(Phase::Released { deadline: at(30) }));
        let cut = Facts { cut_off: Some("device disabled".to_owned()), ..running.clone() };
        assert_eq!(standing(&cut, at(1)), Standing::KeepLocked { reason: "device disabled".to_owned() });
        let ordered = Facts { rotation_ordered: Some("leak".to_owned()), ..running };
        assert_eq!(standing(&ordered, at(1)), Standing::Missing { reason: "leak".to_owned() });
    }

    #[test]
    fn each_phase_has_its_standing() {
        let stands = |phase| standing(&facts(phase), at(10));
        assert_eq!(stands(Some(Phase::Applied)), Standing::Waiting { generation: 7, age_seconds: 10 });
        for phase in [None, Some(Phase::Deposited), Some(Phase::Expired), Some(Phase::Released { deadline: at(10) })] {
            assert!(matches!(stands(phase), Standing::Missing { .. }), "{phase:?}");
        }
    }
}
