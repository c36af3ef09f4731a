//! Passwords, codes and keys are in no argument, no environment, no log, and in clear on no disk.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::machine::Machine;

/// A secret, and what it is, for messages: the secret itself stays out of them.
struct Secret {
    what: String,
    text: Vec<u8>,
}

impl Secret {
    fn new(what: &str, text: impl Into<Vec<u8>>) -> Self {
        Self { what: what.to_owned(), text: text.into() }
    }

    /// It stands there by itself, not as a part of a longer word: a code has only six digits.
    fn is_in(&self, bytes: &[u8]) -> bool {
        let is_word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        let ends = |at: usize| {
            is_word(at.checked_sub(1).and_then(|at| bytes.get(at))) || is_word(bytes.get(at + self.text.len()))
        };
        let short = self.text.len() < 10;
        bytes.windows(self.text.len()).enumerate().any(|(at, window)| window == self.text && !(short && ends(at)))
    }
}

#[track_caller]
fn assert_none(secrets: &[Secret], bytes: &[u8], place: &str) {
    let found: Vec<_> = secrets.iter().filter(|secret| secret.is_in(bytes)).map(|secret| &secret.what).collect();
    assert!(found.is_empty(), "{found:?} in {place}");
}

/// The arguments and environments of all processes in these machines, looked at again and again while something happens.
fn watched<T>(machines: &[Arc<Machine>], happens: impl FnOnce() -> T) -> (T, BTreeSet<Vec<u8>>) {
    let namespace = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let named = machines.iter().map(|machine| Path::new("/run/netns").join(machine.namespace()));
    let here: Vec<_> = named.map(|path| namespace(&path).expect("it is there")).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").expect("procfs").flatten() {
                    if !namespace(&process.path().join("ns/net")).is_some_and(|found| here.contains(&found)) {
                        continue;
                    }
                    for file in ["cmdline", "environ"] {
                        seen.extend(std::fs::read(process.path().join(file))); // it may have ended meanwhile
                    }
                }
            }
            seen
        });
        let happened = happens();
        over.store(true, Ordering::Relaxed);
        (happened, watch.join().expect("it only looks"))
    })
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[test]
fn while_and_after_people_log_in() {
    let mut lab = Lab::with_resident_agent("1h");
    let machines = [&lab.bastion.machine, &lab.gateway.machine, &lab.laptop.machine].map(Arc::clone);
    let (mut codes, mut said) = (Vec::new(), Vec::new());
    let ((), seen) = watched(&machines, || {
        said.push(lab.laptop.sync(&[]).ok().said()); // our client
        codes.push(lab.laptop.authenticator.used_code());
        let keys = lab.laptop.ssh(&["wgmfa-sync"]).ok(); // stock ssh
        said.push(keys.stderr);
        codes.push(lab.laptop.authenticator.used_code());
        lab.laptop.set_password("a wrong password");
        said.push(lab.laptop.ssh_as_set(&["wgmfa-sync"]).expect(255).said());
        lab.laptop.set_code(PASSWORD); // typed at the wrong prompt
        lab.laptop.ssh_as_set(&["wgmfa-sync"]).expect(255);
        let words = ["--json", "user", "add", "alice", "--password-stdin"];
        let added = lab.bastion.admin_with(&words, b"another password\n").ok().json();
        codes.push(added["otpauth_url"].as_str().unwrap().split(['=', '&']).nth(1).unwrap().to_owned());
        codes.extend(added["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()));
    });
    lab.laptop.set_password(PASSWORD);

    let [gateway, laptop] = lab.preshared_keys().map(|key| key.unwrap());
    let mut secrets: Vec<Secret> =
        codes.iter().map(|code| Secret::new("a code or its secret", code.as_bytes())).collect();
    for password in [PASSWORD, "another password", "a wrong password"] {
        secrets.push(Secret::new("a password", password));
    }
    secrets.push(Secret::new("the gateway's preshared key", gateway.as_bytes()));
    secrets.push(Secret::new("the laptop's preshared key", laptop.as_bytes()));
    let sealing = std::fs::read(lab.bastion.folder().join("sealing.key")).unwrap();
    secrets.push(Secret::new("the sealing key", sealing));

    assert!(seen.len() > 10, "there were processes to look at");
    for bytes in &seen {
        let first = String::from_utf8_lossy(bytes).split('\0').next().unwrap_or_default().to_owned();
        assert_none(&secrets, bytes, &format!("an argument or environment: {first} …"));
    }
    for text in &said {
        assert_none(&secrets, text.as_bytes(), "what a person reads");
    }
    for daemon in [lab.bastion.serve.as_ref(), lab.gateway.agent.as_ref()] {
        assert_none(&secrets, daemon.unwrap().said().as_bytes(), "a program's log");
    }
    for words in [
        &["--json", "log"][..],
        &["--json", "status"],
        &["--json", "inventory"],
        &["--json", "key", "list"],
        &["--json", "user", "list"],
        &["why", "justin"],
    ] {
        assert_none(&secrets, lab.bastion.admin(words).said().as_bytes(), &words.join(" "));
    }
    for words in [&["status", "--json"][..], &["rotate", "--dry-run"], &["check"]] {
        assert_none(&secrets, lab.gateway.agent(words).said().as_bytes(), &words.join(" "));
    }
    assert_none(&secrets, lab.laptop.status().to_string().as_bytes(), "wgmfa status");

    let on_disk = [
        lab.bastion.folder().join("state"),
        lab.bastion.folder().join("run"),
        lab.gateway.machine.path("agent-state"),
        "/run/wgmfa-client".into(),
    ];
    let mut looked_at = 0;
    for file in on_disk.iter().flat_map(|folder| files(folder)) {
        let Ok(bytes) = std::fs::read(&file) else { continue }; // a socket
        looked_at += 1;
        assert_none(&secrets, &bytes, &file.display().to_string());
    }
    assert!(looked_at > 3, "there are files to look at");
}
