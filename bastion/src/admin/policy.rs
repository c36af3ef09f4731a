//! `policy …` and `reload`, on the policies in force and the connections that the store knows.

use wgmfa_core::connection::Connection;
use wgmfa_core::exit::Failure;

use super::answer::{Answer, json_line, shown, with_exit};
use super::difference::{Difference, Now};
use super::key::has_session;
use super::site::Site;
use super::when::When;
use super::{Asked, Context};
use crate::check::explain::{explained, read_inventory};
use crate::check::policies::check;
use crate::cli::words::PolicyCommand;
use crate::policies::{Trust, digest, load, read};
use crate::store::{Event, Note};

/// Carries out one of these commands.
///
/// # Errors
/// A name is nobody's, or the store cannot be read.
pub fn run(command: &PolicyCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let inventory = context.inventory()?;
    match command {
        PolicyCommand::Check { .. } => {
            let (text, exit) = check(&context.config.policy_dir, Trust::Required, &inventory, asked.json);
            Ok(with_exit(text, exit))
        }
        PolicyCommand::Explain { names, inventory: None, .. } => {
            explained(context.policies, &inventory, names, &context.when(), asked.json).map(shown)
        }
        PolicyCommand::Explain { names, at, .. } => {
            let tried = read_inventory(asked.stdin().as_bytes(), "standard input")?;
            let set = read(&context.config.policy_dir, Trust::Required)?;
            let when = When::new(at.unwrap_or(context.now), context.zone.clone());
            explained(&set, &tried, names, &when, asked.json).map(shown)
        }
    }
}

/// `reload`: the policy files anew, all or nothing; tells what changes.
///
/// # Errors
/// The files have faults; the policies in force stay.
pub fn reload(dry_run: bool, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let set = load(&context.config.policy_dir).map_err(|failure| refused(failure, dry_run, context))?;
    let site = Site::read(context.store)?;
    let stands = |connection: &Connection| Now {
        session: has_session(connection, &site, context.now),
        key: site.has_own_key(connection),
    };
    let difference = Difference::between(context.policies, &set, &site.connections, stands);
    let changed = set.policies() != context.policies.policies();
    let mut outcome =
        shown(if asked.json { json_line(&difference.json(changed && !dry_run)) } else { difference.text() });
    if !dry_run {
        let summary = format!("{} policies: {}", set.policies().len(), difference.summary());
        context.act(|actor| context.store.note_policies(context.now, actor, &digest(&set), &summary))?;
        outcome.policies = Some(set);
    }
    Ok(outcome)
}

fn refused(failure: Failure, dry_run: bool, context: &Context<'_>) -> Failure {
    if !dry_run {
        let reason = failure.error.lines().last().unwrap_or_default().to_owned();
        let note = Note::new(Event::PoliciesRefused).reason(reason);
        // the refusal is told either way
        let _ = context.act(|actor| context.store.note(context.now, note.actor(actor)));
    }
    failure.hint("the policies in force stay as they are")
}
