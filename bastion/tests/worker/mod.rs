//! Real libpam with the built module, in a folder of its own; the test plays the keeper on both of its sockets.
#![allow(dead_code, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::worker::{FromWorker, Prompt, PromptKind, ToWorker};
use wgmfa_core::message::{decode, encode};

pub const ACCEPT: &str = r#"{"type":"outcome","verdict":"accept"}"#;
pub const REFUSE: &str = r#"{"type":"outcome","verdict":"refuse","text":"login refused: try again"}"#;
pub const ASK_BOTH: &str = r#"{"type":"questions","password":true,"code":true}"#;
pub const ASK_CODE: &str = r#"{"type":"questions","password":false,"code":true}"#;

/// What the module says to the keeper, and what it is answered: one entry is one connection.
pub type Script = Vec<Vec<(String, String)>>;

pub fn says(line: impl Into<String>, reply: &str) -> (String, String) {
    (line.into(), reply.to_owned())
}

pub fn begin(user: &str, password: bool, service: &str) -> String {
    format!(
        r#"{{"type":"begin","version":1,"user":"{user}","rhost":"192.0.2.7","service":"{service}","password":{password},"otp":true}}"#
    )
}

pub fn account(user: &str) -> String {
    format!(r#"{{"type":"account","version":1,"user":"{user}"}}"#)
}

pub fn answers(password: Option<&str>, code: &str) -> String {
    let password = password.map_or("null".to_owned(), |text| format!("\"{text}\""));
    format!(r#"{{"type":"answers","password":{password},"code":"{code}"}}"#)
}

/// The whole conversation of a module that asks both questions, with the outcome that the keeper gives.
pub fn both(user: &str, service: &str, outcome: &str) -> Vec<(String, String)> {
    vec![says(begin(user, true, service), ASK_BOTH), says(answers(Some("correct horse"), "123456"), outcome)]
}

/// `pam_wgmfa.so`, from the folder into which the bastion was built.
pub fn pam_wgmfa() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_wgmfa-bastion")).with_file_name("libpam_wgmfa.so");
    assert!(path.exists(), "{} is missing: cargo build --workspace", path.display());
    path
}

/// A module that misbehaves as its argument says.
pub fn misbehave() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pam_misbehave.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker/misbehave.c");
        let build =
            Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&path).arg(source).status();
        assert!(build.unwrap().success(), "misbehave.c cannot be built");
        (folder, path)
    });
    path
}

/// A private PAM folder and the path of the keeper's socket.
pub struct Site {
    pub folder: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pam.d")).unwrap();
        Self { folder }
    }

    pub fn confdir(&self) -> PathBuf {
        self.folder.path().join("pam.d")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("keeper.sock")
    }

    /// `pam_wgmfa.so` with the socket of this site.
    pub fn wgmfa(&self, options: &str) -> String {
        format!("{} socket={} {options}", pam_wgmfa().display(), self.socket().display())
    }

    /// Writes the service file `wgmfa`: `auth` and `account` lines, in order, all `required`.
    pub fn stack(&self, auth: &[String], account: &[String]) {
        let lines = |kind: &str, modules: &[String]| {
            modules.iter().map(|module| format!("{kind} required {module}\n")).collect::<String>()
        };
        let text = lines("auth", auth) + &lines("account", account);
        std::fs::write(self.confdir().join("wgmfa"), text).unwrap();
    }

    /// `auth` and `account` with `pam_wgmfa.so` alone.
    pub fn stack_as_init_writes_it(&self) {
        self.stack(&[self.wgmfa("")], &[self.wgmfa("")]);
    }

    /// The keeper as the module knows it, until its script has been followed.
    pub fn keeper(&self, script: Script) -> Keeper {
        Keeper { thread: follow(UnixListener::bind(self.socket()).unwrap(), script) }
    }

    pub fn login(&self, user: &str) -> Worker {
        Worker::start(&[], &self.begin(user, Vec::new()))
    }

    pub fn begin(&self, user: &str, cover: Vec<String>) -> ToWorker {
        ToWorker::Begin {
            service: "wgmfa".into(),
            confdir: Some(self.confdir().display().to_string()),
            user: user.into(),
            rhost: "192.0.2.7".into(),
            cover,
        }
    }
}

