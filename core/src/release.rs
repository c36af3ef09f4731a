//! Whether a login may have keys, and for each connection of its device whether it gets one.
//!
//! The keeper fills in the facts from its store and its own memory of the login, asks, and carries out the answer in
//! one transaction with its audit lines.

use jiff::{SignedDuration, Timestamp};

use crate::message::sync::PolicyRef;
use crate::name::TierName;

/// How long after its code was accepted a login may release, in seconds (design rule 5).
pub const RELEASE_WINDOW_SECONDS: i64 = 60;

/// A login this soon after a release, in seconds, gets the same generation: its line was lost, or it is another try.
pub const SAME_GENERATION_SECONDS: i64 = 60;

/// Whether a session whose key was last released at that time, and is renewed now, should change to another generation
/// in place. `same_for`: as [`SAME_GENERATION_SECONDS`].
pub fn is_next_due(released: Option<Timestamp>, now: Timestamp, same_for: SignedDuration) -> bool {
    released.is_some_and(|released| now.duration_since(released) >= same_for)
}

/// What the store knows about one login whose code it has accepted (or for which none was required).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginFacts {
    /// Since when its time runs: when its code was accepted, or, without one, when it passed.
    pub since: Timestamp,
    /// Whether it has released before.
    pub released: bool,
    /// Whether its code was spent on an administrator's act.
    pub acted: bool,
}

/// May a login have keys, or pay for an act?
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Yes.
    Admit,
    /// No, and why.
    Refuse(&'static str),
}

/// May a login have its keys now, or may its code be spent on an administrator's act? It is one or the other, and once.
/// `login` is none when the store knows of none that has passed.
pub fn may_spend(login: Option<LoginFacts>, now: Timestamp) -> Admission {
    match login {
        None => Admission::Refuse("this login has not passed"),
        Some(LoginFacts { released: true, .. }) => Admission::Refuse("this login has already had its keys"),
        Some(LoginFacts { acted: true, .. }) => {
            Admission::Refuse("the code of this login has already paid for an administrator's act")
        }
        Some(LoginFacts { since, .. })
            if now.duration_since(since) > SignedDuration::from_secs(RELEASE_WINDOW_SECONDS) =>
        {
            Admission::Refuse("this login is more than 60 s old")
        }
        Some(_) => Admission::Admit,
    }
}

/// What the bastion knows about one connection of the device that a login names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the policies say.
    pub cover: Cover,
    /// Why nobody may come in, when an administrator has cut off the person, the device or the host.
    pub cut_off: Option<String>,
    /// The newest generation.
    pub newest: Option<Newest>,
    /// For how many seconds the server side was not heard, none: it never was.
    pub unheard: Option<u64>,
    /// Whether the server side will hear that a running session is prolonged.
    pub hears: Hears,
    /// When the server side's agent is expected next, in words (`next round of db-gw expected by 14:56`).
    pub next_round: String,
}

/// Whether a server side will hear that a running session is prolonged. One that does not locks at the old deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hears {
    /// Its agent is connected, and is asked to confirm it.
    Asked,
    /// Its agent comes by, and is not overdue: it asks the bastion before it locks.
    ComesBy,
    /// It is not reached; the host's name.
    NotReached(String),
}

/// Until when a person may be told that a granted generation is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    /// As long as it is granted.
    Whole,
    /// As long as it is granted if the server side confirms that; else until the deadline that it knows.
    IfConfirmed {
        /// That deadline.
        else_until: Timestamp,
    },
    /// It is not prolonged, and why.
    NotProlonged(String),
}

/// Why a session is not prolonged at a host, in words for the person.
pub fn not_prolonged(host: &str) -> String {
    format!("{host} is not reached, so not prolonged")
}

