use super::*;

#[test]
fn acts_may_be_repeated() {
    let bastion = Bastion::with_a_connection();
    let device = format!("device add justins-laptop --owner justin --public-key {}", laptop());
    for line in [device.as_str(), "user add justin --system-password", "host enable app-gw", "device remove nothing"] {
        assert_eq!(bastion.good(line), "unchanged\n", "{line}");
        assert_eq!(bastion.good(&format!("{line} --json")), "{\"changed\":false,\"version\":1}\n", "{line}");
    }
    for (line, said) in [
        ("user disable justin", "disabled justin\n"),
        ("user disable justin", "unchanged\n"),
        ("user enable justin", "enabled justin\n"),
        ("host disable app-gw", "disabled app-gw\n"),
        ("host remove app-gw", "removed app-gw\n"),
        ("host remove app-gw", "unchanged\n"),
        ("user remove justin", "removed justin\n"),
    ] {
        assert_eq!(bastion.good(line), said, "{line}");
    }
}

#[test]
fn what_does_not_exist_or_differs_is_refused_with_a_hint() {
    let bastion = Bastion::with_a_connection();
    for (line, exit, error) in [
        ("user show ann", 1, "there is no user 'ann'"),
        ("user disable ann", 1, "there is no user 'ann'"),
        ("host accept db-gw", 1, "there is no host 'db-gw'"),
        ("device disable phone", 1, "there is no device 'phone'"),
        ("device add phone --owner justin --public-key x", 2, "--public-key: a key is 44 characters of base64"),
        ("host add db-gw --key -", 2, "--key: not an SSH public key in one line"),
        ("user add ann", 2, "no password"),
        ("user add ann --password-stdin", 2, "--password-stdin: no password on standard input"),
        ("user add justin --admin --system-password", 1, ""),
        ("serve", 2, "serve is refused here"),
    ] {
        let said = bastion.ask(line);
        assert_eq!(said.exit, Some(exit), "{line}: {}", said.err);
        assert!(said.err.starts_with(&format!("wgmfa-bastion: error: {error}")), "{line}: {}", said.err);
        let hinted = said.err.contains("\nwgmfa-bastion: hint: ");
        assert!(hinted, "{line}: {}", said.err);
    }
}

#[test]
fn a_lost_device_is_locked_at_once_and_who_has_not_confirmed_is_named() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.pass(1);
    bastion.release(1);
    let said = bastion.ask("device disable justins-laptop");
    assert_eq!((said.exit, said.out.as_str()), (Some(0), "disabled justins-laptop\n"));
    let (host, peer) = (Bastion::gateway(), Bastion::place().peer());
    let lock = Order::Lock { host, peer, reason: "justins-laptop is disabled".to_owned() };
    assert_eq!(said.orders, std::slice::from_ref(&lock));

    let shown = bastion.good("key list");
    assert!(shown.ends_with("Mismatch Pending  justins-laptop is disabled\n"), "{shown}");

    let mut reply = AdminReply { exit: Some(0), ..AdminReply::default() };
    name_unconfirmed(&mut reply, &[lock], &bastion.context());
    assert_eq!(reply.exit, Some(6));
    assert_eq!(
        reply.stderr,
        "wgmfa-bastion: warning: app-gw has not confirmed the lock yet (never seen): it locks at its deadline or its next \
         round\n"
    );
}

#[test]
fn what_no_policy_covers_is_cut_off_too_and_opens_again_by_an_administrators_hand() {
    let rests = POLICY.replace("mfa = true", "mfa = false").replace("server-peers", "peers");
    let add = format!("device add justins-laptop --owner justin --public-key {}", laptop());
    for policy in [None, Some(rests)] {
        for (cut, reason, back) in [
            ("device disable justins-laptop", "justins-laptop is disabled", "device enable justins-laptop"),
            ("user disable justin", "justin is disabled", "user enable justin"),
            ("device remove justins-laptop", "justins-laptop was removed", &add),
        ] {
            let mut bastion = Bastion::with_a_connection();
            let file = bastion.folder.path().join("policy.d/101-prod.toml");
            match &policy {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::write(&file, POLICY.replace("app-gw/devices", "app-gw/other")).unwrap(),
            }
            bastion.policies = crate::policies::load(&bastion.config.policy_dir).unwrap();
            let said = bastion.ask(cut);
            let (host, peer) = (Bastion::gateway(), Bastion::place().peer());
            let lock = Order::Lock { host, peer, reason: reason.to_owned() };
            assert!(said.orders.contains(&lock), "{cut}: {:?}", said.orders);
            let kept_locked = bastion.store.record(&Bastion::place()).unwrap().unwrap().kept_locked;
            assert_eq!(kept_locked.is_some(), cut == "device remove justins-laptop");
            let said = bastion.ask(back);
            assert_eq!(said.exit, Some(0));
            assert_eq!(
                said.err,
                "wgmfa-bastion: app-gw/devices:justins-laptop stays locked, no policy opens it: wgmfa-bastion key set \
                 app-gw/devices:justins-laptop --reason TEXT < KEY puts a key there\n"
            );
        }
    }
}

