//! `clock reset`: the way back after the clock has shown a time that was wrong by far.

use wgmfa_core::exit::{Exit, Failure};

use super::answer::{Answer, acted, json_line, rounds, shown};
use super::{Asked, Context};
use crate::store::Change;

/// Sets the bastion's time back to the clock of the machine, if it is ahead of that.
///
/// # Errors
/// It was asked over SSH: whoever resets the time makes codes of that time good again.
pub fn reset(reason: &str, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    if context.from.is_some() {
        return Err(Failure::new(Exit::Usage, "clock reset is refused here")
            .hint("give this command on the bastion itself, as root"));
    }
    // it locks everybody and voids every code: for nothing, where the time is not ahead
    if context.store.recorded_time() <= context.system {
        return Ok(acted(Change::Unchanged, asked.json, ""));
    }
    let ahead = context.act(|actor| context.store.reset_time(context.system, actor, reason))?.as_secs();
    let mut outcome = shown(if asked.json {
        json_line(&serde_json::json!({ "version": 1, "changed": true, "seconds_ahead": ahead }))
    } else {
        format!(
            "the bastion's time was {ahead} s ahead, and is now the one of this machine\nall sessions are locked; one-time \
             codes are good again from the next but one on; recovery codes are void\n"
        )
    });
    outcome.orders =
        rounds(context.store.hosts()?.into_iter().map(|host| host.name), "the bastion's time was set back");
    Ok(outcome)
}