/// What the policies say about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    /// An MFA policy covers it, and this device is its client side.
    Mfa {
        /// The policy.
        policy: PolicyRef,
        /// Its rotation interval, in seconds.
        rotation_interval: u64,
    },
    /// An MFA policy enforces by the firewall alone: this device is its client side, and no key is asked for.
    Firewall {
        /// The policy.
        policy: PolicyRef,
        /// The tier that it gives.
        tier: TierName,
        /// Its rotation interval, in seconds.
        rotation_interval: u64,
    },
    /// The policies contradict each other here.
    Conflict(String),
    /// The sides are others now, but a session from before runs: until its deadline the other end is its server side.
    SessionAtOtherEnd {
        /// Its deadline, in words for people (`15:55`).
        until: String,
    },
    /// An MFA policy covers it, and the other end is its server side.
    ClientSide,
    /// Nothing is released here: no policy, or one without a second factor.
    NotReleased,
}

/// The newest generation of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a generation stands at the bastion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On disk here, not yet confirmed by the server side.
    Deposited,
    /// The server side accepts it, nobody has it.
    Applied,
    /// A person has it, until this moment.
    Released {
        /// The deadline.
        deadline: Timestamp,
    },
    /// It is past its time.
    Expired,
}

/// Whether a connection's key is released, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Release this generation.
    Grant {
        /// Its number.
        generation: u64,
        /// For how long from now, in seconds.
        seconds_left: u64,
        /// A session is running, and is prolonged as far as its server side hears of it.
        renewal: bool,
        /// What of it the person may be told.
        promise: Promise,
        /// The policy that gives it.
        policy: PolicyRef,
    },
    /// Open this tier: there is no key to release.
    Open {
        /// The tier.
        tier: TierName,
        /// For how long from now, in seconds.
        seconds_left: u64,
        /// The policy that gives it.
        policy: PolicyRef,
    },
    /// Do not release, and tell the person why.
    Refuse(String),
    /// Nothing of this connection concerns a login.
    Pass,
}

/// Why nobody gets a key of a connection whose sides are others now while a session from before runs until then.
pub fn sides_change(until: &str) -> String {
    format!("the sides of this connection change at the deadline of the session that runs, at {until}")
}

/// Decides about one connection.
pub fn decide(facts: &Facts, now: Timestamp) -> Decision {
    let (policy, rotation_interval) = match &facts.cover {
        Cover::SessionAtOtherEnd { until } => {
            return Decision::Refuse(format!("{}; log in after that", sides_change(until)));
        }
        Cover::NotReleased | Cover::ClientSide if facts.newest.is_none() => return Decision::Pass,
        Cover::NotReleased | Cover::ClientSide => {
            return Decision::Refuse(
                "no policy with a second factor covers it any more; it is locked, or soon".to_owned(),
            );
        }
        Cover::Conflict(reason) => return Decision::Refuse(format!("the policies contradict each other: {reason}")),
        Cover::Firewall { policy, tier, rotation_interval } => {
            return open(facts, policy, tier, *rotation_interval, now);
        }
        Cover::Mfa { policy, rotation_interval } => (policy.clone(), *rotation_interval),
    };
    if let Some(reason) = &facts.cut_off {
        return Decision::Refuse(reason.clone());
    }
    // a server that hears nothing takes a waiting key for released at its last contact, and has locked it by now
    if facts.unheard.is_none_or(|seconds| seconds >= rotation_interval) {
        return Decision::Refuse(facts.next_round.clone());
    }
    let grant = |generation, seconds_left, renewal, promise| Decision::Grant {
        generation,
        seconds_left,
        renewal,
        promise,
        policy,
    };
    match facts.newest {
        Some(Newest { generation, phase: Phase::Applied }) => {
            grant(generation, rotation_interval, false, Promise::Whole)
        }
        Some(Newest { generation, phase: Phase::Released { deadline } }) if deadline > now => match &facts.hears {
            Hears::ComesBy => grant(generation, rotation_interval, true, Promise::Whole),
            Hears::Asked => grant(generation, rotation_interval, true, Promise::IfConfirmed { else_until: deadline }),
            Hears::NotReached(host) => match u64::try_from(deadline.duration_since(now).as_secs()) {
                Ok(left) if left > 0 => grant(generation, left, true, Promise::NotProlonged(not_prolonged(host))),
                _ => Decision::Refuse(facts.next_round.clone()),
            },
        },
        _ => Decision::Refuse(facts.next_round.clone()),
    }
}

