use super::*;

/// The state column of `key list`.
fn state(bastion: &Bastion) -> String {
    let shown = bastion.good("key list");
    let row = shown.lines().nth(1).unwrap();
    let start = "app-gw  devices    justins-laptop  101 Prod  ";
    row.strip_prefix(start).unwrap_or_else(|| panic!("{shown}")).to_owned()
}

#[test]
fn key_list_tells_the_life_of_a_key() {
    let bastion = Bastion::with_a_connection();
    assert_eq!(bastion.good("key list").lines().next().unwrap(), "HOST    INTERFACE  OTHER END       POLICY    STATE");
    assert_eq!(state(&bastion), "Pending  the server side has not applied a generation yet");
    bastion.rotate(1);
    assert_eq!(state(&bastion), "Expired  a login is needed");
    bastion.pass(10);
    bastion.release(1);
    assert_eq!(state(&bastion), "Match Pending  60 min left (until 16:00)");
    bastion.pass(120);
    bastion.report(&[10]);
    assert_eq!(state(&bastion), "OK  58 min left (until 16:00)");
    bastion.pass(170);
    assert_eq!(state(&bastion), "OK  55 min left (until 16:00)");
    bastion.pass(20);
    assert_eq!(state(&bastion), "OK  54 min left (until 16:00); app-gw was last heard at 15:02");
    bastion.pass(3410);
    let over = "Mismatch Pending  the deadline has passed, and the server side has not confirmed";
    assert_eq!(state(&bastion), format!("{over}; app-gw was last heard at 15:02"));
    bastion.report(&[3610]);
    assert_eq!(state(&bastion), over);
    bastion.rotate(2);
    assert_eq!(state(&bastion), "Expired  a login is needed");
}

#[test]
fn key_list_gives_programs_every_documented_field() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.pass(10);
    bastion.release(1);
    let json = bastion.ask("key list --json").json();
    let expected = serde_json::json!({"version": 1, "connections": [{
        "connection": "app-gw/devices:justins-laptop", "host": "app-gw", "interface": "devices",
        "public_key": "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=",
        "other": "justins-laptop", "other_public_key": laptop(), "owner": "justin",
        "policy": {"ordinal": 101, "description": "Prod", "mfa": true},
        "server_side": "app-gw/devices", "state": "Match Pending", "reason": "not yet seen to match", "generation": 1,
        "rotated_at": "2126-11-21T14:00:00Z", "released_at": "2126-11-21T14:00:10Z", "released_from": "192.0.2.7",
        "deadline": "2126-11-21T15:00:10Z", "latest_handshake": null
    }]});
    assert_eq!(json, expected);
    let own = own_connections(&bastion.context(), &"justin".parse().unwrap(), true, false);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&own).unwrap(), expected);
    let nobody = own_connections(&bastion.context(), &"ann".parse().unwrap(), false, false);
    assert_eq!(nobody, "no connections\n");
}

#[test]
fn a_connection_without_a_second_factor_is_named() {
    assert_eq!(Bastion::with_a_connection().good("key list --without-mfa"), "no connections\n");
    let bastion = Bastion::new();
    bastion.good_with("host add app-gw --key -", SSH_KEY);
    bastion.report(&[]); // of a key that nobody has registered
    let shown = bastion.good("key list --without-mfa");
    let row = shown.lines().nth(1).unwrap();
    assert!(row.ends_with(&format!("-  no second factor: {}, 10.0.0.2/32", laptop())), "{shown}");
}

#[test]
fn what_is_kept_locked_is_not_said_to_have_no_second_factor() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.good("device remove justins-laptop");
    let row = &bastion.ask("key list --json").json()["connections"][0];
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("device justins-laptop was removed") && !reason.contains("no second factor"), "{row:#}");
    for command in ["policy check", "check"] {
        let said = bastion.ask(command);
        assert!(!said.out.contains("no second factor"), "{command}: {}", said.out);
    }
    // somebody else's new key on the same interface has none
    let peer = &bastion.ask("inventory --json").json()["hosts"][0]["interfaces"][0]["peers"][0];
    assert_eq!(peer["kept_locked"], true, "{peer:#}");
}

