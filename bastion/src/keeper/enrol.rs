//! `wgmfa-enrol`: an invited person sets their own password and code secret, which no administrator ever sees.
//!
//! Nothing counts before a code of the new secret has proved that it has arrived; then all of it does, in one
//! transaction. Whatever breaks off earlier leaves no trace, and the invitation stays good.

use std::rc::Rc;

use clap::Parser;
use tokio::time::timeout;
use wgmfa_core::code::{CodeVerdict, Step};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::FromFront;
use wgmfa_core::words::words;

use super::Keeper;
use super::attempt::Invited;
use super::conversation::{Conversation, Over, out_of_place};
use super::dialogue::{Dialogue, Typed, WITHIN};
use super::own_secrets::new_password;
use super::person::Said;
use crate::admin::credentials::Credentials;
use crate::host_key::machine_name;
use crate::store::{Acceptance, Enrolment};

/// The name of the command.
pub const ENROL: &str = "wgmfa-enrol";

/// How many codes may be wrong. Nothing can be guessed here: the secret stands on the same screen.
const TRIES: usize = 3;

/// The words after `wgmfa-enrol`.
#[derive(Debug, Parser)]
#[command(
    name = ENROL,
    about = "Sets your password and your authenticator app, with the invitation that an administrator gave you",
    after_help = "Example:\n  ssh -t bastion wgmfa-enrol\n\nThe invitation goes in at `Password: `, and Enter at \
                  `One-time code: `; where your password is the system's, that one goes in first, and the invitation as the \
                  code. Nothing is changed before a code of the app has proved it.",
    disable_version_flag = true
)]
struct EnrolWords {
    /// JSON lines: the otpauth URL, then the recovery codes
    #[arg(long)]
    json: bool,
}

/// Serves a connection that came in with an invitation: it may ask for `wgmfa-enrol` and for nothing else.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn serve(keeper: &Rc<Keeper>, conversation: &mut Conversation, invited: Invited) -> Result<(), Over> {
    let id = conversation.id;
    keeper.people.borrow_mut().insert(id, invited.login.user.clone());
    let over = timeout(WITHIN, answer_all(keeper, conversation, &invited)).await;
    keeper.people.borrow_mut().remove(&id);
    over.unwrap_or_else(|_| Err(Over::HangUp("its time is over".to_owned())))
}

async fn answer_all(keeper: &Rc<Keeper>, conversation: &mut Conversation, invited: &Invited) -> Result<(), Over> {
    loop {
        match conversation.next().await? {
            FromFront::Exec { channel, command, subsystem, terminal, .. } => {
                let words = words(&command).unwrap_or_default();
                if subsystem || words.first().is_none_or(|word| word != ENROL) {
                    let failure = Failure::new(Exit::Failed, "you are invited and have not enrolled")
                        .hint("ssh -t NAME@BASTION wgmfa-enrol, with the invitation once more");
                    Said::failure(&failure, "wgmfa").end(keeper, conversation.id, channel);
                    continue;
                }
                match EnrolWords::try_parse_from(&words) {
                    Ok(asked) => {
                        let mut dialogue = Dialogue::begin(keeper, ENROL, conversation, (channel, terminal));
                        let done = enrol(&mut dialogue, invited, asked.json).await?;
                        dialogue.end(done);
                    }
                    Err(error) => Said::usage(&error, ENROL).end(keeper, conversation.id, channel),
                }
            }
            FromFront::Line { .. } | FromFront::InputEnded { .. } | FromFront::ChannelGone { .. } => {}
            _ => return out_of_place(),
        }
    }
}

/// What somebody hears who has enrolled.
pub fn after_a_login(words: &[String]) -> Said {
    match EnrolWords::try_parse_from(words) {
        Ok(_) => {
            let failure = Failure::new(Exit::Failed, "you have enrolled already");
            let hint =
                "wgmfa-passwd and wgmfa-codes change what you have; for a new app ask an administrator to reset you";
            Said::failure(&failure.hint(hint), ENROL)
        }
        Err(error) => Said::usage(&error, ENROL),
    }
}

async fn enrol(
    dialogue: &mut Dialogue<'_>,
    invited: &Invited,
    json: bool,
) -> Result<Result<SecretText, Failure>, Over> {
    let (keeper, login) = (dialogue.keeper, &invited.login);
    let password = match keeper.password_is_here(&login.user) {
        Ok(true) => match new_password(dialogue).await? {
            Ok(hash) => Some(hash),
            Err(failure) => return Ok(Err(failure)),
        },
        Ok(false) => None,
        Err(failure) => return Ok(Err(failure)),
    };
    let credentials = Credentials::random(&machine_name(), &login.user);
    dialogue.show(credentials.show_app(json));
    let step = match prove(dialogue, &credentials).await? {
        Ok(step) => step,
        Err(failure) => return Ok(Err(failure)),
    };
    let enrolment = Enrolment {
        invitation: invited.invitation,
        password,
        code: credentials.code(),
        step,
        recovery: credentials.recovery.hashes(&login.user),
    };
    super::crash_point("enrolling");
    let enrolled = keeper.store.enrol(keeper.now(), login, &enrolment);
    super::crash_point("enrolled");
    Ok(match enrolled {
        Ok(Acceptance::Accept) => Ok(credentials.recovery.show(json)),
        Ok(Acceptance::Refuse(reason)) => {
            Err(Failure::new(Exit::Failed, reason).hint("nothing was changed; ask an administrator for a new one"))
        }
        Err(error) => Err(error.into()),
    })
}

/// Has the person type a code that the app shows now.
async fn prove(dialogue: &mut Dialogue<'_>, credentials: &Credentials) -> Result<Result<Step, Failure>, Over> {
    for left in (0..TRIES).rev() {
        let code = match dialogue.ask("One-time code: ", Typed::Shown).await? {
            Ok(code) => code,
            Err(failure) => return Ok(Err(failure)),
        };
        match credentials.verify(code.expose(), dialogue.keeper.now()) {
            CodeVerdict::Accept(step) => return Ok(Ok(step)),
            CodeVerdict::Used | CodeVerdict::Wrong => {
                let tries = if left == 1 { "try" } else { "tries" };
                dialogue.complain(&format!("this is no code that the app shows now, {left} {tries} left"));
            }
        }
    }
    Ok(Err(Failure::new(Exit::Failed, "the app has not proved itself")
        .hint("nothing was changed; look at the clocks of both sides, then try again with the same invitation")))
}
