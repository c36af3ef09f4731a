//! The front with a scripted keeper behind it and stock `ssh` before it.
#![allow(dead_code, missing_docs, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{Admits, FromFront, Limits, ToFront};
use wgmfa_core::message::worker::{Prompt, PromptKind};
use wgmfa_core::message::{decode, encode};

pub const REFUSED: &str =
    "login refused: password or code wrong, code already used, or too many tries; wait for the next code";

/// What the front has told the keeper, in order.
#[derive(Default)]
pub struct Told {
    said: Mutex<Vec<String>>,
    more: Condvar,
}

impl Told {
    /// Waits until the front has said something that contains all these words; fails after a minute.
    pub fn wait_for(&self, words: &[&str]) {
        self.wait_for_so_many(1, words);
    }

    /// Waits for so many lines that have all these words.
    pub fn wait_for_so_many(&self, many: usize, words: &[&str]) {
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        let said = self.said.lock().unwrap();
        let (said, timeout) = self
            .more
            .wait_timeout_while(said, Duration::from_secs(60), |said| said.iter().filter(fits).count() < many)
            .unwrap();
        assert!(!timeout.timed_out(), "never said {words:?}, only: {said:#?}");
    }

    pub fn count(&self, word: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(word)).count()
    }

    pub fn all(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

pub struct Front {
    child: Child,
    pub port: u16,
    pub agents_port: u16,
    pub told: Arc<Told>,
    dir: tempfile::TempDir,
    keeper: UnixStream,
}

impl Front {
    /// Starts the front; `known` are the public keys of hosts.
    pub fn start(limits: Limits, known: &[String]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host_key = keygen(dir.path(), "host", "ed25519");
        let everyone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let agents = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, agents_port) = (everyone.local_addr().unwrap().port(), agents.local_addr().unwrap().port());
        let public = std::fs::read_to_string(host_key.with_extension("pub")).unwrap();
        let known_hosts: String =
            [port, agents_port].iter().map(|port| format!("[127.0.0.1]:{port} {public}")).collect();
        std::fs::write(dir.path().join("known_hosts"), known_hosts).unwrap();
        let ask = dir.path().join("askpass");
        std::fs::write(&ask, ASKPASS).unwrap();
        std::fs::set_permissions(&ask, std::fs::Permissions::from_mode(0o755)).unwrap();

        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" front 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>\"$1\""])
            .arg(env!("CARGO_BIN_EXE_wgmfa-bastion"))
            .arg(dir.path().join("log"))
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(everyone))
            .stderr(OwnedFd::from(agents))
            .spawn()
            .unwrap();
        let mut keeper = ours.try_clone().unwrap();
        let start = ToFront::Start {
            host_keys: vec![SecretText::new(std::fs::read_to_string(&host_key).unwrap())],
            listeners: vec![Admits::Everyone, Admits::Agents],
            limits,
            keys: false,
        };
        keeper.write_all(&encode(&start)).unwrap();
        let told = Arc::new(Told::default());
        let (known, heard) = (known.to_vec(), Arc::clone(&told));
        let listening = ours.try_clone().unwrap();
        std::thread::spawn(move || play(listening, &known, &heard));
        Self { child, port, agents_port, told, dir, keeper }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Says something in the keeper's place.
    pub fn say(&self, message: &ToFront) {
        (&self.keeper).write_all(&encode(message)).unwrap();
    }

    /// The keeper goes away; returns the front's exit status.
    pub fn lose_the_keeper(&mut self) -> Option<i32> {
        self.keeper.shutdown(std::net::Shutdown::Both).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Stock `ssh` without anybody's configuration, with right answers ready; options and words are added by the caller.
    pub fn ssh(&self) -> Command {
        self.ssh_with(&[])
    }

    /// The same with options in front: of two values of an option, ssh takes the first.
    pub fn ssh_with(&self, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(options);
        self.options(&mut command);
        command.args(["-o", &format!("Port={}", self.port)]);
        command
    }

    /// What ssh, scp and sftp need to be tried on loopback.
    pub fn options(&self, command: &mut Command) {
        let known_hosts = format!("UserKnownHostsFile={}", self.path().join("known_hosts").display());
        command
            .args(["-F", "none", "-o", &known_hosts, "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "IdentityAgent=none", "-o", "ConnectTimeout=20", "-o", "PubkeyAuthentication=no"])
            .env("SSH_ASKPASS", self.path().join("askpass"))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("PASSWORD", "hunter2")
            .env("CODE", "123456")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the front:\n{}", self.log());
        }
    }
}

const ASKPASS: &str = r#"#!/bin/sh
case "$1" in
*assword*) printf '%s\n' "$PASSWORD" ;;
*) printf '%s\n' "$CODE" ;;
esac
"#;

/// Makes a key; returns the path of its private half.
pub fn keygen(dir: &Path, name: &str, kind: &str) -> PathBuf {
    let path = dir.join(name);
    let status =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "", "-t", kind, "-f"]).arg(&path).status().unwrap();
    assert!(status.success());
    path
}

/// The public half as the keeper sees it.
pub fn public(key: &Path) -> String {
    let line = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Runs to its end; standard output and standard error as text, and the status.
pub fn run(command: &mut Command) -> (String, String, i32) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&stdout), text(&stderr), status.code().unwrap_or(-1))
}

