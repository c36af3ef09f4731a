//! A broken configuration is shown whole and nothing starts; a keeper that does not run is told as such.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn bastion(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion")).args(words).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A trial whose folder vanishes with the test, and the path of its configuration.
fn trial() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    assert!(bastion(&["init", "--dir", temporary.path().to_str().unwrap()]).status.success());
    let config = temporary.path().join("bastion.toml");
    (temporary, config)
}

#[test]
fn every_fault_of_the_configuration_is_told_and_nothing_starts() {
    let (_trial, config) = trial();
    let shown = config.display().to_string();
    let broken =
        std::fs::read_to_string(&config).unwrap().replace("\"password\"\n", "\"none\"\n") + "colour = \"red\"\n";
    std::fs::write(&config, &broken).unwrap();
    let line = |start: &str| broken.lines().position(|line| line.starts_with(start)).unwrap() + 1;

    let output = bastion(&["serve", "--config", &shown]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(complaint.starts_with("wgmfa-bastion: error: broken configuration\n"), "{complaint}");
    let first =
        format!("{shown}:{}:16: first-factor: write \"password\", \"publickey\" or \"either\"\n", line("first-factor"));
    assert!(complaint.contains(&first), "{complaint}");
    assert!(complaint.contains(&format!("{shown}:{}:1: ", line("colour"))), "{complaint}");
    assert!(complaint.ends_with("\n2 faults\n"), "{complaint}");

    let check = bastion(&["check", "--config", &shown]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check.stdout).ends_with("\n2 faults\n"), "{}", text(&check.stdout));
}

#[test]
fn a_file_that_others_can_write_is_not_used() {
    let (trial, config) = trial();
    let shown = config.display().to_string();
    std::fs::set_permissions(&config, Permissions::from_mode(0o666)).unwrap();
    let output = bastion(&["serve", "--config", &shown]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "wgmfa-bastion: error: {shown}: mode 0666: others can write to it\nwgmfa-bastion: hint: chmod go-w {shown}\n"
    );
    assert_eq!(text(&output.stderr), expected);

    std::fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
    let key = trial.path().canonicalize().unwrap().join("sealing.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let check = bastion(&["check", "--config", &shown]);
    let fault = format!("{0}: mode 0640: others can read it (chmod go-rwx {0})\n", key.display());
    assert!(text(&check.stdout).contains(&fault), "{}", text(&check.stdout));
}

#[test]
fn a_missing_pam_service_and_one_that_lets_everyone_in_are_faults() {
    let (trial, config) = trial();
    let shown = config.display().to_string();
    let service = trial.path().canonicalize().unwrap().join("pam.d/wgmfa");
    std::fs::write(&service, "auth required pam_permit.so\naccount required pam_permit.so\n").unwrap();
    let check = bastion(&["check", "--config", &shown]);
    assert_eq!(check.status.code(), Some(2));
    let fault = format!("{}: pam_wgmfa.so is not in the auth stack: every login will be refused", service.display());
    assert!(text(&check.stdout).contains(&fault), "{}", text(&check.stdout));

    std::fs::remove_file(&service).unwrap();
    let check = bastion(&["check", "--config", &shown]);
    let fault = format!("{}: no such PAM service file", service.display());
    assert!(text(&check.stdout).contains(&fault), "{}", text(&check.stdout));
    let serve = bastion(&["serve", "--config", &shown]);
    assert_eq!(serve.status.code(), Some(2), "{}", text(&serve.stderr));
}

#[test]
fn a_keeper_that_does_not_run_is_told_as_such() {
    let (trial, config) = trial();
    let socket = trial.path().canonicalize().unwrap().join("run/admin.sock");
    let output = bastion(&["key", "list", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
    let expected = format!(
        "wgmfa-bastion: error: {}: no such file or folder\nwgmfa-bastion: hint: the bastion does not run: systemctl start \
         wgmfa-bastion, or wgmfa-bastion serve\n",
        socket.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn a_password_is_not_asked_for_without_a_terminal() {
    let (_trial, config) = trial();
    let output = bastion(&["user", "add", "justin", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("wgmfa-bastion: error: no password\n"), "{}", text(&output.stderr));
}