/// A tier is opened whether or not the gateway's agent is there to be told: it waits for nobody's key.
fn open(facts: &Facts, policy: &PolicyRef, tier: &TierName, rotation_interval: u64, now: Timestamp) -> Decision {
    if let Some(reason) = &facts.cut_off {
        return Decision::Refuse(reason.clone());
    }
    match facts.newest.map(|newest| newest.phase) {
        Some(Phase::Released { deadline }) if deadline > now => {}
        // nobody makes a key for it any more
        Some(_) => {
            let why = "it is locked from when another policy covered it; an administrator puts a key there: \
                       wgmfa-bastion key set";
            return Decision::Refuse(why.to_owned());
        }
        None => {}
    }
    Decision::Open { tier: tier.clone(), seconds_left: rotation_interval, policy: policy.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn facts(phase: Option<Phase>) -> Facts {
        let policy = PolicyRef { ordinal: 101, description: "Prod".to_owned(), mfa: true };
        Facts {
            cover: Cover::Mfa { policy, rotation_interval: 3600 },
            cut_off: None,
            newest: phase.map(|phase| Newest { generation: 7, phase }),
            unheard: Some(0),
            hears: Hears::Asked,
            next_round: "next round of db-gw expected by 14:56".to_owned(),
        }
    }

    #[test]
    fn a_server_that_was_not_heard_for_an_interval_has_locked() {
        let refused = Decision::Refuse("next round of db-gw expected by 14:56".to_owned());
        for unheard in [None, Some(3600)] {
            assert_eq!(decide(&Facts { unheard, ..facts(Some(Phase::Applied)) }, at(0)), refused);
        }
        let heard = Facts { unheard: Some(3599), ..facts(Some(Phase::Applied)) };
        assert!(matches!(decide(&heard, at(0)), Decision::Grant { .. }));
    }

    #[test]
    fn only_a_generation_that_the_server_side_accepts_is_released() {
        let grant = |phase| decide(&facts(Some(phase)), at(0));
        assert!(matches!(
            grant(Phase::Applied),
            Decision::Grant { generation: 7, seconds_left: 3600, renewal: false, .. }
        ));
        assert!(matches!(grant(Phase::Released { deadline: at(1) }), Decision::Grant { renewal: true, .. }));
        let refused = Decision::Refuse("next round of db-gw expected by 14:56".to_owned());
        for phase in [Phase::Deposited, Phase::Expired, Phase::Released { deadline: at(0) }] {
            assert_eq!(grant(phase), refused, "{phase:?}");
        }
        assert_eq!(decide(&facts(None), at(0)), refused);
    }

    #[test]
    fn a_renewal_is_promised_only_where_the_server_side_hears_of_it() {
        let told = |hears, left| {
            let running = facts(Some(Phase::Released { deadline: at(left) }));
            match decide(&Facts { hears, ..running }, at(0)) {
                Decision::Grant { seconds_left, renewal: true, promise, .. } => Some((seconds_left, promise)),
                _ => None,
            }
        };
        assert_eq!(told(Hears::ComesBy, 60), Some((3600, Promise::Whole)));
        assert_eq!(told(Hears::Asked, 60), Some((3600, Promise::IfConfirmed { else_until: at(60) })));
        let away = || Hears::NotReached("db-gw".to_owned());
        let why = "db-gw is not reached, so not prolonged".to_owned();
        assert_eq!(told(away(), 60), Some((60, Promise::NotProlonged(why))));
        let moment = at(0) + SignedDuration::from_millis(900);
        let ends = facts(Some(Phase::Released { deadline: moment }));
        assert!(matches!(decide(&Facts { hears: away(), ..ends }, at(0)), Decision::Refuse(_)), "nothing is left");
        let waits = decide(&Facts { hears: away(), ..facts(Some(Phase::Applied)) }, at(0));
        assert!(matches!(waits, Decision::Grant { seconds_left: 3600, promise: Promise::Whole, .. }), "{waits:?}");
    }

    #[test]
    fn the_firewall_alone_opens_its_tier_whether_or_not_the_gateway_is_there() {
        let Cover::Mfa { policy, rotation_interval } = facts(None).cover else { unreachable!() };
        let tier: TierName = "prod".parse().unwrap();
        let cover = Cover::Firewall { policy: policy.clone(), tier: tier.clone(), rotation_interval };
        let of = |phase| Facts { cover: cover.clone(), ..facts(phase) };
        let open = Decision::Open { tier, seconds_left: 3600, policy };
        for unheard in [None, Some(0), Some(3600)] {
            let hears = Hears::NotReached("app-gw".to_owned());
            assert_eq!(decide(&Facts { unheard, hears, ..of(None) }, at(0)), open);
        }
        let cut_off = Some("device disabled".to_owned());
        assert_eq!(decide(&Facts { cut_off, ..of(None) }, at(0)), Decision::Refuse("device disabled".to_owned()));
        // a key from before: its session goes on, and after that nobody has one
        assert_eq!(decide(&of(Some(Phase::Released { deadline: at(1) })), at(0)), open);
        for phase in [Phase::Deposited, Phase::Applied, Phase::Expired, Phase::Released { deadline: at(0) }] {
            let decided = decide(&of(Some(phase)), at(0));
            assert!(matches!(&decided, Decision::Refuse(why) if why.contains("key set")), "{decided:?}");
        }
    }

    #[test]
    fn a_login_within_a_minute_of_a_release_gets_the_same_generation() {
        let due = |released, now| is_next_due(released, at(now), SignedDuration::from_secs(SAME_GENERATION_SECONDS));
        assert!(!due(Some(at(0)), 0) && !due(Some(at(0)), 59) && due(Some(at(0)), 60));
        assert!(!due(None, 60), "nobody has it, so there is no session to renew");
    }

    #[test]
    fn who_is_cut_off_gets_nothing() {
        let facts = Facts { cut_off: Some("device disabled".to_owned()), ..facts(Some(Phase::Applied)) };
        assert_eq!(decide(&facts, at(0)), Decision::Refuse("device disabled".to_owned()));
    }

    #[test]
    fn a_conflict_and_an_uncovered_connection_release_nothing() {
        let base = facts(Some(Phase::Applied));
        let conflict = Facts { cover: Cover::Conflict("both ends are server".to_owned()), ..base.clone() };
        assert!(
            matches!(decide(&conflict, at(0)), Decision::Refuse(reason) if reason.contains("both ends are server"))
        );
        let uncovered = Facts { cover: Cover::NotReleased, ..base };
        assert!(matches!(decide(&uncovered, at(0)), Decision::Refuse(_)), "it was covered once, and stays locked");
        assert_eq!(decide(&Facts { newest: None, ..uncovered }, at(0)), Decision::Pass);
    }

    #[test]
    fn while_the_sides_wait_for_a_deadline_nothing_is_released_at_the_new_server() {
        let cover = Cover::SessionAtOtherEnd { until: "15:55".to_owned() };
        for phase in [None, Some(Phase::Applied), Some(Phase::Expired)] {
            let Decision::Refuse(reason) = decide(&Facts { cover: cover.clone(), ..facts(phase) }, at(0)) else {
                panic!("{phase:?}")
            };
            assert!(reason.contains("sides of this connection change") && reason.contains("at 15:55"), "{reason}");
        }
    }

    #[test]
    fn a_login_releases_or_pays_once_and_soon() {
        let login = LoginFacts { since: at(0), released: false, acted: false };
        assert_eq!(may_spend(Some(login), at(60)), Admission::Admit);
        assert!(matches!(may_spend(Some(login), at(61)), Admission::Refuse(_)));
        assert!(matches!(may_spend(Some(LoginFacts { released: true, ..login }), at(1)), Admission::Refuse(_)));
        assert!(matches!(may_spend(Some(LoginFacts { acted: true, ..login }), at(1)), Admission::Refuse(_)));
        assert!(matches!(may_spend(None, at(1)), Admission::Refuse(_)));
    }
}
