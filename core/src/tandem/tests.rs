use proptest::prelude::*;

use super::*;
use crate::key::PublicKey;

mod model;

fn print(generation: u64) -> Fingerprint {
    format!("{generation:032x}").parse().unwrap()
}

fn key(generation: u64) -> HeldKey {
    HeldKey { generation, fingerprint: Some(print(generation)) }
}

fn at(second: u64) -> Boottime {
    Boottime::from_millis(second * 1000)
}

fn held(end: PairEnd, keys: &[u64], used: u64) -> Held {
    let keys = keys.iter().map(|generation| key(*generation)).collect();
    Held { end, keys, used: Some(used), since: at(1000) }
}

fn said(end: PairEnd, standing: PairStanding, given: Option<u64>) -> PairAssignment {
    let applied = match standing {
        PairStanding::Applied { generation } | PairStanding::Settled { generation, .. } => generation,
        _ => 4,
    };
    PairAssignment {
        peer: PeerRef { interface: "wg0".parse().unwrap(), public_key: PublicKey::from_bytes([1; 32]) },
        connection: "a/wg0:b/wg0".to_owned(),
        policy: PolicyRef { ordinal: 3, description: "Infra".to_owned(), mfa: false },
        rotation_interval: 60,
        end,
        highest_generation: 5,
        applied_generation: applied,
        standing,
        key: given.map(|generation| GivenKey {
            generation,
            preshared_key: PresharedKey::from_bytes([u8::try_from(generation).unwrap(); 32]).unwrap(),
        }),
    }
}

const FRESH: Option<Handshake> = Some(Handshake { age_seconds: 20, changed: true });

/// What an end does whose interface stands as it remembers, in words that are easily compared.
fn does(held: &Held, said: Option<&PairAssignment>, handshake: Option<Handshake>, now: u64) -> Vec<String> {
    let observed = held.used.and_then(|used| held.key(used)?.fingerprint);
    let view = View { now: at(now), held, observed, handshake, said, patience: Patience::default() };
    let word = |action: Action| match action {
        Action::Stage { generation, beside } => format!("stage {generation} beside {}", beside.unwrap_or(0)),
        Action::Make { generation, .. } => format!("make {generation}"),
        Action::Put { generation, .. } => format!("put {generation}"),
        Action::Try { generation, .. } => format!("try {generation}"),
        Action::Confirm { generation } => format!("confirm {generation}"),
        Action::Forget { but } => format!("forget all but {but}"),
        Action::Wait { until: Some(until), .. } => format!("wait until {}", until.as_millis() / 1000),
        Action::Wait { until: None, .. } => "wait".to_owned(),
    };
    plan(&view).into_iter().map(word).collect()
}

#[test]
fn a_generation_goes_its_way_first_here_then_there() {
    use PairEnd::{First, Second};
    use PairStanding::{Applied, Deposited, Missing, Settled, Staged};
    let step =
        |held: &Held, standing: PairStanding, given| does(held, Some(&said(held.end, standing, given)), FRESH, 1100);
    let settled = |generation, age_seconds| Settled { generation, age_seconds };
    let (first, second) = (held(First, &[4], 4), held(Second, &[4], 4));
    assert_eq!(step(&first, settled(4, 59), None), ["wait until 1101"]);
    assert_eq!(step(&second, settled(4, 60), None), ["wait"]);
    assert_eq!(step(&first, settled(4, 60), None), ["make 6"]);
    assert_eq!(step(&first, Missing { reason: "ordered".to_owned() }, None), ["make 6"]);
    assert_eq!(step(&second, Missing { reason: "ordered".to_owned() }, None), ["wait"]);

    let first = held(First, &[4, 5], 4);
    assert_eq!(step(&first, Deposited { generation: 5 }, None), ["wait"]);
    assert_eq!(step(&second, Deposited { generation: 5 }, Some(5)), ["stage 5 beside 4", "wait"]);
    let second = held(Second, &[4, 5], 4);
    assert_eq!(step(&second, Staged { generation: 5 }, None), ["wait"]);
    assert_eq!(step(&first, Staged { generation: 5 }, None), ["put 5", "confirm 5"]);
    let first = held(First, &[4, 5], 5);
    assert_eq!(step(&first, Staged { generation: 5 }, None), ["confirm 5"], "the confirmation was lost");
    assert_eq!(step(&second, Applied { generation: 5 }, None), ["put 5", "confirm 5"]);
    assert_eq!(step(&first, Applied { generation: 5 }, None), Vec::<String>::new());
    let second = held(Second, &[4, 5], 5);
    assert_eq!(step(&second, Applied { generation: 5 }, None), ["confirm 5"], "the confirmation was lost");
    assert_eq!(step(&second, settled(5, 1), None), ["forget all but 5", "wait"]);
    assert_eq!(step(&first, settled(5, 1), None), ["forget all but 5", "wait until 1159"]);
}

