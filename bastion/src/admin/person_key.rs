//! `user key …`: people's SSH keys, for where a key is the first factor.

use jiff::Timestamp;
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use serde::Serialize;
use wgmfa_core::exit::{Exit, Failure, sanitise};
use wgmfa_core::name::UserName;

use super::answer::{Answer, acted, list, no_such, shown};
use super::table::Table;
use super::{Asked, Context};
use crate::cli::words::UserKeyCommand;
use crate::host_key::one_line;
use crate::store::PersonKey;

#[derive(Debug, Serialize)]
struct KeyJson<'a> {
    fingerprint: &'a str,
    key: &'a str,
    comment: &'a str,
    added_at: Timestamp,
}

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(command: &UserKeyCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (store, now, json) = (context.store, context.now, asked.json);
    let (UserKeyCommand::Add { name, .. } | UserKeyCommand::List { name } | UserKeyCommand::Remove { name, .. }) =
        command;
    known(name, context)?;
    match command {
        UserKeyCommand::Add { name, .. } => {
            let key = read(asked.stdin(), now)?;
            let change = context.act(|actor| store.add_key(now, actor, name, &key))?;
            Ok(acted(change, json, &format!("added {} to {name}", key.fingerprint)))
        }
        UserKeyCommand::List { name } => {
            let keys = store.keys(name)?;
            if json {
                let objects: Vec<_> = keys.iter().map(object).collect();
                return Ok(list("keys", &objects));
            }
            let mut table = Table::new(&["FINGERPRINT", "KIND", "COMMENT", "ADDED"], asked.colour);
            for key in &keys {
                let kind = key.public_key.split(' ').next().unwrap_or_default();
                table.row([
                    key.fingerprint.as_str().into(),
                    kind.into(),
                    key.comment.as_str().into(),
                    context.when().ago(key.added_at).into(),
                ]);
            }
            Ok(shown(table.render("no keys")))
        }
        UserKeyCommand::Remove { name, fingerprint } => {
            let change = context.act(|actor| store.remove_key(now, actor, name, fingerprint))?;
            Ok(acted(change, json, &format!("removed {fingerprint} from {name}")))
        }
    }
}

fn known(name: &UserName, context: &Context<'_>) -> Result<(), Failure> {
    context.store.person(name)?.map(drop).ok_or_else(|| no_such("user", name))
}

fn object(key: &PersonKey) -> KeyJson<'_> {
    let PersonKey { fingerprint, public_key, comment, added_at } = key;
    KeyJson { fingerprint, key: public_key, comment, added_at: *added_at }
}

/// One public key in one line, without options.
fn read(text: &str, now: Timestamp) -> Result<PersonKey, Failure> {
    let wrong = |what: &str| {
        Failure::new(Exit::Usage, format!("--key: {what}")).hint("give a public key as ssh-keygen -t ed25519 writes it")
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(wrong("not an SSH public key in one line"));
    };
    let key = PublicKey::from_openssh(line).map_err(|_| wrong("not an SSH public key in one line"))?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {}
        _ => return Err(wrong("an Ed25519 or ECDSA key is wanted, also one on a FIDO token")),
    }
    let comment: String = sanitise(key.comment().as_ref()).chars().take(100).collect();
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    Ok(PersonKey { fingerprint, public_key: one_line(&key), comment, added_at: now })
}
