//! Hosts, devices and what hosts report.

use super::*;

const OTHER_SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVrMhJp+u6ut7EBRfoRs2pEW0u9cGbDL6MxQ+yMBDqR";

fn told(result: Result<impl std::fmt::Debug, StoreError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_same_host_or_device_again_is_unchanged_and_another_is_refused() {
    let (_folder, store) = furnished();
    let with_comment = format!("{SSH_KEY} root@app-gw\n");
    assert_eq!(store.add_host(at(1), Actor::ROOT, &host(), &with_comment, None).unwrap(), Change::Unchanged);
    assert_eq!(
        told(store.add_host(at(1), Actor::ROOT, &host(), OTHER_SSH_KEY, None)),
        "host app-gw is there already, with another key or owner"
    );
    assert_eq!(
        told(store.add_host(at(1), Actor::ROOT, &"x".parse().unwrap(), "nonsense", None)),
        "not an SSH public key"
    );
    let mine = (&device(), &user());
    assert_eq!(store.add_device(at(1), Actor::ROOT, mine.0, mine.1, &public(LAPTOP)).unwrap(), Change::Unchanged);
    assert_eq!(
        told(store.add_device(at(1), Actor::ROOT, mine.0, mine.1, &public(9))),
        "device justins-laptop is there already, with another key or owner"
    );
    assert_eq!(store.host(&host()).unwrap().unwrap().public_key, SSH_KEY);
}

#[test]
fn hosts_and_devices_share_one_name_space() {
    let (_folder, store) = furnished();
    let name: DeviceName = host().as_str().parse().unwrap();
    assert_eq!(told(store.add_device(at(1), Actor::ROOT, &name, &user(), &public(9))), "app-gw is the name of a host");
    let name: HostName = device().as_str().parse().unwrap();
    assert_eq!(
        told(store.add_host(at(1), Actor::ROOT, &name, OTHER_SSH_KEY, None)),
        "justins-laptop is the name of a device"
    );
}

#[test]
fn a_public_key_belongs_to_one_and_the_first_is_named_in_the_log() {
    let (_folder, store) = furnished();
    let name: DeviceName = "second".parse().unwrap();
    for (key, first) in [(LAPTOP, "device justins-laptop"), (GATEWAY, "interface app-gw/devices")] {
        let reason = format!("{} belongs to {first}", public(key));
        assert_eq!(told(store.add_device(at(1), Actor::ROOT, &name, &user(), &public(key))), reason);
        let line = last_line(&store);
        assert_eq!((line.event.as_str(), line.reason), ("registration-refused", Some(reason)));
    }
    let second: HostName = "second-gw".parse().unwrap();
    assert_eq!(told(store.add_host(at(1), Actor::ROOT, &second, SSH_KEY, None)), "this SSH key belongs to host app-gw");
    assert_eq!(last_line(&store).event, "registration-refused");

    store.add_host(at(2), Actor::ROOT, &second, OTHER_SSH_KEY, None).unwrap();
    let theirs = [interface("wg0", GATEWAY, &[]), interface("wg1", LAPTOP, &[]), interface("wg2", 40, &[])];
    let reported = store.report(at(3), &second, &report(&theirs)).unwrap();
    let reasons: Vec<_> = reported.refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        [
            format!("wg0: its public key {} belongs to interface app-gw/devices", public(GATEWAY)),
            format!("wg1: its public key {} belongs to device justins-laptop", public(LAPTOP)),
        ]
    );
    let inventory = store.inventory().unwrap();
    assert_eq!(inventory.hosts[1].interfaces, [interface("wg2", 40, &[])], "the rest is stored");

    let lines = store.log_head().unwrap().seq;
    let again = store.report(at(4), &second, &report(&theirs)).unwrap();
    assert_eq!((again.changed, again.refused), (false, reported.refused));
    assert_eq!(store.log_head().unwrap().seq, lines, "it is said once");

    let _ = store.remove_device(at(5), Actor::ROOT, &device()).unwrap();
    let after = store.report(at(6), &second, &report(&theirs)).unwrap();
    assert_eq!(after.refused.len(), 1, "the key is free now");
}

