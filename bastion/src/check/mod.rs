//! `check`: every fault of configuration, PAM stack, policies, file modes and clock, then a count.

pub mod clock;
pub mod explain;
mod inventory;
pub mod memory;
pub mod pam;
pub mod people;
pub mod policies;
mod this_machine;

use std::path::Path;

use wgmfa_core::diagnostic::{Faults, count};
use wgmfa_core::exit::{Exit, Failure, sanitise};
use wgmfa_core::inventory::Inventory;
use wgmfa_core::policy;
use wgmfa_system::trusted::{self, Readers};

use crate::config::{Config, FirstFactor};
use crate::host_key::change::{Beside, Stage};
use crate::policies::Trust;
use crate::{credential, host_key, store, voice};

/// What was found wrong, and what is allowed and should still be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Each makes the bastion unsafe or keeps it from starting.
    pub faults: Vec<String>,
    /// Each is worth a look.
    pub warnings: Vec<String>,
    /// What could not be looked at, or is not there yet.
    pub notes: Vec<String>,
}

impl Findings {
    /// Adds a fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    fn warning(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// A failure becomes a fault, with its hint behind it.
    fn failure(&mut self, failure: &Failure) {
        let hint = failure.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        self.fault(format!("{}{hint}", failure.error));
    }

    fn faults(&mut self, faults: &Faults) {
        self.faults.extend(faults.as_slice().iter().map(ToString::to_string));
    }

    /// 2 when there are faults.
    pub fn exit(&self) -> Exit {
        if self.faults.is_empty() { Exit::Done } else { Exit::Usage }
    }

    /// Each finding on its line, then the count; or JSON.
    pub fn render(&self, json: bool) -> String {
        if json {
            let Self { faults, warnings, notes } = self;
            let answer = serde_json::json!({ "version": 1, "faults": faults, "warnings": warnings, "notes": notes });
            return format!("{answer}\n");
        }
        let mut text: String = self.faults.iter().map(|fault| format!("{}\n", sanitise(fault))).collect();
        text.extend(self.warnings.iter().map(|warning| format!("warning: {}\n", sanitise(warning))));
        text.extend(self.notes.iter().map(|note| format!("note: {}\n", sanitise(note))));
        text.push_str(&self.count());
        text
    }

    fn count(&self) -> String {
        let faults = count(self.faults.len(), "fault");
        match self.warnings.len() {
            0 => format!("{faults}\n"),
            warnings => format!("{faults}, {}\n", count(warnings, "warning")),
        }
    }
}

/// Checks the configuration at `path` and everything that it names, and prints what was found.
pub fn run(path: &Path, json: bool) -> Exit {
    let findings = match Config::load(path) {
        // only a running keeper knows the connections and the agents
        Ok(config) => {
            let mut findings = everything(&config, &crate::cli::inventory(&config).unwrap_or_default());
            let memory = crate::cli::memory(&config);
            this_machine::check(&config, memory.is_some(), &mut findings);
            match memory {
                Some(memory) => memory.check(&mut findings),
                None => {
                    let note =
                        "the bastion does not answer: its people, its backups and its audit log were not looked at";
                    findings.notes.push(note.to_owned());
                }
            }
            findings
        }
        Err(failure) => {
            let mut findings = Findings::default();
            match trusted::read_text(path, Readers::Anyone).map(|text| Config::parse(path, &text)) {
                Ok(Err(faults)) => findings.faults(&faults),
                _ => findings.failure(&failure),
            }
            findings
        }
    };
    voice::say(&findings.render(json));
    findings.exit()
}

/// Checks everything that the configuration names, and the policies on these connections.
pub fn everything(config: &Config, inventory: &Inventory) -> Findings {
    let mut findings = Findings::default();
    if config.listen.is_empty() && config.agent_listen.is_empty() {
        findings.warning("listen and agent-listen are empty: no agent can come");
    }
    if !config.require_code {
        let path = config.path.display();
        findings.warning(format!("{path}: require-code = false: the second factor is what the PAM stack makes of it"));
    }
    if config.listen.is_empty() && config.first_factor != FirstFactor::Password {
        let path = config.path.display();
        findings.warning(format!("{path}: first-factor has no effect: with listen = [] nobody shows a key here"));
    }
    pam::check(config, &mut findings);
    people::check(config, &mut findings);
    match crate::policies::read(&config.policy_dir, Trust::Required) {
        Ok(set) => {
            let warnings = policy::warnings(&set, inventory);
            // each says by itself that it is one, for where it stands without the others
            let told = |warning: &policy::Warning| warning.to_string().replacen(": warning: ", ": ", 1);
            findings.warnings.extend(warnings.0.iter().map(told));
        }
        Err(faults) => findings.faults(&faults),
    }
    files(config, &mut findings);
    clock::check(&mut findings);
    clock::check_store(config, &mut findings);
    findings
}