#[test]
fn a_rotation_is_ordered_by_any_unique_part_of_a_name() {
    let bastion = Bastion::with_a_connection();
    let said = bastion.ask("key rotate laptop --reason lent");
    assert_eq!(said.exit, Some(1));
    assert_eq!(
        said.err,
        "wgmfa-bastion: error: app-gw/devices:justins-laptop: it has no generation yet: its host has not deposited one\n"
    );
    bastion.rotate(1);
    let said = bastion.ask("key rotate laptop --reason lent");
    assert_eq!(said.exit, Some(0), "{}", said.err);
    assert_eq!(said.out, "app-gw/devices:justins-laptop: a new generation is made at the next round of its host\n");
    let reason = "a rotation was ordered: lent".to_owned();
    assert_eq!(said.orders, [Order::Round { host: Bastion::gateway(), reason }]);
    assert_eq!(state(&bastion), "Mismatch Pending  a rotation was ordered, and the server side has not confirmed");

    let said = bastion.ask("key rotate --reason lent");
    assert_eq!((said.exit, said.err.lines().next()), (Some(2), Some("wgmfa-bastion: error: no connection is named")));
    let said = bastion.ask("key rotate --user justin --reason lent --json");
    assert_eq!(said.json()["connections"], serde_json::json!(["app-gw/devices:justins-laptop"]));
}

#[test]
fn a_rotation_ends_the_session_that_outlived_its_policy() {
    let mut bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.release(1);
    std::fs::write(bastion.config.policy_dir.join("101-prod.toml"), POLICY.replace("app-gw/devices", "db-gw/devices"))
        .unwrap();
    bastion.policies = crate::policies::load(&bastion.config.policy_dir).unwrap();
    let said = bastion.ask("key rotate laptop --reason lent");
    assert_eq!((said.exit, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, "app-gw/devices:justins-laptop: its session ends at the next round of its host\n");
    let lock = Order::Lock { host: Bastion::gateway(), peer: Bastion::place().peer(), reason: "lent".to_owned() };
    assert_eq!(said.orders[0], lock);
    // the server has confirmed with its next report: another key than the two that it had before
    let row = &bastion.ask("key list --json").json()["connections"][0];
    assert_eq!(row["state"], "Mismatch Pending", "{row:#}");
    bastion.report_key("\"00112233445566778899aabbccddeeff\"", &[]);
    let row = &bastion.ask("key list --json").json()["connections"][0];
    assert_eq!(row["state"], "Mismatch", "{row:#}");
    let again = bastion.ask("key rotate laptop --reason lent");
    assert_eq!(again.exit, Some(1));
    assert_eq!(again.err, "wgmfa-bastion: error: app-gw/devices:justins-laptop: no policy applies\n");
}

#[test]
fn a_device_under_a_policy_for_two_servers_is_told_the_truth() {
    let mut bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    let both = "description = \"Both\"\nrotation-interval = \"1h\"\nmfa = false\npeers = [\"app-gw/devices\"]\n";
    std::fs::write(bastion.config.policy_dir.join("050-both.toml"), both).unwrap();
    bastion.policies = crate::policies::load(&bastion.config.policy_dir).unwrap();
    let why = "justins-laptop has no agent, and no end rotates alone under mfa = false";
    let row = &bastion.ask("key list --json").json()["connections"][0];
    assert!(row["reason"].as_str().unwrap().starts_with(why), "{row:#}");
    // the server was told to lock, and has
    let (now, place) = (bastion.now.get(), Bastion::place());
    bastion.store.order_rotation(now, Actor::BASTION, &place, "the server was told to lock").unwrap();
    bastion.report_key("\"00112233445566778899aabbccddeeff\"", &[]);
    let row = &bastion.ask("key list --json").json()["connections"][0];
    assert!(row["reason"].as_str().unwrap().starts_with(why), "{row:#}");
    let checked = bastion.ask("check");
    let warned = "warning: app-gw/devices:justins-laptop: this connection has no second factor: policy 50";
    assert!(checked.out.contains(warned), "{}", checked.out);
    let explained = &bastion.ask("policy explain --json").json()["connections"][0];
    assert_eq!(explained["next"], serde_json::json!({"action": "none", "at": null, "reason": why}));
    assert!(!bastion.good("policy explain").contains("both rotate together"));
    let said = bastion.ask("key rotate laptop --reason x");
    assert_eq!((said.exit, said.err.as_str().contains(why)), (Some(1), true), "{}", said.err);
    let told = bastion.good("why laptop");
    assert!(told.contains("it stays locked") && told.contains("wgmfa-bastion key set app-gw/devices:"), "{told}");
}
