//! `sealing-key rotate` in the running bastion.

use wgmfa_core::exit::{Exit, Failure};

use super::after_logins::{self, Act};
use super::answer::{Answer, json_line, shown};
use super::{Asked, Context, Outcome};
use crate::credential;
use crate::store::Actor;

/// Begins by ending the logins in progress: each PAM worker has the old key file covered, and the file that takes its
/// place would not be.
pub fn run(asked: &Asked<'_>) -> Outcome {
    after_logins::begin(Rotating { json: asked.json })
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
}

impl Act for Rotating {
    const HINT: &'static str = "try again, or stop the bastion and give this command then";

    fn act(&self, context: &Context<'_>) -> Answer {
        if credential::sealing_key().is_some() {
            let failure = Failure::new(Exit::Failed, "the sealing key is a systemd credential; nothing was changed");
            return Err(failure.hint(
                "stop the bastion, decrypt the credential with systemd-creds, under umask 077, into the file that sealing-key in \
                 bastion.toml names, give this command, and encrypt the new file",
            ));
        }
        let store = context.store;
        let from = context.from.map(|from| from.to_string());
        let actor = Actor { name: Some(&context.actor), from: from.as_deref() };
        let records = store.change_sealing_key(context.now, actor, &context.config.sealing_key)?;
        Ok(shown(done(records, &store.sealing_key_name(), self.json)))
    }
}
