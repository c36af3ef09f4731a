//! Each row of the plan, and the properties that no sequence may break.

use proptest::prelude::*;

use super::*;
use crate::key::{PresharedKey, PublicKey};

fn fingerprint(seed: u8) -> Fingerprint {
    let key = PresharedKey::from_bytes([seed; 32]).unwrap();
    key.fingerprint(&PublicKey::from_bytes([1; 32]), &PublicKey::from_bytes([2; 32]))
}

fn assignment(standing: Standing) -> Assignment {
    Assignment {
        peer: PeerRef { interface: "devices".parse().unwrap(), public_key: PublicKey::from_bytes([2; 32]) },
        connection: "app-gw/devices:laptop".to_owned(),
        policy: None,
        rotation_interval: 30,
        idle_timeout: None,
        highest_generation: 7,
        standing,
    }
}

fn held(hold: Hold) -> Held {
    Held { generation: 7, fingerprint: fingerprint(1), hold, rotation_interval: 30 }
}

fn at(seconds: u64) -> Boottime {
    Boottime::from_millis(seconds * 1000)
}

fn view<'a>(held: &'a Held, contact: Contact<'a>) -> View<'a> {
    View { now: at(100), same_boot: true, observed: Some(held.fingerprint), held: Some(held), idle: None, contact }
}

fn locks(actions: &[Action]) -> bool {
    matches!(actions.first(), Some(Action::Lock { .. }))
}

fn rotates_to(actions: &[Action], wanted: u64) -> bool {
    matches!(actions.last(), Some(Action::Rotate { generation, .. }) if *generation == wanted)
}

#[test]
fn a_peer_seen_for_the_first_time_is_locked_and_rotated() {
    let missing = assignment(Standing::Missing { reason: "new".to_owned() });
    let actions = plan(&View {
        now: at(100),
        same_boot: true,
        observed: None,
        held: None,
        idle: None,
        contact: Contact::Assigned(&missing),
    });
    assert!(locks(&actions) && rotates_to(&actions, 8), "{actions:?}");
}

#[test]
fn a_deadline_that_has_passed_locks_also_without_the_bastion() {
    let open = held(Hold::Open { deadline: at(100) });
    for contact in [Contact::Lost(Some(at(99))), Contact::Lost(None), Contact::Unassigned] {
        let actions = plan(&view(&open, contact));
        assert!(locks(&actions) && actions.len() == 1, "{actions:?}");
    }
    for standing in [
        Standing::Released { generation: 7, seconds_left: 0 },
        Standing::Released { generation: 8, seconds_left: 1000 },
        Standing::Waiting { generation: 7, age_seconds: 1 },
        Standing::Missing { reason: "over".to_owned() },
    ] {
        let told = assignment(standing);
        let actions = plan(&view(&open, Contact::Assigned(&told)));
        assert!(locks(&actions) && rotates_to(&actions, 8), "{told:?}: {actions:?}");
    }
}

#[test]
fn a_session_that_was_prolonged_in_time_goes_on_when_the_server_hears_of_it_late() {
    let released = assignment(Standing::Released { generation: 7, seconds_left: 1000 });
    let contact = Contact::Assigned(&released);
    let open = held(Hold::Open { deadline: at(40) });
    let prolonged = Action::Adopt { deadline: at(1100), reason: "prolonged".to_owned() };
    assert_eq!(plan(&view(&open, contact)), [prolonged]);
    let good = view(&open, contact);
    let idle = Some(Idle { since: at(10), timeout: 60 });
    for changed in [
        View { same_boot: false, ..good },
        View { observed: None, ..good },
        View { observed: Some(fingerprint(9)), ..good },
    ] {
        let actions = plan(&changed);
        assert!(locks(&actions) && rotates_to(&actions, 8), "{changed:?}: {actions:?}");
    }
    let logged_in = plan(&View { idle, ..good });
    assert!(matches!(logged_in[..], [Action::Adopt { .. }]), "a login is a sign of life too: {logged_in:?}");
    for hold in [Hold::Locked { reason: "over".to_owned() }, Hold::Override { deadline: at(40) }] {
        let actions = plan(&view(&held(hold.clone()), contact));
        assert!(rotates_to(&actions, 8), "a late word of the bastion revives nothing: {hold:?}: {actions:?}");
    }
}

