//! A cut reaches resident agents before the command returns; hosts that have not confirmed it are named.

use serde_json::{Value, json};
use wgmfa_tests::program::Ended;

use super::site::{Agent, Host, Person, Site};

/// Confirms the next order of this kind, and gives it. Rounds that are asked for on the way are not done.
#[track_caller]
fn confirm(agent: &mut Agent<'_>, order: &str, answer: Value) -> Value {
    let heard = std::iter::from_fn(|| Some(agent.conversation.hear_json())).find(|heard| heard["type"] != "round");
    let heard = heard.expect("an order");
    assert_eq!(heard["type"], order, "{heard}");
    let mut answer = answer;
    answer["id"] = heard["id"].clone();
    agent.conversation.say_json(&answer);
    heard
}

/// A session of justin's runs on both hosts; the agent of the first is resident. Ann gives this command.
#[track_caller]
fn cut(site: &mut Site, hosts: &[Host; 2], ann: &mut Person, words: &[&str]) -> (Ended, Value) {
    let device = site.justin.public_key().to_owned();
    let mut resident = hosts[0].connect(true);
    resident.wait_with_keys(&[&device], 1);
    hosts[1].connect(false).wait_with_keys(&[&device], 1);
    std::thread::scope(|scope| {
        let login = scope.spawn(|| site.justin.ssh(&["wgmfa-sync"]));
        confirm(&mut resident, "open", json!({"type": "opened", "refused": null}));
        assert_eq!(login.join().unwrap().ok().stdout.lines().count(), 2);
    });
    std::thread::scope(|scope| {
        let said = scope.spawn(|| ann.ssh(&[&["wgmfa-bastion"], words].concat()));
        let lock = confirm(&mut resident, "lock", json!({"type": "locked", "failed": null}));
        (said.join().unwrap(), lock)
    })
}

fn scene() -> (Site, [Host; 2], Person) {
    let mut site = Site::new();
    let hosts = ["app-gw", "db-gw"].map(|name| site.host(name));
    let ann = site.administrator("ann");
    (site, hosts, ann)
}

#[track_caller]
fn names_the_second(said: &Ended, stdout: &str) {
    assert_eq!((said.code(), said.stdout.as_str()), (6, stdout), "{said:?}");
    let warning = "wgmfa-bastion: warning: db-gw has not confirmed the lock yet (last seen ";
    assert!(said.stderr.starts_with(warning) && said.stderr.lines().count() == 1, "{said:?}");
}

#[test]
fn when_a_person_is_disabled() {
    let (mut site, hosts, mut ann) = scene();
    let (said, lock) = cut(&mut site, &hosts, &mut ann, &["user", "disable", "justin"]);
    names_the_second(&said, "disabled justin\n");
    assert_eq!(
        (&lock["public_key"], &lock["reason"]),
        (&json!(site.justin.public_key()), &json!("justin is disabled"))
    );
    let rows = site.bastion.keys();
    assert!(rows.iter().all(|row| row["state"] != "OK" && row["state"] != "Match Pending"), "{rows:?}");
    assert!(!site.justin.ssh(&["wgmfa-status"]).status.success());
    // one that comes by hears of it
    let told = hosts[1].connect(false).report(&[site.justin.public_key()], Some(60));
    assert_eq!(told["assignments"][0]["standing"]["standing"], "keep-locked", "{told}");
}

#[test]
fn when_a_device_is_lost() {
    let (mut site, hosts, mut ann) = scene();
    let (said, _) = cut(&mut site, &hosts, &mut ann, &["device", "disable", "justins-laptop"]);
    names_the_second(&said, "disabled justins-laptop\n");
    let json = site.bastion.admin(&["--json", "device", "disable", "justins-laptop"]).ok().json();
    assert_eq!(json["changed"], false);
}

#[test]
fn when_a_persons_keys_are_rotated() {
    let (mut site, hosts, mut ann) = scene();
    let (said, lock) = cut(&mut site, &hosts, &mut ann, &["key", "rotate", "--user", "justin", "--reason", "lent"]);
    names_the_second(
        &said,
        "app-gw/wg0:justins-laptop: a new generation is made now\n\
         db-gw/wg0:justins-laptop: a new generation is made at the next round of its host\n",
    );
    assert_eq!(lock["reason"], "lent");
    let rows = site.bastion.keys();
    assert!(rows.iter().all(|row| row["state"] == "Mismatch Pending"), "{rows:?}");
    let ordered = site.bastion.log("rotation-ordered");
    assert!(ordered.iter().all(|line| line["actor"] == "ann" && line["reason"] == "lent"), "{ordered:?}");
    assert_eq!(ordered.len(), 2);
}

#[test]
fn a_rotation_of_what_nobody_has_waits_for_nobody() {
    let site = Site::new();
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    host.connect(false).wait_with_keys(&[&device], 1);
    for which in [&["justin"][..], &["--host", "app-gw"], &["--user", "justin"], &["--all"]] {
        let said = site.bastion.admin(&[&["key", "rotate"], which, &["--reason", "spring"]].concat()).ok();
        let line = "app-gw/wg0:justins-laptop: a new generation is made at the next round of its host\n";
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), (line, ""), "{which:?}");
    }
}
