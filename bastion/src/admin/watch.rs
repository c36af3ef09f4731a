//! `--watch`: the connections as they stand, again whenever something has changed. On a terminal they are redrawn in
//! place, under a clock.

use std::time::Duration;

use jiff::Timestamp;
use wgmfa_core::exit::Failure;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;
use wgmfa_core::name::UserName;

use super::answer::{Answer, failed, json_line};
use super::key::{self, objects, table};
use super::key_row::{KeyRow, rows};
use super::site::Site;
use super::{Asked, Context, Outcome, Stream};

/// How often it is drawn, on a terminal with its clock.
const EVERY: Duration = Duration::from_secs(1);

/// Below this many seconds what is left is told in seconds, else in minutes.
const TOLD_IN_SECONDS: i64 = 120;

/// Whose connections are watched.
#[derive(Debug, Clone)]
pub enum Watched {
    /// Those whose names have these parts.
    Named {
        /// Parts of names; without any, all.
        names: Vec<String>,
        /// Only those without a second factor.
        without_mfa: bool,
    },
    /// A person's own.
    Own(UserName),
}

/// Connections that are watched.
#[derive(Debug)]
struct Watch {
    watched: Watched,
    json: bool,
    terminal: bool,
    colour: bool,
    /// What was shown last: nothing is shown twice.
    shown: Option<String>,
    /// What stood in the store, and which policies were in force, at the last look.
    stood: Option<(u64, Timestamp)>,
    /// When time alone changes what is shown; none: never.
    look_at: Option<Timestamp>,
}

/// Begins to watch.
///
/// # Errors
/// A name that no connection has.
pub fn begin(watched: Watched, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (json, terminal, colour) = (asked.json, asked.terminal && !asked.json, asked.colour);
    let mut watch = Watch { watched, json, terminal, colour, shown: None, stood: None, look_at: None };
    let stdout = SecretText::new(watch.look(context)?);
    let reply = AdminReply { stdout, ..AdminReply::default() };
    Ok(Outcome { reply, stream: Some(Box::new(watch)), ..Outcome::default() })
}

impl Stream for Watch {
    fn every(&self) -> Duration {
        EVERY
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        let due = self.look_at.is_some_and(|at| at <= context.now);
        let looked = match due || self.stood != Some(standing(context)) {
            true => self.look(context),
            false => Ok(String::new()),
        };
        match looked {
            Ok(text) if text.is_empty() && self.terminal => reply(clock(context)),
            Ok(text) => reply(text),
            Err(failure) => failed(&failure).reply,
        }
    }
}

impl Watch {
    /// What is to be printed now; nothing when it stands there already.
    fn look(&mut self, context: &Context<'_>) -> Result<String, Failure> {
        self.stood = Some(standing(context));
        let site = Site::read(context.store)?;
        let chosen = match &self.watched {
            Watched::Named { names, .. } => site.having(names)?,
            Watched::Own(user) => key::own(&site, user),
        };
        let mut rows = rows(&site, &chosen, context)?;
        if matches!(self.watched, Watched::Named { without_mfa: true, .. }) {
            rows.retain(|row| !row.has_second_factor());
        }
        self.look_at = rows.iter().filter_map(|row| changes_at(row.deadline?, context.now)).min();
        let text = match self.json {
            true => json_line(&serde_json::json!({ "version": 1, "connections": objects(&rows) })),
            false => table(&rows, self.colour, context),
        };
        // without a terminal the minutes that pass are no change
        let meant = if self.json || self.terminal { text.clone() } else { rows.iter().map(lasting).collect() };
        let before = self.shown.replace(meant);
        if before == self.shown {
            return Ok(String::new());
        }
        Ok(match (before, self.terminal, self.json) {
            (before, true, _) => redrawn(before.is_none(), &text, context),
            (Some(_), false, false) => format!("\n{text}"),
            (_, false, _) => text,
        })
    }
}

fn reply(text: String) -> AdminReply {
    AdminReply { stdout: SecretText::new(text), ..AdminReply::default() }
}

fn standing(context: &Context<'_>) -> (u64, Timestamp) {
    (context.store.changes(), context.policies_since)
}

/// When time alone changes what a table says of a deadline.
fn changes_at(deadline: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let left = deadline.as_second() - now.as_second();
    let wait = match left {
        ..0 => return None,
        0..=TOLD_IN_SECONDS => 1,
        _ => left % 60 + 1,
    };
    Timestamp::from_second(now.as_second() + wait).ok()
}

/// What a row says, without what is left.
fn lasting(row: &KeyRow<'_>) -> String {
    let policy = row.policy().map(|policy| (policy.ordinal, &policy.description));
    format!("{} {policy:?} {:?} {:?} {:?}\n", row.connection.name, row.state, row.reason, row.deadline)
}

/// The clock in the first line and the table under it, over whatever stood there (ECMA-48: CUP, EL, ED).
fn redrawn(first: bool, table: &str, context: &Context<'_>) -> String {
    let clear = if first { "\u{1b}[2J" } else { "" };
    let table = table.replace('\n', "\u{1b}[K\n");
    format!("{clear}\u{1b}[H{}\u{1b}[K\n\u{1b}[K\n{table}\u{1b}[J", heading(context))
}

/// The clock alone; the cursor goes back to where it was (DECSC, DECRC).
fn clock(context: &Context<'_>) -> String {
    format!("\u{1b}7\u{1b}[H{}\u{1b}[K\u{1b}8", heading(context))
}

fn heading(context: &Context<'_>) -> String {
    format!("{}  Ctrl-C ends", context.when().moment(context.now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_alone_changes_a_table_each_minute_and_at_last_each_second() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (left, wait) in [(3600, 1), (3599, 60), (130, 11), (120, 1), (5, 1), (0, 1)] {
            assert_eq!(changes_at(at(1000 + left), at(1000)), Some(at(1000 + wait)), "{left}");
        }
        assert_eq!(changes_at(at(999), at(1000)), None);
    }
}
