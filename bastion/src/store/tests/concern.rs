use wgmfa_core::connection::{Connection, connections};
use wgmfa_core::inventory::Inventory;
use wgmfa_core::name::{HostName, UserName};

use super::*;

const ANOTHER_SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHtLrS8kDtTtB2oNiKrJ2qMMTdvXf2EqNLpCLdQGVVHb x";

/// The connections that serve a person.
fn served(inventory: &Inventory, person: &UserName) -> Vec<Connection> {
    let serves = |one: &Connection| one.owner.as_ref() == Some(person) || one.other_owner.as_ref() == Some(person);
    connections(inventory).into_iter().filter(serves).collect()
}

#[test]
fn what_concerns_a_person_is_found_without_the_others() {
    let (_folder, store) = furnished();
    let (alice, workstation): (UserName, HostName) = ("alice".parse().unwrap(), "workstation".parse().unwrap());
    store.add_person(at(1), Actor::ROOT, &new_person(&alice)).unwrap();
    store.add_device(at(1), Actor::ROOT, &"alices-phone".parse().unwrap(), &alice, &public(3)).unwrap();
    store.add_host(at(1), Actor::ROOT, &workstation, ANOTHER_SSH_KEY, Some(&alice)).unwrap();
    // both laptops, the owned host and a stranger; the owned host has a peer that does not know it, and one of nobody
    store.report(at(2), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP, 3, 60])])).unwrap();
    store.report(at(2), &workstation, &report(&[interface("vpn", 50, &[GATEWAY, LAPTOP, 61])])).unwrap();
    let whole = store.inventory().unwrap();
    for person in [user(), alice.clone()] {
        let part = store.inventory_for(&person).unwrap();
        assert_eq!(served(&part, &person), served(&whole, &person), "{person}");
        assert!(!served(&part, &person).is_empty());
    }
    assert_eq!(served(&whole, &alice).len(), 4);
    // of the gateway alice's part has her peers and no others
    let part = store.inventory_for(&alice).unwrap();
    let gateway = part.hosts.iter().find(|found| found.name == host()).unwrap();
    assert_eq!(gateway.interfaces[0].peers.iter().map(|peer| peer.public_key).collect::<Vec<_>>(), [public(3)]);
    let nobody: UserName = "nobody".parse().unwrap();
    assert!(connections(&store.inventory_for(&nobody).unwrap()).is_empty());

    assert_eq!(store.deposit(at(3), &host(), &[deposit(1)]).unwrap(), [which(1)]);
    assert_eq!(store.records_for(&user()).unwrap(), store.records().unwrap());
    assert_eq!(store.records_for(&nobody).unwrap(), []);

    store.report(at(4), &host(), &report(&[])).unwrap();
    let part = store.inventory_for(&user()).unwrap();
    assert_eq!(served(&part, &user()), served(&store.inventory().unwrap(), &user()), "an interface that is gone");
}
