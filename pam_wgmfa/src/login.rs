//! The login as safe code: what is asked of whom, in which order.

use std::fmt;

use wgmfa_core::key::SecretText;
use wgmfa_core::login::REFUSED;
use wgmfa_core::message::VERSION;
use wgmfa_core::message::module::{FromModule, ToModule, Verdict};

use crate::keeper::{Keeper, KeeperFault};
use crate::options::{EarlierPassword, Options};

/// The person at the other end of the PAM application.
pub trait Conversation {
    /// Asks; the answer is not shown while it is typed.
    ///
    /// # Errors
    /// [`ConversationFailed`].
    fn ask_hidden(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed>;

    /// Asks; the answer may be shown.
    ///
    /// # Errors
    /// [`ConversationFailed`].
    fn ask_shown(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed>;

    /// Shows a text about a failure.
    fn complain(&mut self, text: &str);

    /// The password that a module above has asked for.
    fn earlier_password(&self) -> Option<SecretText>;

    /// Keeps the password for the modules below.
    fn keep_password(&mut self, password: &SecretText);
}

/// The PAM application does not answer, or the person has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationFailed;

/// Who logs in, as the PAM application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `PAM_USER`.
    pub user: String,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// `PAM_SERVICE`.
    pub service: Option<String>,
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, rhost, .. } = self;
        write!(f, "{user:?} from {}", rhost.as_deref().unwrap_or("this machine"))
    }
}

/// What the hook returns, and why: the reason is for the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// What to return to PAM.
    pub verdict: Verdict,
    /// Why, without any secret.
    pub reason: String,
}

impl Decision {
    fn refuse(reason: &str) -> Self {
        Self { verdict: Verdict::Refuse, reason: reason.to_owned() }
    }

    fn by_keeper(verdict: Verdict) -> Self {
        Self { verdict, reason: "by the keeper, whose log has the reason".to_owned() }
    }
}

impl From<KeeperFault> for Decision {
    fn from(fault: KeeperFault) -> Self {
        Self { verdict: Verdict::Unavailable, reason: fault.to_string() }
    }
}

impl From<ConversationFailed> for Decision {
    fn from(ConversationFailed: ConversationFailed) -> Self {
        Self::refuse("the program that asks the person gave no answer")
    }
}

/// The `authenticate` hook: asks the keeper what to ask, asks all of it, and returns the keeper's verdict.
///
/// The keeper comes first, so that nobody types a password that nobody can check. What it wants asked is always asked
/// whole, whatever the first answer was.
pub fn authenticate(options: &Options, login: &Login, person: &mut impl Conversation) -> Decision {
    attempt(options, login, person).unwrap_or_else(|decision| decision)
}

fn attempt(options: &Options, login: &Login, person: &mut impl Conversation) -> Result<Decision, Decision> {
    let mut keeper = Keeper::connect(&options.socket)?;
    let begin = FromModule::Begin {
        version: VERSION,
        user: login.user.clone(),
        rhost: login.rhost.clone(),
        service: login.service.clone(),
        password: options.password,
        otp: options.otp,
    };
    let questions = match keeper.ask(&begin)? {
        ToModule::Questions { password, code } => (password, code),
        ToModule::Outcome { verdict: Verdict::Accept, .. } => return Err(KeeperFault::Unexpected.into()),
        ToModule::Outcome { verdict, text } => return Ok(close(verdict, text, person)),
    };
    let password = if questions.0 { Some(password(options, person)?) } else { None };
    let code = if questions.1 { Some(person.ask_shown(&options.prompt)?) } else { None };
    match keeper.ask(&FromModule::Answers { password, code })? {
        ToModule::Outcome { verdict, text } => Ok(close(verdict, text, person)),
        ToModule::Questions { .. } => Err(KeeperFault::Unexpected.into()),
    }
}

/// Kept for the modules below as soon as it is known, as pam_get_authtok(3) does: if they were left to ask for it after
/// a refusal only, their prompt would tell a wrong answer from a right one.
fn password(options: &Options, person: &mut impl Conversation) -> Result<SecretText, Decision> {
    let earlier = match options.earlier_password {
        EarlierPassword::Ignore => None,
        EarlierPassword::Try | EarlierPassword::Require => person.earlier_password(),
    };
    if let Some(password) = earlier {
        return Ok(password);
    }
    if options.earlier_password == EarlierPassword::Require {
        person.complain(REFUSED); // as after any refusal: the reason is for the log
        return Err(Decision::refuse("use_first_pass, but no module above has asked for a password"));
    }
    let password = person.ask_hidden("Password: ")?;
    person.keep_password(&password);
    Ok(password)
}

fn close(verdict: Verdict, text: Option<String>, person: &mut impl Conversation) -> Decision {
    if let (Verdict::Refuse | Verdict::Unavailable, Some(text)) = (verdict, text) {
        person.complain(&text);
    }
    Decision::by_keeper(verdict)
}

/// The `account` hook: may this person come in at all?
pub fn account(options: &Options, login: &Login) -> Decision {
    one_question(options, &FromModule::Account { version: VERSION, user: login.user.clone() })
}

/// The `session` hook: tells the keeper that this process's login has passed, or is over.
pub fn session(options: &Options, login: &Login, open: bool) -> Decision {
    let (user, service) = (login.user.clone(), login.service.clone());
    one_question(options, &FromModule::Session { version: VERSION, user, service, open })
}

fn one_question(options: &Options, message: &FromModule) -> Decision {
    match Keeper::connect(&options.socket).and_then(|mut keeper| keeper.ask(message)) {
        Ok(ToModule::Outcome { verdict, .. }) => Decision::by_keeper(verdict),
        Ok(ToModule::Questions { .. }) => KeeperFault::Unexpected.into(),
        Err(fault) => fault.into(),
    }
}

#[cfg(test)]
mod tests;