#[test]
fn while_the_bastion_is_asked_only_what_it_cannot_mend_is_locked() {
    let idle = Some(Idle { since: at(10), timeout: 60 });
    for hold in [Hold::Open { deadline: at(40) }, Hold::Waiting { since: at(10) }] {
        let held = held(hold);
        let good = view(&held, Contact::Asking);
        assert!(!locks(&plan(&good)), "{:?}", plan(&good));
        assert!(locks(&plan(&View { same_boot: false, ..good })));
        assert!(locks(&plan(&View { observed: Some(fingerprint(9)), ..good })));
    }
    assert!(locks(&plan(&view(&held(Hold::Override { deadline: at(100) }), Contact::Asking))));
    let open = held(Hold::Open { deadline: at(400) });
    assert!(!locks(&plan(&View { idle, ..view(&open, Contact::Asking) })), "somebody may have logged in");
}

#[test]
fn a_session_without_handshakes_is_over_before_its_deadline() {
    let open = held(Hold::Open { deadline: at(1000) });
    let released = assignment(Standing::Released { generation: 7, seconds_left: 900 });
    let idle = |since| Some(Idle { since: at(since), timeout: 60 });
    for contact in [Contact::Lost(Some(at(99))), Contact::Unassigned] {
        let over = plan(&View { idle: idle(40), ..view(&open, contact) });
        assert_eq!(over, [Action::Lock { reason: "no handshake for 1 min".to_owned() }]);
    }
    let over = plan(&View { idle: idle(40), ..view(&open, Contact::Assigned(&released)) });
    assert!(locks(&over) && rotates_to(&over, 8), "{over:?}");
    for contact in [Contact::Lost(Some(at(99))), Contact::Assigned(&released)] {
        let goes_on = plan(&View { idle: idle(41), ..view(&open, contact) });
        assert!(matches!(goes_on[..], [Action::Wait { until: Some(until), .. }] if until == at(101)), "{goes_on:?}");
        let to_its_end = plan(&View { idle: idle(950), ..view(&open, contact) });
        assert!(matches!(to_its_end[..], [Action::Wait { until: Some(until), .. }] if until == at(1000)));
    }
    let waiting = held(Hold::Waiting { since: at(0) });
    let kept = plan(&View { idle: idle(0), ..view(&waiting, Contact::Lost(Some(at(90)))) });
    assert!(!locks(&kept), "nobody is there yet: {kept:?}");
    assert_eq!(View { idle: idle(0), ..view(&waiting, Contact::Asking) }.idled(), None);
    assert_eq!(Idle { since: at(0), timeout: 330 }.reason(), "no handshake for 330 s");
}

#[test]
fn a_waiting_key_is_locked_one_interval_after_the_last_contact() {
    let waiting = held(Hold::Waiting { since: at(10) });
    assert!(locks(&plan(&view(&waiting, Contact::Lost(Some(at(70)))))));
    let early = plan(&view(&waiting, Contact::Lost(Some(at(71)))));
    assert!(matches!(early[..], [Action::Wait { until: Some(until), .. }] if until == at(101)), "{early:?}");
    assert!(locks(&plan(&view(&waiting, Contact::Lost(None)))), "no contact in this boot: counted from the apply");
}

