//! A program whose standard input and output the test holds, line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use wgmfa_tests::wait::LONG;

/// A running program. Dropped, it is ended.
pub struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Conversation {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("a pipe was asked for"));
        let mut stderr = child.stderr.take().expect("a pipe was asked for");
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, stdin, lines, stderr: Some(stderr) }
    }

    /// Says these bytes; whether they could be said.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(bytes).and_then(|()| stdin.flush()).is_ok())
    }

    #[track_caller]
    pub fn say_json(&mut self, value: &Value) {
        assert!(self.say(format!("{value}\n").as_bytes()), "the other side is gone");
    }

    /// Says nothing more.
    pub fn hush(&mut self) {
        self.stdin = None;
    }

    /// The next line; none: there will be none.
    #[track_caller]
    pub fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited {LONG:?} in vain for a line"),
        }
    }

    #[track_caller]
    pub fn hear_json(&self) -> Value {
        let line = self.hear().expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
    }

    /// A line that has come already, or comes within this time.
    pub fn hear_within(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// How it ended, and what it said on standard error.
    #[track_caller]
    pub fn end(&mut self) -> (ExitStatus, String) {
        self.stdin = None;
        let status = wgmfa_tests::wait::until("the end of a conversation", LONG * 2, || {
            self.child.try_wait().expect("it is ours")
        });
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        (status, stderr)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.stdin = None;
        // `timeout` and `ip netns exec` hand a TERM on to what they have started
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}
