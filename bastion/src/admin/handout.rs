//! What is handed to a person, shown once: an invitation, or a one-time code to read out on the telephone.

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::code::{Purpose, RecoveryCode, hash_for};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::SecretText;
use wgmfa_core::name::UserName;

use super::answer::{Answer, json_line, no_such};
use super::{Asked, Context, Outcome};
use crate::host_key::machine_name;
use crate::store::{Handout, NewPerson, Password, PasswordKind};

/// How long an invitation is good when nobody says otherwise.
const INVITED_FOR: Interval = Interval::from_seconds(48 * 3600);

/// The same for a code that is read out on the telephone.
const READ_OUT_FOR: Interval = Interval::from_seconds(3600);

/// The longest time for which something is handed out: it may lie about on paper.
const LONGEST: Interval = Interval::from_seconds(30 * 86_400);

/// A fresh one, and what the store keeps of it.
pub struct Fresh {
    code: RecoveryCode,
    /// For the store.
    pub handout: Handout,
}

impl Fresh {
    /// An invitation.
    ///
    /// # Errors
    /// The time is too long, or none.
    pub fn invitation(name: &UserName, good_for: Option<Interval>, now: Timestamp) -> Result<Self, Failure> {
        Self::new(Purpose::Invitation, name, good_for.unwrap_or(INVITED_FOR), now)
    }

    fn new(purpose: Purpose, name: &UserName, good_for: Interval, now: Timestamp) -> Result<Self, Failure> {
        if good_for == Interval::from_seconds(0) || good_for > LONGEST {
            return Err(Failure::new(Exit::Usage, format!("--for: write a time of at most {LONGEST}")));
        }
        let code = RecoveryCode::from_random(rand::random());
        let seconds = SignedDuration::from_secs(good_for.as_seconds().cast_signed());
        let expires_at = now.checked_add(seconds).map_err(|_| Failure::new(Exit::Failed, "the clock is far off"))?;
        Ok(Self { handout: Handout { hash: hash_for(purpose, name, &code), expires_at }, code })
    }

    /// The invitation, for the one time that it is shown; `done` says what was done.
    pub fn show_invitation(&self, done: &str, person: &NewPerson, asked: &Asked<'_>, context: &Context<'_>) -> Outcome {
        let name = &person.name;
        let port = context.config.listen.first().map_or(22, |address| address.port());
        let option = if port == 22 { String::new() } else { format!("-p {port} ") };
        let command = format!("ssh -t {option}{name}@{} wgmfa-enrol", machine_name());
        if asked.json {
            return self.json("invitation", name, Some(&command));
        }
        let until = context.when().clock(self.handout.expires_at);
        let where_to = match person.password {
            Password::System => {
                r#"The system's password goes in at "Password: ", and the invitation at "One-time code: "."#
            }
            _ => r#"It goes in at "Password: ", and Enter at "One-time code: "."#,
        };
        once(format!(
            "{done}\n\nInvitation, good once until {until}:\n\n    {}\n\n{name} enrols with it:\n\n    {command}\n\n{where_to} \
             It is never shown again.\n",
            *self.code.expose_text()
        ))
    }

    fn json(&self, key: &str, name: &UserName, command: Option<&str>) -> Outcome {
        let mut answer = serde_json::json!({
            "version": 1,
            "changed": true,
            "user": name,
            key: *self.code.expose_text(),
            "expires_at": self.handout.expires_at,
        });
        if let Some(command) = command {
            answer["command"] = command.into();
        }
        once(json_line(&answer))
    }
}

/// Carries out `user code`.
///
/// # Errors
/// There is no such person, or the code would be of no use to them.
pub fn read_out(
    name: &UserName,
    reason: &str,
    good_for: Option<Interval>,
    asked: &Asked<'_>,
    context: &Context<'_>,
) -> Answer {
    let person = context.store.person(name)?.ok_or_else(|| no_such("user", name))?;
    if person.password == PasswordKind::Unset && person.ssh_keys == 0 {
        return Err(Failure::new(Exit::Failed, format!("{name} has not enrolled: a code alone lets nobody in"))
            .hint(format!("wgmfa-bastion user reset {name} gives a new invitation")));
    }
    let fresh = Fresh::new(Purpose::Telephone, name, good_for.unwrap_or(READ_OUT_FOR), context.now)?;
    context.act(|actor| context.store.hand_out_code(context.now, actor, name, &fresh.handout, reason))?;
    if asked.json {
        return Ok(fresh.json("code", name, None));
    }
    let until = context.when().clock(fresh.handout.expires_at);
    Ok(once(format!(
        "One-time code for {name}, good once until {until}, with the password:\n\n    {}\n\nIt goes in at \"One-time \
         code: \". It is never shown again.\n",
        *fresh.code.expose_text()
    )))
}

fn once(text: String) -> Outcome {
    let mut outcome = super::answer::shown("");
    outcome.reply.stdout = SecretText::new(text);
    outcome
}