#[test]
fn a_removed_person_is_hung_up_on() {
    let bastion = Bastion::with_a_connection();
    let said = bastion.ask("user remove justin");
    assert!(said.orders.contains(&Order::HangUpUser("justin".parse().unwrap())), "{:?}", said.orders);
    let said = bastion.ask("host disable app-gw");
    assert!(said.orders.contains(&Order::HangUpHost(Bastion::gateway())), "{:?}", said.orders);
}

#[test]
fn secrets_are_shown_once() {
    let bastion = Bastion::new();
    let said = bastion.good_with("user add ann --password-stdin --json", "hunter22\n");
    assert!(said.contains("otpauth://totp/"), "{said}");
    assert!(!bastion.good("user show ann --json").contains("otpauth"));
    assert!(!bastion.good("log --json").contains("hunter22"));
    let again = bastion.good_with("user reset ann --password-stdin --json", "hunter33\n");
    let secret = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["otpauth_url"].clone();
    assert_ne!(secret(&said), secret(&again));
}

#[test]
fn a_reload_is_all_or_nothing() {
    let bastion = Bastion::with_a_connection();
    let words = |line: &str| AdminRequest {
        version: 1,
        words: line.split(' ').map(str::to_owned).collect(),
        stdin: None,
        terminal: false,
        colour: false,
    };
    let file = bastion.folder.path().join("policy.d/050-all.toml");
    std::fs::write(&file, POLICY.replace("Prod", "All").replace("1h", "1x")).unwrap();
    let outcome = run(&words("reload"), &mut bastion.context());
    assert_eq!(outcome.reply.exit, Some(2));
    assert!(outcome.policies.is_none());
    assert!(outcome.reply.stderr.contains("050-all.toml:2:21: "), "{}", outcome.reply.stderr);
    assert!(outcome.reply.stderr.ends_with("hint: the policies in force stay as they are\n"));

    std::fs::write(&file, POLICY.replace("Prod", "All").replace("1h", "10m")).unwrap();
    let outcome = run(&words("reload --dry-run"), &mut bastion.context());
    assert!(outcome.reply.stdout.expose().starts_with("1 connection changes policy\n"));
    assert!(outcome.policies.is_none());
    let outcome = run(&words("reload"), &mut bastion.context());
    assert_eq!(outcome.policies.unwrap().policies().len(), 2);
}

#[test]
fn the_log_follows() {
    let bastion = Bastion::new();
    let words = ["log", "--follow", "--json"].map(str::to_owned).to_vec();
    let request = AdminRequest { version: 1, words, stdin: None, terminal: false, colour: false };
    let outcome = run(&request, &mut bastion.context());
    assert_eq!(outcome.reply.exit, None);
    let mut follow = outcome.stream.unwrap();
    assert_eq!(follow.next(&mut bastion.context()).stdout.expose(), "");
    bastion
        .store
        .note(bastion.now.get(), crate::store::Note::new(crate::store::Event::Noted).actor(Actor::ROOT))
        .unwrap();
    let more = follow.next(&mut bastion.context());
    let line: serde_json::Value = serde_json::from_str(more.stdout.expose()).unwrap();
    assert_eq!((&line["event"], &line["actor"]), (&"noted".into(), &"root".into()));
    assert_eq!(follow.next(&mut bastion.context()).stdout.expose(), "");
}