/// The keeper's part: who may log in, and what commands do.
fn play(stream: UnixStream, known: &[String], told: &Told) {
    let mut out = stream.try_clone().unwrap();
    let mut logins: std::collections::HashMap<u64, (String, Vec<String>)> = std::collections::HashMap::new();
    let mut counts: std::collections::HashMap<(u64, u32), (usize, usize)> = std::collections::HashMap::new();
    let mut paced: std::collections::HashMap<(u64, u32), usize> = std::collections::HashMap::new();
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        {
            let mut text = String::from_utf8(line.clone()).unwrap();
            text.truncate(400.min(text.len()));
            told.said.lock().unwrap().push(text);
            told.more.notify_all();
        }
        let mut replies = Vec::new();
        match decode::<FromFront>(&line).unwrap() {
            FromFront::Login { conversation, user, .. } => {
                replies.extend(next_question(conversation, &user, &[]));
                logins.insert(conversation, (user, Vec::new()));
            }
            FromFront::Answers { conversation, answers } => {
                let (user, given) = logins.get_mut(&conversation).unwrap();
                given.push(answers.iter().map(SecretText::expose).collect::<Vec<_>>().join(","));
                replies.extend(next_question(conversation, user, given));
            }
            FromFront::HostKey { conversation, public_key, .. } => {
                replies.push(ToFront::Host { conversation, known: known.contains(&public_key) });
            }
            FromFront::PersonKey { conversation, .. } => {
                replies.push(ToFront::PersonKey { conversation, known: false });
            }
            FromFront::Exec { conversation, channel, command, terminal, .. } => {
                let output = |stdout: &str, stderr: &str, exit| ToFront::Output {
                    conversation,
                    channel,
                    stdout: SecretText::new(stdout.into()),
                    stderr: stderr.into(),
                    exit,
                    confirm: false,
                };
                match command.as_str() {
                    "hello" => replies.push(output("hello\nworld\n", "a note\n", Some(0))),
                    "" => replies.push(output("", &format!("no shell here, terminal {terminal}\n"), Some(1))),
                    "big" => {
                        replies.extend((0..64).map(|_| output(&"0123456789abcde\n".repeat(4096), "", None)));
                        replies.push(output("", "all sent\n", Some(7)));
                    }
                    "flood" => replies.extend((0..400).map(|_| output(&"0123456789abcde\n".repeat(4096), "", None))),
                    "paced" => replies.push(piece(conversation, channel, 400)),
                    "count" | "echo" => {
                        counts.insert((conversation, channel), (0, 0));
                    }
                    "stay" => {
                        replies.extend([ToFront::Stay { conversation }, output("staying\n", "", None)]);
                    }
                    "wait" => replies.push(output("waiting\n", "", None)),
                    other => replies.push(output("", &format!("wgmfa: error: no such command: {other}\n"), Some(1))),
                }
            }
            FromFront::Line { conversation, channel, line } => {
                if let Some((lines, bytes)) = counts.get_mut(&(conversation, channel)) {
                    *lines += 1;
                    *bytes += line.expose().len();
                }
            }
            FromFront::InputEnded { conversation, channel } => {
                if let Some((lines, bytes)) = counts.remove(&(conversation, channel)) {
                    replies.push(ToFront::Output {
                        conversation,
                        channel,
                        stdout: SecretText::new(format!("{lines} lines, {bytes} bytes\n")),
                        stderr: String::new(),
                        exit: Some(0),
                        confirm: false,
                    });
                }
            }
            FromFront::Taken { conversation, channel } => {
                let left = paced.entry((conversation, channel)).or_insert(400);
                *left -= 1;
                replies.push(piece(conversation, channel, *left));
            }
            FromFront::ChannelGone { .. } | FromFront::Gone { .. } => {}
        }
        for reply in replies {
            if out.write_all(&encode(&reply)).is_err() {
                return;
            }
        }
    }
}

/// One of many pieces of an answer; the next is sent when it was taken.
fn piece(conversation: u64, channel: u32, left: usize) -> ToFront {
    let stdout = SecretText::new("0123456789abcde\n".repeat(4096));
    let (exit, confirm) = if left == 0 { (Some(0), false) } else { (None, true) };
    ToFront::Output { conversation, channel, stdout, stderr: String::new(), exit, confirm }
}

fn next_question(conversation: u64, user: &str, given: &[String]) -> Option<ToFront> {
    let prompt = |text: &str, kind| Prompt { text: text.into(), kind };
    let password = prompt("Password: ", PromptKind::Secret);
    let code = prompt("One-time code: ", PromptKind::Secret);
    let prompts = match (user, given.len()) {
        ("mute", _) => return None,
        ("many", _) => vec![code; 5],
        ("chatty", 0) => vec![prompt("welcome to the bastion", PromptKind::Info)],
        ("chatty", 1) => vec![prompt("your code changes soon", PromptKind::Error), password, code],
        ("chatty", _) => {
            return Some(if *given == ["", "hunter2,123456"] {
                ToFront::Accepted { conversation }
            } else {
                ToFront::Refused { conversation, text: REFUSED.into() }
            });
        }
        (_, 0) => vec![password],
        (_, 1) => vec![code],
        _ if user == "justin" && *given == ["hunter2", "123456"] => return Some(ToFront::Accepted { conversation }),
        _ => return Some(ToFront::Refused { conversation, text: REFUSED.into() }),
    };
    Some(ToFront::Prompts { conversation, prompts })
}
