//! One login, one device, one release.

use wgmfa_core::release::Phase;

use super::*;

#[test]
fn a_login_releases_once() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(5));
    let outcome = store.release(at(6), &login, device().as_str(), &[wanted(1, at(3606))]).unwrap();
    let [granted] = outcome.granted.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((granted.generation, granted.deadline, granted.renewal), (1, at(3606), false));
    assert_eq!(granted.preshared_key, key(1));
    assert!(!format!("{outcome:?}").contains(&*key(1).expose_base64()));

    let refused = store.release(at(7), &login, device().as_str(), &[wanted(1, at(3607))]).unwrap_err();
    assert_eq!(refused.to_string(), "this login has already had its keys");

    let current = store.record(&place()).unwrap().unwrap().current.unwrap();
    assert_eq!(current.phase, Phase::Released { deadline: at(3606) });
    assert_eq!((current.released_to, current.released_for), (Some(user()), Some(device().to_string())));
    assert_eq!((current.released_at, current.released_from), (Some(at(6)), Some("192.0.2.7".to_owned())));
    let line = last_line(&store);
    assert_eq!((line.event.as_str(), line.generation), ("released", Some(1)));
    assert_eq!(line.connection.as_deref(), Some("app-gw/devices:justins-laptop"));
    assert_eq!(line.reason.as_deref(), Some("until 2096-10-02T08:06:46Z"));
}

#[test]
fn a_login_that_has_not_passed_or_is_old_releases_nothing() {
    let (folder, store) = with_applied(1);
    let mine = device();
    let release = |store: &Store, second, login: &Login| {
        store.release(at(second), login, mine.as_str(), &[wanted(1, at(3600))]).map_err(|error| error.to_string())
    };
    let code_only = login(&user());
    assert!(release(&store, 3, &code_only).is_err());
    let _ = store.accept_code(at(3), &code_only, wgmfa_core::code::Step::from_number(1)).unwrap();
    assert_eq!(release(&store, 3, &code_only).unwrap_err(), "this login has not passed");

    let old = passed(&store, at(10));
    assert_eq!(release(&store, 71, &old).unwrap_err(), "this login is more than 60 s old");
    let fresh = passed(&store, at(80));
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert_eq!(release(&store, 140, &fresh).unwrap().granted.len(), 1, "also after a restart of the keeper");
    assert_eq!(release(&store, 140, &fresh).unwrap_err(), "this login has already had its keys");
}

#[test]
fn a_login_that_got_nothing_may_ask_again() {
    let (_folder, store) = furnished();
    store.deposit(at(1), &host(), &[deposit(1)]).unwrap();
    let login = passed(&store, at(2));
    let outcome = store.release(at(3), &login, device().as_str(), &[wanted(1, at(60))]).unwrap();
    assert_eq!(outcome.refused, [(place(), "the server does not accept it yet, or not any more".to_owned())]);
    assert_eq!(last_line(&store).event, "release-refused");
    store.applied(at(4), &host(), &[which(1)]).unwrap();
    let outcome = store.release(at(5), &login, device().as_str(), &[wanted(1, at(60))]).unwrap();
    assert_eq!(outcome.granted.len(), 1);
}

#[test]
fn one_persons_login_never_gets_another_device() {
    let (_folder, store) = with_applied(1);
    let (russ, other): (UserName, DeviceName) = ("russ".parse().unwrap(), "russ-laptop".parse().unwrap());
    store.add_person(at(3), Actor::ROOT, &new_person(&russ)).unwrap();
    store.add_device(at(3), Actor::ROOT, &other, &russ, &public(9)).unwrap();
    let second: DeviceName = "justins-phone".parse().unwrap();
    store.add_device(at(3), Actor::ROOT, &second, &user(), &public(10)).unwrap();

    let login = passed(&store, at(4));
    assert!(store.release(at(5), &login, other.as_str(), &[wanted(1, at(60))]).is_err(), "somebody else's");
    assert!(store.release(at(5), &login, "nothing", &[wanted(1, at(60))]).is_err());
    let outcome = store.release(at(5), &login, second.as_str(), &[wanted(1, at(60))]).unwrap();
    assert_eq!(outcome.refused, [(place(), "it belongs to another device".to_owned())]);

    let as_russ = Login { user: russ, ..login };
    assert!(store.release(at(5), &as_russ, other.as_str(), &[wanted(1, at(60))]).is_err(), "not russ's login");
}