#[test]
fn a_waiting_key_that_may_have_been_released_is_locked_before_it_is_replaced() {
    let waiting = held(Hold::Waiting { since: at(90) });
    for standing in [
        Standing::Missing { reason: "a rotation was ordered".to_owned() },
        Standing::Waiting { generation: 8, age_seconds: 1 },
        Standing::Released { generation: 8, seconds_left: 20 },
    ] {
        let actions = plan(&view(&waiting, Contact::Assigned(&assignment(standing))));
        assert!(locks(&actions) && rotates_to(&actions, 8), "the new one may fail to come: {actions:?}");
    }
}

#[test]
fn an_ordered_rotation_locks_a_session_first() {
    let open = held(Hold::Open { deadline: at(1000) });
    let ordered = assignment(Standing::Missing { reason: "a rotation was ordered".to_owned() });
    let actions = plan(&view(&open, Contact::Assigned(&ordered)));
    assert!(locks(&actions) && rotates_to(&actions, 8), "{actions:?}");
}

#[test]
fn a_restored_bastion_lowers_no_number() {
    let locked = held(Hold::Locked { reason: "over".to_owned() });
    let missing = assignment(Standing::Missing { reason: "the session is over".to_owned() });
    let restored = Assignment { highest_generation: 3, ..missing };
    assert!(rotates_to(&plan(&view(&locked, Contact::Assigned(&restored))), 8));
}

#[test]
fn a_reboot_and_a_change_from_outside_lock() {
    for hold in [Hold::Open { deadline: at(1000) }, Hold::Waiting { since: at(99) }] {
        let held = held(hold);
        let standing = assignment(Standing::Waiting { generation: 7, age_seconds: 1 });
        for contact in [Contact::Assigned(&standing), Contact::Lost(Some(at(100)))] {
            let good = view(&held, contact);
            assert!(locks(&plan(&View { same_boot: false, ..good })));
            assert!(locks(&plan(&View { observed: None, ..good })), "the key line was taken out");
            assert!(locks(&plan(&View { observed: Some(fingerprint(9)), ..good })));
            assert!(!locks(&plan(&good)));
        }
    }
}

#[test]
fn a_release_that_was_heard_of_later_sets_the_deadline() {
    let waiting = held(Hold::Waiting { since: at(10) });
    let released = assignment(Standing::Released { generation: 7, seconds_left: 12 });
    let actions = plan(&view(&waiting, Contact::Assigned(&released)));
    assert!(matches!(actions[..], [Action::Adopt { deadline, .. }] if deadline == at(112)), "{actions:?}");
}

#[test]
fn a_renewal_moves_the_deadline_only_forwards() {
    let open = held(Hold::Open { deadline: at(120) });
    let later = assignment(Standing::Released { generation: 7, seconds_left: 30 });
    let earlier = assignment(Standing::Released { generation: 7, seconds_left: 10 });
    assert!(matches!(plan(&view(&open, Contact::Assigned(&later)))[..], [Action::Adopt { .. }]));
    assert!(matches!(plan(&view(&open, Contact::Assigned(&earlier)))[..], [Action::Wait { .. }]));
}

#[test]
fn a_waiting_key_is_replaced_when_it_is_one_interval_old() {
    let waiting = held(Hold::Waiting { since: at(10) });
    let old = assignment(Standing::Waiting { generation: 7, age_seconds: 30 });
    let young = assignment(Standing::Waiting { generation: 7, age_seconds: 29 });
    assert!(rotates_to(&plan(&view(&waiting, Contact::Assigned(&old))), 8));
    assert!(matches!(plan(&view(&waiting, Contact::Assigned(&young)))[..], [Action::Wait { .. }]));
}

#[test]
fn a_person_who_was_cut_off_stays_locked() {
    let stay = assignment(Standing::KeepLocked { reason: "device disabled".to_owned() });
    for hold in
        [Hold::Open { deadline: at(1000) }, Hold::Waiting { since: at(99) }, Hold::Override { deadline: at(1000) }]
    {
        let held = held(hold);
        let actions = plan(&view(&held, Contact::Assigned(&stay)));
        assert!(locks(&actions) && actions.len() == 1, "{actions:?}");
    }
    let locked = held(Hold::Locked { reason: "device disabled".to_owned() });
    assert!(matches!(plan(&view(&locked, Contact::Assigned(&stay)))[..], [Action::Wait { until: None, .. }]));
}

