//! `why` and `status`: what stands in the way.

use super::*;
use crate::store::Refusal;

#[test]
fn why_names_the_first_obstacle_and_what_mends_it() {
    let bastion = Bastion::new();
    bastion.good("user add justin --system-password");
    let owner = "justin: owns no device\n    wgmfa-bastion device add NAME --owner justin --public-key KEY\n";
    assert_eq!(bastion.good("why justin"), owner);

    let bastion = Bastion::with_a_connection();
    let connection = "app-gw/devices:justins-laptop";
    let waits = "the agent of app-gw was last seen 0 s ago (15:00), and has a change to make\n    on app-gw: wgmfa-agent rotate\n";
    assert_eq!(bastion.good("why laptop"), format!("{connection}: {waits}"));
    bastion.rotate(1);
    let login = "a login is needed\n    wgmfa sync\n";
    assert_eq!(bastion.good("why laptop"), format!("{connection}: {login}"));
    assert_eq!(bastion.good("why justin"), format!("justin: {connection}: {login}"));
    bastion.pass(1);
    bastion.release(1);
    bastion.pass(10);
    bastion.report(&[1]);
    assert_eq!(bastion.good("why justin"), "justin: nothing stands in the way\n");

    bastion.good("device disable justins-laptop");
    let disabled = "the device justins-laptop is disabled\n    wgmfa-bastion device enable justins-laptop\n";
    assert_eq!(bastion.good("why laptop"), format!("{connection}: {disabled}"));
    bastion.good("user disable justin");
    assert!(bastion.good("key list").ends_with("  justin is disabled\n"), "{}", bastion.good("key list"));
    bastion.good("device enable justins-laptop");
    let disabled = "the owner justin is disabled\n    wgmfa-bastion user enable justin\n";
    assert_eq!(bastion.good("why laptop"), format!("{connection}: {disabled}"));
    assert!(bastion.good("key list").ends_with("  justin is disabled\n"), "{}", bastion.good("key list"));
    let disabled = "justin: disabled by an administrator\n    wgmfa-bastion user enable justin\n";
    assert_eq!(bastion.good("why justin"), disabled);
    let json = bastion.ask("why justin --json").json();
    assert_eq!(json["mend"], "wgmfa-bastion user enable justin");
    // what ended the last session is past
    bastion.good("user enable justin");
    bastion.rotate(2);
    let shown = bastion.good("key list");
    assert!(shown.ends_with("Expired  a login is needed: device justins-laptop was disabled\n"), "{shown}");
    assert_eq!(bastion.ask("why nobody").exit, Some(1));
}

#[test]
fn status_tells_what_needs_care() {
    let mut bastion = Bastion::with_a_connection();
    let said = bastion.ask("status");
    assert_eq!(said.exit, Some(0), "{}", said.out);
    assert!(said.out.contains("agent     app-gw: last seen 0 s ago (15:00)\n"), "{}", said.out);
    assert!(said.out.contains("policies  1, since 2126-11-21 15:00:00\n"), "{}", said.out);

    bastion.pass(600);
    let said = bastion.ask("status");
    assert_eq!(said.exit, Some(1), "{}", said.out);
    assert!(said.out.contains("trouble   app-gw: its agent has not come\n"), "{}", said.out);
    bastion.connected.insert(Bastion::gateway());
    let said = bastion.ask("status --json");
    assert_eq!((said.exit, &said.json()["ok"]), (Some(0), &true.into()), "{}", said.out);

    std::fs::remove_file(bastion.folder.path().join("pam.d/wgmfa")).unwrap();
    let said = bastion.ask("status");
    assert_eq!(said.exit, Some(1));
    assert!(said.out.contains(": no such PAM service file: "), "{}", said.out);
}

#[test]
fn a_refused_login_is_forgiven_with_new_secrets() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    let refusal = Refusal { user: "justin", from: "192.0.2.7", reason: "the code was wrong", charged: true };
    bastion.store.record_refusal(bastion.now.get(), refusal).unwrap();
    assert!(bastion.good("why justin").contains("the last login was refused"), "{}", bastion.good("why justin"));
    bastion.pass(1);
    bastion.good("user reset justin --system-password");
    assert!(!bastion.good("why justin").contains("the last login was refused"), "{}", bastion.good("why justin"));
}