#[test]
fn the_time_is_set_back_only_where_it_is_ahead() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.release(1);
    assert_eq!(bastion.good("clock reset --reason x"), "unchanged\n");
    assert_eq!(bastion.ask("clock reset --reason x --json").json()["changed"], false);
    assert!(bastion.good("key list").contains("Match Pending"), "the session goes on");
    bastion.pass(-3600);
    let said = bastion.good("clock reset --reason wrong");
    assert!(said.starts_with("the bastion's time was 3600 s ahead"), "{said}");
    assert!(!bastion.good("key list").contains("Match Pending"));
}

#[test]
fn who_has_enrolled_is_told_how_to_be_invited_again() {
    let bastion = Bastion::new();
    bastion.good_with("user add ann --password-stdin", "hunter22\n");
    let said = bastion.ask("user add ann --invite");
    assert_eq!((said.exit, said.out.as_str()), (Some(0), "unchanged\n"));
    assert_eq!(said.err, "wgmfa-bastion: ann needs no invitation any more; user reset ann gives a new one\n");
}

/// A second host, justin's own, whose interface has the key of his laptop.
fn pi_has_the_laptops_key(bastion: &Bastion) {
    const PI: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVrMhJp+u6ut7EBRfoRs2pEW0u9cGbDL6MxQ+yMBDqR";
    bastion.good_with("host add pi --owner justin --key -", PI);
    let json = format!(
        r#"{{"name": "wg0", "public_key": "{}", "peers":
            [{{"public_key": "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA="}}]}}"#,
        laptop()
    );
    let interfaces: [Interface; 1] = [serde_json::from_str(&json).unwrap()];
    let report = Report { interfaces: &interfaces, handshake_ages: &[], next_in_seconds: None, stood_down: false };
    assert_eq!(bastion.store.report(bastion.now.get(), &"pi".parse().unwrap(), &report).unwrap().refused, []);
}

#[test]
fn a_removed_devices_key_that_is_a_hosts_now_is_agreed_to() {
    let bastion = Bastion::with_a_connection();
    bastion.rotate(1);
    bastion.good("device remove justins-laptop");
    pi_has_the_laptops_key(&bastion);
    let told = "app-gw/devices:pi/wg0: kept locked: device justins-laptop was removed, and its public key is one of pi \
                now\n    wgmfa-bastion host accept pi\n";
    assert_eq!(bastion.good("why pi/wg0"), told);
    let refused = bastion.ask("key rotate pi/wg0 --reason x");
    assert_eq!((refused.exit, refused.orders.len()), (Some(1), 0));
    let kept = "kept locked: device justins-laptop was removed, so no key is made";
    assert!(refused.err.contains(kept), "{}", refused.err);

    let said = bastion.ask("host accept pi");
    assert_eq!((said.exit, said.out.as_str()), (Some(0), "accepted the interface keys of pi\n"));
    let reason = "an administrator agreed to changed interface keys".to_owned();
    assert!(said.orders.contains(&Order::Round { host: Bastion::gateway(), reason }), "{:?}", said.orders);
    assert!(!bastion.good("why pi/wg0").contains("kept locked"));
    assert_eq!(bastion.good("host accept pi"), "unchanged\n");
}

/// An agent that comes by, and is here now.
#[derive(Debug)]
struct ComesBy;

impl Agents for ComesBy {
    fn connected(&self, _host: &HostName) -> bool {
        true
    }

    fn resident(&self, _host: &HostName) -> bool {
        false
    }

    fn last_seen(&self, _host: &HostName) -> Option<Timestamp> {
        None
    }

    fn knows_host_key(&self, _host: &HostName, _key: &str) -> bool {
        false
    }

    fn version(&self, _host: &HostName) -> Option<String> {
        None
    }

    fn take_host_keys(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn an_agent_that_comes_by_is_not_taken_for_one_that_stays() {
    let mut bastion = Bastion::with_a_connection();
    let context = Context { agents: &ComesBy, ..bastion.context() };
    assert_eq!(context.inventory().unwrap().hosts[0].agent, None);
    bastion.connected.insert(Bastion::gateway());
    let stays = bastion.context().inventory().unwrap().hosts[0].agent;
    assert_eq!(stays, Some(wgmfa_core::inventory::Rhythm::Resident));
}
