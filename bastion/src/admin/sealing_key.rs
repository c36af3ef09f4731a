//! `sealing-key rotate` in the running bastion.

use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::admin::AdminReply;

use super::answer::{Answer, failed, json_line, shown};
use super::{Asked, Context, Outcome, Stream};
use crate::credential;
use crate::store::Actor;

/// How often to look whether the logins in progress have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often to look at most: others may begin a login again and again.
const LOOKS: u32 = 250;

/// Begins by ending the logins in progress: each PAM worker has the old key file covered, and the file that takes its
/// place would not be.
pub fn run(asked: &Asked<'_>) -> Outcome {
    Outcome { stream: Some(Box::new(Rotating { json: asked.json, looks: LOOKS })), ..Outcome::default() }
}

/// What is said of it, also when the command line does it by itself.
pub fn done(records: u64, name: &str, json: bool) -> String {
    if json {
        return json_line(&serde_json::json!({
            "version": 1, "changed": true, "records": records, "sealing_key": name,
        }));
    }
    format!(
        "{records} records are sealed with the new key {name}\nbackups made before need the key they were made with: make a \
         new one now, and keep a copy of the new key elsewhere\n"
    )
}

#[derive(Debug)]
struct Rotating {
    json: bool,
    looks: u32,
}

impl Stream for Rotating {
    fn every(&self) -> Duration {
        LOOK_EVERY
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        if context.agents.end_logins() > 0 {
            self.looks -= 1;
            if self.looks > 0 {
                return AdminReply::default();
            }
            let failure = Failure::new(Exit::Failed, "there are always logins in progress; nothing was changed")
                .hint("try again, or stop the bastion and give this command then");
            return failed(&failure).reply;
        }
        self.rotate(context).unwrap_or_else(|failure| failed(&failure)).reply
    }
}

impl Rotating {
    fn rotate(&self, context: &Context<'_>) -> Answer {
        if credential::sealing_key().is_some() {
            let failure = Failure::new(Exit::Failed, "the sealing key is a systemd credential; nothing was changed");
            return Err(failure.hint(
                "stop the bastion, decrypt the credential with systemd-creds into the file that sealing-key in bastion.toml \
                 names, give this command, and encrypt the new file",
            ));
        }
        let store = context.store;
        let from = context.from.map(|from| from.to_string());
        let actor = Actor { name: Some(&context.actor), from: from.as_deref() };
        let records = store.change_sealing_key(context.now, actor, &context.config.sealing_key)?;
        Ok(shown(done(records, &store.sealing_key_name(), self.json)))
    }
}
