//! Where the programs are, and what one that has ended left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

/// A program of ours, or the PAM module, from the folder into which this test was built.
///
/// # Panics
/// It was not built.
pub fn ours(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace", path.display());
    path
}

/// `target/debug`: tests lie in its `deps`.
pub fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().find(|folder| folder.join("deps").is_dir());
    folder.map(Path::to_owned).expect("tests are built by cargo")
}

/// Puts a program where a test wants it. Another process writes it: what this one has open for writing, a program that
/// another thread just starts may hold open too, and then nobody can start it ("text file busy").
#[track_caller]
pub fn install(program: impl AsRef<Path>, to: &Path) {
    let mut copy = Command::new("cp");
    run(copy.args(["--remove-destination", "--preserve=mode"]).arg(program.as_ref()).arg(to), b"").ok();
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The command, for messages.
    pub command: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// The exit status; -1: ended by a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// It ended with this status.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code() == code, "expected exit status {code}: {self:#?}");
        self
    }

    /// It ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect(0)
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }

    /// Both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Whether a text says, right after `before`, that an hour is left: a slow machine has lost a second of it.
pub fn says_an_hour(text: &str, before: &str) -> bool {
    ["60", "59"].iter().any(|minutes| text.contains(&format!("{before}{minutes} min left (until ")))
}

/// Runs a program to its end, with this on its standard input.
///
/// # Panics
/// It cannot be started.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Ended {
    let name = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut pipe = child.stdin.take().expect("a pipe was asked for");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut pipe, stdin)); // one that does not read it is no failure
        child.wait_with_output().unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    Ended {
        command: name,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