#[test]
fn a_changed_interface_key_counts_only_after_an_administrator_agreed() {
    let (_folder, store) = with_applied(1);
    let changed = [interface("devices", 50, &[LAPTOP])];
    let reported = store.report(at(5), &host(), &report(&changed)).unwrap();
    assert!(reported.refused[0].reason.contains("`wgmfa-bastion host accept app-gw` agrees to it"));
    assert_eq!(store.inventory().unwrap().hosts[0].interfaces[0].public_key, public(GATEWAY));
    let pending =
        PendingKey { interface: "devices".parse().unwrap(), known: Some(public(GATEWAY)), reported: public(50) };
    assert_eq!(store.host(&host()).unwrap().unwrap().pending, [pending]);

    let gone = store.report(at(6), &host(), &report(&[])).unwrap();
    assert_eq!(gone.refused, []);
    let back = store.report(at(7), &host(), &report(&changed)).unwrap();
    assert_eq!(back.refused.len(), 1, "it cannot come back unnoticed with another key");

    let cut = store.accept_host(at(8), Actor::ROOT, &host()).unwrap();
    assert_eq!(cut, CutOff::made(vec![place()]));
    assert_eq!(store.accept_host(at(8), Actor::ROOT, &host()).unwrap(), CutOff::nothing());
    assert!(store.unseal(at(8), &place(), 1).is_err(), "the old key's generation is over");
    let reported = store.report(at(9), &host(), &report(&changed)).unwrap();
    assert_eq!(reported.refused, []);
    assert_eq!(store.inventory().unwrap().hosts[0].interfaces[0].public_key, public(50));
    store.deposit(at(10), &host(), &[deposit(2)]).unwrap();
    let fingerprint = store.record(&place()).unwrap().unwrap().deposited.unwrap().fingerprint;
    assert_eq!(fingerprint, key(2).fingerprint(&public(50), &public(LAPTOP)));
}

#[test]
fn interfaces_that_swap_their_keys_are_agreed_to_together() {
    let (_folder, store) = furnished();
    let two = [interface("devices", GATEWAY, &[LAPTOP]), interface("infra", 60, &[])];
    assert_eq!(store.report(at(1), &host(), &report(&two)).unwrap().refused, []);
    let swapped = [interface("devices", 60, &[LAPTOP]), interface("infra", GATEWAY, &[])];
    assert_eq!(store.report(at(2), &host(), &report(&swapped)).unwrap().refused.len(), 2);
    let _ = store.accept_host(at(3), Actor::ROOT, &host()).unwrap();
    assert_eq!(store.report(at(4), &host(), &report(&swapped)).unwrap().refused, []);
    assert_eq!(store.inventory().unwrap().hosts[0].interfaces, swapped);
}

#[test]
fn a_report_that_says_nothing_new_changes_nothing() {
    let (_folder, store) = furnished();
    let lines = store.log_head().unwrap();
    let same = [interface("devices", GATEWAY, &[LAPTOP])];
    let again = Report { next_in_seconds: Some(60), ..report(&same) };
    assert!(!store.report(at(9), &host(), &again).unwrap().changed);
    assert_eq!(store.log_head().unwrap(), lines);
    let seen = store.host(&host()).unwrap().unwrap();
    assert_eq!((seen.last_seen, seen.next_round), (Some(at(9)), Some(at(69))));
    assert!(store.report(at(10), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP, 9])])).unwrap().changed);
}

