//! One attempt to log in: a PAM worker of its own, its conversation relayed to the person, and the keeper's own verdict.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use wgmfa_core::guessing::Source;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{FromFront, Limits, ToFront};
use wgmfa_core::message::worker::{FromWorker, Prompt, PromptKind, ToWorker};
use wgmfa_core::name::UserName;

use super::children::{Worker, start_worker};
use super::conversation::{Conversation, Over, out_of_place};
use super::{Keeper, say};
use crate::store::{Acceptance, CodeRule, Login, LoginId};

/// How long after the person's last answer every refusal comes: longer than hashing a password takes, so that the time
/// tells nothing.
pub const REFUSAL_AFTER: Duration = Duration::from_millis(700);

/// May this login come in?
#[must_use]
pub enum Verdict {
    /// Yes.
    Accept(Passed),
    /// For `wgmfa-enrol` and nothing else.
    Invite(Invited),
    /// No; the reason is in the audit log.
    Refuse,
}

/// A login that has passed.
pub struct Passed {
    /// Who, and by which name the store knows the login.
    pub login: Login,
    /// When, by a clock that nobody can set.
    pub at: Instant,
}

/// Somebody who came in with an invitation. The store knows no such login: it releases nothing.
pub struct Invited {
    /// Who.
    pub login: Login,
    /// The hash of the invitation.
    pub invitation: [u8; 32],
}

/// A login that one of the keeper's own workers carries out.
pub struct Ours {
    /// The login; none: its user name is nobody's.
    pub login: Option<Login>,
    /// An SSH key of this person has taken the password's place.
    pub keyed: bool,
    /// The hash of the invitation that was given, if it is good.
    pub invited: Cell<Option<[u8; 32]>>,
    /// Why the PAM module was told no.
    pub reason: RefCell<Option<String>>,
    /// Whether the attempt was charged as a failure, until it succeeds.
    pub charged: Cell<bool>,
}

/// Runs one attempt from its first prompt to the verdict. `keyed`: the front says that this user has shown a key of
/// theirs.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn run(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    user: &str,
    keyed: bool,
) -> Result<Verdict, Over> {
    let mut answered = Instant::now();
    let login = user.parse::<UserName>().ok().map(|user| Login {
        id: LoginId::random(),
        user,
        from: conversation.source.to_string(),
        source: Source::from(conversation.source),
    });
    let ours = Rc::new(Ours {
        login: login.clone(),
        keyed,
        invited: Cell::default(),
        reason: RefCell::default(),
        charged: Cell::default(),
    });
    let deadline = answered + Duration::from_secs(Limits::default().login_seconds);
    let talk = relay(keeper, conversation, user, &ours, &mut answered);
    let refusal = match timeout_at(deadline, talk).await {
        Ok(talked) => talked?,
        Err(_) => Some("the login took longer than 60 s".to_owned()),
    };
    let reason = match (refusal, login) {
        // what the PAM module was told is more than what libpam says of it
        (Some(reason), _) => ours.reason.take().unwrap_or(reason),
        (None, None) => "not a person's name".to_owned(),
        (None, Some(login)) => match keeper.let_in(login, ours.invited.get()) {
            Ok(verdict) => {
                keeper.measures.login.observe(answered.elapsed().as_secs_f64());
                return Ok(verdict);
            }
            Err(reason) => reason,
        },
    };
    keeper.note_refusal(user, &conversation.source.to_string(), &reason, ours.charged.get());
    sleep_until(answered + REFUSAL_AFTER).await;
    Ok(Verdict::Refuse)
}

impl Keeper {
    /// libpam has said yes: records it, if the keeper itself has accepted a code or an invitation.
    fn let_in(&self, login: Login, invited: Option<[u8; 32]>) -> Result<Verdict, String> {
        let recorded = match &invited {
            Some(invitation) => self.store.record_invited(self.now(), &login, invitation),
            None => {
                let rule = if self.config.require_code { CodeRule::Required } else { CodeRule::Foreign };
                self.store.record_login(self.now(), &login, rule)
            }
        };
        match recorded.map_err(|error| error.to_string())? {
            Acceptance::Refuse(reason) => return Err(reason),
            Acceptance::Accept => super::crash_point("login-accepted"),
        }
        Ok(match invited {
            Some(invitation) => Verdict::Invite(Invited { login, invitation }),
            None => Verdict::Accept(Passed { login, at: Instant::now() }),
        })
    }
}

