//! One code, one login.

use std::sync::Barrier;

use wgmfa_core::code::Step;
use wgmfa_core::guessing::{Attempt, attempt};

use super::*;

fn refused(acceptance: &Acceptance) -> bool {
    matches!(acceptance, Acceptance::Refuse(_))
}

#[test]
fn of_racing_logins_with_one_code_exactly_one_is_accepted() {
    let (folder, store) = furnished();
    let state = folder.path().join("state");
    for step in 1..=10 {
        const RACERS: usize = 8;
        let barrier = Barrier::new(RACERS);
        let accepted = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    scope.spawn(|| {
                        let store = open_at(&state);
                        barrier.wait();
                        store.accept_code(at(1), &login(&user()), Step::from_number(step)).unwrap()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|a| !refused(a)).count()
        });
        assert_eq!(accepted, 1, "step {step}");
    }
    assert_eq!(events(&store).iter().filter(|event| *event == "code-accepted").count(), 10);
    assert_intact(&store);
}

#[test]
fn a_step_and_all_before_it_are_used_up() {
    let (folder, store) = furnished();
    let accept = |store: &Store, step| store.accept_code(at(1), &login(&user()), Step::from_number(step)).unwrap();
    assert_eq!(accept(&store, 7), Acceptance::Accept);
    assert!(refused(&accept(&store, 7)));
    assert!(refused(&accept(&store, 6)));
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert!(refused(&accept(&store, 7)), "also after a restart");
    assert_eq!(store.credentials(&user()).unwrap().unwrap().last_step, Some(Step::from_number(7)));
    assert_eq!(accept(&store, 8), Acceptance::Accept);
}

#[test]
fn a_recovery_code_is_used_up_and_is_one_persons() {
    let (_folder, store) = furnished();
    let other: UserName = "russ".parse().unwrap();
    store.add_person(at(0), Actor::ROOT, &NewPerson { recovery: vec![[5; 32]], ..new_person(&other) }).unwrap();
    let accept = |user: &UserName, hash| store.use_recovery_code(at(1), &login(user), &hash).unwrap();
    assert!(refused(&accept(&other, [1; 32])));
    assert_eq!(accept(&user(), [1; 32]), Acceptance::Accept);
    assert!(refused(&accept(&user(), [1; 32])));
    assert_eq!(store.credentials(&user()).unwrap().unwrap().recovery, [[2; 32]]);
    assert_eq!(store.person(&user()).unwrap().unwrap().recovery_left, 1);
}

#[test]
fn a_login_uses_one_code_only() {
    let (_folder, store) = furnished();
    let login = login(&user());
    assert_eq!(store.accept_code(at(1), &login, Step::from_number(7)).unwrap(), Acceptance::Accept);
    assert!(refused(&store.accept_code(at(1), &login, Step::from_number(8)).unwrap()));
    assert!(refused(&store.use_recovery_code(at(1), &login, &[1; 32]).unwrap()));
    assert_eq!(store.person(&user()).unwrap().unwrap().recovery_left, 2);
}

#[test]
fn a_login_passes_only_with_a_code_of_its_own_whatever_pam_says() {
    let (_folder, store) = furnished();
    let without = login(&user());
    assert!(refused(&store.record_login(at(1), &without, CodeRule::Required).unwrap()));
    let with = passed(&store, at(2));
    assert!(refused(&store.record_login(at(3), &with, CodeRule::Required).unwrap()), "it has passed before");

    let other: UserName = "russ".parse().unwrap();
    store.add_person(at(0), Actor::ROOT, &new_person(&other)).unwrap();
    let used = login(&user());
    assert_eq!(store.accept_code(at(9), &used, Step::from_number(9_000_000_000)).unwrap(), Acceptance::Accept);
    let stolen = Login { user: other, ..used };
    assert!(refused(&store.record_login(at(9), &stolen, CodeRule::Required).unwrap()));
}

#[test]
fn with_a_foreign_second_factor_a_login_passes_without_a_code() {
    let (_folder, store) = furnished();
    let login = login(&user());
    assert_eq!(store.record_login(at(1), &login, CodeRule::Foreign).unwrap(), Acceptance::Accept);
    let person = store.person(&user()).unwrap().unwrap();
    assert_eq!((person.last_login_at, person.last_login_from), (Some(at(1)), Some("192.0.2.7".to_owned())));
}