#[test]
fn the_inventory_tells_when_each_peer_shook_hands_and_where_its_generation_stands() {
    let (_folder, store) = with_applied(3);
    let same = [interface("devices", GATEWAY, &[LAPTOP])];
    let shook = |now: i64, seconds| {
        let ages = [age(LAPTOP, seconds), age(99, seconds)];
        store.report(at(now), &host(), &Report { handshake_ages: &ages, ..report(&same) }).unwrap();
        store.inventory().unwrap().hosts[0].interfaces[0].peers[0].clone()
    };
    assert_eq!(shook(100, 10).latest_handshake, Some(at(90)));
    assert_eq!(shook(200, 109).latest_handshake, Some(at(90)), "a second more or less is the same handshake");
    let peer = shook(220, 5);
    assert_eq!((peer.latest_handshake, peer.generation, peer.rotated_at), (Some(at(215)), Some(3), Some(at(2))));

    let login = passed(&store, at(230));
    let _ = store.release(at(230), &login, device().as_str(), &[wanted(3, at(300))]).unwrap();
    let peer = shook(240, 25);
    assert_eq!((peer.released_at, peer.deadline), (Some(at(230)), Some(at(300))));

    store.deposit(at(250), &host(), &[deposit(4)]).unwrap();
    store.applied(at(250), &host(), &[which(4)]).unwrap();
    let inventory = store.inventory().unwrap();
    let peer = &inventory.hosts[0].interfaces[0].peers[0];
    assert_eq!((peer.latest_handshake, peer.generation, peer.deadline), (None, Some(4), None));
    assert_eq!(inventory.version, 1);
}

#[test]
fn who_is_cut_off_reports_and_deposits_nothing() {
    let (_folder, store) = with_applied(1);
    let cut = store.set_host_disabled(at(3), Actor::ROOT, &host(), true).unwrap();
    assert_eq!(cut.places, [place()]);
    assert_eq!(told(store.report(at(4), &host(), &report(&[]))), "host app-gw is disabled");
    assert_eq!(store.deposit(at(4), &host(), &[deposit(2)]).unwrap(), []);
    assert!(store.report(at(4), &"nobody".parse().unwrap(), &report(&[])).is_err());
    assert!(store.inventory().unwrap().hosts[0].disabled);
}

#[test]
fn no_host_brings_a_removed_device_back_by_claiming_its_key() {
    let (_folder, store) = with_applied(1);
    let _ = store.remove_device(at(5), Actor::ROOT, &device()).unwrap();
    let second: HostName = "second-gw".parse().unwrap();
    store.add_host(at(6), Actor::ROOT, &second, OTHER_SSH_KEY, None).unwrap();
    let claimed = store.report(at(7), &second, &report(&[interface("wg0", LAPTOP, &[])])).unwrap();
    assert_eq!(claimed.refused, []);
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.kept_locked.as_deref(), Some("device justins-laptop was removed"));
    assert_eq!(store.deposit(at(8), &host(), &[deposit(2)]).unwrap(), []);
}

#[test]
fn a_lost_device_is_cut_off_and_a_removed_one_stays_locked_until_its_key_returns() {
    let (_folder, store) = with_applied(1);
    let cut = store.set_device_disabled(at(3), Actor::ROOT, &device(), true).unwrap();
    assert_eq!(cut.places, [place()]);
    assert!(store.unseal(at(3), &place(), 1).is_err());
    assert!(store.inventory().unwrap().devices[0].disabled);
    let _ = store.set_device_disabled(at(4), Actor::ROOT, &device(), false).unwrap();
    store.deposit(at(4), &host(), &[deposit(2)]).unwrap();

    assert_eq!(store.remove_device(at(5), Actor::ROOT, &device()).unwrap().places, [place()]);
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.deposited, None);
    assert_eq!(
        store.connection_at(&record.place).unwrap().to_string(),
        format!("{}:{}", server_side(), public(LAPTOP))
    );
    assert_eq!(record.kept_locked.as_deref(), Some("device justins-laptop was removed"));
    assert_eq!(store.deposit(at(6), &host(), &[deposit(3)]).unwrap(), []);

    let again: DeviceName = "justins-new-name".parse().unwrap();
    store.add_device(at(7), Actor::ROOT, &again, &user(), &public(LAPTOP)).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().kept_locked, None);
    assert_eq!(store.deposit(at(8), &host(), &[deposit(3)]).unwrap(), [which(3)]);
}

