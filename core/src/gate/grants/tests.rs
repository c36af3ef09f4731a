use proptest::prelude::*;

use super::*;
use crate::key::PublicKey;

fn at(seconds: u64) -> Boottime {
    Boottime::from_millis(seconds * 1000)
}

fn peer(number: u8) -> PeerRef {
    PeerRef { interface: "devices".parse().unwrap(), public_key: PublicKey::from_bytes([number; 32]) }
}

fn tier(name: &str) -> TierName {
    name.parse().unwrap()
}

fn told(number: u8, grants: &[(&str, u64)]) -> GateAssignment {
    let left = |(name, seconds_left): &(&str, u64)| TierLeft { tier: tier(name), seconds_left: *seconds_left };
    GateAssignment {
        peer: peer(number),
        connection: format!("app-gw/devices:p{number}"),
        other: format!("p{number}"),
        policy: PolicyRef { ordinal: 101, description: "Prod User Devices".to_owned(), mfa: true },
        tier: tier("prod"),
        rotation_interval: 3600,
        idle_timeout: None,
        with_key: false,
        cut_off: None,
        grants: grants.iter().map(left).collect(),
    }
}

fn follow(grants: &mut Grants, told: &[GateAssignment], now: u64) -> Vec<Closing> {
    grants.follow(told, &BTreeSet::new(), at(now), at(now))
}

fn sight(addresses: &[&str], handshake: u64) -> Sight {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Sight { addresses, handshake: Some(handshake) }
}

fn open(grants: &Grants, number: u8, now: u64) -> Vec<(String, u64)> {
    let open = grants.open(&peer(number), None, at(now));
    open.into_iter().map(|(tier, until)| (tier.to_string(), until.as_millis() / 1000)).collect()
}

fn reasons(closings: &[Closing]) -> Vec<&str> {
    closings.iter().map(|closing| closing.reason.as_str()).collect()
}

#[test]
fn what_the_bastion_lists_is_open_and_nothing_else() {
    let mut grants = Grants::default();
    assert!(follow(&mut grants, &[told(1, &[("prod", 60), ("admin", 30)]), told(2, &[])], 0).is_empty());
    assert_eq!(open(&grants, 1, 10), [("admin".to_owned(), 30), ("prod".to_owned(), 60)]);
    assert_eq!(open(&grants, 1, 30), [("prod".to_owned(), 60)], "it has fallen back");
    assert!(open(&grants, 1, 60).is_empty() && open(&grants, 2, 10).is_empty() && open(&grants, 3, 10).is_empty());
    let closings = follow(&mut grants, &[told(1, &[("prod", 50)])], 10);
    assert_eq!(reasons(&closings), ["the bastion has no grant any more"]);
    assert_eq!(closings[0].tiers, BTreeSet::from([tier("admin")]));
    assert_eq!(open(&grants, 1, 10), [("prod".to_owned(), 60)]);
    assert_eq!(reasons(&follow(&mut grants, &[], 10)), ["no policy enforces it by the firewall any more"]);
    assert!(grants.get(&peer(1)).is_none());
}

#[test]
fn a_deadline_that_is_told_again_stays_as_it_is() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[("prod", 60)])], 0);
    for (now, left, until) in [(10, 49, 60), (10, 48, 60), (20, 40, 60), (20, 25, 45), (20, 100, 120)] {
        follow(&mut grants, &[told(1, &[("prod", left)])], now);
        assert_eq!(open(&grants, 1, now), [("prod".to_owned(), until)], "{left} s left at {now}");
    }
    let (asked, now) = (at(100), at(105));
    grants.follow(&[told(1, &[("prod", 60)])], &BTreeSet::new(), asked, now);
    assert_eq!(open(&grants, 1, 105), [("prod".to_owned(), 160)], "what the way took is not added");
}