fn any_hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        (0..200u64).prop_map(|s| Hold::Waiting { since: at(s) }),
        (0..200u64).prop_map(|s| Hold::Open { deadline: at(s) }),
        (0..200u64).prop_map(|s| Hold::Override { deadline: at(s) }),
        Just(Hold::Locked { reason: "test".to_owned() }),
    ]
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Missing { reason: "test".to_owned() }),
        (6..9u64, 0..60u64).prop_map(|(generation, age_seconds)| Standing::Waiting { generation, age_seconds }),
        (6..9u64, 0..60u64).prop_map(|(generation, seconds_left)| Standing::Released { generation, seconds_left }),
        Just(Standing::KeepLocked { reason: "test".to_owned() }),
    ]
}

proptest! {
    /// Rules 3 and 4: past its time, after a reboot or changed from outside, a key is replaced in this very step.
    #[test]
    fn no_key_outlives_its_time(
        hold in any_hold(),
        standing in any_standing(),
        way in 0..3,
        last in 0..200u64,
        same_boot: bool,
        as_left: bool,
        now in 0..250u64,
    ) {
        let held = held(hold);
        let assignment = assignment(standing);
        let contact = match way {
            0 => Contact::Lost(Some(at(last))),
            1 => Contact::Unassigned,
            _ => Contact::Assigned(&assignment),
        };
        let observed = if as_left { Some(held.fingerprint) } else { Some(fingerprint(3)) };
        let actions = plan(&View { now: at(now), same_boot, observed, held: Some(&held), idle: None, contact });
        let prolonged = way == 2
            && matches!(assignment.standing, Standing::Released { generation: 7, seconds_left } if seconds_left > 0);
        let over = match held.hold {
            Hold::Open { deadline } => deadline <= at(now) && !prolonged,
            Hold::Override { deadline } => deadline <= at(now),
            _ => false,
        };
        prop_assert!(!actions.is_empty());
        if over || !same_boot || !as_left {
            prop_assert!(locks(&actions), "{:?}", actions);
        }
        for action in &actions {
            match action {
                // Generations only go up.
                Action::Rotate { generation, .. } => prop_assert!(*generation > 7, "{:?}", actions),
                // No deadline reaches further than the bastion said.
                Action::Adopt { deadline, .. } => {
                    let Standing::Released { seconds_left, .. } = &assignment.standing else {
                        return Err(TestCaseError::fail("adopted without a release"));
                    };
                    prop_assert_eq!(*deadline, at(now + seconds_left));
                }
                // Whoever waits for a moment waits for one that is ahead.
                Action::Wait { until: Some(until), .. } => prop_assert!(*until > at(now), "{:?}", actions),
                _ => {}
            }
        }
        // While the bastion is away nothing new begins.
        if way == 0 {
            let begun = actions.iter().any(|action| matches!(action, Action::Rotate { .. } | Action::Adopt { .. }));
            prop_assert!(!begun, "{:?}", actions);
        }
        // A running session within its time is left alone unless the bastion says otherwise.
        if way == 0 && same_boot && as_left && !over && matches!(held.hold, Hold::Open { .. }) {
            let waits = matches!(actions[..], [Action::Wait { .. }]);
            prop_assert!(waits, "{:?}", actions);
        }
    }
}

#[test]
fn a_number_that_has_no_next_one_lowers_none() {
    let told = Assignment {
        highest_generation: u64::MAX,
        ..assignment(Standing::Missing { reason: "the bastion was taken over".to_owned() })
    };
    let held = held(Hold::Locked { reason: "new".to_owned() });
    let actions = plan(&view(&held, Contact::Assigned(&told)));
    assert!(rotates_to(&actions, u64::MAX), "{actions:?}");
}
