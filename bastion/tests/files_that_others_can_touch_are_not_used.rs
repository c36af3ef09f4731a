//! `serve` does not start on files and folders that others could have written or read, and `check` names each of them.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::unistd::geteuid;

/// Nobody's user id on Debian, and anybody's but ours.
const NOBODY: u32 = 65534;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A trial with a store.
struct Trial {
    _temporary: tempfile::TempDir,
    folder: PathBuf,
}

impl Trial {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().canonicalize().unwrap().join("trial");
        let trial = Self { _temporary: temporary, folder };
        assert!(trial.run(&["init", "--dir", trial.folder.to_str().unwrap()]).status.success());
        let config = std::fs::read_to_string(trial.path("bastion.toml")).unwrap();
        let config = config.replace("[\"0.0.0.0:2222\", \"[::]:2222\"]", "[\"127.0.0.1:0\"]");
        std::fs::write(trial.path("bastion.toml"), config).unwrap();
        for (name, mode) in [("wgmfa.db", 0o600), ("wgmfa.db-wal", 0o600), ("wgmfa.db-shm", 0o600)] {
            std::fs::write(trial.path("state").join(name), "").unwrap();
            set_permissions(trial.path("state").join(name), Permissions::from_mode(mode)).unwrap();
        }
        trial
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion"));
        command.args(words).arg("--config").arg(self.path("bastion.toml"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// `serve` ends with status 2 and exactly this; `check` names the same fault.
    #[track_caller]
    fn refused(&self, error: &str, hint: Option<&str>) {
        let served = self.run(&["serve"]);
        let hint_line = hint.map(|hint| format!("wgmfa-bastion: hint: {hint}\n")).unwrap_or_default();
        let expected = format!("wgmfa-bastion: error: {error}\n{hint_line}");
        assert_eq!((served.status.code(), text(&served.stderr)), (Some(2), expected.as_str()));
        self.named(error, hint);
    }

    /// The same for a fault of the policies.
    #[track_caller]
    fn broken(&self, fault: &str) {
        let served = self.run(&["serve"]);
        let expected = format!("wgmfa-bastion: error: broken configuration\n{fault}\n1 fault\n");
        assert_eq!((served.status.code(), text(&served.stderr)), (Some(2), expected.as_str()));
        self.named(fault, None);
    }

    /// `check` ends with status 2 and names this fault, and what mends it.
    #[track_caller]
    fn named(&self, error: &str, hint: Option<&str>) {
        let checked = self.run(&["check"]);
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let line = format!("{error}{hint}\n");
        assert_eq!(checked.status.code(), Some(2), "{}", text(&checked.stdout));
        assert!(text(&checked.stdout).contains(&line), "{line}--- not in\n{}", text(&checked.stdout));
    }

    fn set_mode(&self, name: &str, mode: u32) -> u32 {
        let path = self.path(name);
        let before = path.metadata().unwrap().permissions().mode() & 0o7777;
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
        before
    }

    /// Puts a symbolic link in the place of a file or folder while `look` looks.
    fn as_a_link(&self, name: &str, look: impl FnOnce()) {
        let (path, aside) = (self.path(name), self.path("aside"));
        std::fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        look();
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn keys_and_services_that_others_can_touch_stop_the_start() {
    let trial = Trial::new();
    for (name, mode, what, chmod) in [
        ("sealing.key", 0o640, "others can read it", "go-rwx"),
        ("sealing.key", 0o602, "others can write to it", "go-rwx"),
        ("ssh_host_ed25519_key", 0o604, "others can read it", "go-rwx"),
        ("pam.d/wgmfa", 0o664, "others can write to it", "go-w"),
    ] {
        let path = shown(&trial.path(name));
        let before = trial.set_mode(name, mode);
        trial.refused(&format!("{path}: mode {mode:04o}: {what}"), Some(&format!("chmod {chmod} {path}")));
        trial.set_mode(name, before);
        if geteuid().is_root() {
            chown(&path, Some(NOBODY), None).unwrap();
            let error = format!("{path}: belongs to user id {NOBODY}, not to root");
            trial.refused(&error, Some(&format!("chown root {path}")));
            chown(&path, Some(0), None).unwrap();
        }
    }
    for name in ["sealing.key", "ssh_host_ed25519_key"] {
        trial.as_a_link(name, || {
            let error = format!("{}: is a symbolic link", shown(&trial.path(name)));
            trial.refused(&error, Some("put the file itself there"));
        });
    }
}

#[test]
fn policies_that_others_can_write_stop_the_start() {
    let trial = Trial::new();
    let (folder, file) = (trial.path("policy.d"), trial.path("policy.d/500-example.toml"));
    for (path, mode) in [(&folder, 0o775), (&file, 0o646)] {
        let before = path.metadata().unwrap().permissions();
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let path_shown = shown(path);
        trial.broken(&format!("{path_shown}: mode {mode:04o}: others can write to it (chmod go-w {path_shown})"));
        set_permissions(path, before).unwrap();
    }
    trial.as_a_link("policy.d/500-example.toml", || {
        trial.broken(&format!("{}: is a symbolic link (put the file itself there)", shown(&file)));
    });
    trial.as_a_link("policy.d", || trial.broken(&format!("{}: is a symbolic link", shown(&folder))));
}

#[test]
fn a_store_that_others_can_touch_stops_the_start() {
    let trial = Trial::new();
    for (name, mode) in [("state", 0o750), ("state/wgmfa.db", 0o640), ("state/wgmfa.db-wal", 0o604)] {
        let path = shown(&trial.path(name));
        let before = trial.set_mode(name, mode);
        let served = trial.run(&["serve"]);
        assert_eq!(served.status.code(), Some(2), "{}", text(&served.stderr));
        assert!(text(&served.stderr).contains(&format!("{path}: mode {mode:04o}: ")), "{}", text(&served.stderr));
        trial.named(&format!("{path}: mode {mode:04o}: others can read it"), Some(&format!("chmod go-rwx {path}")));
        trial.set_mode(name, before);
    }
    for name in ["state", "state/wgmfa.db"] {
        trial.as_a_link(name, || {
            let error = format!("{}: is a symbolic link", shown(&trial.path(name)));
            let served = trial.run(&["serve"]);
            assert_eq!(served.status.code(), Some(2), "{}", text(&served.stderr));
            assert!(text(&served.stderr).contains(&error), "{}", text(&served.stderr));
            trial.named(&error, (name == "state/wgmfa.db").then_some("put the file itself there"));
        });
    }
}

#[test]
fn a_folder_of_sockets_that_others_can_write_stops_the_start() {
    let trial = Trial::new();
    let path = shown(&trial.path("run"));
    std::fs::remove_dir_all(trial.path("state")).unwrap();
    trial.set_mode("run", 0o777);
    trial.refused(&format!("{path}: mode 0777: others can write to it"), Some(&format!("chmod go-w {path}")));
}

#[test]
fn what_is_missing_or_is_something_else_is_told() {
    let trial = Trial::new();
    let key = trial.path("ssh_host_ed25519_key");
    let good = std::fs::read(&key).unwrap();
    std::fs::write(&key, "hello\n").unwrap();
    let hint = "ssh-keygen -t ed25519 -N '' makes one, and so does wgmfa-bastion init when the file is missing";
    trial.refused(&format!("{}: not an OpenSSH private key", shown(&key)), Some(hint));
    std::fs::write(&key, good).unwrap();

    let sealing = trial.path("sealing.key");
    std::fs::write(&sealing, [7; 31]).unwrap();
    trial.named(&format!("{}: has 31 bytes; a sealing key has 32", shown(&sealing)), None);
    assert_eq!(trial.run(&["serve"]).status.code(), Some(2));
    std::fs::remove_file(&sealing).unwrap();
    trial.refused(&format!("{}: no such file or folder", shown(&sealing)), None);

    let trial = Trial::new();
    let service = trial.path("pam.d/wgmfa");
    std::fs::remove_file(&service).unwrap();
    let error =
        format!("{}: no such PAM service file: PAM would take the service 'other' in its place", shown(&service));
    trial.refused(&error, Some("wgmfa-bastion init makes it"));
}