#[test]
fn policies_are_noted_when_they_are_others() {
    let (_folder, store) = empty();
    assert_eq!(store.policies_since().unwrap(), None);
    assert_eq!(store.note_policies(at(1), Actor::ROOT, "a", "4 policies").unwrap(), Change::Made);
    assert_eq!(store.note_policies(at(2), Actor::ROOT, "a", "4 policies").unwrap(), Change::Unchanged);
    assert_eq!(store.policies_since().unwrap(), Some(at(1)));
    assert_eq!(store.note_policies(at(3), Actor::ROOT, "b", "5 policies").unwrap(), Change::Made);
    assert_eq!(store.policies_since().unwrap(), Some(at(3)));
    assert_eq!(events(&store), ["policies-loaded", "policies-loaded"]);
}

#[test]
fn what_concerns_a_host_is_found_without_the_others() {
    let (_folder, store) = furnished();
    let another: HostName = "db-gw".parse().unwrap();
    store.add_host(at(1), Actor::ROOT, &another, OTHER_SSH_KEY, None).unwrap();
    let gateway = interface("devices", GATEWAY, &[LAPTOP, 60]);
    store.report(at(2), &host(), &report(&[gateway])).unwrap();
    // it alone says that it has the gateway as its peer
    let infra = interface("infra", 50, &[GATEWAY, 61]);
    store.report(at(2), &another, &report(&[infra])).unwrap();
    let names = |inventory: &wgmfa_core::inventory::Inventory| {
        let all = wgmfa_core::connection::connections(inventory);
        all.into_iter().map(|connection| connection.name.to_string()).collect::<Vec<_>>()
    };
    let of = |name: &HostName| names(&store.inventory_of(name).unwrap());
    let (laptop, stray) = ("app-gw/devices:justins-laptop".to_owned(), format!("app-gw/devices:{}", public(60)));
    let between = "app-gw/devices:db-gw/infra".to_owned();
    assert_eq!(of(&host()), [laptop.clone(), between.clone(), stray.clone()]);
    let far = format!("db-gw/infra:{}", public(61));
    assert_eq!(of(&another), [between.clone(), far.clone()]);
    assert_eq!(names(&store.inventory().unwrap()), [laptop.clone(), between, stray, far]);

    store.report(at(3), &another, &report(&[interface("infra", 50, &[])])).unwrap();
    assert_eq!(of(&host()).len(), 2);
    assert_eq!(of(&another), [""; 0]);
}

#[test]
fn what_is_read_for_one_host_is_what_is_known_of_the_whole_site() {
    let (_folder, store) = with_applied(1);
    store.deposit(at(3), &host(), &[deposit(2)]).unwrap();
    store.applied(at(3), &host(), &[which(2)]).unwrap();
    store.deposit(at(4), &host(), &[deposit(3)]).unwrap();
    let another: HostName = "db-gw".parse().unwrap();
    store.add_host(at(4), Actor::ROOT, &another, OTHER_SSH_KEY, None).unwrap();
    store.report(at(5), &another, &report(&[interface("infra", 50, &[GATEWAY])])).unwrap();
    let peer = PeerRef { interface: "infra".parse().unwrap(), public_key: public(GATEWAY) };
    let there = Deposit { which: PeerGeneration { peer, generation: 1 }, preshared_key: key(9) };
    assert_eq!(store.deposit(at(5), &another, &[there]).unwrap().len(), 1);
    // the same device on two interfaces, beside nobody's
    let (devices, more) = (interface("devices", GATEWAY, &[LAPTOP]), interface("more", 51, &[LAPTOP, 60]));
    store.report(at(6), &host(), &report(&[devices, more])).unwrap();
    for disabled in [false, true] {
        let _ = store.set_person_disabled(at(7), Actor::ROOT, &user(), disabled).unwrap();
        let (all, part) = (store.inventory().unwrap(), store.inventory_of(&host()).unwrap());
        assert_eq!((part.devices.len(), part.devices[0].disabled), (1, disabled));
        assert_eq!(part.devices, all.devices);
        let records = store.records().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(store.records_around(&host()).unwrap(), records);
        assert_eq!(store.records_around(&another).unwrap(), records[1..]);
    }
}
