//! One attempt's answers: the evidence is gathered in full each time, then `wgmfa_core::login` judges it.

use std::cell::Cell;
use std::rc::Rc;

use wgmfa_core::code::{self, CodeVerdict, Purpose, RecoveryCode};
use wgmfa_core::guessing::{self, Attempt, Source};
use wgmfa_core::key::SecretText;
use wgmfa_core::login::{Answer, CodeAnswer, CodeUse, Evidence, Judgement, judge};
use wgmfa_core::message::module::Verdict;
use wgmfa_core::name::UserName;

use super::attempt::Ours;
use super::process::Process;
use super::{Keeper, say};
use crate::config::FirstFactor;
use crate::store::{
    Acceptance, CodeRule, Credentials, Handout, Login, LoginId, Password, PasswordVerdict, Refusal, StoreError,
};

/// Who wants to log in, as the PAM application says.
pub struct Claim {
    /// The user name.
    pub user: String,
    /// Where from.
    pub rhost: Option<String>,
    /// By which PAM service.
    pub service: String,
}

/// Which questions the module asks.
#[derive(Clone, Copy)]
pub struct Asked {
    /// For the password.
    pub password: bool,
    /// For the one-time code.
    pub code: bool,
}

/// The answers; none where nothing was asked.
pub struct Given {
    /// The password.
    pub password: Option<SecretText>,
    /// The one-time code, or a recovery code.
    pub code: Option<SecretText>,
}

/// Which login the module's process belongs to.
pub enum Tie {
    /// One of this keeper's own workers.
    Ours(Rc<Ours>),
    /// Another PAM application on this machine (the site's sshd, pamtester); its process, if it can be held.
    Foreign(Option<Rc<Process>>),
}

/// Decides about one attempt. A code that is accepted is used up when this returns.
pub async fn verify(keeper: &Rc<Keeper>, claim: &Claim, given: Given, tie: &Tie) -> Verdict {
    let login = match tie {
        Tie::Ours(ours) => ours.login.clone().filter(|login| login.user.as_str() == claim.user),
        Tie::Foreign(_) => foreign(claim),
    };
    let from = login.as_ref().map_or_else(|| claim.rhost.clone().unwrap_or_default(), |login| login.from.clone());
    let foreign_charge = Cell::default();
    let charged = match tie {
        // an earlier module of this login's stack has had the invitation: what is answered here does not matter
        Tie::Ours(ours) if ours.invited.get().is_some() => return Verdict::Accept,
        Tie::Ours(ours) => &ours.charged,
        Tie::Foreign(_) => &foreign_charge,
    };
    let invitation = login.as_ref().filter(|_| matches!(tie, Tie::Ours(_))).and_then(|login| invitation(login, &given));
    let key_wanted =
        keeper.config.first_factor == FirstFactor::Publickey && matches!(tie, Tie::Ours(ours) if !ours.keyed);
    let first = First { invitation, key_wanted };
    let judged = match attempt(keeper, login.as_ref(), given, &first, charged).await {
        Ok(judged) => judged,
        Err(error) => {
            say(&format!("login of {}: {error}", quoted(&claim.user)));
            return Verdict::Unavailable;
        }
    };
    let accepted = match (judged, login) {
        (Judgement::Refuse(reason), _) => Err(reason),
        (Judgement::Accept(_) | Judgement::Invite, None) => Err("not a person's name".to_owned()),
        (Judgement::Invite, Some(_)) => {
            if let Tie::Ours(ours) = tie {
                ours.invited.set(first.invitation);
            }
            Ok(())
        }
        (Judgement::Accept(used), Some(login)) => match use_up(keeper, &login, used, tie) {
            Ok(Acceptance::Accept) => Ok(()),
            Ok(Acceptance::Refuse(reason)) => Err(reason),
            Err(error) => {
                say(&format!("login of {}: {error}", quoted(&claim.user)));
                return Verdict::Unavailable;
            }
        },
    };
    match accepted {
        Ok(()) => Verdict::Accept,
        Err(reason) => {
            match tie {
                Tie::Ours(ours) => *ours.reason.borrow_mut() = Some(reason),
                Tie::Foreign(_) => {
                    let reason = format!("{reason} (PAM service {})", quoted(&claim.service));
                    keeper.note_refusal(&claim.user, &from, &reason, charged.get());
                }
            }
            Verdict::Refuse
        }
    }
}

/// What may stand in the place of a password.
struct First {
    /// The hash that the answer has if it is an invitation.
    invitation: Option<[u8; 32]>,
    /// Only an SSH key may, and none was shown.
    key_wanted: bool,
}

/// The answer as an invitation: to the password's prompt, or where only a code is asked for, to that.
fn invitation(login: &Login, given: &Given) -> Option<[u8; 32]> {
    let typed = given.password.as_ref().or(given.code.as_ref())?;
    let code = RecoveryCode::parse(typed.expose()).ok()?;
    Some(code::hash_for(Purpose::Invitation, &login.user, &code))
}

/// A login that came by another PAM application.
fn foreign(claim: &Claim) -> Option<Login> {
    let user = claim.user.parse::<UserName>().ok()?;
    let source = Source::from_rhost(claim.rhost.as_deref());
    Some(Login { id: LoginId::random(), user, from: claim.rhost.clone().unwrap_or_else(|| source.to_string()), source })
}