#[test]
fn who_is_disabled_or_unknown_uses_no_code() {
    let (_folder, store) = furnished();
    let nobody = login(&"nobody".parse().unwrap());
    for login in [&nobody, &login(&user())] {
        let _ = store.set_person_disabled(at(0), Actor::ROOT, &user(), true).unwrap();
        assert!(refused(&store.accept_code(at(1), login, Step::from_number(7)).unwrap()));
        assert!(refused(&store.use_recovery_code(at(1), login, &[1; 32]).unwrap()));
        assert!(refused(&store.record_login(at(1), login, CodeRule::Foreign).unwrap()));
    }
}

#[test]
fn failed_logins_are_remembered_and_forgiven() {
    let (folder, store) = furnished();
    let source = login(&user()).source;
    let charge = |store: &Store| {
        let (pair, person) = store.guesses(&user(), source).unwrap();
        match attempt(&pair, &person, false, at(1)) {
            Attempt::Judge { pair, person } => store.charge(at(1), &user(), source, &pair, &person).unwrap(),
            Attempt::Refuse(reason) => panic!("{reason}"),
        }
    };
    (0..5).for_each(|_| charge(&store));
    drop(store);
    let store = open_at(&folder.path().join("state"));
    let (pair, person) = store.guesses(&user(), source).unwrap();
    assert!(matches!(attempt(&pair, &person, false, at(1)), Attempt::Refuse(_)), "locked, also after a restart");
    assert_eq!(store.all_guesses().unwrap(), [(user(), source, pair)]);

    assert_eq!(store.unlock_person(at(2), Actor::ROOT, &user()).unwrap(), Change::Made);
    assert_eq!(store.unlock_person(at(2), Actor::ROOT, &user()).unwrap(), Change::Unchanged);
    assert_eq!(store.all_guesses().unwrap(), []);

    (0..4).for_each(|_| charge(&store));
    let _ = passed(&store, at(3));
    let (pair, person) = store.guesses(&user(), source).unwrap();
    assert_eq!((pair.failures, pair.last_success), (0, Some(at(3))));
    assert_eq!(person.failures, 3, "a success takes back its own charge only");
}

#[test]
fn unknown_people_leave_nothing_behind_but_a_bounded_number_of_lines() {
    let (_folder, store) = furnished();
    let before = store.log_head().unwrap().seq;
    for n in 0..300 {
        let name: UserName = format!("nobody-{n}").parse().unwrap();
        let (pair, person) = store.guesses(&name, Source::Local).unwrap();
        let Attempt::Judge { pair, person } = attempt(&pair, &person, false, at(n)) else { panic!("nobody is locked") };
        store.charge(at(n), &name, Source::Local, &pair, &person).unwrap();
        let refusal = Refusal { user: name.as_str(), from: "192.0.2.7", reason: "no such person", charged: true };
        store.record_refusal(at(n), refusal).unwrap();
    }
    assert_eq!(store.log_head().unwrap().seq, before + 100);
    let rows: u32 = store.connection.query_row("SELECT count(*) FROM guesses", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);

    let hunter2 = Refusal { user: "Hunter2!", from: "192.0.2.7", reason: "no such person", charged: true };
    store.record_refusal(at(7200), hunter2).unwrap();
    let lines = store.log(&Filter { limit: Some(2), ..Filter::default() }).unwrap();
    assert_eq!(lines[0].event, "refusals-omitted");
    assert!(lines[0].reason.as_ref().unwrap().starts_with("200 lines that cost nobody"));
    assert_eq!((lines[1].event.as_str(), &lines[1].user), ("login-refused", &None), "it may be a password");
}

#[test]
fn what_costs_nobody_anything_fills_no_log() {
    let (_folder, store) = furnished();
    let before = store.log_head().unwrap().seq;
    for n in 0..300 {
        let event = if n % 2 == 0 { Event::KeyAccepted } else { Event::ReleaseRefused };
        store.note_within_quota(at(n), Note::new(event).user(user())).unwrap();
    }
    assert_eq!(store.log_head().unwrap().seq, before + 100);
}

#[test]
fn each_failure_of_a_known_person_has_its_line() {
    let (_folder, store) = furnished();
    let before = store.log_head().unwrap().seq;
    let refusal = Refusal { user: "justin", from: "192.0.2.7", reason: "password wrong", charged: true };
    for n in 0..150 {
        store.record_refusal(at(n), refusal).unwrap();
    }
    assert_eq!(store.log_head().unwrap().seq, before + 150);
    let line = last_line(&store);
    assert_eq!((line.user.as_deref(), line.reason.as_deref()), (Some("justin"), Some("password wrong")));
}