#[test]
fn an_end_that_has_lost_its_keys_gets_them_again() {
    use PairEnd::{First, Second};
    for end in [First, Second] {
        let nothing = Held { end, keys: Vec::new(), used: None, since: at(0) };
        let settled = said(end, PairStanding::Settled { generation: 5, age_seconds: 0 }, Some(5));
        let done = does(&nothing, Some(&settled), None, 1100);
        assert_eq!(done[..2], ["stage 5 beside 0", "put 5"], "{end:?}");
        let settled = said(end, PairStanding::Settled { generation: 5, age_seconds: 0 }, None);
        assert_eq!(does(&nothing, Some(&settled), None, 1100), ["wait"], "{end:?}");
    }
    // of a deposit that never came into use nothing is kept: the first end still uses 4
    let second = held(Second, &[4, 5], 5);
    let deposited = said(Second, PairStanding::Deposited { generation: 6 }, Some(6));
    assert_eq!(does(&second, Some(&deposited), None, 1100), ["stage 6 beside 4", "put 4"]);
}

#[test]
fn only_the_second_end_tries_its_two_keys_in_turn_until_a_handshake_proves_one() {
    let stale = |age_seconds| Some(Handshake { age_seconds, changed: false });
    let first = held(PairEnd::First, &[4, 5], 5);
    for handshake in [None, stale(500), FRESH] {
        assert_eq!(does(&first, None, handshake, 2000), ["wait"]);
    }
    let second = held(PairEnd::Second, &[4, 5], 4);
    assert_eq!(does(&second, None, stale(129), 2000), ["wait"], "the next handshake may still come");
    assert_eq!(does(&second, None, stale(130), 2000), ["try 5"]);
    assert_eq!(does(&second, None, None, 2000), ["try 5"], "after a reboot");
    assert_eq!(does(&second, None, None, 1019), ["wait until 1020"]);
    let trying = held(PairEnd::Second, &[4, 5], 5);
    assert_eq!(does(&trying, None, stale(131), 1001), ["wait until 1020"]);
    assert_eq!(does(&trying, None, stale(151), 1020), ["try 4"]);
    let shook = |age_seconds| Some(Handshake { age_seconds, changed: true });
    assert_eq!(does(&trying, None, shook(1), 1005), ["wait"], "it may have been under way with the other key");
    assert_eq!(does(&trying, None, shook(1), 1008), ["forget all but 5"]);
    assert_eq!(does(&second, None, shook(1), 1008), ["wait"], "the next key is not forgotten");
    assert_eq!(does(&held(PairEnd::Second, &[5], 5), None, None, 2000), ["wait"]);
}

#[test]
fn what_another_hand_put_on_the_interface_is_replaced_in_place() {
    for end in [PairEnd::First, PairEnd::Second] {
        let held = held(end, &[4, 5], 4);
        let observed = Some(print(99));
        let view =
            View { now: at(1), held: &held, observed, handshake: None, said: None, patience: Patience::default() };
        assert!(matches!(&plan(&view)[..], [Action::Put { generation: 4, .. }]), "{end:?}");
    }
}
