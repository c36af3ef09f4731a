//! Codes inside tunnels: the same single use as over SSH, and failures of their own.

use std::sync::Barrier;

use wgmfa_core::code::Step;
use wgmfa_core::gate::code::{Attempt, attempt};
use wgmfa_core::guessing::{PairRecord, PersonRecord};
use wgmfa_core::login::CodeUse;
use wgmfa_core::name::TierName;

use super::grants::tier;
use super::*;

/// A code inside the laptop's tunnel for the tier `prod`.
fn give(store: &Store, second: i64, used: CodeUse) -> Result<Vec<Grant>, String> {
    let grants = [(tier("prod"), at(second + 3600))];
    give_for(store, second, used, &grants)
}

fn give_for(store: &Store, second: i64, used: CodeUse, grants: &[(TierName, Timestamp)]) -> Result<Vec<Grant>, String> {
    let (place, person, device) = (place(), user(), device());
    let code = TunnelCode { place: &place, person: &person, device: device.as_str(), used, grants };
    store.grant_by_code(at(second), &code).unwrap()
}

fn step(number: u64) -> CodeUse {
    CodeUse::Step(Step::from_number(number))
}

/// Charges a failed code, as the keeper does before it looks at it.
fn charge(store: &Store, second: i64) -> PairRecord {
    let Attempt::Judge(charged) = attempt(&store.code_guesses(&user(), &place()).unwrap(), at(second)) else {
        panic!("locked")
    };
    store.charge_code(at(second), &user(), &place(), &charged).unwrap();
    charged
}

#[test]
fn a_code_opens_its_tiers_and_is_used_up_in_both_places() {
    let (_folder, store) = furnished();
    let both = [(tier("prod"), at(3610)), (tier("admin"), at(610))];
    let granted = give_for(&store, 10, step(7), &both).unwrap();
    let shown: Vec<_> = granted.iter().map(|grant| (grant.tier.as_str(), grant.deadline, grant.confirmed)).collect();
    assert_eq!(shown, [("prod", at(3610), true), ("admin", at(610), true)]);
    assert_eq!((granted[0].by, granted[0].from.as_deref()), (GrantedBy::Code, Some("inside the tunnel")));
    assert!(give(&store, 11, step(7)).is_err() && give(&store, 11, step(6)).is_err());
    let login = login(&user());
    assert!(matches!(store.accept_code(at(12), &login, Step::from_number(7)).unwrap(), Acceptance::Refuse(_)));
    assert_eq!(store.accept_code(at(13), &login, Step::from_number(8)).unwrap(), Acceptance::Accept);
    assert!(give(&store, 14, step(8)).is_err(), "used over SSH");

    let lines = store.log(&Filter { after: Some(1), ..Filter::default() }).unwrap();
    let of = |event: &str| lines.iter().filter(|line| line.event == event).collect::<Vec<_>>();
    let code = of("code-accepted")[0];
    assert_eq!((code.user.as_deref(), code.from.as_deref()), (Some("justin"), Some("inside the tunnel")));
    assert_eq!(code.connection.as_deref(), Some("app-gw/devices:justins-laptop"));
    assert_eq!((of("granted").len(), of("code-accepted").len()), (2, 2));
    assert_intact(&store);
}

#[test]
fn recovery_codes_and_those_of_the_telephone_are_good_here_once() {
    let (_folder, store) = furnished();
    assert!(give(&store, 10, CodeUse::Recovery([1; 32])).is_ok());
    assert!(give(&store, 11, CodeUse::Recovery([1; 32])).is_err());
    let handout = Handout { hash: [8; 32], expires_at: at(100) };
    store.hand_out_code(at(12), Actor::ROOT, &user(), &handout, "lost telephone").unwrap();
    assert!(give(&store, 13, CodeUse::Telephone([7; 32])).is_err());
    assert!(give(&store, 13, CodeUse::Telephone([8; 32])).is_ok());
    assert!(give(&store, 14, CodeUse::Telephone([8; 32])).is_err());
    assert!(give(&store, 15, CodeUse::Nothing).is_err(), "nothing is no code");
}

#[test]
fn of_a_code_that_races_inside_tunnels_and_over_ssh_exactly_one_use_is_accepted() {
    let (folder, store) = furnished();
    let state = folder.path().join("state");
    for number in 1..=10 {
        const RACERS: usize = 8;
        let barrier = Barrier::new(RACERS);
        let accepted = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    let (state, barrier) = (&state, &barrier);
                    scope.spawn(move || {
                        let store = open_at(state);
                        barrier.wait();
                        if racer % 2 == 0 {
                            return give(&store, 1, step(number)).is_ok();
                        }
                        let accepted = store.accept_code(at(1), &login(&user()), Step::from_number(number));
                        accepted.unwrap() == Acceptance::Accept
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|accepted| *accepted).count()
        });
        assert_eq!(accepted, 1, "step {number}");
    }
    assert_eq!(events(&store).iter().filter(|event| *event == "code-accepted").count(), 10);
    assert_intact(&store);
}

