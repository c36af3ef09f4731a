//! The keeper and a PAM worker, over a socket pair. One worker serves one login and ends.

use serde::{Deserialize, Serialize};

use crate::key::SecretText;

/// Keeper to worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToWorker {
    /// Run this login through libpam.
    Begin {
        /// PAM service name.
        service: String,
        /// A private PAM folder for `pam_start_confdir(3)`; none: the system's.
        #[serde(default)]
        confdir: Option<String>,
        /// The user name.
        user: String,
        /// `PAM_RHOST`.
        rhost: String,
        /// Paths to cover before libpam is started, when running as root.
        #[serde(default)]
        cover: Vec<String>,
    },
    /// The answers to the last prompts, in order.
    Answers {
        /// One for each prompt that asked for one.
        answers: Vec<SecretText>,
    },
}

/// Worker to keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromWorker {
    /// The conversation of a module. At least one of the prompts is a question: texts wait for the next one, and those
    /// after the last are dropped. The keeper sends `answers` back.
    Prompts {
        /// In the order in which the module gave them; texts without a question are among them.
        prompts: Vec<Prompt>,
    },
    /// libpam has decided.
    Ended {
        /// True only if authenticate and account management both returned `PAM_SUCCESS` and the user name is unchanged.
        success: bool,
        /// For the log: which call, and its return code in words.
        reason: String,
    },
}

/// One message of a PAM conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What to show.
    pub text: String,
    /// What kind of message.
    pub kind: PromptKind,
}

/// The message styles of `pam_conv(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptKind {
    /// A question whose answer is not shown.
    Secret,
    /// A question whose answer is shown.
    Visible,
    /// A text, not a question.
    Info,
    /// A text about a failure, not a question.
    Error,
}
