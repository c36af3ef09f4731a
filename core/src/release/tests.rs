//! Who gets what: each rule of a release.

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
    assert!(matches!(grant(Phase::Applied), Decision::Grant { generation: 7, seconds_left: 3600, renewal: false, .. }));
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
    assert!(matches!(decide(&conflict, at(0)), Decision::Refuse(reason) if reason.contains("both ends are server")));
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
