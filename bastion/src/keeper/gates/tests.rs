//! What gateways are told, what codes open, and what a login does, on a real store; agents are played.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use wgmfa_core::code::{CodeSecret, Parameters, RecoveryCode, recovery_hash};
use wgmfa_core::gate::CodeVerdict;
use wgmfa_core::inventory::Interface;
use wgmfa_core::key::{PublicKey, SecretText};
use wgmfa_core::message::agent::{LocalEvent, PeerRef, PeerTier, TierWish};
use wgmfa_core::message::sync::ClientHello;

use crate::keeper::agent::{Ask, Link};
use crate::keeper::attempt::Passed;
use crate::keeper::release::Wish;
use crate::keeper::rounds::{Assigned, Made};
use crate::keeper::*;
use crate::store::{Acceptance, CodeRule, Login, LoginId, NewPerson, Password, Place, Report, SealingKey, WantedTier};

const FIREWALL: &str = "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]\n\
                        enforce = [\"firewall\"]\ntier = \"prod\"\n";

const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Every recovery code of the person, as they write it.
const RECOVERY: [[u8; 10]; 3] = [[1; 10], [2; 10], [3; 10]];

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn host() -> HostName {
    "app-gw".parse().unwrap()
}

fn user() -> UserName {
    "justin".parse().unwrap()
}

fn peer(byte: u8) -> PeerRef {
    PeerRef { interface: "devices".parse().unwrap(), public_key: key(byte) }
}

fn wish(tier: &str, lifetime: Option<u64>) -> TierWish {
    TierWish { tier: tier.parse().unwrap(), lifetime }
}

fn recovery(number: usize) -> SecretText {
    SecretText::new(RecoveryCode::from_random(RECOVERY[number]).expose_text().to_string())
}

/// A gateway with the laptop (2) and a stranger (3) as peers, and justin, who owns the laptop.
struct Scene {
    _folder: tempfile::TempDir,
    keeper: Rc<Keeper>,
}

fn scene(policies: &[&str]) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::parse(std::path::Path::new("/e/bastion.toml"), "").unwrap();
    config.state_dir = folder.path().join("state");
    let store = Store::open(&config.state_dir, SealingKey::from_bytes([3; 32])).unwrap();
    let file = |(at, text): (usize, &&str)| (format!("{}-a.toml", at + 101), (*text).to_owned());
    let set = PolicySet::parse(&policies.iter().enumerate().map(file).collect::<Vec<_>>()).unwrap();
    let (sender, _) = mpsc::unbounded_channel();
    let keeper = Rc::new(Keeper::new(config, store, Policies { set, since: Timestamp::now() }, sender));
    let hashes = RECOVERY.map(|bytes| recovery_hash(&user(), &RecoveryCode::from_random(bytes)));
    let person = NewPerson {
        name: user(),
        admin: false,
        password: Password::System,
        code: Some((CodeSecret::from_random([9; 20]), Parameters::default())),
        recovery: hashes.to_vec(),
        invitation: None,
    };
    let (store, now) = (&keeper.store, keeper.now());
    store.add_person(now, Actor::ROOT, &person).unwrap();
    store.add_device(now, Actor::ROOT, &"justins-laptop".parse().unwrap(), &user(), &key(2)).unwrap();
    store.add_host(now, Actor::ROOT, &host(), SSH_KEY, None).unwrap();
    let scene = Scene { _folder: folder, keeper };
    scene.round(&[], &[]);
    scene
}

impl Scene {
    /// The gateway reports, also what its gate has open.
    fn round(&self, open: &[&str], events: &[LocalEvent]) -> Assigned {
        let peers = [2, 3].map(|byte| serde_json::json!({ "public_key": key(byte) }));
        let devices = serde_json::json!({ "name": "devices", "public_key": key(1), "peers": peers });
        let interfaces: [Interface; 1] = [serde_json::from_value(devices).unwrap()];
        let report =
            Report { interfaces: &interfaces, handshake_ages: &[], next_in_seconds: Some(60), stood_down: false };
        let open: Vec<_> = open.iter().map(|tier| PeerTier { peer: peer(2), tier: tier.parse().unwrap() }).collect();
        let made = Made { highest: &[], holds: &[], open: &open };
        self.keeper.take_report(&host(), &report, events, made).unwrap()
    }