/// Charges the attempt, gathers the evidence, and judges.
async fn attempt(
    keeper: &Rc<Keeper>,
    login: Option<&Login>,
    given: Given,
    first: &First,
    charged: &Cell<bool>,
) -> Result<Judgement, StoreError> {
    let recovery = given.code.as_ref().is_some_and(|code| code::looks_like_recovery(code.expose()));
    let before = match login {
        Some(login) => keeper.store.credentials(&login.user)?,
        None => None,
    };
    let mut barred = None;
    if let (Some(login), Some(_)) = (login, &before) {
        let now = keeper.now();
        let (pair, person) = keeper.store.guesses(&login.user, login.source)?;
        match guessing::attempt(&pair, &person, recovery, now) {
            Attempt::Judge { pair, person } => {
                keeper.store.charge(now, &login.user, login.source, &pair, &person)?;
                charged.set(true);
            }
            Attempt::Refuse(refusal) => barred = Some(refusal.to_string()),
        }
    }
    let compared = before.as_ref().map(|credentials| credentials.password.clone());
    let password = match given.password {
        None => Answer::NotAsked,
        Some(password) => keeper.compare_password(password, compared.clone()).await,
    };
    let password = if first.key_wanted { Answer::KeyWanted } else { password };
    // hashing took its time: whoever was reset or disabled meanwhile does not get in with what was good before
    let (credentials, person) = match login {
        Some(login) => (keeper.store.credentials(&login.user)?, keeper.store.person(&login.user)?),
        None => (None, None),
    };
    let known =
        compared.is_some() && credentials.as_ref().map(|credentials| &credentials.password) == compared.as_ref();
    let now = keeper.now();
    let (invitation, telephone) = match login {
        Some(login) => keeper.store.handouts(&login.user)?,
        None => (None, None),
    };
    let invited = first.invitation.is_some_and(|hash| is_good(invitation.as_ref(), &hash, now));
    let user = login.map(|login| &login.user);
    let code = judge_code(user, credentials.as_ref(), telephone.as_ref(), given.code.as_ref(), recovery, now);
    let disabled = person.is_none_or(|person| person.disabled);
    Ok(judge(&Evidence { known, disabled, barred, invited, password, code }))
}

/// What a one-time code, a recovery code or one that was read out on the telephone is worth.
pub(super) fn judge_code(
    user: Option<&UserName>,
    credentials: Option<&Credentials>,
    telephone: Option<&Handout>,
    given: Option<&SecretText>,
    recovery: bool,
    now: jiff::Timestamp,
) -> CodeAnswer {
    let Some(given) = given else { return CodeAnswer::NotAsked };
    let (Some(user), Some(credentials)) = (user, credentials) else { return CodeAnswer::Wrong };
    if recovery {
        return match RecoveryCode::parse(given.expose()) {
            Ok(code) => {
                let read_out = code::hash_for(Purpose::Telephone, user, &code);
                match is_good(telephone, &read_out, now) {
                    true => CodeAnswer::Telephone(read_out),
                    false => recovery_answer(credentials, code::recovery_hash(user, &code)),
                }
            }
            Err(_) => CodeAnswer::Wrong,
        };
    }
    let Some((secret, parameters)) = &credentials.code else { return CodeAnswer::Wrong };
    match code::verify(secret, *parameters, given.expose(), now, credentials.last_step) {
        CodeVerdict::Accept(step) => CodeAnswer::Step(step),
        CodeVerdict::Used => CodeAnswer::Used,
        CodeVerdict::Wrong => CodeAnswer::Wrong,
    }
}

fn is_good(handout: Option<&Handout>, hash: &[u8; 32], now: jiff::Timestamp) -> bool {
    handout.is_some_and(|handout| handout.hash == *hash && now < handout.expires_at)
}

fn recovery_answer(credentials: &Credentials, hash: [u8; 32]) -> CodeAnswer {
    if credentials.recovery.contains(&hash) { CodeAnswer::Recovery(hash) } else { CodeAnswer::Wrong }
}

/// Uses up the code in one transaction. A foreign login has passed with it: nothing more of it comes by here.
fn use_up(keeper: &Keeper, login: &Login, used: CodeUse, tie: &Tie) -> Result<Acceptance, StoreError> {
    let now = keeper.now();
    let accepted = match used {
        CodeUse::Step(step) => keeper.store.accept_code(now, login, step)?,
        CodeUse::Recovery(hash) => keeper.store.use_recovery_code(now, login, &hash)?,
        CodeUse::Telephone(hash) => keeper.store.use_telephone_code(now, login, &hash)?,
        CodeUse::Nothing => Acceptance::Accept,
    };
    super::crash_point("code-accepted");
    match (accepted, tie) {
        (Acceptance::Accept, Tie::Foreign(process)) => {
            let recorded = keeper.store.record_login(now, login, CodeRule::Foreign)?;
            // who gave no code here releases nothing, whatever other modules ask for
            if let (Acceptance::Accept, false, Some(process)) = (&recorded, used == CodeUse::Nothing, process) {
                keeper.foreign.accepted(login.clone(), process.clone());
            }
            Ok(recorded)
        }
        (accepted, _) => Ok(accepted),
    }
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    format!("{short:?}")
}

impl Keeper {
    /// Compares a password off the event loop, two at a time: each costs as much as the machine can bear.
    async fn compare_password(&self, password: SecretText, known: Option<Password>) -> Answer {
        let _turn = self.hashing.acquire().await;
        let compared = tokio::task::spawn_blocking(move || {
            let hash = match &known {
                Some(Password::Hashed(hash)) => Some(hash),
                _ => None,
            };
            crate::store::verify_password(&password, hash)
        });
        match compared.await {
            Ok(PasswordVerdict::Right) => Answer::Right,
            _ => Answer::Wrong,
        }
    }

    /// Puts a refused login into the audit log, with its real reason.
    pub fn note_refusal(&self, user: &str, from: &str, reason: &str, charged: bool) {
        self.measures.note_refused_login(reason);
        let refusal = Refusal { user, from, reason, charged };
        if let Err(error) = self.store.record_refusal(self.now(), refusal) {
            say(&format!("a refused login could not be recorded: {error}"));
        }
    }
}