#[test]
fn what_was_granted_or_closed_while_the_report_was_on_its_way_stays() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[]), told(2, &[("prod", 60)])], 0);
    grants.grant(&peer(1), &tier("prod"), at(60), at(0)).unwrap();
    assert_eq!(grants.close(&peer(2)), BTreeSet::from([tier("prod")]));
    let overtaken = BTreeSet::from([peer(1), peer(2)]);
    grants.follow(&[told(1, &[]), told(2, &[("prod", 60)])], &overtaken, at(0), at(1));
    assert_eq!(open(&grants, 1, 1), [("prod".to_owned(), 60)]);
    assert!(open(&grants, 2, 1).is_empty());
    let mut cut = told(1, &[("prod", 60)]);
    cut.cut_off = Some("device disabled".to_owned());
    let closings = grants.follow(&[cut], &overtaken, at(1), at(1));
    assert_eq!(reasons(&closings), ["device disabled"], "whatever came in between");
    assert!(open(&grants, 1, 1).is_empty());
    assert_eq!(grants.grant(&peer(1), &tier("prod"), at(60), at(1)), Err("cut off: device disabled".to_owned()));
}

#[test]
fn a_renewal_never_shortens_and_a_late_order_opens_nothing() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[])], 0);
    grants.grant(&peer(1), &tier("prod"), at(60), at(0)).unwrap();
    grants.grant(&peer(1), &tier("prod"), at(50), at(0)).unwrap();
    assert_eq!(open(&grants, 1, 0), [("prod".to_owned(), 60)]);
    assert_eq!(grants.grant(&peer(1), &tier("prod"), at(9), at(9)), Err("the order came too late".to_owned()));
    assert!(grants.grant(&peer(2), &tier("prod"), at(60), at(0)).is_err(), "nobody has said that it is held back");
}

#[test]
fn a_peer_that_changes_hands_loses_everything_at_once() {
    for (after, reason) in [
        (None, "changed hands: the peer is gone from the interface"),
        (Some(sight(&["10.7.0.2/32"], 1)), "changed hands: fd00::2/128 is not its address any more"),
        (Some(sight(&["10.7.0.9/32", "fd00::9/128"], 1)), "changed hands: 10.7.0.2/32 is not its address any more"),
    ] {
        let mut grants = Grants::default();
        follow(&mut grants, &[told(1, &[("prod", 60), ("admin", 60)])], 0);
        let before = sight(&["10.7.0.2/32", "fd00::2/128"], 1);
        assert_eq!(grants.look(&peer(1), Some(&before), at(1)), None);
        let more = sight(&["10.7.0.2/32", "fd00::2/128", "10.7.0.3/32"], 1);
        assert_eq!(grants.look(&peer(1), Some(&more), at(2)), None, "one more address takes nothing away");
        assert_eq!(grants.look(&peer(1), Some(&before), at(2)).map(|_| ()), Some(()), "but then it is one of them");
        follow(&mut grants, &[told(1, &[("prod", 60), ("admin", 60)])], 2);
        grants.look(&peer(1), Some(&before), at(3));
        let closing = grants.look(&peer(1), after.as_ref(), at(4)).unwrap();
        assert_eq!(closing.reason, reason);
        assert_eq!(closing.tiers, BTreeSet::from([tier("admin"), tier("prod")]));
        assert!(open(&grants, 1, 4).is_empty());
        assert_eq!(grants.look(&peer(1), after.as_ref(), at(5)), None, "once");
    }
}

#[test]
fn the_same_addresses_in_other_networks_take_nothing_away() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[("prod", 60)])], 0);
    for addresses in [
        &["10.7.0.8/32", "10.7.0.10/31"][..],
        &["10.7.0.8/30"], // another peer had one of them
        &["10.7.0.0/24"], // the network is wider now
        &["10.7.0.0/25", "10.7.0.128/25"],
    ] {
        assert_eq!(grants.look(&peer(1), Some(&sight(addresses, 1)), at(1)), None, "{addresses:?}");
    }
    let closing = grants.look(&peer(1), Some(&sight(&["10.7.0.0/25"], 1)), at(2)).unwrap();
    assert_eq!(closing.reason, "changed hands: 10.7.0.128/25 is not its address any more");
}