    fn check(&self, tiers: &[TierWish], code: &SecretText) -> CodeVerdict {
        self.keeper.check_code(&host(), &peer(2), tiers, code)
    }

    fn states(&self) -> Vec<(String, bool)> {
        let grants = self.keeper.store.grants().unwrap().into_iter();
        grants.map(|grant| (grant.tier.to_string(), grant.confirmed)).collect()
    }

    fn last_reason(&self, event: Event) -> String {
        let filter = crate::store::Filter { event: Some(event), limit: Some(1), ..Default::default() };
        self.keeper.store.log(&filter).unwrap().pop().and_then(|line| line.reason).unwrap_or_default()
    }

    /// Plays a resident agent that answers every order to open a tier; gives the orders that it got.
    fn agent(&self, answer: Option<Result<(), String>>) -> Rc<RefCell<Vec<(String, u64)>>> {
        let (asks, mut orders) = mpsc::unbounded_channel();
        self.keeper.links.borrow_mut().insert(host(), Link { conversation: 1, resident: true, asks });
        let heard = Rc::new(RefCell::new(Vec::new()));
        let (told, kept) = (heard.clone(), RefCell::new(Vec::new()));
        tokio::task::spawn_local(async move {
            while let Some(order) = orders.recv().await {
                if let Ask::Grant(which, seconds, back) = order {
                    told.borrow_mut().push((which.tier.to_string(), seconds));
                    match &answer {
                        Some(answer) => drop(back.send(answer.clone())),
                        None => kept.borrow_mut().push(back),
                    }
                }
            }
        });
        heard
    }

