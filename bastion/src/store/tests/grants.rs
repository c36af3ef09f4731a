//! Grants: recorded once, never shortened, over when they must be.

use wgmfa_core::message::agent::PeerTier;
use wgmfa_core::name::TierName;

use super::*;

pub fn tier(name: &str) -> TierName {
    name.parse().unwrap()
}

fn wanted(name: &str, second: i64) -> WantedTier {
    WantedTier { place: place(), tier: tier(name), until: at(second) }
}

/// A login opens the tier `prod` at this second, until that one.
fn opened(store: &Store, second: i64, until: i64) -> ReleaseOutcome {
    let login = passed(store, at(second));
    store.release_with_tiers(at(second), &login, device().as_str(), &[], &[wanted("prod", until)]).unwrap()
}

fn shown(store: &Store) -> Vec<(String, Timestamp, &'static str, bool)> {
    let grants = store.grants_at(&place()).unwrap().into_iter();
    grants.map(|grant| (grant.tier.to_string(), grant.deadline, grant.by.as_str(), grant.confirmed)).collect()
}

fn prod(until: i64, confirmed: bool) -> (String, Timestamp, &'static str, bool) {
    ("prod".to_owned(), at(until), "ssh", confirmed)
}

fn open(name: &str) -> PeerTier {
    PeerTier { peer: peer(LAPTOP), tier: tier(name) }
}

#[test]
fn a_login_opens_a_tier_where_there_never_was_a_key_and_is_used_up() {
    let (_folder, store) = furnished();
    let login = passed(&store, at(10));
    let release = |tiers: &[WantedTier]| store.release_with_tiers(at(10), &login, device().as_str(), &[], tiers);
    let outcome = release(&[wanted("prod", 3610)]).unwrap();
    assert_eq!((outcome.opened.len(), outcome.refused.len()), (1, 0));
    let grant = &outcome.opened[0];
    assert_eq!((grant.person.as_ref(), grant.device.as_deref()), (Some(&user()), Some(device().as_str())));
    assert_eq!(shown(&store), [prod(3610, false)]);
    assert!(release(&[wanted("prod", 9999)]).is_err(), "one login, one release");

    let line = &store.log(&Filter { event: Some(Event::Granted), ..Filter::default() }).unwrap()[0];
    assert_eq!(line.connection.as_deref(), Some("app-gw/devices:justins-laptop"));
    assert_eq!((line.user.as_deref(), line.from.as_deref()), (Some("justin"), Some("192.0.2.7")));
    assert!(line.reason.as_ref().unwrap().starts_with("tier prod until 2"), "{line:?}");
    assert!(store.records().unwrap().is_empty(), "a grant makes no place for keys");
    assert_intact(&store);
}

#[test]
fn a_renewal_moves_the_deadline_and_never_back() {
    let (_folder, store) = furnished();
    assert_eq!(opened(&store, 10, 3610).opened[0].deadline, at(3610));
    assert!(store.confirm_grant(at(11), &place(), &tier("prod")).unwrap());
    assert_eq!(opened(&store, 100, 200).opened[0].deadline, at(3610), "it is not shortened");
    assert_eq!(opened(&store, 200, 3800).opened[0].deadline, at(3800));
    assert_eq!(shown(&store), [prod(3800, false)], "the gateway has not confirmed the new deadline");
}

#[test]
fn a_tier_of_somebody_elses_device_or_of_one_that_is_cut_off_stays_closed() {
    let (_folder, store) = furnished();
    let other = WantedTier { place: Place { public_key: public(77), ..place() }, ..wanted("prod", 60) };
    let login = passed(&store, at(10));
    let outcome = store.release_with_tiers(at(10), &login, device().as_str(), &[], &[other]).unwrap();
    assert_eq!(outcome.refused[0].1, "it belongs to another device");
    let _ = store.set_host_disabled(at(11), Actor::ROOT, &host(), true).unwrap();
    assert_eq!(opened(&store, 12, 60).refused[0].1, "host app-gw is disabled");
    assert!(opened(&store, 13, 13).opened.is_empty(), "a deadline that has passed opens nothing");
    assert!(store.grants().unwrap().is_empty());
}

#[test]
fn what_the_gate_has_open_confirms_and_what_it_does_not_name_is_not_known() {
    let (_folder, store) = furnished();
    let _ = opened(&store, 10, 3610);
    store.confirm_open(at(12), &host(), &[open("prod"), open("others")]).unwrap();
    assert_eq!(shown(&store), [prod(3610, true)]);
    store.confirm_open(at(14), &host(), &[]).unwrap();
    assert_eq!(shown(&store), [prod(3610, true)], "such a report was on its way when it was granted");
    store.confirm_open(at(30), &host(), &[open("others")]).unwrap();
    assert_eq!(shown(&store), [prod(3610, false)]);
    assert!(!store.confirm_grant(at(31), &place(), &tier("others")).unwrap(), "it is not granted");
}

#[test]
fn a_grant_is_over_at_its_deadline_with_one_line() {
    let (_folder, store) = furnished();
    let _ = opened(&store, 10, 70);
    assert!(store.expire_grants(at(69)).unwrap().is_empty());
    assert_eq!(store.expire_grants(at(70)).unwrap().len(), 1);
    assert!(store.grants().unwrap().is_empty() && store.expire_grants(at(71)).unwrap().is_empty());
    let line = last_line(&store);
    assert_eq!((line.event.as_str(), line.reason.as_deref()), ("expired", Some("tier prod: the deadline has passed")));
    assert_eq!(line.user.as_deref(), Some("justin"));
}