#[test]
fn nothing_is_used_up_when_nothing_can_be_opened() {
    let (_folder, store) = furnished();
    let other: UserName = "russ".parse().unwrap();
    store.add_person(at(0), Actor::ROOT, &new_person(&other)).unwrap();
    let (place, grants) = (place(), [(tier("prod"), at(3610))]);
    let code = TunnelCode { place: &place, person: &other, device: "x", used: step(7), grants: &grants };
    let refused = store.grant_by_code(at(10), &code).unwrap().unwrap_err();
    assert_eq!(refused, "the peer is not this person's any more");
    assert_eq!(store.credentials(&other).unwrap().unwrap().last_step, None);

    let _ = store.set_device_disabled(at(11), Actor::ROOT, &device(), true).unwrap();
    assert!(give(&store, 12, step(7)).is_err());
    let _ = store.set_device_disabled(at(13), Actor::ROOT, &device(), false).unwrap();
    let _ = store.set_person_disabled(at(14), Actor::ROOT, &user(), true).unwrap();
    assert!(give(&store, 15, step(7)).is_err());
    let _ = store.set_person_disabled(at(16), Actor::ROOT, &user(), false).unwrap();
    assert_eq!(store.credentials(&user()).unwrap().unwrap().last_step, None);
    assert!(store.grants().unwrap().is_empty());
    assert!(give(&store, 17, step(7)).is_ok());
}

#[test]
fn guessing_here_is_durable_and_has_nothing_to_do_with_logins() {
    let (folder, store) = furnished();
    for second in 1..=5 {
        charge(&store, second);
    }
    drop(store);
    let store = open_at(&folder.path().join("state"));
    let record = store.code_guesses(&user(), &place()).unwrap();
    assert_eq!(record.lock_at(at(6)), Some(at(35)));
    assert!(matches!(attempt(&record, at(6)), Attempt::Locked { .. }));
    let guesses = store.all_code_guesses().unwrap();
    assert_eq!((guesses.len(), &guesses[0].person, &guesses[0].host), (1, &user(), &host()));
    assert_eq!(
        store.code_guesses(&user(), &Place { public_key: public(77), ..place() }).unwrap(),
        PairRecord::default()
    );

    // neither the pair of any source nor the person's day has heard of it
    assert!(store.all_guesses().unwrap().is_empty());
    let (pair, person) = store.guesses(&user(), login(&user()).source).unwrap();
    assert_eq!((pair, person), (PairRecord::default(), PersonRecord::default()));
    assert_eq!(store.accept_code(at(7), &login(&user()), Step::from_number(1)).unwrap(), Acceptance::Accept);
    assert!(store.code_guesses(&user(), &place()).unwrap().lock_at(at(7)).is_some(), "nor does a login end the pause");
}

#[test]
fn a_success_and_an_administrator_forgive() {
    let (_folder, store) = furnished();
    charge(&store, 1);
    assert!(give(&store, 2, step(1)).is_ok());
    assert_eq!(store.code_guesses(&user(), &place()).unwrap(), PairRecord::default());
    charge(&store, 3);
    assert_eq!(store.unlock_person(at(4), Actor::ROOT, &user()).unwrap(), Change::Made);
    assert_eq!(store.code_guesses(&user(), &place()).unwrap(), PairRecord::default());
    assert_eq!(store.unlock_person(at(5), Actor::ROOT, &user()).unwrap(), Change::Unchanged);
    let nobody: UserName = "nobody".parse().unwrap();
    store.charge_code(at(6), &nobody, &place(), &PairRecord::default()).unwrap();
    assert!(store.all_code_guesses().unwrap().is_empty());
}

#[test]
fn a_refusal_leaves_its_real_reason_in_the_log_alone() {
    let (_folder, store) = furnished();
    store.record_code_refusal(at(1), &place(), Some(&user()), "code already used").unwrap();
    let line = last_line(&store);
    assert_eq!((line.event.as_str(), line.user.as_deref()), ("code-refused", Some("justin")));
    assert_eq!((line.host.as_deref(), line.reason.as_deref()), (Some("app-gw"), Some("code already used")));
    assert_eq!(line.connection.as_deref(), Some("app-gw/devices:justins-laptop"));
}
