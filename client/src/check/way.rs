//! The way to the bastion, as `ssh` finds it with all of the person's configuration: asked without a password, a code or a
//! key, so that nobody is charged with a failed login. Where `ssh` gets before it is refused tells how far the way goes.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::findings::Findings;

use crate::bastion::Bastion;
use crate::person::Person;

/// Nothing is asked, nothing is trusted anew, and no key is shown.
const QUIETLY: [&str; 14] = [
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=yes",
    "-o",
    "PreferredAuthentications=none",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ControlMaster=no",
    "-o",
    "ControlPath=none",
    "-o",
    "LogLevel=INFO",
];

/// Goes as far as it can without a login.
pub fn check(bastion: &Bastion, ssh_options: &[OsString], person: Option<&Person>, findings: &mut Findings) {
    let mut ssh = Command::new("ssh");
    // what is given first counts
    ssh.args(QUIETLY).args(ssh_options).args(["-T", "-s", "--", bastion.as_str(), "wgmfa-sync"]);
    ssh.stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some(person) = person {
        person.lends_itself_to(&mut ssh);
    }
    match ssh.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            judge(bastion, output.status.success(), &said).into_iter().for_each(|fault| findings.fault(fault));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.fault(Failure::new(Exit::Failed, "ssh: not installed").hint("apt install openssh-client"));
        }
        Err(error) => findings.fault(Failure::new(Exit::Failed, format!("ssh: {error}"))),
    }
}

/// What stops `ssh` before the questions, by its own words.
fn judge(bastion: &Bastion, came_in: bool, said: &str) -> Option<Failure> {
    let unreachable =
        |what: &str, hint: String| Some(Failure::new(Exit::Unreachable, format!("{bastion}: {what}")).hint(hint));
    let trying = || format!("ssh -v {bastion} shows where it stops");
    let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if came_in {
        let error = format!("{bastion}: lets somebody in who has shown no factor at all");
        return Some(Failure::new(Exit::Failed, error).hint("tell its administrator; is it the right host and port?"));
    }
    if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        return unreachable(
            "its host key is not the one in known_hosts",
            format!(
                "it may have a new key, or somebody stands in between: get the right line from its administrator \
                 (wgmfa-bastion host-key), then ssh-keygen -R for the old one; ssh -v {bastion} names the file"
            ),
        );
    }
    if has(&["Host key verification failed", "host key is known for"]) {
        let hint = "get the line from its administrator (wgmfa-bastion host-key) and put it into ~/.ssh/known_hosts, with the \
                    name that you write in front";
        return unreachable("its host key is not known here", hint.to_owned());
    }
    if has(&["Could not resolve hostname", "Name or service not known", "Temporary failure in name resolution"]) {
        return unreachable("its name does not resolve", "getent hosts NAME tells more; is the network up?".to_owned());
    }
    if has(&["Connection refused"]) {
        return unreachable(
            "nothing listens there (connection refused)",
            "is it the right port? 2222 by default".to_owned(),
        );
    }
    if has(&["timed out", "No route to host", "Network is unreachable"]) {
        let hint =
            "is the network up, and does the way to it run through the tunnel that is locked? ip route get ADDRESS";
        return unreachable("no answer within 10 s", hint.to_owned());
    }
    let Some(methods) = said.split("Permission denied (").nth(1).and_then(|rest| rest.split(')').next()) else {
        return unreachable("ssh does not come as far as the login", trying());
    };
    if methods.split(',').any(|method| matches!(method, "keyboard-interactive" | "publickey")) {
        return None;
    }
    let error = format!("{bastion}: asks for no one-time code (it offers {methods})");
    Some(
        Failure::new(Exit::Failed, error).hint("its sshd_config needs KbdInteractiveAuthentication yes and UsePAM yes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_is_said_apart() {
        let bastion: Bastion = "b".parse().unwrap();
        let told = |said: &str| judge(&bastion, false, said).map(|failure| failure.error);
        assert_eq!(told("ann@b: Permission denied (publickey,keyboard-interactive).\r\n"), None);
        for (said, error) in [
            ("ssh: Could not resolve hostname b: Name or service not known", "b: its name does not resolve"),
            ("ssh: connect to host b port 22: Connection refused", "b: nothing listens there (connection refused)"),
            ("ssh: connect to host b port 22: Connection timed out", "b: no answer within 10 s"),
            ("ssh: connect to host b port 22: Network is unreachable", "b: no answer within 10 s"),
            (
                "No ED25519 host key is known for b and you have requested strict checking.\r\nHost key verification failed.",
                "b: its host key is not known here",
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                "b: its host key is not the one in known_hosts",
            ),
            ("ann@b: Permission denied (password).", "b: asks for no one-time code (it offers password)"),
            ("kex_exchange_identification: read: Connection reset by peer", "b: ssh does not come as far as the login"),
        ] {
            assert_eq!(told(said).as_deref(), Some(error), "{said}");
        }
        assert!(judge(&bastion, true, "").unwrap().error.contains("no factor at all"));
    }
}
