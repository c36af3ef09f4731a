//! Connections that the firewall of their gateway enforces: what is shown of them, and what can be done about them.

use wgmfa_core::gate::code::{Attempt, attempt};

use super::*;
use crate::store::WantedTier;

const FIREWALL: &str = "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]\n\
                        enforce = [\"firewall\"]\ntier = \"prod\"\n";

fn gated() -> Bastion {
    let mut bastion = Bastion::with_a_connection();
    std::fs::write(bastion.config.policy_dir.join("101-prod.toml"), FIREWALL).unwrap();
    bastion.policies = crate::policies::load(&bastion.config.policy_dir).unwrap();
    bastion
}

impl Bastion {
    /// Justin logs in, and the tier is granted for so many seconds.
    fn open(&self, tier: &str, seconds: i64) {
        let now = self.now.get();
        let source = "192.0.2.7".parse().unwrap();
        let user = "justin".parse().unwrap();
        let login = Login { id: LoginId::random(), user, from: "192.0.2.7".to_owned(), source };
        assert_eq!(self.store.record_login(now, &login, CodeRule::Foreign).unwrap(), crate::store::Acceptance::Accept);
        let until = now + SignedDuration::from_secs(seconds);
        let wanted = WantedTier { place: Self::place(), tier: tier.parse().unwrap(), until };
        let outcome = self.store.release_with_tiers(now, &login, "justins-laptop", &[], &[wanted]).unwrap();
        assert_eq!(outcome.opened.len(), 1, "{outcome:?}");
    }

    fn confirm(&self, tier: &str) {
        assert!(self.store.confirm_grant(self.now.get(), &Self::place(), &tier.parse().unwrap()).unwrap());
    }

    /// What `key list` shows after the policy.
    fn shown(&self) -> String {
        let list = self.good("key list");
        list.lines().nth(1).unwrap().rsplit_once("101 Prod  ").unwrap().1.to_owned()
    }
}

#[test]
fn key_list_tells_what_is_open_and_until_when() {
    let bastion = gated();
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed");
    bastion.open("prod", 3600);
    assert_eq!(bastion.shown(), "Pending  granted, and app-gw has not confirmed it, tier prod");
    bastion.confirm("prod");
    assert_eq!(bastion.shown(), "OK  60 min left (until 16:00), tier prod");
    bastion.open("admin", 600);
    bastion.pass(60);
    bastion.report(&[10]);
    assert_eq!(bastion.shown(), "OK  59 min left (until 16:00), tier prod, admin until 15:10");

    let row = &bastion.ask("key list --json").json()["connections"][0];
    assert_eq!((row["state"].as_str(), row["tier"].as_str()), (Some("OK"), Some("prod")), "{row:#}");
    assert_eq!((&row["deadline"], &row["generation"]), (&"2126-11-21T15:00:00Z".into(), &serde_json::Value::Null));
    assert_eq!((&row["released_at"], &row["released_from"]), (&"2126-11-21T14:00:00Z".into(), &"192.0.2.7".into()));
    let expected = serde_json::json!([
        { "tier": "admin", "by": "ssh", "user": "justin", "from": "192.0.2.7", "granted_at": "2126-11-21T14:00:00Z",
          "deadline": "2126-11-21T14:10:00Z", "confirmed": false },
        { "tier": "prod", "by": "ssh", "user": "justin", "from": "192.0.2.7", "granted_at": "2126-11-21T14:00:00Z",
          "deadline": "2126-11-21T15:00:00Z", "confirmed": true },
    ]);
    assert_eq!(row["grants"], expected);
    let inventory = bastion.ask("inventory --json").json();
    assert_eq!(inventory["hosts"][0]["interfaces"][0]["peers"][0]["grants"], expected);

    bastion.pass(3541);
    bastion.report(&[10]);
    assert_eq!(bastion.store.expire_grants(bastion.now.get()).unwrap().len(), 2);
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed");
    bastion
        .store
        .grant_by_override(
            bastion.now.get(),
            Actor::ROOT,
            &WantedTier {
                place: Bastion::place(),
                tier: "prod".parse().unwrap(),
                until: bastion.now.get() + SignedDuration::from_hours(1),
            },
            "an outage",
        )
        .unwrap();
    bastion.confirm("prod");
    assert_eq!(bastion.shown(), "OK  60 min left (until 17:00), override by root: an outage, tier prod");
}

