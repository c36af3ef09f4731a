//! The PAM module and the keeper, over `keeper.sock`. One login is one connection: `begin`, `questions`, `answers`, `outcome`.

use serde::{Deserialize, Serialize};

use crate::key::SecretText;

/// Module to keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromModule {
    /// Somebody wants to log in.
    Begin {
        /// Version of the conversation.
        version: u32,
        /// The user name as the PAM application gave it.
        user: String,
        /// `PAM_RHOST`, where the login comes from.
        #[serde(default)]
        rhost: Option<String>,
        /// `PAM_SERVICE`.
        #[serde(default)]
        service: Option<String>,
        /// The module's options name `password`, or neither question.
        password: bool,
        /// The module's options name `otp`, or neither question.
        otp: bool,
    },
    /// What the person answered; a question that was not asked has no answer.
    Answers {
        /// The answer to `Password: `.
        #[serde(default)]
        password: Option<SecretText>,
        /// The answer to `One-time code: `.
        #[serde(default)]
        code: Option<SecretText>,
    },
    /// The `account` hook: may this person come in at all?
    Account {
        /// Version of the conversation.
        version: u32,
        /// The user name.
        user: String,
    },
    /// The `session` hook: this process's login has passed.
    Session {
        /// Version of the conversation.
        version: u32,
        /// The user name.
        user: String,
        /// `PAM_SERVICE`.
        #[serde(default)]
        service: Option<String>,
        /// True when the session opens, false when it closes.
        open: bool,
    },
}

/// Keeper to module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToModule {
    /// Ask these, always all of them.
    Questions {
        /// Ask for the password.
        password: bool,
        /// Ask for the one-time code.
        code: bool,
    },
    /// The decision.
    Outcome {
        /// What to return to PAM.
        verdict: Verdict,
        /// What to show after a refusal (the one text for all reasons, and whom to call).
        #[serde(default)]
        text: Option<String>,
    },
}

/// What the module returns to PAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[must_use]
pub enum Verdict {
    /// `PAM_SUCCESS`.
    Accept,
    /// `PAM_AUTH_ERR`, for every reason alike.
    Refuse,
    /// `PAM_AUTHINFO_UNAVAIL`: the keeper cannot decide now (its disk is full, it is stopping).
    Unavailable,
}