#[test]
fn what_a_gate_closes_ends_what_was_granted_before_that_and_nothing_else() {
    let (_folder, store) = furnished();
    let _ = opened(&store, 10, 3610);
    let overridden = store.grant_by_override(at(20), Actor::ROOT, &wanted("admin", 620), "an outage").unwrap();
    assert_eq!(overridden.overridden.as_deref(), Some("root: an outage"));
    assert_eq!(last_line(&store).event, "overridden");
    let closed = |second, name: Option<&str>| {
        let tier = name.map(tier);
        store.end_closed(at(100), &place(), tier.as_ref(), at(second), "logged out").unwrap()
    };
    assert_eq!(closed(9, None), [], "all were granted after that");
    assert_eq!(closed(20, Some("others")), []);
    assert_eq!(closed(15, None), [tier("prod")]);
    assert_eq!(last_line(&store).reason.as_deref(), Some("tier prod: logged out"));
    assert_eq!(closed(20, Some("admin")), [tier("admin")]);
    assert_intact(&store);
}

#[test]
fn whoever_is_cut_off_loses_every_tier_at_once() {
    type Act = fn(&Store) -> CutOff;
    let acts: [(Act, &str); 6] = [
        (
            |store| store.set_device_disabled(at(20), Actor::ROOT, &device(), true).unwrap(),
            "device justins-laptop was disabled",
        ),
        (|store| store.remove_device(at(20), Actor::ROOT, &device()).unwrap(), "device justins-laptop was removed"),
        (|store| store.set_person_disabled(at(20), Actor::ROOT, &user(), true).unwrap(), "user justin was disabled"),
        (|store| store.remove_person(at(20), Actor::ROOT, &user()).unwrap(), "device justins-laptop was removed"),
        (|store| store.set_host_disabled(at(20), Actor::ROOT, &host(), true).unwrap(), "host app-gw was disabled"),
        (|store| store.remove_host(at(20), Actor::ROOT, &host()).unwrap(), "host app-gw was removed"),
    ];
    for (act, why) in acts {
        let (_folder, store) = furnished();
        let _ = opened(&store, 10, 3610);
        let cut = act(&store);
        assert_eq!((cut.gates.as_slice(), cut.places.as_slice()), (&[place()][..], &[][..]), "{why}");
        assert!(store.grants().unwrap().is_empty(), "{why}");
        let line = &store.log(&Filter { event: Some(Event::Revoked), ..Filter::default() }).unwrap()[0];
        assert_eq!(line.reason.as_deref(), Some(format!("tier prod: {why}").as_str()));
        assert_intact(&store);
    }
}

#[test]
fn who_is_let_in_again_has_no_tier_and_the_gateways_are_told() {
    let (_folder, store) = furnished();
    let _ = opened(&store, 10, 3610);
    let _ = store.set_device_disabled(at(20), Actor::ROOT, &device(), true).unwrap();
    let back = store.set_device_disabled(at(21), Actor::ROOT, &device(), false).unwrap();
    assert_eq!(back.hosts.into_iter().collect::<Vec<_>>(), [host()]);
    assert!(store.grants().unwrap().is_empty());
}

#[test]
fn a_changed_interface_key_ends_its_grants() {
    let (_folder, store) = furnished();
    let _ = opened(&store, 10, 3610);
    let _ = store.report(at(11), &host(), &report(&[interface("devices", 50, &[LAPTOP])])).unwrap();
    let cut = store.accept_host(at(12), Actor::ROOT, &host()).unwrap();
    assert_eq!((cut.gates.as_slice(), store.grants().unwrap().len()), (&[place()][..], 0));
}

#[test]
fn a_rotation_that_is_ordered_closes_the_steps_above_the_key() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(10));
    let keys = [super::wanted(1, at(3610))];
    let outcome = store.release_with_tiers(at(10), &login, device().as_str(), &keys, &[wanted("admin", 60)]).unwrap();
    assert_eq!((outcome.granted.len(), outcome.opened.len()), (1, 1));
    store.order_rotation(at(20), Actor::ROOT, &place(), "lent").unwrap();
    assert!(store.grants().unwrap().is_empty());

    store.deposit(at(21), &host(), &[deposit(2)]).unwrap();
    store.applied(at(22), &host(), &[which(2)]).unwrap();
    let login = passed(&store, at(30));
    let keys = [super::wanted(2, at(3610))];
    let _ = store.release_with_tiers(at(30), &login, device().as_str(), &keys, &[wanted("admin", 90)]).unwrap();
    store.end_session(at(40), &place(), 2, "no handshake for 5 min").unwrap();
    assert!(store.grants().unwrap().is_empty(), "the session is over, and what it had opened with it");
}

#[test]
fn a_grant_survives_a_restart_and_is_looked_at_when_it_changes() {
    let (folder, store) = furnished();
    while !store.take_touched(at(5), 100).unwrap().is_empty() {}
    let _ = opened(&store, 10, 3610);
    assert_eq!(store.take_touched(at(10), 100).unwrap(), [place()]);
    assert!(store.confirm_grant(at(11), &place(), &tier("prod")).unwrap());
    assert_eq!(store.take_touched(at(11), 100).unwrap(), [place()]);
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert_eq!(shown(&store), [prod(3610, true)]);
    store.end_grants(at(20), Actor::ROOT, &place(), None, "lent").unwrap();
    assert_eq!(store.take_touched(at(20), 100).unwrap(), [place()]);
    assert_eq!(last_line(&store).actor.as_deref(), Some("root"));
}