/// Keys, folders, and the user of the front.
fn files(config: &Config, findings: &mut Findings) {
    if let Err(failure) = host_key::public_keys(config) {
        findings.failure(&failure);
    }
    match Beside::look(config).map(|beside| beside.stage()) {
        Ok(Stage::Settled) => {}
        Ok(Stage::Announced) => {
            findings.notes.push("the next host key is announced (wgmfa-bastion host-key switch)".to_owned())
        }
        Ok(Stage::Switched) => {
            findings
                .notes
                .push("the host key that was in use before is still there (wgmfa-bastion host-key retire)".to_owned());
        }
        Err(failure) => findings.failure(&failure),
    }
    match trusted::read(&config.sealing_key, Readers::Owner) {
        Ok(key) if key.len() != 32 => {
            let path = config.sealing_key.display();
            findings.fault(format!("{path}: has {} bytes; a sealing key has 32", key.len()));
        }
        Ok(_) => {}
        Err(_) if !config.sealing_key.exists() && credential::stored().is_some() => {}
        Err(failure) => findings.failure(&failure),
    }
    let beside = store::new_key_path(&config.sealing_key);
    if beside.exists() {
        let path = beside.display();
        findings.warning(format!("{path}: a change of the sealing key was cut short; the next start finishes it"));
    }
    if let Err(failure) = trusted::folder(&config.state_dir, Readers::Owner) {
        findings.failure(&failure);
    }
    if config.state_dir.join(store::RESTORING).exists() {
        let path = config.state_dir.display();
        findings.fault(format!("{path}: a restore was cut short (run wgmfa-bastion restore again)"));
    }
    // SQLite keeps its journal in two files beside the store
    let store = ["", "-wal", "-shm"].map(|end| config.state_dir.join(format!("{}{end}", store::FILE_NAME)));
    for file in store.iter().filter(|file| file.exists() || file.is_symlink()) {
        if let Err(failure) = trusted::file(file, Readers::Owner) {
            findings.failure(&failure);
        }
    }
    // `serve` makes it when it is missing
    if (config.run_dir.exists() || config.run_dir.is_symlink())
        && let Err(failure) = trusted::folder(&config.run_dir, Readers::Anyone)
    {
        findings.failure(&failure);
    }
    if nix::unistd::geteuid().is_root() {
        match nix::unistd::User::from_name(&config.front_user) {
            Ok(Some(user)) if user.uid.is_root() => findings.fault("front-user: the front must not run as root"),
            Ok(Some(_)) => {}
            _ => findings.fault(format!(
                "front-user: there is no user {0} on this machine (useradd --system --no-create-home --shell \
                 /usr/sbin/nologin {0})",
                config.front_user
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_all_and_counted() {
        let mut findings = Findings::default();
        assert_eq!(findings.render(false), "no faults\n");
        assert_eq!(findings.exit(), Exit::Done);
        findings.warning("look here");
        assert_eq!(findings.render(false), "warning: look here\nno faults, 1 warning\n");
        findings.failure(&Failure::new(Exit::Failed, "f: bad").hint("mend it"));
        findings.fault("g: bad");
        assert_eq!(findings.render(false), "f: bad (mend it)\ng: bad\nwarning: look here\n2 faults, 1 warning\n");
        findings.notes.push("nobody home".to_owned());
        assert!(findings.render(false).ends_with("warning: look here\nnote: nobody home\n2 faults, 1 warning\n"));
        let json =
            r#"{"faults":["f: bad (mend it)","g: bad"],"notes":["nobody home"],"version":1,"warnings":["look here"]}"#;
        assert_eq!(findings.render(true), format!("{json}\n"));
        assert_eq!(findings.exit(), Exit::Usage);
    }
}
