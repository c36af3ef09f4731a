//! `log …`: the audit log.

use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure, sanitise};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::AdminReply;

use super::answer::{Answer, json_line, list, shown};
use super::when::When;
use super::{Asked, Context, Outcome, Stream, evidence};
use crate::cli::words::{LogCommand, LogFilter};
use crate::store::{Event, Filter, Line};

/// How many lines `--follow` begins with when no time is given.
const FIRST_LINES: u32 = 10;

/// How often `--follow` looks for new lines.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// Shows lines, or carries out another act on the log.
///
/// # Errors
/// The filter is wrong, or the store cannot be read.
pub fn run(filter: &LogFilter, act: Option<&LogCommand>, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    match act {
        None if filter.follow => follow(filter, asked, context),
        None => {
            let lines = context.store.log(&wanted(filter, &context.when())?)?;
            Ok(if asked.json { list("lines", &lines) } else { shown(table(&lines, &context.when())) })
        }
        Some(LogCommand::Head) => {
            let head = context.store.log_head()?;
            Ok(shown(match asked.json {
                true => json_line(&serde_json::json!({ "version": 1, "head": head })),
                false => format!("{} {}\n", head.seq, head.hash),
            }))
        }
        Some(LogCommand::Verify { file: None }) => evidence::verify(asked, context),
        Some(LogCommand::Verify { file: Some(_) }) => evidence::verify_input(asked),
        Some(LogCommand::Export { before }) => evidence::export(before, context),
        Some(LogCommand::Prune { seq, hash }) => evidence::prune(*seq, hash, asked, context),
        Some(LogCommand::Accept { reason }) => evidence::accept(reason, asked, context),
    }
}

fn wanted(filter: &LogFilter, when: &When) -> Result<Filter, Failure> {
    let time = |option: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => when.parse(text).map(Some).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{option}: not a time"))
                .hint("write 2026-11-21T15:55:00Z, 2026-11-21, 15:55, or how long ago: 90m, 1d")
        }),
    };
    let event = match &filter.event {
        None => None,
        Some(text) => Some(text.parse::<Event>().map_err(|error| {
            let all: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
            Failure::new(Exit::Usage, format!("--event: {error}")).hint(format!("one of {}", all.join(", ")))
        })?),
    };
    Ok(Filter {
        since: time("--since", &filter.since)?,
        until: time("--until", &filter.until)?,
        user: filter.user.clone(),
        host: filter.host.clone(),
        connection: filter.connection.clone(),
        event,
        ..Filter::default()
    })
}

/// `log --follow` after its first output.
#[derive(Debug)]
pub struct Follow {
    filter: Filter,
    json: bool,
}

fn follow(filter: &LogFilter, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let mut filter = wanted(filter, &context.when())?;
    filter.limit = filter.since.is_none().then_some(FIRST_LINES);
    let lines = context.store.log(&filter)?;
    filter.limit = None;
    filter.after = Some(context.store.log_head()?.seq);
    let follow = Follow { filter, json: asked.json };
    let text = match asked.json {
        true => follow.render(&lines, &context.when()),
        false => format!("{HEADINGS}\n{}", follow.render(&lines, &context.when())),
    };
    let reply = AdminReply { stdout: SecretText::new(text), ..AdminReply::default() };
    Ok(Outcome { reply, stream: Some(Box::new(follow)), ..Outcome::default() })
}

impl Stream for Follow {
    fn every(&self) -> Duration {
        FOLLOW_EVERY
    }

    /// What was written to the audit log since the last call; empty output when nothing that is wanted was.
    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        match context.store.log(&self.filter) {
            Ok(lines) => {
                if let Some(last) = lines.last() {
                    self.filter.after = Some(last.seq);
                }
                AdminReply { stdout: SecretText::new(self.render(&lines, &context.when())), ..AdminReply::default() }
            }
            Err(error) => super::answer::failed(&error.into()).reply,
        }
    }
}

impl Follow {
    fn render(&self, lines: &[Line], when: &When) -> String {
        if self.json {
            return lines.iter().map(|line| json_line(&serde_json::json!(line))).collect();
        }
        lines.iter().map(|line| row(line, when)).collect()
    }
}

const HEADINGS: &str = "   SEQ  TIME                 EVENT                 WHAT";

fn table(lines: &[Line], when: &When) -> String {
    if lines.is_empty() {
        return "no lines\n".to_owned();
    }
    let rows: String = lines.iter().map(|line| row(line, when)).collect();
    format!("{HEADINGS}\n{rows}")
}

/// One line for people: `    15  2026-11-21 15:55:00  released              justin, app-gw/devices:…, generation 7`
fn row(line: &Line, when: &When) -> String {
    let mut what = Vec::new();
    what.extend(line.user.clone());
    what.extend(
        line.actor.as_ref().filter(|actor| Some(*actor) != line.user.as_ref()).map(|actor| format!("by {actor}")),
    );
    what.extend(line.from.as_ref().map(|from| format!("from {from}")));
    if line.connection.is_none() {
        what.extend(line.host.clone());
        what.extend(line.device.clone());
    }
    what.extend(line.connection.clone());
    what.extend(line.generation.map(|generation| format!("generation {generation}")));
    let mut text = what.join(", ");
    if let Some(reason) = &line.reason {
        text = if text.is_empty() { reason.clone() } else { format!("{text}: {reason}") };
    }
    let row = format!("{:6}  {}  {:20}  {text}", line.seq, when.moment(line.time), line.event);
    format!("{}\n", sanitise(&row).replace('\n', " ").trim_end())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn line() -> Line {
        Line {
            seq: 15,
            time: "2026-11-21T14:55:00Z".parse().unwrap(),
            event: "released".to_owned(),
            user: Some("justin".to_owned()),
            actor: None,
            from: Some("192.0.2.7".to_owned()),
            host: Some("app-gw".to_owned()),
            device: Some("justins-laptop".to_owned()),
            connection: Some("app-gw/devices:justins-laptop".to_owned()),
            generation: Some(7),
            reason: Some("login\u{1b}".to_owned()),
            hash: "00".to_owned(),
        }
    }

    #[test]
    fn a_line_of_the_log_reads_as_a_sentence() {
        let when = When::new("2026-11-21T15:00:00Z".parse().unwrap(), TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(
            table(&[line()], &when),
            "   SEQ  TIME                 EVENT                 WHAT\n    15  2026-11-21 15:55:00  released              justin, \
             from 192.0.2.7, app-gw/devices:justins-laptop, generation 7: login?\n"
        );
        assert_eq!(table(&[], &when), "no lines\n");
    }

    #[test]
    fn a_wrong_filter_is_told_where() {
        let when = When::new("2026-11-21T15:00:00Z".parse().unwrap(), TimeZone::UTC);
        let failure = |filter: LogFilter| wanted(&filter, &when).unwrap_err();
        let since = LogFilter { since: Some("soon".to_owned()), ..LogFilter::default() };
        assert_eq!(failure(since).error, "--since: not a time");
        let event = LogFilter { event: Some("x".to_owned()), ..LogFilter::default() };
        let failure = failure(event);
        assert_eq!(failure.error, "--event: no such event");
        assert!(failure.hint.unwrap().starts_with("one of begun, started, "));
    }
}