pub struct Keeper {
    thread: JoinHandle<Vec<i32>>,
}

impl Keeper {
    /// The process ids of those who came, once the script has been followed.
    pub fn visitors(self) -> Vec<i32> {
        self.thread.join().expect("the script was followed")
    }
}

fn follow(listener: UnixListener, script: Script) -> JoinHandle<Vec<i32>> {
    std::thread::spawn(move || {
        let mut visitors = Vec::new();
        for exchange in script {
            let (mut stream, _) = listener.accept().unwrap();
            visitors.push(getsockopt(&stream, PeerCredentials).unwrap().pid());
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            for (expected, reply) in exchange {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                assert_eq!(line.trim_end(), expected);
                stream.write_all(format!("{reply}\n").as_bytes()).unwrap();
            }
        }
        visitors
    })
}

/// A PAM worker, and the keeper's end of its socket pair. It is killed when the test ends.
pub struct Worker {
    pub child: Child,
    keeper: BufReader<UnixStream>,
}

impl Worker {
    /// Starts a worker through a command that goes before it.
    pub fn start(before: &[&str], begin: &ToWorker) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new("sh")
            .args(["-c", r#"exec 3<&0 </dev/null; exec "$@""#, "sh"])
            .args(before)
            .args([env!("CARGO_BIN_EXE_wgmfa-bastion"), "pam-worker"])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut worker = Self { child, keeper: BufReader::new(ours) };
        worker.send(begin);
        worker
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn send(&mut self, message: &ToWorker) {
        self.keeper.get_mut().write_all(&encode(message)).unwrap();
    }

    /// The next message; none when the worker has gone.
    pub fn receive(&mut self) -> Option<FromWorker> {
        let mut line = String::new();
        match self.keeper.read_line(&mut line) {
            Ok(read) if read > 0 => Some(decode(line.as_bytes()).unwrap()),
            _ => None,
        }
    }

    /// Expects exactly these prompts, and answers the questions among them.
    pub fn prompted(&mut self, expected: &[(&str, PromptKind)], replies: &[&str]) {
        let message = self.receive();
        let Some(FromWorker::Prompts { prompts }) = message else { panic!("no prompts but {message:?}") };
        let expected: Vec<Prompt> =
            expected.iter().map(|(text, kind)| Prompt { text: (*text).to_owned(), kind: *kind }).collect();
        assert_eq!(prompts, expected);
        let answers = replies.iter().map(|text| SecretText::new((*text).to_owned())).collect();
        self.send(&ToWorker::Answers { answers });
    }

    /// Answers `Password: ` and `One-time code: `.
    pub fn answer_both(&mut self) {
        self.prompted(&[("Password: ", PromptKind::Secret)], &["correct horse"]);
        self.prompted(&[("One-time code: ", PromptKind::Visible)], &["123456"]);
    }

    /// Expects the end: success, and the reason.
    pub fn ended(mut self) -> (bool, String) {
        let message = self.receive();
        let Some(FromWorker::Ended { success, reason }) = message else { panic!("not ended but {message:?}") };
        assert!(self.receive().is_none(), "nothing comes after the end");
        assert!(self.child.wait().unwrap().success());
        (success, reason)
    }

    /// Expects that the worker goes without a word.
    pub fn gone(mut self) -> ExitStatus {
        assert!(self.receive().is_none());
        self.child.wait().unwrap()
    }

    /// The keeper hangs up.
    pub fn hang_up(mut self) -> ExitStatus {
        let (_, nobody) = UnixStream::pair().unwrap();
        self.keeper = BufReader::new(nobody);
        self.child.wait().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
