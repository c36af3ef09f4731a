//! On a terminal a new password is asked for twice and never shown; the terminal is left as it was, whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

/// `wgmfa-bastion user add ann` for a bastion that does not run, with a terminal as its standard input.
struct Asked {
    _trial: tempfile::TempDir,
    child: Child,
    /// The person's end of the terminal.
    person: File,
    terminal: OwnedFd,
    said: String,
}

impl Asked {
    fn begin() -> Self {
        let trial = tempfile::tempdir().unwrap();
        let dir = trial.path().to_str().unwrap();
        let mut init = Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion"));
        assert!(init.args(["init", "--dir", dir]).output().unwrap().status.success());
        let pty = openpty(None, None).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion"));
        command.args(["--config", &format!("{dir}/bastion.toml"), "user", "add", "ann"]);
        command.stdin(Stdio::from(pty.slave.try_clone().unwrap())).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Self { _trial: trial, child, person: File::from(pty.master), terminal: pty.slave, said: String::new() }
    }

    /// Reads standard error until it ends with this.
    fn await_prompt(&mut self, prompt: &str) {
        let mut byte = [0];
        while !self.said.ends_with(prompt) {
            let read = self.child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(read == 1, "it ended with: {}", self.said);
            self.said.push(char::from(byte[0]));
        }
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(self.terminal.as_fd()).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    fn answer(&mut self, prompt: &str, password: &str) {
        self.await_prompt(prompt);
        while self.shows_what_is_typed() {
            std::thread::yield_now();
        }
        writeln!(self.person, "{password}").unwrap();
    }

    /// Its exit status and all that it said; the terminal shows again what is typed.
    fn end(mut self) -> (Option<i32>, String) {
        self.child.stderr.take().unwrap().read_to_string(&mut self.said).unwrap();
        let status = self.child.wait().unwrap();
        assert!(self.shows_what_is_typed());
        (status.code(), std::mem::take(&mut self.said))
    }
}

#[test]
fn two_passwords_that_differ_change_nothing() {
    let mut asked = Asked::begin();
    asked.answer("New password: ", "one");
    asked.answer("The same again: ", "other");
    let said = "New password: \nThe same again: \nwgmfa-bastion: error: the two passwords differ\nwgmfa-bastion: hint: \
                nothing was changed; try again\n";
    assert_eq!(asked.end(), (Some(1), said.to_owned()));
}

#[test]
fn the_bastion_is_asked_when_they_are_the_same() {
    let mut asked = Asked::begin();
    asked.answer("New password: ", "one");
    asked.answer("The same again: ", "one");
    let (status, said) = asked.end();
    assert_eq!(status, Some(5), "{said}");
    assert!(said.contains("hint: the bastion does not run: ") && !said.contains("one\n"), "{said}");
}

#[test]
fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut asked = Asked::begin();
        asked.await_prompt("New password: ");
        kill(Pid::from_raw(asked.child.id().try_into().unwrap()), signal).unwrap();
        let said = "New password: \nwgmfa-bastion: error: interrupted\nwgmfa-bastion: hint: nothing was changed\n";
        assert_eq!(asked.end(), (Some(1), said.to_owned()));
    }
}