/// Carries prompts and answers between worker and person. `None`: libpam said yes; else why not.
async fn relay(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    user: &str,
    ours: &Rc<Ours>,
    answered: &mut Instant,
) -> Result<Option<String>, Over> {
    let mut worker = match start_worker() {
        Ok(worker) => worker,
        Err(failure) => {
            say(&failure.error);
            return Ok(Some(failure.error));
        }
    };
    let _registered = Registered::new(keeper, &worker, ours);
    let begin = ToWorker::Begin {
        service: keeper.config.pam_service.clone(),
        confdir: keeper.config.pam_dir.as_ref().map(|dir| dir.display().to_string()),
        user: user.to_owned(),
        rhost: conversation.source.to_string(),
        cover: keeper.covered_paths(),
    };
    if let Err(error) = worker.wire.send(&begin).await {
        return Ok(Some(format!("the PAM worker is gone: {error}")));
    }
    let limits = Limits::default();
    let mut asked_in_all = 0;
    loop {
        let prompts = match worker.wire.receive().await {
            Ok(Some(FromWorker::Prompts { prompts })) => shown(keeper, prompts),
            Ok(Some(FromWorker::Ended { success: true, .. })) => return Ok(None),
            Ok(Some(FromWorker::Ended { success: false, reason })) => return Ok(Some(reason)),
            Ok(None) => return Ok(Some("the PAM worker ended without a word".to_owned())),
            Err(error) => return Ok(Some(format!("the PAM worker: {error}"))),
        };
        let questions = prompts.iter().filter(|prompt| is_question(prompt)).count();
        asked_in_all += questions;
        if asked_in_all > limits.prompts {
            return Ok(Some(format!("the PAM stack asked more than {} questions", limits.prompts)));
        }
        if questions == 0 {
            return Ok(Some("the PAM worker asked nothing".to_owned()));
        }
        keeper.to_front(&ToFront::Prompts { conversation: conversation.id, prompts });
        let answers = answers(conversation, questions).await?;
        *answered = Instant::now();
        if answers.iter().any(|answer| answer.expose().len() > limits.answer_bytes) {
            return Ok(Some(format!("an answer was longer than {} bytes", limits.answer_bytes)));
        }
        if let Err(error) = worker.wire.send(&ToWorker::Answers { answers }).await {
            return Ok(Some(format!("the PAM worker is gone: {error}")));
        }
    }
}

/// The prompts that the person sees. The refusal text is the keeper's to say, once, at the end.
fn shown(keeper: &Keeper, mut prompts: Vec<Prompt>) -> Vec<Prompt> {
    let refusal = keeper.refusal();
    prompts.retain(|prompt| is_question(prompt) || prompt.text.trim() != refusal.trim());
    prompts
}

fn is_question(prompt: &Prompt) -> bool {
    matches!(prompt.kind, PromptKind::Secret | PromptKind::Visible)
}

async fn answers(conversation: &mut Conversation, wanted: usize) -> Result<Vec<SecretText>, Over> {
    match conversation.next().await? {
        FromFront::Answers { answers, .. } if answers.len() == wanted => Ok(answers),
        _ => out_of_place(),
    }
}

/// Ties the PAM module's connection to this login, by the process id of the worker, for as long as the worker lives.
struct Registered<'a> {
    keeper: &'a Keeper,
    pid: i32,
}

impl<'a> Registered<'a> {
    fn new(keeper: &'a Keeper, worker: &Worker, ours: &Rc<Ours>) -> Self {
        keeper.logins.borrow_mut().insert(worker.pid, ours.clone());
        Self { keeper, pid: worker.pid }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.keeper.logins.borrow_mut().remove(&self.pid);
    }
}
