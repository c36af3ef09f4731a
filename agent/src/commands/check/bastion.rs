//! The bastion, as this host reaches it: name, port, host key, login, versions, time. Nothing is said there: the bastion's
//! first line is enough, and an agent that is connected stays so.

use std::time::{SystemTime, UNIX_EPOCH};

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::findings::Findings;
use wgmfa_core::message::agent::ToAgent;
use wgmfa_core::version::{Gap, PROGRAM, gap, told};

use crate::commands::wait_for;
use crate::config::Config;
use crate::conversation::challenge;
use crate::{identity, ssh};

/// How far the clocks of both ends may be apart before it is worth a word, in seconds: less than one step of a one-time
/// code, more than any way takes.
const CLOCKS_APART: u64 = 5;

/// What stands between this host and its bastion. It must have a key and the bastion's host key: else that is the fault, and
/// it was named.
pub fn check(config: &Config, findings: &mut Findings) {
    let before = wall();
    let Some(first) = findings.keep(wait_for(first_line(config))) else { return };
    let way = wall() - before;
    let (ToAgent::Challenge { program, clock, .. }, waits) = first else {
        let error = format!("bastion {}: does not speak as expected: no challenge came", config.bastion);
        return findings.fault(Failure::new(Exit::Unreachable, error));
    };
    if waits {
        let next = identity::next_path(&config.identity);
        findings.note(format!("the bastion accepts {} by now: the next round puts it in place", next.display()));
    }
    versions(told(program.as_deref()).as_deref(), findings);
    if let Some(clock) = clock {
        clocks(wall(), clock, way, findings);
    }
}

/// What the bastion says first, and whether it did so to the key that waits to take this host's key's place.
async fn first_line(config: &Config) -> Result<(ToAgent, bool), Failure> {
    let refused = match ssh::connect(config, identity::read(&config.identity)?).await {
        Ok(connection) => return challenge(connection).await.map(|first| (first, false)),
        Err(failure) if failure.exit == Exit::LoginRefused => failure,
        Err(failure) => return Err(failure),
    };
    let Some(next) = identity::next(&config.identity)? else { return Err(refused) };
    let connection = ssh::connect(config, next).await.map_err(|_| refused)?;
    challenge(connection).await.map(|first| (first, true))
}

fn versions(theirs: Option<&str>, findings: &mut Findings) {
    let Some(theirs) = theirs else {
        return findings.note("the bastion does not tell its version: it is older than this program");
    };
    let behind = match gap(PROGRAM, theirs) {
        None => return,
        Some(Gap::TheyAreOlder) => "bring the bastion forward",
        Some(Gap::WeAreOlder) => "bring this host forward",
        Some(Gap::Unknown) => "wgmfa-bastion --version on the bastion",
    };
    let warning = format!("the bastion is wgmfa {theirs}, this is {PROGRAM}: more than one minor version apart");
    findings.warn(warning, behind);
}

/// Seconds since 1970, by this machine's clock.
fn wall() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// `way`: what the question took, in seconds; by so much the answer may be older than it looks.
fn clocks(here: i64, there: i64, way: i64, findings: &mut Findings) {
    let apart = here.saturating_sub(there);
    if apart.unsigned_abs() <= CLOCKS_APART + way.unsigned_abs() {
        return;
    }
    let word = if apart > 0 { "ahead of" } else { "behind" };
    let warning = format!("clock: {} s {word} the bastion's", apart.unsigned_abs());
    findings.warn(warning, "keep both right with chrony or systemd-timesyncd; sessions are not counted by it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_in_seconds() {
        for (here, there, way, told) in [
            (1000, 1000, 0, None),
            (1005, 1000, 0, None),
            (1008, 1000, 4, None),
            (1006, 1000, 0, Some("clock: 6 s ahead of the bastion's")),
            (0, 7200, 0, Some("clock: 7200 s behind the bastion's")),
            (i64::MIN, i64::MAX, 0, Some("clock: 9223372036854775808 s behind the bastion's")),
        ] {
            let mut findings = Findings::default();
            clocks(here, there, way, &mut findings);
            assert_eq!(findings.warnings.first().map(|warning| warning.error.as_str()), told, "{here} {there}");
        }
    }

    #[test]
    fn versions_that_nobody_has_tried_together_are_named() {
        let mut findings = Findings::default();
        versions(Some(PROGRAM), &mut findings);
        assert_eq!(findings, Findings::default());
        versions(Some("7.0.0"), &mut findings);
        assert_eq!(findings.warnings[0].hint.as_deref(), Some("bring this host forward"));
        versions(None, &mut findings);
        assert_eq!((findings.warnings.len(), findings.notes.len()), (1, 1));
    }
}