#[test]
fn why_names_what_is_in_the_way_and_policy_explain_the_tier() {
    let bastion = gated();
    assert_eq!(
        bastion.good("why laptop"),
        "app-gw/devices:justins-laptop: a one-time code is needed\n    wgmfa sync\n"
    );
    bastion.open("prod", 3600);
    let said = bastion.good("why laptop");
    assert!(said.contains("the agent of app-gw") && said.contains("on app-gw: wgmfa-agent rotate"), "{said}");
    bastion.confirm("prod");
    assert_eq!(bastion.good("why laptop"), "app-gw/devices:justins-laptop: nothing stands in the way\n");
    let explained = bastion.good("policy explain laptop");
    assert!(explained.contains("  tier: the firewall opens prod after a one-time code\n"), "{explained}");
    assert!(explained.contains("the firewall enforces this policy, and no key rotates"), "{explained}");
    assert_eq!(bastion.ask("policy explain --json").json()["connections"][0]["tier"], "prod");
}

#[test]
fn wrong_codes_inside_the_tunnel_are_told_and_forgiven() {
    let bastion = gated();
    let user = "justin".parse().unwrap();
    for _ in 0..5 {
        let record = bastion.store.code_guesses(&user, &Bastion::place()).unwrap();
        let Attempt::Judge(charged) = attempt(&record, bastion.now.get()) else { panic!("{record:?}") };
        bastion.store.charge_code(bastion.now.get(), &user, &Bastion::place(), &charged).unwrap();
    }
    let said = bastion.good("why justin");
    assert!(said.contains("locked inside a tunnel of app-gw until 15:00 after wrong codes; logins are not"), "{said}");
    assert!(said.contains("wgmfa-bastion user unlock justin"), "{said}");
    let status = bastion.ask("status").out;
    assert!(status.contains("locked    justin from inside a tunnel of app-gw until 15:00"), "{status}");
    assert_eq!(bastion.good("user unlock justin"), "unlocked justin\n");
    assert!(!bastion.good("why justin").contains("locked"));
}

#[test]
fn a_rotation_closes_the_tiers_of_a_connection_without_keys() {
    let bastion = gated();
    let said = bastion.ask("key rotate laptop --reason lent");
    assert_eq!(said.exit, Some(1));
    assert!(said.err.contains("the firewall enforces its policy, and no tier is open"), "{}", said.err);
    bastion.open("prod", 3600);
    let said = bastion.ask("key rotate laptop --reason lent");
    assert_eq!((said.exit, said.out.as_str()), (Some(0), "app-gw/devices:justins-laptop: its tiers are closed\n"));
    let revoke = Order::Revoke { host: Bastion::gateway(), peer: Bastion::place().peer(), reason: "lent".to_owned() };
    assert_eq!(said.orders, [revoke]);
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed");
    bastion.open("prod", 3600);
    let said = bastion.ask("key rotate --all --reason lent --json");
    assert_eq!(said.json()["connections"], serde_json::json!(["app-gw/devices:justins-laptop"]));
    assert_eq!(bastion.good("key rotate --all --reason lent"), "unchanged\n");
}

#[test]
fn whoever_is_cut_off_is_closed_at_the_gate_and_nothing_is_locked_there() {
    let bastion = gated();
    bastion.open("prod", 3600);
    let said = bastion.ask("device disable justins-laptop");
    let reason = "justins-laptop is disabled".to_owned();
    assert_eq!(said.orders, [Order::Revoke { host: Bastion::gateway(), peer: Bastion::place().peer(), reason }]);
    assert_eq!(bastion.shown(), "Expired  justins-laptop is disabled");
    let mut reply = AdminReply { exit: Some(0), ..AdminReply::default() };
    name_unconfirmed(&mut reply, &said.orders, &bastion.context());
    assert_eq!(reply.exit, Some(6));
    let told = "app-gw has not confirmed yet that its gate is closed (never seen): it closes at its deadline or its next round";
    assert!(reply.stderr.contains(told), "{}", reply.stderr);

    let said = bastion.ask("device enable justins-laptop");
    let reason = "justins-laptop is enabled again".to_owned();
    assert_eq!(said.orders, [Order::Round { host: Bastion::gateway(), reason }]);
}

