//! Whether a person's password and code are good, from evidence that the keeper has gathered.
//!
//! The person learns one word for every refusal; the reason is for the log.

use crate::code::Step;

/// What the person is told after any refusal.
pub const REFUSED: &str =
    "login refused: password or code wrong, code already used, or too many tries; wait for the next code";

/// What the keeper found out about one attempt. It gathers all of it each time, so that every refusal takes as long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Whether there is such a person.
    pub known: bool,
    /// Whether an administrator has disabled the person.
    pub disabled: bool,
    /// Why this source may not try now, if it may not.
    pub barred: Option<String>,
    /// Whether an invitation was given that is good: it stands for both answers.
    pub invited: bool,
    /// The password.
    pub password: Answer,
    /// The one-time code.
    pub code: CodeAnswer,
}

/// The first factor: an answer that is right, wrong, or was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Another PAM module's affair, or an SSH key has taken its place.
    NotAsked,
    /// Right.
    Right,
    /// Wrong, or none is set.
    Wrong,
    /// Whatever it is: only a registered SSH key opens here, and none was shown.
    KeyWanted,
}

/// The answer to the prompt for a one-time code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeAnswer {
    /// Another PAM module's affair.
    NotAsked,
    /// A code of this time step, later than any that was accepted.
    Step(Step),
    /// A recovery code that has not been used; its stored hash.
    Recovery([u8; 32]),
    /// The code that was read out on the telephone, unused and in time; its stored hash.
    Telephone([u8; 32]),
    /// Right once, and used.
    Used,
    /// Wrong, or no secret is set.
    Wrong,
}

/// What to do about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// Accept, and use up the code in the same transaction.
    Accept(CodeUse),
    /// Accept for setting password and code secret, and for nothing else. The invitation is used up by that.
    Invite,
    /// Refuse; the reason is for the log only.
    Refuse(String),
}

/// Which code an accepted attempt uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeUse {
    /// This time step, and all before it.
    Step(Step),
    /// This recovery code.
    Recovery([u8; 32]),
    /// This code for the telephone.
    Telephone([u8; 32]),
    /// No code was asked for.
    Nothing,
}

/// Judges one attempt.
pub fn judge(evidence: &Evidence) -> Judgement {
    let refuse = |reason: &str| Judgement::Refuse(reason.to_owned());
    if let Some(reason) = &evidence.barred {
        return refuse(reason);
    }
    if !evidence.known {
        return refuse("no such person");
    }
    if evidence.disabled {
        return refuse("the person is disabled");
    }
    if evidence.invited {
        return Judgement::Invite;
    }
    let used = match evidence.code {
        CodeAnswer::Wrong => Err("code wrong"),
        CodeAnswer::Used => Err("code already used"),
        CodeAnswer::Step(step) => Ok(CodeUse::Step(step)),
        CodeAnswer::Recovery(hash) => Ok(CodeUse::Recovery(hash)),
        CodeAnswer::Telephone(hash) => Ok(CodeUse::Telephone(hash)),
        CodeAnswer::NotAsked => Ok(CodeUse::Nothing),
    };
    match (evidence.password, used) {
        (Answer::KeyWanted, _) => refuse("no registered SSH key was shown"),
        (Answer::Wrong, Ok(_)) => refuse("password wrong"),
        (Answer::Wrong, Err(_)) => refuse("password and code wrong"),
        (_, Err(reason)) => refuse(reason),
        (_, Ok(used)) => Judgement::Accept(used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Evidence {
        Evidence {
            known: true,
            disabled: false,
            barred: None,
            invited: false,
            password: Answer::Right,
            code: CodeAnswer::Recovery([1; 32]),
        }
    }

    #[test]
    fn everything_must_be_right() {
        assert_eq!(judge(&good()), Judgement::Accept(CodeUse::Recovery([1; 32])));
        for bad in [
            Evidence { known: false, ..good() },
            Evidence { known: false, invited: true, ..good() },
            Evidence { disabled: true, invited: true, ..good() },
            Evidence { barred: Some("locked".to_owned()), invited: true, ..good() },
            Evidence { password: Answer::KeyWanted, ..good() },
            Evidence { disabled: true, ..good() },
            Evidence { barred: Some("locked".to_owned()), ..good() },
            Evidence { password: Answer::Wrong, ..good() },
            Evidence { code: CodeAnswer::Wrong, ..good() },
            Evidence { code: CodeAnswer::Used, ..good() },
        ] {
            assert!(matches!(judge(&bad), Judgement::Refuse(_)), "{bad:?}");
        }
    }
}
