use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The two records of one person and one source, and what happens to them.
#[derive(Default, Clone)]
struct Login {
    pair: PairRecord,
    person: PersonRecord,
}

impl Login {
    /// A wrong answer; whether it was looked at.
    fn guess(&mut self, second: i64) -> bool {
        match attempt(&self.pair, &self.person, false, at(second)) {
            Attempt::Judge { pair, person } => {
                (self.pair, self.person) = (pair, person);
                true
            }
            Attempt::Refuse(_) => false,
        }
    }

    /// A right answer; whether it was looked at.
    fn answer(&mut self, second: i64, recovery: bool) -> bool {
        match attempt(&self.pair, &self.person, recovery, at(second)) {
            Attempt::Judge { pair, person } => {
                (self.pair, self.person) = success(&pair, &person, at(second));
                true
            }
            Attempt::Refuse(_) => false,
        }
    }
}

#[test]
fn five_failures_in_a_row_lock_for_thirty_seconds() {
    let mut login = Login::default();
    for _ in 0..4 {
        assert!(login.guess(0));
        assert_eq!(login.pair.lock_at(at(0)), None);
    }
    assert!(login.guess(0));
    assert_eq!(login.pair.lock_at(at(0)), Some(at(30)));
    assert!(!login.answer(29, false), "the right answers, too");
    assert!(login.answer(30, false));
    assert_eq!(login.pair, PairRecord { last_success: Some(at(30)), ..PairRecord::default() });
}

#[test]
fn four_failures_and_a_success_lock_nothing() {
    let mut login = Login::default();
    for second in 0..100 {
        if second % 5 == 4 { assert!(login.answer(second, false)) } else { assert!(login.guess(second)) }
    }
    assert_eq!(login.pair.locks, 0);
}

