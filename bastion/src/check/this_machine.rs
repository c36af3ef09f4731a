//! What `check` asks of the machine itself, in a process of its own: whether the clock is kept right, and whether the ports
//! are free or the bastion's own. The running bastion does not ask: its sandbox has no such system calls.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use super::Findings;
use super::clock::synchronised;
use crate::config::Config;
use wgmfa_system::trusted::io_words;

/// Adds what is wrong with the clock's service and the addresses.
pub fn check(config: &Config, runs: bool, findings: &mut Findings) {
    // a time service that says more was looked at already
    if synchronised() != Some(false) && wgmfa_system::clock::is_synchronised() == Some(false) {
        findings.warning("clock: no time service keeps it right, and one-time codes need it (install chrony, or timedatectl set-ntp true)");
    }
    if !runs {
        let addresses = config.listen.iter().chain(&config.agent_listen);
        addresses.filter_map(|address| cannot_listen(*address)).for_each(|fault| findings.fault(fault));
    }
    if config.listen.is_empty() {
        sshd(findings);
    }
}

/// What the site's own sshd must be told, by its own account of its configuration (`sshd -T`).
fn sshd(findings: &mut Findings) {
    let output = Command::new("/usr/sbin/sshd").arg("-T").stdin(Stdio::null()).output();
    match output.ok().filter(|output| output.status.success()) {
        Some(output) => {
            sshd_faults(&String::from_utf8_lossy(&output.stdout)).into_iter().for_each(|fault| findings.fault(fault))
        }
        None => findings
            .notes
            .push("sshd -T told nothing: the configuration of this machine's sshd was not looked at".to_owned()),
    }
}

fn sshd_faults(told: &str) -> Vec<String> {
    let has = |wanted: &str| told.lines().any(|line| line == wanted || line.starts_with(&format!("{wanted} ")));
    let mut faults = Vec::new();
    for (wanted, line, what) in [
        ("usepam yes", "UsePAM yes", "nobody is asked by PAM"),
        ("kbdinteractiveauthentication yes", "KbdInteractiveAuthentication yes", "nobody can be asked for a code"),
        ("subsystem wgmfa-sync", "Subsystem wgmfa-sync /usr/bin/wgmfa-sync", "wgmfa sync gets nothing"),
    ] {
        if !has(wanted) {
            faults.push(format!("sshd_config: no line '{line}': {what} (add it, then systemctl reload ssh)"));
        }
    }
    faults
}

/// Why nobody could listen there, as long as the bastion does not run.
fn cannot_listen(address: SocketAddr) -> Option<String> {
    let port = address.port();
    let error = TcpListener::bind(address).err()?;
    Some(match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("listen: {address}: port {port} is in use by another program (ss -ltnp 'sport = :{port}' shows it)")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("listen: {address}: this machine does not have that address (ip address)")
        }
        // without root, for a trial, a low port is no fault of the configuration
        std::io::ErrorKind::PermissionDenied => return None,
        _ => format!("listen: {address}: {}", io_words(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_is_not_told_is_named() {
        let good = "port 22\nusepam yes\nkbdinteractiveauthentication yes\nsubsystem wgmfa-sync /usr/bin/wgmfa-sync\n";
        assert_eq!(sshd_faults(good), [""; 0]);
        let bad = "usepam no\nkbdinteractiveauthentication yes\nsubsystem wgmfa-sync-old /x\n";
        let faults = sshd_faults(bad);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].starts_with("sshd_config: no line 'UsePAM yes'"), "{faults:?}");
        assert!(faults[1].contains("'Subsystem wgmfa-sync /usr/bin/wgmfa-sync'"), "{faults:?}");
    }

    #[test]
    fn a_port_of_another_program_and_an_address_of_another_machine_are_named() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let said = cannot_listen(address).unwrap();
        assert!(said.contains("is in use by another program (ss -ltnp"), "{said}");
        drop(other);
        assert_eq!(cannot_listen(address), None);
        let said = cannot_listen("192.0.2.1:2222".parse().unwrap()).unwrap();
        assert_eq!(said, "listen: 192.0.2.1:2222: this machine does not have that address (ip address)");
    }
}
