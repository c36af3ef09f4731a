//! What a `check` finds: faults and warnings, each with what mends it, and what could not be looked at.

use crate::diagnostic::count;
use crate::exit::{Exit, Failure, sanitise};

/// What was found wrong, and what is allowed and should still be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Each keeps something from working, or makes it unsafe.
    pub faults: Vec<Failure>,
    /// Each is worth a look; their exit status is of no meaning.
    pub warnings: Vec<Failure>,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

impl Findings {
    /// Adds a fault.
    pub fn fault(&mut self, fault: Failure) {
        self.faults.push(fault);
    }

    /// Adds a warning, with what mends it.
    pub fn warn(&mut self, warning: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Failure::new(Exit::Done, warning).hint(hint));
    }

    /// Adds what could not be looked at.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Takes the failure of a step for a fault; what the step gave otherwise.
    pub fn keep<T>(&mut self, step: Result<T, Failure>) -> Option<T> {
        step.map_err(|failure| self.fault(failure)).ok()
    }

    /// Faults, warnings and notes for people, in the one voice, to standard error; the count is not among them.
    pub fn lines(&self, program: &str) -> String {
        let mut lines: String = self.faults.iter().map(|fault| fault.lines(program)).collect();
        for Failure { error, hint, .. } in &self.warnings {
            lines.push_str(&format!("{program}: warning: {}\n", sanitise(error)));
            lines.extend(hint.iter().map(|hint| format!("{program}: hint: {}\n", sanitise(hint))));
        }
        lines.extend(self.notes.iter().map(|note| format!("{program}: note: {}\n", sanitise(note))));
        lines
    }

    /// `2 faults, 1 warning`
    pub fn count(&self) -> String {
        let faults = count(self.faults.len(), "fault");
        match self.warnings.len() {
            0 => faults,
            warnings => format!("{faults}, {}", count(warnings, "warning")),
        }
    }

    /// For programs, as `wgmfa-bastion check --json` tells it.
    pub fn json(&self) -> serde_json::Value {
        let told = |found: &Failure| match &found.hint {
            Some(hint) => format!("{} ({hint})", found.error),
            None => found.error.clone(),
        };
        let [faults, warnings] = [&self.faults, &self.warnings].map(|all| all.iter().map(told).collect::<Vec<_>>());
        serde_json::json!({ "version": 1, "faults": faults, "warnings": warnings, "notes": self.notes })
    }

    /// What the faults have in common: all of one kind end with that kind's status. Else something broken on this machine
    /// counts for more than the other side.
    pub fn exit(&self) -> Exit {
        let has = |exit: Exit| self.faults.iter().any(|fault| fault.exit == exit);
        if has(Exit::Usage) || has(Exit::Failed) {
            return Exit::Usage;
        }
        let order = [Exit::Partly, Exit::LoginRefused, Exit::Unreachable, Exit::LoginNeeded];
        order.into_iter().find(|exit| has(*exit)).unwrap_or(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_a_line_and_what_mends_it_and_all_are_counted() {
        let mut findings = Findings::default();
        assert_eq!(
            (findings.lines("p"), findings.count(), findings.exit()),
            (String::new(), "no faults".into(), Exit::Done)
        );
        findings.warn("the clock is 7 s off", "chronyc makestep");
        assert_eq!(findings.exit(), Exit::Done);
        findings.fault(Failure::new(Exit::Unreachable, "no answer\u{1b}[2J").hint("try: ssh b"));
        findings.note("c was not looked at");
        assert_eq!(
            findings.lines("p"),
            "p: error: no answer?[2J\np: hint: try: ssh b\np: warning: the clock is 7 s off\np: hint: chronyc makestep\n\
             p: note: c was not looked at\n"
        );
        assert_eq!((findings.count().as_str(), findings.exit()), ("1 fault, 1 warning", Exit::Unreachable));
        findings.fault(Failure::new(Exit::Partly, "a"));
        assert_eq!(findings.exit(), Exit::Partly);
        findings.fault(Failure::new(Exit::Failed, "b"));
        assert_eq!(findings.exit(), Exit::Usage);
        let json = findings.json();
        assert_eq!(json["warnings"][0], "the clock is 7 s off (chronyc makestep)");
        assert_eq!(json["faults"].as_array().map(Vec::len), Some(3));
    }
}
