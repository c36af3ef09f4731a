//! `log verify`, `log export`, `log prune`, `log accept`: what shows that nothing in the audit log was changed or cut.

use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;

use super::answer::{Answer, acted, failed, json_line, shown, with_exit};
use super::{Asked, Context, Outcome, Stream};
use crate::store::{Head, LostHead, Verification, Verified, verify_export};
use crate::voice;

/// So many lines are exported at once.
const LINES_AT_ONCE: u64 = 500;

/// Computes the hash chain anew, slice by slice, so that nobody waits for it.
///
/// # Errors
/// The store cannot be read, or the log is not as it was written.
pub fn verify(asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let mut verifying = Verifying { verification: context.store.verification()?, json: asked.json };
    match verifying.go_on(context) {
        Some(answer) => answer,
        None => Ok(Outcome { stream: Some(Box::new(verifying)), ..Outcome::default() }),
    }
}

/// Verifies an export that came on standard input.
///
/// # Errors
/// It is no export, or not as it was written.
pub fn verify_input(asked: &Asked<'_>) -> Answer {
    let verified = verify_export(asked.stdin().as_bytes()).map_err(|what| Failure::new(Exit::Failed, what))?;
    told(verified, &[], asked.json)
}

#[derive(Debug)]
struct Verifying {
    verification: Verification,
    json: bool,
}

impl Verifying {
    fn go_on(&mut self, context: &Context<'_>) -> Option<Answer> {
        let store = context.store;
        match self.verification.go_on(store) {
            Ok(None) => None,
            Ok(Some(verified)) => {
                Some(store.lost_heads().map_err(Failure::from).and_then(|lost| told(verified, &lost, self.json)))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl Stream for Verifying {
    fn every(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        match self.go_on(context) {
            None => AdminReply::default(),
            Some(answer) => answer.unwrap_or_else(|failure| failed(&failure)).reply,
        }
    }
}

/// Says what was found; a line that a host has seen and that is missing makes the log not whole.
pub fn told(verified: Verified, lost: &[LostHead], json: bool) -> Answer {
    let exit = if lost.is_empty() { Exit::Done } else { Exit::Failed };
    let lost_json: Vec<_> = lost
        .iter()
        .map(|lost| {
            serde_json::json!({
                "host": lost.host, "seq": lost.head.seq, "hash": lost.head.hash, "last_seq": lost.last_seq,
                "found_at": lost.found_at,
            })
        })
        .collect();
    match verified {
        Verified::Intact { after, head } if json => {
            let answer = serde_json::json!({
                "version": 1, "intact": lost.is_empty(), "head": head, "after": after, "lost": lost_json,
            });
            Ok(with_exit(json_line(&answer), exit))
        }
        Verified::Broken { seq, reason } if json => {
            let answer = serde_json::json!({
                "version": 1, "intact": false, "seq": seq, "reason": reason, "lost": lost_json,
            });
            Ok(with_exit(json_line(&answer), Exit::Failed))
        }
        Verified::Broken { seq, reason } => {
            Err(Failure::new(Exit::Failed, format!("the audit log is broken from line {seq} on: {reason}"))
                .hint("compare with a log head that was kept elsewhere: in the journal, or on a host"))
        }
        Verified::Intact { head, .. } if !lost.is_empty() => {
            let lost: Vec<_> = lost.iter().map(ToString::to_string).collect();
            let error = format!(
                "the lines up to {} are bound to each other, but lines are missing: {}",
                head.seq,
                lost.join("; ")
            );
            Err(Failure::new(Exit::Failed, error).hint(
                "a backup was restored, or the end of the log was cut off; once you know why: log accept --reason TEXT",
            ))
        }
        Verified::Intact { after, head } if after == head => Ok(shown("intact: no lines\n")),
        Verified::Intact { after, head } => {
            let before = match after.seq {
                0 => String::new(),
                seq => format!(", after line {seq} ({})", after.hash),
            };
            let count = head.seq - after.seq;
            Ok(shown(format!("intact: {count} lines{before}, the last one is {}\n", head.hash)))
        }
    }
}

/// The oldest lines, as JSON lines that can be verified by themselves.
///
/// # Errors
/// That is no time, or the store cannot be read.
pub fn export(before: &str, context: &Context<'_>) -> Answer {
    let Some(time) = context.when().parse(before) else {
        return Err(Failure::new(Exit::Usage, "--before: not a time")
            .hint("write 2026-11-21T15:55:00Z, 2026-11-21, or how long ago: 90d"));
    };
    let Some(until) = context.store.last_before(time)? else {
        return Ok(Outcome { reply: note("no lines are as old as that"), ..Outcome::default() });
    };
    let after = context.store.log_beginning()?;
    Ok(Outcome { stream: Some(Box::new(Exporting { after, until, count: 0 })), ..Outcome::default() })
}

#[derive(Debug)]
struct Exporting {
    after: Head,
    until: Head,
    count: usize,
}

impl Stream for Exporting {
    fn every(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        let lines = match context.store.exported(&self.after, &self.until, LINES_AT_ONCE) {
            Ok(lines) => lines,
            Err(error) => return failed(&error.into()).reply,
        };
        let Some(last) = lines.last() else {
            let Head { seq, hash } = &self.until;
            return note(&format!("{} lines; to remove them here: wgmfa-bastion log prune {seq} {hash}", self.count));
        };
        self.after = Head { seq: last.line.seq, hash: last.line.hash.clone() };
        self.count += lines.len();
        let text = lines.iter().map(|line| json_line(&serde_json::json!(line))).collect();
        AdminReply { stdout: SecretText::new(text), ..AdminReply::default() }
    }
}

/// Removes exported lines.
///
/// # Errors
/// No line with this number has this hash.
pub fn prune(seq: u64, hash: &str, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (store, until) = (context.store, Head { seq, hash: hash.to_ascii_lowercase() });
    if store.log_beginning()? == until {
        return Ok(acted(crate::store::Change::Unchanged, asked.json, ""));
    }
    let removed = context.act(|actor| store.prune_log(context.now, actor, &until))?;
    Ok(shown(match asked.json {
        true => json_line(&serde_json::json!({ "version": 1, "changed": true, "removed": removed })),
        false => format!("removed {removed} lines up to line {seq}\n"),
    }))
}

/// Agrees that lines are missing.
///
/// # Errors
/// The store cannot be written.
pub fn accept(reason: &str, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let change = context.act(|actor| context.store.accept_lost_heads(context.now, actor, reason))?;
    Ok(acted(change, asked.json, "the missing lines are named no longer"))
}

fn note(text: &str) -> AdminReply {
    AdminReply { stderr: voice::note(text), exit: Some(Exit::Done.code()), ..AdminReply::default() }
}
