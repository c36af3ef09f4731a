//! An interface that has another key than before counts as what it was until an administrator agrees: `host accept`.

use serde_json::json;
use wgmfa_tests::tunnel::Keys;

use super::site::Site;

#[test]
fn the_change_is_named_and_after_the_agreement_keys_are_made_anew() {
    let mut site = Site::new();
    let mut ann = site.administrator("ann");
    let device = site.justin.public_key().to_owned();
    let mut host = site.host("app-gw");
    host.connect(false).wait_with_keys(&[&device], 1);
    let before = std::mem::replace(&mut host.keys, Keys::generate());
    host.connect(false).report(&[&device], Some(3600));

    let listed = site.bastion.admin(&["host", "list"]).ok().stdout;
    let changed = format!(
        "app-gw/wg0: its public key was {} and is now {}; `wgmfa-bastion host accept app-gw` agrees to it\n",
        before.public, host.keys.public
    );
    assert!(listed.contains("key to accept\n") && listed.ends_with(&changed), "{listed}");
    let why = site.bastion.admin(&["why", "justin"]).ok().stdout;
    assert!(why.ends_with("\n    wgmfa-bastion host accept app-gw\n"), "{why}");
    let said = ann.ssh(&["wgmfa-bastion", "host", "accept", "app-gw"]);
    assert_eq!(said.stdout, "accepted the interface keys of app-gw\n", "{said:?}");
    let line = &site.bastion.log("host-accepted")[0];
    assert_eq!((&line["actor"], &line["host"]), (&json!("ann"), &json!("app-gw")), "{line}");
    assert_eq!(ann.ssh(&["wgmfa-bastion", "host", "accept", "app-gw"]).ok().stdout, "unchanged\n");

    let keys = host.connect(false).wait_with_keys(&[&device], 2);
    let released = site.justin.ssh(&["wgmfa-sync"]).ok();
    assert_eq!(released.stdout, format!("{}\t{}\n", host.keys.public, keys[0]));
}

#[test]
fn a_peer_that_nobody_registered_is_listed() {
    let site = Site::new();
    let (device, stranger) = (site.justin.public_key().to_owned(), Keys::generate().public);
    let host = site.host("app-gw");
    host.connect(false).report(&[&device, &stranger], Some(3600));
    let listed = site.bastion.admin(&["inventory", "--unregistered"]).ok().stdout;
    assert!(listed.contains(&stranger) && !listed.contains("justins-laptop"), "{listed}");
    let json = site.bastion.admin(&["--json", "inventory", "--unregistered"]).ok().json();
    let peers = json["hosts"][0]["interfaces"][0]["peers"].as_array().expect("peers").clone();
    assert_eq!((peers.len(), &peers[0]["public_key"], &json["devices"]), (1, &json!(stranger), &json!([])));
    site.bastion.add_device("printer", "justin", &stranger);
    assert_eq!(site.bastion.admin(&["inventory", "--unregistered"]).ok().stdout, "no peers\n");
}
