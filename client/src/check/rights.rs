//! Who may change interfaces here: this person, or sudo with exactly `wgmfa apply` and `wgmfa interfaces`.

use std::path::Path;
use std::process::{Command, Stdio};

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::findings::Findings;

use crate::rights::Hands;

/// What sudo says of a command, asked without a terminal.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Forbidden,
    /// It would ask for a password before it says so.
    AsksFirst,
}

/// Asks sudo what it would allow; nothing is run and nobody is asked for a password.
pub fn check(findings: &mut Findings) {
    match Hands::find() {
        Err(failure) => findings.fault(failure),
        Ok(Hands::Own) => {}
        Ok(Hands::Sudo { program, .. }) => {
            for command in ["interfaces", "apply"] {
                of_sudo(&program, command, findings);
            }
        }
    }
}

fn of_sudo(program: &Path, command: &str, findings: &mut Findings) {
    let shown = program.display();
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "-l", "--"]).arg(program).arg(command).env("LC_ALL", "C").stdin(Stdio::null());
    let output = match sudo.output() {
        Ok(output) => output,
        Err(error) => {
            let failure =
                Failure::new(Exit::Failed, format!("no right to change WireGuard interfaces, and sudo: {error}"));
            return findings
                .fault(failure.hint("run wgmfa as root, or install sudo; for firewalls alone: tiers-only = true"));
        }
    };
    match answer(output.status.success(), &String::from_utf8_lossy(&output.stderr)) {
        Answer::Allowed => {}
        Answer::AsksFirst => {
            findings.note(format!("sudo asks for a password before it tells whether it allows {shown} {command}"))
        }
        Answer::Forbidden => {
            let failure = Failure::new(Exit::Failed, format!("sudo does not allow {shown} {command}"));
            let rule = format!("%wgmfa ALL=(root) NOPASSWD: {shown} apply, {shown} interfaces");
            findings.fault(failure.hint(format!("adduser NAME wgmfa, and log in anew; without the package, in sudoers(5), by visudo -f /etc/sudoers.d/wgmfa: {rule}")));
        }
    }
}

fn answer(success: bool, said: &str) -> Answer {
    match success {
        true => Answer::Allowed,
        false if said.contains("password is required") => Answer::AsksFirst,
        false => Answer::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_allows_forbids_or_wants_a_password_first() {
        assert_eq!(answer(true, ""), Answer::Allowed);
        assert_eq!(answer(false, "sudo: a password is required\n"), Answer::AsksFirst);
        assert_eq!(answer(false, ""), Answer::Forbidden);
    }
}
