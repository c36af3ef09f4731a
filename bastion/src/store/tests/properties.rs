//! Whatever happens to a generation in whatever order, some things always hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wgmfa_core::release::Phase;

use super::*;

/// Something that happens at one place.
#[derive(Debug, Clone)]
enum Happening {
    /// A deposit, so far above (or below) the highest number.
    Deposit(i64),
    /// A confirmation of a number so far below the highest.
    Applied(u64),
    /// A release of a number so far below the highest, for so many seconds.
    Release(u64, i64),
    /// So many seconds pass (or the clock is set back), and the deadlines are swept.
    Expire(i64),
    /// An administrator orders a rotation.
    Order,
    /// The device is disabled, or enabled again.
    Disable(bool),
    /// The device is removed and added again.
    Replace,
    /// The keeper is started again.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (-2i64..4).prop_map(Happening::Deposit),
        6 => (0u64..3).prop_map(Happening::Applied),
        6 => (0u64..3, 1i64..100).prop_map(|(below, seconds)| Happening::Release(below, seconds)),
        4 => (-50i64..100).prop_map(Happening::Expire),
        1 => Just(Happening::Order),
        1 => any::<bool>().prop_map(Happening::Disable),
        1 => Just(Happening::Replace),
        1 => Just(Happening::Restart),
    ]
}

/// What must never be undone, by generation.
#[derive(Default)]
struct Known {
    deposited: BTreeMap<u64, PresharedKey>,
    applied: BTreeMap<u64, ()>,
    over: BTreeMap<u64, ()>,
    deadlines: BTreeMap<u64, Timestamp>,
    highest: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn generations_go_up_are_applied_before_they_are_released_and_never_come_back(
        happenings in proptest::collection::vec(happening(), 1..60)
    ) {
        let (folder, mut store) = furnished();
        let mut known = Known::default();
        let (mut second, mut steps, mut keys) = (10i64, 0u64, 0u64);
        for happening in happenings {
            let now = store.now(at(second));
            match happening {
                Happening::Deposit(above) => {
                    let number = known.highest.saturating_add_signed(above);
                    keys += 1;
                    let deposit = Deposit { which: which(number), preshared_key: key(keys) };
                    let stored = store.deposit(now, &host(), &[deposit]).unwrap();
                    if !stored.is_empty() {
                        prop_assert!(number > known.highest);
                        known.deposited.insert(number, key(keys));
                        known.highest = number;
                    }
                }
                Happening::Applied(below) => {
                    let number = known.highest.saturating_sub(below);
                    if !store.applied(now, &host(), &[which(number)]).unwrap().is_empty() {
                        prop_assert_eq!(number, known.applied.keys().copied().max().unwrap_or(0).max(number));
                        prop_assert!(!known.over.contains_key(&number));
                        for older in known.applied.range(..number).map(|(older, ())| *older) {
                            known.over.insert(older, ());
                        }
                        known.applied.insert(number, ());
                    }
                }
                Happening::Release(below, seconds) => {
                    let number = known.highest.saturating_sub(below);
                    let login = login(&user());
                    steps += 1;
                    let step = wgmfa_core::code::Step::from_number(steps);
                    prop_assert_eq!(store.accept_code(now, &login, step).unwrap(), Acceptance::Accept);
                    prop_assert_eq!(store.record_login(now, &login, CodeRule::Required).unwrap(), Acceptance::Accept);
                    let wanted = wanted(number, now + SignedDuration::from_secs(seconds));
                    if let Ok(outcome) = store.release(now, &login, device().as_str(), &[wanted]) {
                        for granted in outcome.granted {
                            prop_assert!(known.applied.contains_key(&number), "applied before released");
                            prop_assert!(!known.over.contains_key(&number), "over is over");
                            prop_assert_eq!(&granted.preshared_key, &known.deposited[&number]);
                            let before = known.deadlines.insert(number, granted.deadline);
                            prop_assert!(before.is_none_or(|before| before > now), "past its deadline");
                            prop_assert!(before <= Some(granted.deadline) && granted.deadline > now);
                        }
                    }
                }
                Happening::Expire(seconds) => {
                    second += seconds;
                    for ended in store.expire(at(second)).unwrap() {
                        known.over.insert(ended.generation, ());
                    }
                }
                Happening::Order => {
                    if store.order_rotation(now, Actor::ROOT, &place(), "why not").is_ok() {
                        known.over.extend(known.applied.clone());
                    }
                }
                Happening::Disable(disabled) => {
                    let _ = store.set_device_disabled(now, Actor::ROOT, &device(), disabled).unwrap();
                    if disabled {
                        known.over.extend(known.deposited.keys().map(|number| (*number, ())));
                    }
                }
                Happening::Replace => {
                    let _ = store.remove_device(now, Actor::ROOT, &device()).unwrap();
                    store.add_device(now, Actor::ROOT, &device(), &user(), &public(LAPTOP)).unwrap();
                    known.over.extend(known.deposited.keys().map(|number| (*number, ())));
                }
                Happening::Restart => {
                    drop(store);
                    store = open_at(&folder.path().join("state"));
                }
            }
            check(&store, &known)?;
        }
        assert_intact(&store);
    }
}

fn check(store: &Store, known: &Known) -> Result<(), TestCaseError> {
    let now = store.now(Timestamp::MIN);
    let Some(record) = store.record(&place()).unwrap() else {
        prop_assert_eq!(known.highest, 0);
        return Ok(());
    };
    prop_assert_eq!(record.highest, known.highest, "the highest number never goes down");
    let live: u32 = store
        .connection
        .query_row("SELECT count(*) FROM generations WHERE phase IN ('applied', 'released')", [], |row| row.get(0))
        .unwrap();
    prop_assert!(live <= 1, "never two that the server side accepts");
    if let Some(Phase::Released { .. }) = record.current.as_ref().map(|current| current.phase) {
        prop_assert!(known.applied.contains_key(&record.current.unwrap().generation));
    }
    for number in known.over.keys() {
        prop_assert!(store.unseal(now, &place(), *number).is_err(), "{} is over", number);
    }
    for (number, key) in &known.deposited {
        if let Ok(unsealed) = store.unseal(now, &place(), *number) {
            prop_assert_eq!(&unsealed, key);
            prop_assert!(known.applied.contains_key(number));
        }
    }
    Ok(())
}