#[test]
fn each_lock_is_twice_as_long_up_to_an_hour() {
    let lengths: Vec<i64> = (0..10).map(|locks| lock_length(locks).as_secs()).collect();
    assert_eq!(lengths, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    assert_eq!(lock_length(u32::MAX), LONGEST_LOCK);
}

#[test]
fn a_hundred_failures_from_many_sources_leave_known_sources_and_recovery_codes() {
    let mut known = Login::default();
    assert!(known.answer(0, false));
    let mut person = known.person.clone();
    for second in 1..=100 {
        let mut stranger = Login { person, ..Login::default() };
        assert!(stranger.guess(second), "{second}");
        person = stranger.person;
    }
    let mut stranger = Login { person: person.clone(), ..Login::default() };
    assert_eq!(attempt(&stranger.pair, &person, false, at(101)), Attempt::Refuse(Refusal::Restricted));
    assert!(stranger.clone().answer(101, true), "a recovery code");
    known.person = person.clone();
    assert!(known.answer(101, false));
    assert!(known.person.restricted(), "a success within the day does not buy another hundred tries");
    stranger.person = known.person.clone();
    assert!(!stranger.guess(102));
    // after the day a success resets
    let next_day = 100 + DAY.as_secs();
    assert!(!stranger.guess(next_day), "time alone does not");
    assert!(known.answer(next_day, false));
    stranger.person = known.person.clone();
    assert!(!stranger.person.restricted());
    assert!(stranger.guess(next_day));
}

#[test]
fn logins_that_succeed_are_no_failures() {
    let mut login = Login::default();
    assert!((0..1000).all(|second| login.answer(second, false)));
    assert_eq!(login.person.failures, 0);
}

#[test]
fn a_quiet_day_begins_a_new_count() {
    let mut login = Login::default();
    assert!(login.guess(0) && login.guess(1));
    assert!(login.guess(DAY.as_secs()));
    assert_eq!(login.person, PersonRecord { day_began: Some(at(DAY.as_secs())), failures: 1 });
}

#[test]
fn a_source_is_known_for_thirty_days() {
    let mut login = Login::default();
    assert!(login.answer(0, false));
    login.person = PersonRecord { day_began: Some(at(0)), failures: 100 };
    assert!(login.clone().answer(KNOWN_FOR.as_secs() - 1, false));
    assert!(!login.answer(KNOWN_FOR.as_secs(), false));
}

#[test]
fn an_administrator_unlocks_and_the_source_stays_known() {
    let pair = PairRecord { failures: 3, locks: 7, locked_until: Some(at(500)), last_success: Some(at(1)) };
    assert_eq!(pair.unlocked(), PairRecord { last_success: Some(at(1)), ..PairRecord::default() });
}

#[test]
fn refusals_say_why_for_the_log() {
    let until = at(0);
    assert_eq!(Refusal::Locked { until }.to_string(), "locked from this source until 2027-01-15T08:00:00Z");
    assert_eq!(
        Refusal::Restricted.to_string(),
        "100 failures in a day: only recovery codes, and sources with a success in the last 30 days, are let through"
    );
}

/// Records as a broken or hostile past may have left them.
fn any_pair() -> impl Strategy<Value = PairRecord> {
    let time = || proptest::option::of((-100_000i64..100_000).prop_map(at));
    (any::<u32>(), any::<u32>(), time(), time()).prop_map(|(failures, locks, locked_until, last_success)| PairRecord {
        failures,
        locks,
        locked_until,
        last_success,
    })
}

proptest! {
    #[test]
    fn no_sequence_of_guesses_gets_more_than_forty_tries_in_an_hour(
        pauses in proptest::collection::vec(0i64..120, 1..400),
    ) {
        let (mut login, mut second, mut tries) = (Login::default(), 0, Vec::new());
        for pause in pauses {
            second += pause;
            if login.guess(second) {
                tries.push(second);
            }
        }
        // 5 before each of the locks of 30 s to 1920 s, which end after 3810 s
        for (n, first) in tries.iter().enumerate() {
            let in_the_hour = tries[n..].iter().take_while(|t| **t < first + 3600).count();
            prop_assert!(in_the_hour <= 40, "{in_the_hour}");
        }
    }

    #[test]
    fn in_the_long_run_it_is_five_tries_an_hour(pauses in proptest::collection::vec(0i64..3700, 1..400)) {
        let mut login = Login { pair: PairRecord { locks: 7, ..PairRecord::default() }, ..Login::default() };
        let (mut second, mut tries) = (0, 0);
        for pause in pauses {
            second += pause;
            login.person = PersonRecord::default();
            tries += i64::from(login.guess(second));
        }
        prop_assert!(tries <= 5 * (second / 3600 + 1));
    }

    #[test]
    fn a_locked_attempt_is_refused_whatever_it_is_and_so_changes_no_record(
        pair in any_pair(), failures: u32, recovery: bool, second in -100_000i64..100_000,
    ) {
        let person = PersonRecord { failures, day_began: None };
        let verdict = attempt(&pair, &person, recovery, at(second));
        match pair.lock_at(at(second)) {
            Some(until) => prop_assert_eq!(verdict, Attempt::Refuse(Refusal::Locked { until })),
            None => {
                let locked = matches!(verdict, Attempt::Refuse(Refusal::Locked { .. }));
                prop_assert!(!locked);
            }
        }
    }

    #[test]
    fn every_judged_attempt_costs_a_failure_or_a_lock(pair in any_pair(), second in -100_000i64..100_000) {
        if let Attempt::Judge { pair: charged, person } = attempt(&pair, &PersonRecord::default(), false, at(second)) {
            prop_assert_eq!(person.failures, 1);
            if charged.failures > pair.failures {
                prop_assert!(charged.failures < FAILURES_TO_LOCK);
            } else {
                let until = charged.lock_at(at(second)).unwrap();
                prop_assert!(until >= at(second + 30) && until <= at(second + 3600));
                prop_assert!(charged.locks > pair.locks || pair.locks == u32::MAX);
            }
        }
    }

    #[test]
    fn a_success_resets_the_pair(pair in any_pair(), second in -100_000i64..100_000) {
        let (after, person) = success(&pair, &PersonRecord::default(), at(second));
        prop_assert_eq!((after.failures, after.locks, after.locked_until), (0, 0, None));
        prop_assert!(after.known(at(second)));
        prop_assert_eq!(person, PersonRecord::default());
    }

    #[test]
    fn a_lock_never_gets_shorter_and_never_longer_than_an_hour(locks: u32) {
        prop_assert!(lock_length(locks) <= lock_length(locks.saturating_add(1)));
        prop_assert!((SHORTEST_LOCK..=LONGEST_LOCK).contains(&lock_length(locks)));
    }

    #[test]
    fn a_person_has_at_most_a_hundred_tries_a_day_from_sources_without_a_success(
        pauses in proptest::collection::vec(0i64..600, 1..300),
    ) {
        let (mut person, mut second, mut tries) = (PersonRecord::default(), 0, 0);
        for pause in pauses {
            second += pause;
            let mut fresh_source = Login { person, ..Login::default() };
            tries += i64::from(fresh_source.guess(second));
            person = fresh_source.person;
        }
        prop_assert!(tries <= 100 * (second / DAY.as_secs() + 1));
    }
}
