//! `backup -`: the store as one text, while the bastion goes on. (`backup FILE` is the same, written to the file by the
//! command line; `restore` is none of the running bastion's affairs.)

use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;

use super::answer::{Answer, failed};
use super::{Asked, Context, Outcome, Stream};
use crate::store::{Backup, Copying};
use crate::voice;

/// How often to look whether the copy is whole.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Begins the copy.
///
/// # Errors
/// Standard output is a terminal, or the state folder takes no copy.
pub fn run(asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    if asked.terminal {
        return Err(Failure::new(Exit::Usage, "a backup is not for a terminal").hint("wgmfa-bastion backup FILE"));
    }
    let copying = context.store.begin_backup(context.now)?;
    Ok(Outcome { stream: Some(Box::new(BackingUp(State::Copying(copying)))), ..Outcome::default() })
}

#[derive(Debug)]
struct BackingUp(State);

#[derive(Debug)]
enum State {
    Copying(Copying),
    Reading(Box<Backup>),
}

impl Stream for BackingUp {
    fn every(&self) -> Duration {
        if matches!(self.0, State::Copying(_)) { LOOK_EVERY } else { Duration::ZERO }
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        self.go_on(context).unwrap_or_else(|failure| failed(&failure).reply)
    }
}

impl BackingUp {
    fn go_on(&mut self, context: &Context<'_>) -> Result<AdminReply, Failure> {
        let part = |text| AdminReply { stdout: SecretText::new(text), ..AdminReply::default() };
        match &mut self.0 {
            State::Copying(copying) => match copying.finish(context.store)? {
                None => Ok(AdminReply::default()),
                Some(backup) => {
                    let first = part(backup.first_line());
                    self.0 = State::Reading(Box::new(backup));
                    Ok(first)
                }
            },
            State::Reading(backup) => {
                let (line, is_last) = backup.next_line()?;
                let mut reply = part(line);
                if is_last {
                    context.act(|actor| context.store.note_backup(context.now, actor, &backup.head))?;
                    let key = context.config.sealing_key.display();
                    reply.stderr = voice::note(&format!(
                        "the secrets in the backup are sealed with key {}, which is not in it: keep a copy of {key} elsewhere",
                        backup.head.sealing_key
                    ));
                    reply.exit = Some(Exit::Done.code());
                }
                Ok(reply)
            }
        }
    }
}