#[test]
fn a_policy_by_the_firewall_that_goes_opens_what_it_held_back() {
    let bastion = gated();
    let other = FIREWALL.replace("app-gw/devices", "db-gw/devices");
    std::fs::write(bastion.config.policy_dir.join("101-prod.toml"), other).unwrap();
    let said = bastion.good("reload --dry-run");
    assert!(said.starts_with("1 connection loses its second factor\n"), "{said}");
}

const LEFT_LOCKED: &str = "Expired  the server side keeps it locked from when another policy covered it (key set)";

#[test]
fn a_key_from_before_keeps_it_locked_until_an_administrator_sets_one() {
    let bastion = gated();
    bastion.rotate(1);
    assert_eq!(bastion.shown(), LEFT_LOCKED);
    let mend = "wg genpsk | wgmfa-bastion key set app-gw/devices:justins-laptop --reason TEXT";
    assert!(bastion.good("why laptop").contains(mend));
    bastion.release(1);
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed", "a session of the key goes on");
    // whatever the gateway has reported since
    bastion.pass(3600);
    bastion.report(&[]);
    assert_eq!(bastion.store.expire(bastion.now.get()).unwrap().len(), 1);
    assert_eq!(bastion.shown(), LEFT_LOCKED);
    assert!(bastion.good("why laptop").contains(mend));

    let before = bastion.store.set_free(bastion.now.get(), Actor::ROOT, &Bastion::place(), "x").unwrap();
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed");
    bastion.store.not_set_free(bastion.now.get(), &Bastion::place(), &before, "not there").unwrap();
    assert_eq!(bastion.shown(), LEFT_LOCKED);
}

#[test]
fn a_key_that_an_administrator_has_set_outlasts_a_cut_unless_a_lock_has_taken_its_place() {
    let bastion = gated();
    bastion.rotate(1);
    let place = Bastion::place();
    let _ = bastion.store.set_free(bastion.now.get(), Actor::ROOT, &place, "x").unwrap();
    assert_eq!(bastion.ask("device disable justins-laptop").orders, [], "the gate is closed, and nothing is locked");
    assert_eq!(bastion.shown(), "Expired  justins-laptop is disabled");
    bastion.good("device enable justins-laptop");
    assert_eq!(bastion.shown(), "Expired  a one-time code is needed");
    bastion.store.locked_again(bastion.now.get(), &[place]).unwrap();
    assert_eq!(bastion.shown(), LEFT_LOCKED);
}

#[test]
fn what_root_has_opened_on_the_gateway_is_shown_and_closed_like_a_grant() {
    let bastion = gated();
    let json = format!(
        r#"{{"name": "devices", "public_key": "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=", "peers":
            [{{"public_key": "{}", "allowed_ips": ["10.0.0.2/32"], "opened_by_root_for": 600}}]}}"#,
        laptop()
    );
    let interfaces: [Interface; 1] = [serde_json::from_str(&json).unwrap()];
    let report = Report { interfaces: &interfaces, handshake_ages: &[], next_in_seconds: None, stood_down: false };
    bastion.store.report(bastion.now.get(), &Bastion::gateway(), &report).unwrap();
    assert_eq!(bastion.shown(), "OK  10 min left (until 15:10); opened by root on the server side, tier prod");
    let revoke = |reason: &str| {
        let (host, peer) = (Bastion::gateway(), Bastion::place().peer());
        Order::Revoke { host, peer, reason: reason.to_owned() }
    };
    assert_eq!(bastion.ask("key rotate laptop --reason lent").orders, [revoke("lent")]);
    assert_eq!(bastion.ask("device disable justins-laptop").orders, [revoke("justins-laptop is disabled")]);
    bastion.good("device enable justins-laptop");
    bastion.pass(600);
    assert!(bastion.shown().starts_with("Expired  a one-time code is needed"), "{}", bastion.shown());
}
