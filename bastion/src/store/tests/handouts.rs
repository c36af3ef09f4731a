//! Invitations and codes for the telephone: each good once, until it expires, is replaced or is void.

use std::sync::Barrier;

use wgmfa_core::code::Step;

use super::*;

const INVITATION: [u8; 32] = [7; 32];

fn handout(hash: [u8; 32], until: i64) -> Handout {
    Handout { hash, expires_at: at(until) }
}

fn invited_person() -> NewPerson {
    let invitation = Some(handout(INVITATION, 100));
    NewPerson { password: Password::Unset, code: None, recovery: Vec::new(), invitation, ..new_person(&user()) }
}

fn enrolment() -> Enrolment {
    Enrolment {
        invitation: INVITATION,
        password: Some(PasswordHash("$argon2id$new".to_owned())),
        code: (CodeSecret::from_random([5; 20]), Parameters::default()),
        step: Step::from_number(9),
        recovery: vec![[3; 32]],
    }
}

fn invited() -> (TempDir, Store) {
    let (folder, store) = empty();
    store.add_person(at(0), Actor::ROOT, &invited_person()).unwrap();
    (folder, store)
}

fn refused(acceptance: &Acceptance) -> bool {
    matches!(acceptance, Acceptance::Refuse(_))
}

#[test]
fn an_invitation_becomes_all_secrets_at_once_and_is_used_up() {
    let (folder, store) = invited();
    assert_eq!(store.person(&user()).unwrap().unwrap().invited_until, Some(at(100)));
    assert_eq!(store.record_invited(at(1), &login(&user()), &INVITATION).unwrap(), Acceptance::Accept);
    assert_eq!(store.enrol(at(2), &login(&user()), &enrolment()).unwrap(), Acceptance::Accept);
    drop(store);
    let store = open_at(&folder.path().join("state"));
    let found = store.credentials(&user()).unwrap().unwrap();
    assert_eq!(found.password, Password::Hashed(PasswordHash("$argon2id$new".to_owned())));
    assert_eq!(found.code, Some(enrolment().code));
    assert_eq!((found.last_step, found.recovery), (Some(Step::from_number(9)), vec![[3; 32]]));
    assert!(
        refused(&store.accept_code(at(3), &login(&user()), Step::from_number(9)).unwrap()),
        "it has proved the app"
    );
    assert_eq!(store.person(&user()).unwrap().unwrap().invited_until, None);
    assert!(refused(&store.record_invited(at(3), &login(&user()), &INVITATION).unwrap()));
    assert!(refused(&store.enrol(at(3), &login(&user()), &enrolment()).unwrap()));
    assert_eq!(events(&store), ["user-added", "invitation-accepted", "enrolled",]);
    // whoever repeats the words that invited finds them carried out
    assert_eq!(store.add_person(at(4), Actor::ROOT, &invited_person()).unwrap(), Change::Unchanged);
    assert_eq!(store.person(&user()).unwrap().unwrap().invited_until, None);
}

#[test]
fn a_login_with_an_invitation_is_no_login() {
    let (_folder, store) = invited();
    let login = login(&user());
    assert_eq!(store.record_invited(at(1), &login, &INVITATION).unwrap(), Acceptance::Accept);
    assert!(store.release(at(2), &login, device().as_str(), &[]).is_err());
    assert!(refused(&store.record_login(at(2), &login, CodeRule::Required).unwrap()));
}

#[test]
fn of_racing_enrolments_exactly_one_is_accepted() {
    const RACERS: usize = 8;
    let (folder, store) = invited();
    let state = folder.path().join("state");
    let barrier = Barrier::new(RACERS);
    let accepted = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                scope.spawn(|| {
                    let store = open_at(&state);
                    barrier.wait();
                    store.enrol(at(1), &login(&user()), &enrolment()).unwrap()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).filter(|a| !refused(a)).count()
    });
    assert_eq!(accepted, 1);
    assert_intact(&store);
}

#[test]
fn what_has_expired_was_replaced_or_is_void_is_no_good() {
    let late = |store: &Store| store.enrol(at(100), &login(&user()), &enrolment()).unwrap();
    let (_folder, store) = invited();
    assert!(refused(&late(&store)), "expired");
    assert!(!store.person(&user()).unwrap().unwrap().has_code, "nothing has changed");

    let (_folder, store) = invited();
    let other = NewPerson { invitation: Some(handout([8; 32], 100)), ..invited_person() };
    store.reset_person(at(1), Actor::ROOT, &other).unwrap();
    assert!(refused(&store.enrol(at(2), &login(&user()), &enrolment()).unwrap()), "replaced");

    let (_folder, store) = invited();
    let _ = store.set_person_disabled(at(1), Actor::ROOT, &user(), true).unwrap();
    assert!(refused(&store.enrol(at(2), &login(&user()), &enrolment()).unwrap()), "disabled");
    let _ = store.set_person_disabled(at(3), Actor::ROOT, &user(), false).unwrap();
    assert!(refused(&store.enrol(at(4), &login(&user()), &enrolment()).unwrap()), "void since then");
}

