//! `wgmfa-passwd` and `wgmfa-codes`: a person who has logged in changes their own password, or gets new recovery codes.
//! The code of the login is the proof of the second factor; other logins and sessions stay as they are.

use std::rc::Rc;

use clap::Parser;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::name::UserName;
use wgmfa_core::password;

use super::Keeper;
use super::attempt::Passed;
use super::conversation::Over;
use super::dialogue::{Dialogue, Typed};
use crate::admin::credentials::RecoveryCodes;
use crate::config::FirstFactor;
use crate::store::{PasswordHash, PasswordKind, hash_password};

/// The name of the command that changes the password.
pub const PASSWD: &str = "wgmfa-passwd";

/// The name of the command that makes new recovery codes.
pub const CODES: &str = "wgmfa-codes";

/// How often somebody may fail to type the same fit password twice.
const TRIES: usize = 3;

/// The words after `wgmfa-passwd`.
#[derive(Debug, Parser)]
#[command(
    name = PASSWD,
    about = "Changes your password: asks for the new one twice",
    after_help = "Example:\n  ssh -t bastion wgmfa-passwd",
    disable_version_flag = true
)]
pub struct PasswdWords {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// The words after `wgmfa-codes`.
#[derive(Debug, Parser)]
#[command(
    name = CODES,
    about = "Makes new recovery codes and prints them once; the old ones are void",
    after_help = "Example:\n  ssh bastion wgmfa-codes",
    disable_version_flag = true
)]
pub struct CodesWords {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Carries out `wgmfa-passwd`.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn passwd(
    dialogue: &mut Dialogue<'_>,
    passed: &Passed,
    json: bool,
) -> Result<Result<SecretText, Failure>, Over> {
    let (keeper, login) = (dialogue.keeper, &passed.login);
    match keeper.password_is_here(&login.user) {
        Ok(true) => {}
        Ok(false) => {
            let failure = Failure::new(Exit::Failed, "the bastion holds no password of yours");
            return Ok(Err(failure.hint("change it where it is kept")));
        }
        Err(failure) => return Ok(Err(failure)),
    }
    let hash = match new_password(dialogue).await? {
        Ok(hash) => hash,
        Err(failure) => return Ok(Err(failure)),
    };
    Ok(keeper.store.change_password(keeper.now(), login, &hash).map_err(Failure::from).map(|()| {
        let text = if json { "{\"version\":1,\"changed\":true}\n" } else { "the password is changed\n" };
        SecretText::new(text.to_owned())
    }))
}

/// Carries out `wgmfa-codes`.
pub fn codes(keeper: &Keeper, passed: &Passed, json: bool) -> Result<SecretText, Failure> {
    let codes = RecoveryCodes::random();
    keeper.store.replace_recovery(keeper.now(), &passed.login, &codes.hashes(&passed.login.user))?;
    Ok(codes.show(json))
}

/// Asks for a new password, twice, and hashes it. The inner failure: there is none.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn new_password(dialogue: &mut Dialogue<'_>) -> Result<Result<PasswordHash, Failure>, Over> {
    for _ in 0..TRIES {
        let first = match dialogue.ask("New password: ", Typed::Hidden).await? {
            Ok(first) => first,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(unfit) = password::fit(first.expose()) {
            dialogue.complain(&unfit.to_string());
            continue;
        }
        match dialogue.ask("The same again: ", Typed::Hidden).await? {
            Ok(second) if second.expose() == first.expose() => return Ok(dialogue.keeper.hash_password(first).await),
            Ok(_) => dialogue.complain("the two passwords differ"),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Err(Failure::new(Exit::Failed, "no new password")))
}

impl Keeper {
    /// Whether a person's password is one that the bastion holds and that counts here.
    pub(super) fn password_is_here(&self, name: &UserName) -> Result<bool, Failure> {
        let person = self.store.person(name)?;
        let own = person.is_some_and(|person| person.password != PasswordKind::System);
        Ok(own && self.config.first_factor != FirstFactor::Publickey)
    }

    /// Off the event loop, as when passwords are compared.
    async fn hash_password(self: &Rc<Self>, password: SecretText) -> Result<PasswordHash, Failure> {
        let _turn = self.hashing.acquire().await;
        let hashed = tokio::task::spawn_blocking(move || hash_password(&password)).await;
        hashed.map_err(|error| Failure::new(Exit::Failed, format!("cannot hash the password: {error}")))
    }
}