#[test]
fn a_grant_without_a_new_handshake_is_over() {
    let mut grants = Grants::default();
    let mut idle = told(1, &[("prod", 9000)]);
    idle.idle_timeout = Some(900);
    follow(&mut grants, &[idle.clone()], 0);
    let before = sight(&["10.7.0.2/32"], 1);
    assert_eq!(grants.look(&peer(1), Some(&before), at(0)), None);
    assert_eq!(grants.look(&peer(1), Some(&before), at(899)), None);
    assert_eq!(grants.look(&peer(1), Some(&sight(&["10.7.0.2/32"], 2)), at(899)), None);
    assert_eq!(grants.next_deadline(at(899)), Some(at(1799)));
    let closing = grants.look(&peer(1), Some(&sight(&["10.7.0.2/32"], 2)), at(1799)).unwrap();
    assert_eq!(closing.reason, "no handshake for 15 min");
    // a grant goes on as it began, a new one is under the new policy
    follow(&mut grants, &[told(1, &[])], 1800);
    grants.grant(&peer(1), &tier("prod"), at(9000), at(1800)).unwrap();
    assert_eq!(grants.look(&peer(1), Some(&before), at(8999)), None);
}

#[test]
fn with_a_key_the_tier_is_open_as_long_as_the_keys_session_runs() {
    let mut grants = Grants::default();
    let mut with_key = told(1, &[("admin", 600)]);
    with_key.with_key = true;
    follow(&mut grants, &[with_key], 0);
    assert!(open(&grants, 1, 0).is_empty(), "nothing passes the tunnel");
    let open = |session: u64| grants.open(&peer(1), Some(at(session)), at(10));
    assert_eq!(open(3600), BTreeMap::from([(tier("prod"), at(3600)), (tier("admin"), at(600))]));
    assert_eq!(open(100), BTreeMap::from([(tier("prod"), at(100)), (tier("admin"), at(100))]));
    assert!(open(10).is_empty());
}

#[test]
fn root_opens_the_policys_tier_for_a_time() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[])], 0);
    grants.open_by_root(&peer(1), at(60));
    follow(&mut grants, &[told(1, &[])], 10);
    assert_eq!(open(&grants, 1, 10), [("prod".to_owned(), 60)], "whatever the bastion says");
    assert_eq!(grants.expire(at(60)), [(peer(1), tier("prod"))]);
    assert!(open(&grants, 1, 60).is_empty());
}

#[test]
fn what_is_written_is_read() {
    let mut grants = Grants::default();
    follow(&mut grants, &[told(1, &[("prod", 60)]), told(2, &[])], 0);
    grants.look(&peer(1), Some(&sight(&["10.7.0.2/32", "fd00::2/128"], 7)), at(1));
    let text = serde_json::to_string(&grants).unwrap();
    assert_eq!(serde_json::from_str::<Grants>(&text).unwrap(), grants);
}

