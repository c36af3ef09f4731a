//! What the bastion tells the two ends of a pair: from what it knows, where the newest generation stands.

use jiff::Timestamp;

use super::PairStanding;

/// What the bastion knows about the generations of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// One that the first end has deposited and does not use yet, and whether the second end holds it.
    pub deposited: Option<(u64, bool)>,
    /// The newest one that the first end uses.
    pub in_use: Option<InUse>,
    /// Why a new generation was ordered, if none was made since.
    pub rotation_ordered: Option<String>,
}

/// A generation that the first end uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// Its number.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
    /// The second end has said that it uses it too.
    pub on_both: bool,
}

/// Where the newest generation stands.
///
/// Another one is made only when the newest is on both ends, so that no end ever needs more than two.
pub fn standing(facts: &Facts, now: Timestamp) -> PairStanding {
    match (facts.deposited, facts.in_use) {
        (Some((generation, true)), _) => PairStanding::Staged { generation },
        (Some((generation, false)), _) => PairStanding::Deposited { generation },
        (None, None) => PairStanding::Missing { reason: "there is no key yet".to_owned() },
        (None, Some(InUse { generation, on_both: false, .. })) => PairStanding::Applied { generation },
        (None, Some(InUse { generation, since, on_both: true })) => match &facts.rotation_ordered {
            Some(reason) => PairStanding::Missing { reason: reason.clone() },
            None => {
                let age = now.as_second().saturating_sub(since.as_second());
                PairStanding::Settled { generation, age_seconds: u64::try_from(age).unwrap_or(0) }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn another_generation_is_wanted_only_when_the_newest_is_on_both_ends() {
        let in_use = |on_both| Some(InUse { generation: 4, since: at(0), on_both });
        let ordered = Some("leak".to_owned());
        let stands = |deposited, in_use, rotation_ordered: &Option<String>| {
            standing(&Facts { deposited, in_use, rotation_ordered: rotation_ordered.clone() }, at(9))
        };
        assert!(matches!(stands(None, None, &None), PairStanding::Missing { .. }));
        for order in [&None, &ordered] {
            assert_eq!(stands(Some((5, false)), in_use(true), order), PairStanding::Deposited { generation: 5 });
            assert_eq!(stands(Some((5, true)), in_use(true), order), PairStanding::Staged { generation: 5 });
            assert_eq!(stands(None, in_use(false), order), PairStanding::Applied { generation: 4 });
        }
        assert_eq!(stands(None, in_use(true), &None), PairStanding::Settled { generation: 4, age_seconds: 9 });
        assert_eq!(stands(None, in_use(true), &ordered), PairStanding::Missing { reason: "leak".to_owned() });
    }
}