    async fn release(&self) -> wgmfa_core::message::sync::Release {
        let now = self.keeper.now();
        let source = "192.0.2.7".parse().unwrap();
        let login = Login { id: LoginId::random(), user: user(), from: "192.0.2.7".to_owned(), source };
        let accepted = self.keeper.store.record_login(now, &login, CodeRule::Foreign).unwrap();
        assert_eq!(accepted, Acceptance::Accept);
        let wish = Wish { device: None, connections: Vec::new(), hello: ClientHello::default(), push: false };
        self.keeper.release(&Passed { login, at: tokio::time::Instant::now() }, &wish).await.unwrap()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_gateway_is_told_whom_it_holds_back_and_what_is_granted() {
    let scene = scene(&[FIREWALL]);
    let Assigned { gates, assignments, .. } = scene.round(&[], &[]);
    assert!(assignments.is_empty(), "no key is to be changed: {assignments:?}");
    let gate = &gates.gates[0];
    assert_eq!((gates.gates.len(), &gate.peer, gate.other.as_str()), (1, &peer(2), "justins-laptop"));
    assert_eq!((gate.tier.as_str(), gate.rotation_interval, gate.with_key), ("prod", 3600, false));
    assert!(gate.grants.is_empty() && gate.cut_off.is_none());
    assert!(gates.free.is_empty(), "the stranger reaches nothing");
    assert_eq!(gates.gated.into_iter().map(|name| name.to_string()).collect::<Vec<_>>(), ["devices"]);

    let verdict = scene.check(&[wish("prod", None), wish("admin", Some(600))], &recovery(0));
    assert!(matches!(verdict, CodeVerdict::Accept { .. }), "{verdict:?}");
    let gate = scene.round(&[], &[]).gates.gates.remove(0);
    let left: Vec<_> = gate.grants.iter().map(|left| (left.tier.as_str(), left.seconds_left)).collect();
    assert!(matches!(left[..], [("admin", 590..=600), ("prod", 3590..=3600)]), "{left:?}");

    let _ = scene.keeper.store.set_person_disabled(scene.keeper.now(), Actor::ROOT, &user(), true).unwrap();
    let gate = scene.round(&[], &[]).gates.gates.remove(0);
    assert!(gate.cut_off.is_some() && gate.grants.is_empty(), "{gate:?}");
}

#[test]
fn peers_of_other_policies_pass_freely_on_a_gated_interface_and_elsewhere_nothing_is_said() {
    let unmonitored = "description = \"Keys\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"app-gw/devices\"]\n\
                       unmonitored = true\n";
    let gates = scene(&[FIREWALL, unmonitored]).round(&[], &[]).gates;
    assert_eq!((gates.gates.len(), gates.free), (1, vec![peer(3)]), "the stranger is under the other policy");
    let gates = scene(&[unmonitored]).round(&[], &[]).gates;
    assert!(gates.gates.is_empty() && gates.free.is_empty() && gates.gated.is_empty());
}

#[test]
fn with_a_key_too_the_policys_tier_is_none_of_the_grants() {
    let both = FIREWALL.replace("[\"firewall\"]", "[\"firewall\", \"preshared-key\"]");
    let scene = scene(&[&both]);
    let Assigned { gates, assignments, .. } = scene.round(&[], &[]);
    assert_eq!((assignments.len(), gates.gates[0].with_key), (1, true));
    let verdict = scene.check(&[wish("prod", None)], &recovery(0));
    assert!(matches!(&verdict, CodeVerdict::Refuse { reason } if reason.contains("with the key")), "{verdict:?}");
    let verdict = scene.check(&[wish("prod", None), wish("admin", Some(600))], &recovery(0));
    let CodeVerdict::Accept { grants } = verdict else { panic!("{verdict:?}") };
    assert_eq!(grants.iter().map(|left| (left.tier.as_str(), left.seconds_left)).collect::<Vec<_>>(), [("admin", 600)]);
}

#[test]
fn a_code_is_judged_once_and_five_wrong_ones_bring_a_pause() {
    let scene = scene(&[FIREWALL]);
    let prod = [wish("prod", None)];
    assert!(matches!(scene.check(&prod, &recovery(0)), CodeVerdict::Accept { .. }));
    assert_eq!(scene.check(&prod, &recovery(0)), CodeVerdict::Wrong { tries_left: 4 });
    assert_eq!(scene.last_reason(Event::CodeRefused), "code wrong");
    let wrong = || scene.check(&prod, &SecretText::new("000000x".to_owned()));
    for tries_left in (1..=3).rev() {
        assert_eq!(wrong(), CodeVerdict::Wrong { tries_left });
    }
    assert_eq!(wrong(), CodeVerdict::Locked { seconds: 30 });
    assert!(matches!(scene.check(&prod, &recovery(1)), CodeVerdict::Locked { seconds: 1..=30 }), "also a good one");
    assert!(scene.last_reason(Event::CodeRefused).starts_with("locked inside this tunnel until "));
    scene.keeper.store.unlock_person(scene.keeper.now(), Actor::ROOT, &user()).unwrap();
    assert!(matches!(scene.check(&prod, &recovery(1)), CodeVerdict::Accept { .. }), "it was not used up by that");
}

#[test]
fn a_gateway_may_not_ask_about_other_peers_and_learns_no_more_than_that() {
    let scene = scene(&[FIREWALL]);
    let prod = [wish("prod", None)];
    let of = |byte| scene.keeper.check_code(&host(), &peer(byte), &prod, &recovery(0));
    for unknown in [3, 77] {
        assert!(matches!(of(unknown), CodeVerdict::Refuse { .. }), "{unknown}");
    }
    let elsewhere: HostName = "db-gw".parse().unwrap();
    let verdict = scene.keeper.check_code(&elsewhere, &peer(2), &prod, &recovery(0));
    assert!(matches!(verdict, CodeVerdict::Refuse { .. }), "{verdict:?}");
    let device = "justins-laptop".parse().unwrap();
    let _ = scene.keeper.store.set_device_disabled(scene.keeper.now(), Actor::ROOT, &device, true).unwrap();
    let verdict = of(2);
    assert!(matches!(&verdict, CodeVerdict::Refuse { reason } if reason.contains("cut this connection off")));
    assert_eq!(scene.last_reason(Event::CodeRefused), "justins-laptop is disabled");
    assert!(scene.states().is_empty());
}

#[test]
fn a_login_opens_the_tier_and_the_gateway_confirms() {
    run(async {
        let scene = scene(&[FIREWALL]);
        let heard = scene.agent(Some(Ok(())));
        let release = scene.release().await;
        assert!(release.keys.is_empty() && release.refused.is_empty(), "{release:?}");
        let tier = &release.grants[0];
        assert_eq!((tier.tier.as_str(), tier.state.as_str(), tier.seconds_left), ("prod", "OK", 3600));
        assert_eq!((tier.public_key, tier.peer_public_key, &tier.waits), (key(2), key(1), &None));
        assert_eq!(
            (heard.borrow().as_slice(), scene.states()),
            (&[("prod".to_owned(), 3600)][..], vec![("prod".to_owned(), true)])
        );
        let said = answer::tsv(&scene.keeper, &release);
        assert_eq!((said.stdout.expose(), said.exit.code()), ("", 0));
        assert!(said.stderr.starts_with("app-gw/devices: OK, 60 min left (until "), "{}", said.stderr);
        assert!(said.stderr.ends_with("), policy 101 Prod, tier prod\n"), "{}", said.stderr);
    });
}

#[test]
fn a_gateway_that_says_no_has_its_grant_ended_again() {
    run(async {
        let scene = scene(&[FIREWALL]);
        scene.agent(Some(Err("a flowtable goes past the gate".to_owned())));
        let release = scene.release().await;
        assert_eq!(release.refused[0].reason, "app-gw refuses: a flowtable goes past the gate");
        assert!(release.grants.is_empty() && scene.states().is_empty());
        assert_eq!(scene.last_reason(Event::Revoked), "tier prod: app-gw refuses: a flowtable goes past the gate");
    });
}

#[test]
fn a_gateway_that_is_not_there_opens_at_its_next_round() {
    run(async {
        let scene = scene(&[FIREWALL]);
        let release = scene.release().await;
        let tier = &release.grants[0];
        assert_eq!(tier.state, "Pending");
        let waits = tier.waits.clone().unwrap();
        assert!(waits.starts_with("opens at the next round of app-gw, expected by "), "{waits}");
        let said = answer::tsv(&scene.keeper, &release);
        assert!(said.stderr.contains("tier prod; opens at the next round of app-gw"), "{}", said.stderr);
        assert_eq!(said.exit.code(), 0);
        assert_eq!(scene.states(), [("prod".to_owned(), false)]);
        let told = scene.round(&[], &[]);
        assert_eq!(told.gates.gates[0].grants.len(), 1);
        assert_eq!(scene.states(), [("prod".to_owned(), false)], "it was told, and has not said that it is open");
        scene.round(&["prod"], &[]);
        assert_eq!(scene.states(), [("prod".to_owned(), true)]);
    });
}

#[test]
fn what_a_gate_says_of_itself_is_taken_over() {
    let scene = scene(&[FIREWALL]);
    let (store, place) = (&scene.keeper.store, Place::new(&host(), &peer(2)));
    let until = scene.keeper.now() + SignedDuration::from_secs(60);
    let wanted = WantedTier { place, tier: "prod".parse().unwrap(), until };
    store.grant_by_override(scene.keeper.now(), Actor::ROOT, &wanted, "a trial").unwrap();
    assert_eq!(scene.states(), [("prod".to_owned(), false)]);
    scene.round(&["prod"], &[]);
    assert_eq!(scene.states(), [("prod".to_owned(), true)]);
    let closed = LocalEvent {
        event: "closed".to_owned(),
        peer: Some(peer(2)),
        generation: None,
        tier: None,
        reason: "logged out".to_owned(),
        seconds_ago: 0,
    };
    assert!(scene.round(&[], std::slice::from_ref(&closed)).gates.gates[0].grants.is_empty());
    assert!(scene.states().is_empty());
    assert_eq!(scene.last_reason(Event::Revoked), "tier prod: logged out");
    scene.round(
        &[],
        &[LocalEvent { tier: Some("admin".parse().unwrap()), reason: "changed hands".to_owned(), ..closed }],
    );
    assert_eq!(scene.last_reason(Event::Revoked), "tier admin: changed hands", "also what was no grant here");
}