#[derive(Debug, Clone)]
enum Happens {
    Told { listed: Vec<(u8, Option<u64>)>, overtaken: bool },
    Granted { number: u8, seconds: u64 },
    Closed(u8),
    Seen { number: u8, addresses: u8 },
    Reboot,
    Wait(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let listed = proptest::collection::vec((0u8..3, proptest::option::of(1u64..100)), 0..3);
    prop_oneof![
        (listed, any::<bool>()).prop_map(|(listed, overtaken)| Happens::Told { listed, overtaken }),
        (0u8..3, 0u64..100).prop_map(|(number, seconds)| Happens::Granted { number, seconds }),
        (0u8..3).prop_map(Happens::Closed),
        (0u8..3, 0u8..4).prop_map(|(number, addresses)| Happens::Seen { number, addresses }),
        Just(Happens::Reboot),
        (1u64..60).prop_map(Happens::Wait),
    ]
}

proptest! {
    #[test]
    fn nothing_is_open_past_its_deadline_or_without_a_grant(steps in proptest::collection::vec(happens(), 0..40)) {
        let mut grants = Grants::default();
        let mut now = 0;
        // until when each peer may be open at most: the latest deadline that was ever granted, since it last was closed
        let mut most: BTreeMap<u8, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Happens::Told { listed, overtaken } => {
                    let newer = if overtaken { (0..3).map(peer).collect() } else { BTreeSet::new() };
                    let listed: BTreeMap<u8, Option<u64>> = listed.into_iter().collect();
                    let told: Vec<_> = listed.iter().map(|(number, left)| {
                        told(*number, &left.map(|left| ("prod", left)).into_iter().collect::<Vec<_>>())
                    }).collect();
                    grants.follow(&told, &newer, at(now), at(now));
                    for number in 0..3 {
                        match listed.get(&number) {
                            None => _ = most.remove(&number),
                            Some(_) if overtaken => {}
                            Some(None) => _ = most.remove(&number),
                            // rounding may leave three seconds more than was told, of what was granted before
                            Some(Some(left)) => {
                                let known = most.get(&number).copied().unwrap_or(0).min(now + left + 3);
                                most.insert(number, known.max(now + left));
                            }
                        }
                    }
                }
                Happens::Granted { number, seconds } => {
                    if grants.grant(&peer(number), &tier("prod"), at(now + seconds), at(now)).is_ok() {
                        let known = most.entry(number).or_insert(0);
                        *known = (*known).max(now + seconds);
                    }
                }
                Happens::Closed(number) => {
                    grants.close(&peer(number));
                    most.remove(&number);
                }
                Happens::Seen { number, addresses } => {
                    let all = ["10.7.0.1/32", "10.7.0.2/32", "10.7.0.3/32"];
                    let seen = sight(&all[..usize::from(addresses)], 1);
                    let known = grants.get(&peer(number)).map(|gated| gated.addresses.clone()).unwrap_or_default();
                    let lost = !known.is_subset(&seen.addresses);
                    let closing = grants.look(&peer(number), Some(&seen), at(now));
                    prop_assert!(!lost || closing.is_some() || grants.open(&peer(number), None, at(now)).is_empty());
                    if closing.is_some() {
                        most.remove(&number);
                    }
                }
                Happens::Reboot => {
                    grants.rebooted();
                    most.clear();
                }
                Happens::Wait(seconds) => {
                    now += seconds;
                    if now % 2 == 0 {
                        grants.expire(at(now));
                    }
                }
            }
            for number in 0..3 {
                for (_, until) in grants.open(&peer(number), None, at(now)) {
                    prop_assert!(until > at(now));
                    prop_assert!(most.get(&number).is_some_and(|most| until <= at(*most)), "{number} {until:?} {most:?}");
                    prop_assert!(grants.next_deadline(at(now)).is_some_and(|next| next <= until), "somebody looks then");
                }
            }
        }
    }
}

#[test]
fn a_policy_that_gives_another_tier_ends_what_it_does_not_give() {
    let text = "[tier.prod]\nallow = []\n[tier.admin]\nallow = []\nfrom = \"prod\"\n[tier.guests]\nallow = []\n";
    let mut document = crate::document::Document::parse("agent.toml", text).unwrap();
    let tiers = Tiers::read(&mut document);
    let mut grants = Grants::default();
    let mut one = told(1, &[("prod", 60), ("admin", 30)]);
    follow(&mut grants, &[one.clone()], 0);
    assert_eq!(grants.close_foreign(&peer(1), &tiers), None);
    one.tier = tier("admin");
    follow(&mut grants, &[one.clone()], 0);
    assert_eq!(grants.close_foreign(&peer(1), &tiers), None, "it lies below");
    one.tier = tier("guests");
    follow(&mut grants, &[one], 0);
    let closing = grants.close_foreign(&peer(1), &tiers).unwrap();
    assert_eq!((closing.tiers.len(), closing.reason.as_str()), (2, "the policy gives guests now"));
    assert!(open(&grants, 1, 0).is_empty() && grants.close_foreign(&peer(2), &tiers).is_none());
}