#[test]
fn a_renewal_moves_the_deadline_only_forward() {
    let (_folder, store) = with_applied(1);
    let release = |second, deadline| {
        let login = passed(&store, at(second));
        let outcome = store.release(at(second), &login, device().as_str(), &[wanted(1, at(deadline))]).unwrap();
        let granted = outcome.granted.into_iter().next().unwrap();
        (granted.renewal, granted.deadline)
    };
    assert_eq!(release(10, 3610), (false, at(3610)));
    assert_eq!(release(100, 3700), (true, at(3700)));
    assert_eq!(release(200, 300), (true, at(3700)));
    assert_eq!(last_line(&store).event, "renewed");
    let current = store.record(&place()).unwrap().unwrap().current.unwrap();
    assert_eq!((current.released_at, current.renewed_at), (Some(at(10)), Some(at(200))));
}

#[test]
fn a_deadline_ends_it_for_good() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(10));
    let _ = store.release(at(10), &login, device().as_str(), &[wanted(1, at(40))]).unwrap();
    assert_eq!(store.expire(at(39)).unwrap(), []);
    let late = passed(&store, at(40));
    let outcome = store.release(at(40), &late, device().as_str(), &[wanted(1, at(90))]).unwrap();
    assert!(outcome.granted.is_empty(), "past its deadline, also before it is swept");
    assert!(store.unseal(at(40), &place(), 1).is_err());
    assert_eq!(store.expire(at(40)).unwrap(), [Ended { place: place(), generation: 1 }]);
    assert_eq!(store.expire(at(40)).unwrap(), []);
    assert_eq!(last_line(&store).event, "expired");
    let wiped: bool =
        store.connection.query_row("SELECT sealed IS NULL FROM generations", [], |row| row.get(0)).unwrap();
    assert!(wiped);
}

#[test]
fn one_release_hands_out_all_of_a_device_or_says_why_not() {
    let (_folder, store) = with_applied(1);
    let db: HostName = "db-gw".parse().unwrap();
    store.add_host(at(3), Actor::ROOT, &db, &SSH_KEY.replace("IBVq", "IBVr"), None).unwrap();
    store.report(at(3), &db, &report(&[interface("devices", 30, &[LAPTOP])])).unwrap();
    store.deposit(at(3), &db, &[Deposit { which: which(1), preshared_key: key(100) }]).unwrap();
    store.applied(at(3), &db, &[which(1)]).unwrap();
    let there = Place::new(&db, &peer(LAPTOP));
    let both = [wanted(1, at(60)), Wanted { place: there.clone(), ..wanted(1, at(60)) }];
    let login = passed(&store, at(4));
    let outcome = store.release(at(4), &login, device().as_str(), &both).unwrap();
    let keys: Vec<_> = outcome.granted.iter().map(|granted| granted.preshared_key.clone()).collect();
    assert_eq!(keys, [key(1), key(100)]);

    let _ = store.set_host_disabled(at(5), Actor::ROOT, &db, true).unwrap();
    let login = passed(&store, at(6));
    let outcome = store.release(at(6), &login, device().as_str(), &both).unwrap();
    assert_eq!(outcome.granted.len(), 1);
    assert_eq!(outcome.refused, [(there, "host db-gw is disabled".to_owned())]);
}

#[test]
fn a_code_pays_for_one_act_or_one_release() {
    let (_folder, store) = with_applied(1);
    let mine = device();
    let nobody = passed(&store, at(5));
    assert_eq!(store.spend_on_act(at(5), &nobody, "user add").unwrap_err().to_string(), "not an administrator");
    store.connection.execute("UPDATE people SET admin = TRUE", ()).unwrap();

    let login = passed(&store, at(6));
    store.spend_on_act(at(7), &login, "user add").unwrap();
    let line = last_line(&store);
    assert_eq!(
        (line.event.as_str(), line.actor, line.reason),
        ("act-allowed", Some(user().to_string()), Some("user add".to_owned()))
    );
    let spent = "the code of this login has already paid for an administrator's act";
    assert_eq!(store.spend_on_act(at(8), &login, "user add").unwrap_err().to_string(), spent);
    assert_eq!(store.release(at(8), &login, mine.as_str(), &[wanted(1, at(60))]).unwrap_err().to_string(), spent);

    let login = passed(&store, at(10));
    assert_eq!(store.release(at(11), &login, mine.as_str(), &[wanted(1, at(60))]).unwrap().granted.len(), 1);
    let refused = store.spend_on_act(at(12), &login, "user add").unwrap_err();
    assert_eq!(refused.to_string(), "this login has already had its keys");

    let foreign = super::login(&user());
    assert_eq!(store.record_login(at(13), &foreign, CodeRule::Foreign).unwrap(), Acceptance::Accept);
    store.spend_on_act(at(14), &foreign, "user add").unwrap();
    assert_eq!(store.spend_on_act(at(15), &foreign, "user add").unwrap_err().to_string(), spent);

    let old = passed(&store, at(20));
    let refused = store.spend_on_act(at(81), &old, "user add").unwrap_err();
    assert_eq!(refused.to_string(), "this login is more than 60 s old");
}
