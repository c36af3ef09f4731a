//! `init --dir` makes a trial below one folder; what is there stays as it is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bastion(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion")).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every file below a folder with its mode and content.
fn tree(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, mode, Vec::new()));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.push((path, mode, content));
        }
    }
    found.sort();
    found
}

#[test]
fn init_makes_a_trial_once_and_then_changes_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("trial");
    let words = ["init", "--dir", dir.to_str().unwrap()];

    let output = bastion(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in ["made ", "Next steps:", "Host bastion\n    HostName ", "    Port 2222\n", " ssh-ed25519 AAAA"] {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    let made = tree(&dir);
    let mode = |name: &str| made.iter().find(|(path, ..)| *path == dir.join(name)).map(|(_, mode, _)| *mode);
    for (name, expected) in [
        ("bastion.toml", 0o644),
        ("pam.d/wgmfa", 0o644),
        ("policy.d/500-example.toml", 0o644),
        ("ssh_host_ed25519_key", 0o600),
        ("ssh_host_ed25519_key.pub", 0o644),
        ("sealing.key", 0o600),
        ("state", 0o700),
        ("run", 0o755),
    ] {
        assert_eq!(mode(name), Some(expected), "{name}");
    }
    let service = std::fs::read_to_string(dir.join("pam.d/wgmfa")).unwrap();
    assert_eq!(
        service.matches(&format!("socket={}/run/keeper.sock", dir.canonicalize().unwrap().display())).count(),
        3
    );

    let again = bastion(&words);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).starts_with("unchanged\n"), "{}", text(&again.stdout));
    assert_eq!(tree(&dir), made);

    let json = bastion(&[&words[..], &["--json"]].concat());
    assert_eq!(text(&json.stdout), "{\"changed\":false,\"made\":[],\"version\":1}\n");
}

#[test]
fn what_init_makes_passes_the_checks() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().to_str().unwrap();
    assert!(bastion(&["init", "--dir", dir]).status.success());
    let config = format!("{dir}/bastion.toml");

    let policies = bastion(&["policy", "check", "--config", &config]);
    assert_eq!((policies.status.code(), text(&policies.stdout)), (Some(0), "1 policy, no faults\n"));

    let check = bastion(&["check", "--config", &config]);
    let shown = text(&check.stdout);
    // the machine that runs the tests may have no such module, and a program that listens on the same port
    let faults = shown.lines().filter(|line| !line.starts_with("warning: ") && !line.starts_with("note: "));
    let others = |line: &&str| !line.starts_with("pam_wgmfa.so: no such PAM module") && !line.starts_with("listen: ");
    let rest: Vec<&str> = faults.filter(others).collect();
    assert!(rest.len() == 1 && (rest[0].starts_with("no faults") || rest[0].contains(" fault")), "{shown}");
}

#[test]
fn a_new_sealing_key_is_not_made_for_an_old_store() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().canonicalize().unwrap();
    let words = ["init", "--dir", dir.to_str().unwrap()];
    assert!(bastion(&words).status.success());
    std::fs::write(dir.join("state/wgmfa.db"), "x").unwrap();
    std::fs::remove_file(dir.join("sealing.key")).unwrap();

    let output = bastion(&words);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "wgmfa-bastion: error: {0}/sealing.key: missing, but {0}/state is sealed with it\nwgmfa-bastion: hint: put the sealing \
         key back; a new one cannot open the old store\n",
        dir.display()
    );
    assert_eq!(text(&output.stderr), expected);
    assert!(!dir.join("sealing.key").exists());
}
