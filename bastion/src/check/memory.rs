//! What only the running bastion remembers, as its `status --json` tells it: people who can never log in, the last backup,
//! and lines of the audit log that are missing.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wgmfa_core::version::{Gap, PROGRAM, gap};

use super::Findings;

/// A backup that is older than this is worth a word.
const BACKUP_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The part of `status --json` that is looked at.
#[derive(Debug, Default, Deserialize)]
pub struct Memory {
    clock: Clock,
    log: Log,
    backup: Backup,
    shut_out: Vec<String>,
    #[serde(default)]
    agents: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
struct Agent {
    host: String,
    /// The version of its program, if it has told.
    program: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Clock {
    now: Timestamp,
}

#[derive(Debug, Default, Deserialize)]
struct Log {
    lost: Vec<Lost>,
}

#[derive(Debug, Deserialize)]
struct Lost {
    host: String,
    seq: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Backup {
    made: Option<Timestamp>,
}

impl Memory {
    /// Adds what is worth a look.
    pub fn check(&self, findings: &mut Findings) {
        for Lost { host, seq } in &self.log.lost {
            findings.fault(format!(
                "audit log: line {seq}, which {host} has seen, is not there (wgmfa-bastion log verify)"
            ));
        }
        self.shut_out.iter().for_each(|told| findings.warning(told));
        for Agent { host, program } in &self.agents {
            let Some(theirs) = program.as_deref() else { continue };
            let behind = match gap(PROGRAM, theirs) {
                None => continue,
                Some(Gap::WeAreOlder) => "bring this bastion forward".to_owned(),
                Some(Gap::TheyAreOlder | Gap::Unknown) => format!("bring {host} forward"),
            };
            let apart =
                format!("the agent of {host} is wgmfa {theirs}, this is {PROGRAM}: more than one minor version apart");
            findings.warning(format!("{apart} ({behind})"));
        }
        let age = self.backup.made.map(|made| self.clock.now.duration_since(made));
        match age {
            None => findings.notes.push("no backup was made yet (wgmfa-bastion backup FILE)".to_owned()),
            Some(age) if age > BACKUP_AGE => {
                findings.warning(format!(
                    "the last backup is {} days old (wgmfa-bastion backup FILE)",
                    age.as_hours() / 24
                ));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Findings {
        let mut findings = Findings::default();
        serde_json::from_str::<Memory>(text).unwrap().check(&mut findings);
        findings
    }

    #[test]
    fn people_shut_out_old_backups_and_missing_lines_are_named() {
        let findings = found(
            r#"{"version": 1, "clock": {"now": "2026-11-21T15:00:00Z", "faults": []}, "shut_out": ["ann can never log in"],
                "log": {"head": {}, "lost": [{"host": "app-gw", "seq": 7, "hash": ""}]},
                "backup": {"made": "2026-11-01T15:00:00Z"}}"#,
        );
        assert_eq!(
            findings.faults,
            ["audit log: line 7, which app-gw has seen, is not there (wgmfa-bastion log verify)"]
        );
        let warnings = ["ann can never log in", "the last backup is 20 days old (wgmfa-bastion backup FILE)"];
        assert_eq!(findings.warnings, warnings);
        let good = r#"{"clock": {"now": "2026-11-21T15:00:00Z"}, "shut_out": [], "log": {"lost": []},
                       "backup": {"made": "2026-11-15T15:00:00Z"}}"#;
        assert_eq!(found(good), Findings::default());
    }

    #[test]
    fn agents_that_are_too_far_apart_are_named() {
        let agent = |program: &str| {
            let text = r#"{"clock": {"now": "2026-11-21T15:00:00Z"}, "shut_out": [], "log": {"lost": []},
                           "backup": {"made": "2026-11-15T15:00:00Z"}, "agents": [{"host": "app-gw", "program": VERSION}]}"#;
            found(&text.replace("VERSION", program)).warnings
        };
        for near in ["null", &format!("\"{PROGRAM}\"")] {
            assert_eq!(agent(near), [""; 0]);
        }
        let warnings = agent("\"9.1.0\"");
        assert!(warnings.len() == 1 && warnings[0].ends_with("(bring this bastion forward)"), "{warnings:?}");
    }
}
