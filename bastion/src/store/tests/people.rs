//! People come, are reset, and go.

use super::*;

#[test]
fn the_same_person_again_is_unchanged_and_another_is_refused() {
    let (_folder, store) = furnished();
    let person = new_person(&user());
    assert_eq!(store.add_person(at(1), Actor::ROOT, &person).unwrap(), Change::Unchanged);
    let admin = NewPerson { admin: true, ..person.clone() };
    let refused = store.add_person(at(1), Actor::ROOT, &admin).unwrap_err();
    assert_eq!(refused.to_string(), "user justin is there already, no administrator, with a password here");
    assert!(matches!(refused, StoreError::Refused { hint: Some(_), .. }));
    assert_eq!(store.people().unwrap(), [store.person(&user()).unwrap().unwrap()]);
}

#[test]
fn what_a_login_is_checked_against_comes_back_as_it_was_given() {
    let (_folder, store) = furnished();
    let found = store.credentials(&user()).unwrap().unwrap();
    assert_eq!(found.password, new_person(&user()).password);
    assert_eq!(found.code, new_person(&user()).code);
    assert_eq!(found.recovery, [[1; 32], [2; 32]]);
    assert!(store.credentials(&"nobody".parse().unwrap()).unwrap().is_none());
    let shown = format!("{found:?}");
    assert!(!shown.contains("argon2id"), "{shown}");
}

#[test]
fn a_code_secret_is_sealed_for_its_person_and_dies_with_a_reset() {
    let (_folder, store) = furnished();
    let other: UserName = "russ".parse().unwrap();
    let secret = CodeSecret::from_random([4; 20]);
    let person = NewPerson { code: Some((secret, Parameters::default())), ..new_person(&other) };
    store.add_person(at(0), Actor::ROOT, &person).unwrap();
    let swap =
        "UPDATE people SET code_sealed = (SELECT code_sealed FROM people WHERE name = 'russ') WHERE name = 'justin'";
    let old: Vec<u8> =
        store.connection.query_row("SELECT code_sealed FROM people WHERE name = 'russ'", [], |row| row.get(0)).unwrap();
    store.connection.execute(swap, []).unwrap();
    assert!(matches!(store.credentials(&user()), Err(StoreError::Broken(_))));

    store.reset_person(at(1), Actor::ROOT, &new_person(&other)).unwrap();
    assert_eq!(store.credentials(&other).unwrap().unwrap().code, new_person(&other).code);
    store.connection.execute("UPDATE people SET code_sealed = ?1 WHERE name = 'russ'", [old]).unwrap();
    assert!(store.credentials(&other).is_err(), "the old secret does not come back");
}

#[test]
fn a_reset_ends_logins_in_progress_and_forgives() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(5));
    store.reset_person(at(6), Actor::ROOT, &new_person(&user())).unwrap();
    assert!(store.release(at(7), &login, device().as_str(), &[wanted(1, at(60))]).is_err());
}

#[test]
fn a_disabled_person_is_cut_off_with_all_devices() {
    let (_folder, store) = with_applied(1);
    let cut = store.set_person_disabled(at(3), Actor::ROOT, &user(), true).unwrap();
    assert_eq!(cut, CutOff::made(vec![place()]));
    assert!(store.unseal(at(3), &place(), 1).is_err());
    assert_eq!(store.deposit(at(4), &host(), &[deposit(2)]).unwrap(), []);
    assert_eq!(last_line(&store).reason.as_deref(), Some("user justin is disabled"));
    assert!(store.inventory().unwrap().devices[0].disabled);
    let again = store.set_person_disabled(at(5), Actor::ROOT, &user(), true).unwrap();
    assert_eq!(again.change, Change::Unchanged);

    let _ = store.set_person_disabled(at(6), Actor::ROOT, &user(), false).unwrap();
    assert_eq!(store.deposit(at(7), &host(), &[deposit(2)]).unwrap(), [which(2)]);
}

#[test]
fn a_removed_person_takes_devices_and_hosts_along() {
    let (_folder, store) = with_applied(1);
    let own: HostName = "justins-server".parse().unwrap();
    let key = SSH_KEY.replace("IBVq", "IBVr");
    store.add_host(at(2), Actor::ROOT, &own, &key, Some(&user())).unwrap();
    let cut = store.remove_person(at(3), Actor::ROOT, &user()).unwrap();
    assert_eq!(cut, CutOff::made(vec![place()]));
    assert!(store.people().unwrap().is_empty() && store.devices().unwrap().is_empty());
    assert_eq!(store.hosts().unwrap().len(), 1);
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.kept_locked.as_deref(), Some("device justins-laptop was removed"));
    assert_eq!(store.remove_person(at(3), Actor::ROOT, &user()).unwrap(), CutOff::nothing());
}

#[test]
fn a_name_that_is_nobodys_is_refused_with_a_hint() {
    let (_folder, store) = empty();
    let refused = store.set_person_disabled(at(1), Actor::ROOT, &user(), true).unwrap_err();
    assert_eq!(refused.to_string(), "no such user: justin");
    assert!(store.add_device(at(1), Actor::ROOT, &device(), &user(), &public(LAPTOP)).is_err());
}