#[test]
fn a_code_for_the_telephone_is_good_once() {
    let (folder, store) = furnished();
    let (hand_out, accept) = (
        |store: &Store, now, hash, until| {
            store.hand_out_code(at(now), Actor::ROOT, &user(), &handout(hash, until), "lost it").unwrap();
        },
        |store: &Store, now, hash: [u8; 32]| store.use_telephone_code(at(now), &login(&user()), &hash).unwrap(),
    );
    hand_out(&store, 1, [1; 32], 50);
    hand_out(&store, 2, [2; 32], 50);
    assert!(refused(&accept(&store, 3, [1; 32])), "replaced");
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert_eq!(accept(&store, 4, [2; 32]), Acceptance::Accept);
    assert!(refused(&accept(&store, 5, [2; 32])), "used");
    hand_out(&store, 6, [3; 32], 50);
    assert!(refused(&accept(&store, 50, [3; 32])), "expired");
    hand_out(&store, 51, [4; 32], 90);
    store.reset_person(at(52), Actor::ROOT, &new_person(&user())).unwrap();
    assert!(refused(&accept(&store, 53, [4; 32])), "void by a reset");
    hand_out(&store, 54, [5; 32], 90);
    let _ = store.set_person_disabled(at(55), Actor::ROOT, &user(), true).unwrap();
    let again = store.hand_out_code(at(56), Actor::ROOT, &user(), &handout([6; 32], 90), "again").unwrap_err();
    assert_eq!(again.to_string(), "user justin is disabled");
    let _ = store.set_person_disabled(at(57), Actor::ROOT, &user(), false).unwrap();
    assert!(refused(&accept(&store, 58, [5; 32])), "void since the person was disabled");
    let used: Vec<_> = store.log(&Filter { event: Some(Event::CodeAccepted), ..Filter::default() }).unwrap();
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].reason.as_deref(), Some("code read out on the telephone"));
}

#[test]
fn keys_and_new_secrets_of_a_person_are_remembered() {
    let (_folder, store) = furnished();
    let key = PersonKey {
        fingerprint: "SHA256:x".to_owned(),
        public_key: SSH_KEY.to_owned(),
        comment: "laptop".to_owned(),
        added_at: at(1),
    };
    assert_eq!(store.add_key(at(1), Actor::ROOT, &user(), &key).unwrap(), Change::Made);
    assert_eq!(store.add_key(at(2), Actor::ROOT, &user(), &key).unwrap(), Change::Unchanged);
    assert_eq!(store.keys(&user()).unwrap(), [key]);
    assert!(store.keys(&"nobody".parse().unwrap()).unwrap().is_empty());
    assert_eq!(store.remove_key(at(3), Actor::ROOT, &user(), "SHA256:x").unwrap(), Change::Made);
    assert_eq!(store.remove_key(at(3), Actor::ROOT, &user(), "SHA256:x").unwrap(), Change::Unchanged);

    let login = passed(&store, at(4));
    store.change_password(at(5), &login, &PasswordHash("$argon2id$new".to_owned())).unwrap();
    store.replace_recovery(at(6), &login, &[[9; 32]]).unwrap();
    let found = store.credentials(&user()).unwrap().unwrap();
    assert_eq!(found.password, Password::Hashed(PasswordHash("$argon2id$new".to_owned())));
    assert_eq!(found.recovery, [[9; 32]]);
    let outcome = store.release(at(7), &login, device().as_str(), &[]);
    assert!(outcome.is_ok(), "the login goes on");
    let _ = store.set_person_disabled(at(8), Actor::ROOT, &user(), true).unwrap();
    assert!(store.replace_recovery(at(9), &login, &[[8; 32]]).is_err());
}

#[test]
fn a_login_from_before_a_reset_sets_no_new_secrets() {
    let (_folder, store) = furnished();
    let new = PasswordHash("$argon2id$new".to_owned());
    let refused = |login: &Login| {
        let [password, codes] =
            [store.change_password(at(9), login, &new), store.replace_recovery(at(9), login, &[[9; 32]])];
        let reason = "this login does not count any more";
        password.unwrap_err().to_string() == reason && codes.unwrap_err().to_string() == reason
    };
    let before = passed(&store, at(1));
    store.reset_person(at(2), Actor::ROOT, &new_person(&user())).unwrap();
    assert!(refused(&before), "reset");
    let before = passed(&store, at(3));
    let _ = store.remove_person(at(4), Actor::ROOT, &user()).unwrap();
    store.add_person(at(5), Actor::ROOT, &new_person(&user())).unwrap();
    assert!(refused(&before), "another person of the same name");
    assert!(refused(&login(&user())), "not passed");
    let found = store.credentials(&user()).unwrap().unwrap();
    assert_eq!((found.password, found.recovery.len()), (new_person(&user()).password, 2));
}
