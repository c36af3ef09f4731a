//! The kinds of refusals that are counted. Reasons are words for people, with names in them; of these only the kind is
//! told to whoever collects metrics.

/// Why a login was refused: a part of the reason, and its kind. The first that fits counts.
pub const LOGIN: &[(&str, &str)] = &[
    ("password and code wrong", "password-and-code-wrong"),
    ("password wrong", "password-wrong"),
    ("code wrong", "code-wrong"),
    ("used", "code-used"),
    ("no such person", "unknown"),
    ("not a person's name", "unknown"),
    ("disabled", "disabled"),
    ("locked from this source", "locked"),
    ("failures in a day", "restricted"),
    ("longer than 60 s", "too-slow"),
];

/// Why a key was not released, likewise.
pub const RELEASE: &[(&str, &str)] = &[
    ("contradict", "conflict"),
    ("no policy", "no-policy"),
    ("sides of this connection change", "host-not-ready"),
    (" refuses: ", "refused-by-host"),
    ("disabled", "cut-off"),
    ("removed", "cut-off"),
    ("next round", "host-not-ready"),
    ("no key ready", "host-not-ready"),
    ("overdue", "host-overdue"),
    ("was last heard", "host-overdue"),
    ("was never heard", "host-overdue"),
];

/// Why a code inside a tunnel was refused, likewise.
pub const CODE: &[(&str, &str)] = &[
    ("code wrong", "code-wrong"),
    ("used", "code-used"),
    ("locked inside this tunnel", "locked"),
    ("no such person", "unknown"),
    ("no such peer", "no-policy"),
    ("no policy asks", "no-policy"),
    ("contradict", "conflict"),
    ("disabled", "cut-off"),
    ("removed", "cut-off"),
    ("cut this connection off", "cut-off"),
];

/// What is none of the kinds of a table.
pub const OTHER: &str = "other";

/// The kind of a reason.
pub fn kind(table: &[(&str, &'static str)], reason: &str) -> &'static str {
    table.iter().find(|(part, _)| reason.contains(part)).map_or(OTHER, |(_, kind)| kind)
}

/// Every kind of a table, each once.
pub fn kinds(table: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut kinds: Vec<_> = table.iter().map(|(_, kind)| *kind).chain([OTHER]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use wgmfa_core::login::{Answer, CodeAnswer, Evidence, Judgement, judge};
    use wgmfa_core::release::{Cover, Decision, Facts, decide};

    use super::*;

    #[test]
    fn every_reason_of_core_to_refuse_a_login_has_a_kind() {
        let right = || Evidence {
            known: true,
            invited: false,
            disabled: false,
            barred: None,
            password: Answer::Right,
            code: CodeAnswer::Recovery([1; 32]),
        };
        let locked = "locked from this source until 2026-11-22T01:00:00Z".to_owned();
        for (evidence, wanted) in [
            (Evidence { known: false, ..right() }, "unknown"),
            (Evidence { disabled: true, ..right() }, "disabled"),
            (Evidence { barred: Some(locked), ..right() }, "locked"),
            (Evidence { password: Answer::Wrong, ..right() }, "password-wrong"),
            (Evidence { code: CodeAnswer::Wrong, ..right() }, "code-wrong"),
            (Evidence { code: CodeAnswer::Used, ..right() }, "code-used"),
            (Evidence { password: Answer::Wrong, code: CodeAnswer::Wrong, ..right() }, "password-and-code-wrong"),
        ] {
            let Judgement::Refuse(reason) = judge(&evidence) else { panic!("{evidence:?}") };
            assert_eq!(kind(LOGIN, &reason), wanted, "{reason}");
        }
        let restricted = wgmfa_core::guessing::Refusal::Restricted.to_string();
        assert_eq!(kind(LOGIN, &restricted), "restricted", "{restricted}");
        assert_eq!(kind(LOGIN, "justin's PAM stack has a hole"), OTHER);
    }

    #[test]
    fn every_reason_of_core_not_to_release_has_a_kind() {
        let facts = |cover, cut_off: Option<&str>| Facts {
            cover,
            cut_off: cut_off.map(str::to_owned),
            newest: Some(wgmfa_core::release::Newest { generation: 1, phase: wgmfa_core::release::Phase::Expired }),
            unheard: Some(0),
            hears: wgmfa_core::release::Hears::Asked,
            next_round: "next round of db-gw expected by 14:56".to_owned(),
        };
        let policy = wgmfa_core::message::sync::PolicyRef { ordinal: 1, description: "D".to_owned(), mfa: true };
        let mfa = || Cover::Mfa { policy: policy.clone(), rotation_interval: 60 };
        for (facts, wanted) in [
            (facts(Cover::NotReleased, None), "no-policy"),
            (facts(Cover::SessionAtOtherEnd { until: "15:55".to_owned() }, None), "host-not-ready"),
            (facts(Cover::Conflict("two servers".to_owned()), None), "conflict"),
            (facts(mfa(), Some("justins-laptop is disabled")), "cut-off"),
            (facts(mfa(), None), "host-not-ready"),
        ] {
            let Decision::Refuse(reason) = decide(&facts, jiff::Timestamp::UNIX_EPOCH) else { panic!("{facts:?}") };
            assert_eq!(kind(RELEASE, &reason), wanted, "{reason}");
        }
    }
}
