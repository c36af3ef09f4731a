//! Carries standard input to the keeper, and what it answers to the two outputs, until the command has ended.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::person::{FromPerson, ToPerson};
use wgmfa_core::message::{LINE_FROM_AGENT, LINE_OF_INPUT, Lines, VERSION, decode, encode};
use zeroize::{Zeroize, Zeroizing};

use crate::terminal::Terminal;

/// Carries one command; gives the exit status.
///
/// # Errors
/// The keeper hangs up before it has said how the command ended, or the outputs cannot be written.
pub fn carry(stream: UnixStream, command: String, subsystem: bool, terminal: bool) -> Result<u8, Failure> {
    stream.set_nonblocking(true).map_err(|error| lost(&error))?;
    let mut talk = Talk {
        stream,
        unsent: Zeroizing::default(),
        heard: Lines::new(LINE_FROM_AGENT),
        typed: Some(Lines::new(LINE_OF_INPUT)),
        terminal: Terminal::of_input(),
    };
    talk.say(&FromPerson::Exec { version: VERSION, command, subsystem, terminal });
    talk.run()
}

struct Talk {
    stream: UnixStream,
    /// What the keeper has not taken yet. Nothing more is read from standard input until it has.
    unsent: Zeroizing<Vec<u8>>,
    heard: Lines,
    /// None: standard input has ended.
    typed: Option<Lines>,
    terminal: Option<Terminal>,
}

/// What can be done without waiting.
struct Ready {
    keeper: bool,
    input: bool,
    signal: bool,
}

impl Talk {
    fn run(&mut self) -> Result<u8, Failure> {
        loop {
            let ready = self.ready()?;
            if let (true, Some(terminal)) = (ready.signal, &self.terminal) {
                return Ok(terminal.signalled());
            }
            self.send()?;
            if ready.keeper
                && let Some(status) = self.hear()?
            {
                return Ok(status);
            }
            if ready.input {
                self.listen()?;
            }
        }
    }

    fn ready(&self) -> Result<Ready, Failure> {
        let towards = if self.unsent.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
        let stdin = std::io::stdin();
        let mut fds = vec![PollFd::new(self.stream.as_fd(), towards)];
        let listens = self.typed.is_some() && self.unsent.is_empty();
        if listens {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        if let Some(terminal) = &self.terminal {
            fds.push(PollFd::new(terminal.signals.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Ok(Ready { keeper: false, input: false, signal: false }),
            Err(error) => return Err(lost(&error)),
        }
        let is = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
        let keeper = fds[0].revents().is_some_and(|events| events.intersects(!PollFlags::POLLOUT));
        Ok(Ready { keeper, input: listens && is(1), signal: is(1 + usize::from(listens)) })
    }

    fn say(&mut self, message: &FromPerson) {
        self.unsent.extend_from_slice(&Zeroizing::new(encode(message)));
    }

    fn send(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => {
                    self.unsent[..count].zeroize();
                    self.unsent.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // what it said before it went stands above this
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.unsent.clear();
                    return Ok(());
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    /// Takes what the keeper says; with an exit status, its last words.
    fn hear(&mut self) -> Result<Option<u8>, Failure> {
        let mut chunk = Zeroizing::new(vec![0; 64 * 1024]);
        let hung_up = || Err(Failure::new(Exit::Unreachable, "the bastion has hung up").hint("log in again"));
        match self.stream.read(&mut chunk) {
            Ok(0) => return hung_up(),
            Ok(count) => self.heard.push(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return hung_up(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(lost(&error)),
        }
        while let Some(line) = self.heard.next_line().map_err(|error| lost(&error))? {
            match decode(&Zeroizing::new(line)).map_err(|error| lost(&error))? {
                ToPerson::Output { stdout, stderr, exit, confirm } => {
                    write(std::io::stdout().lock(), stdout.expose())?;
                    write(std::io::stderr().lock(), &stderr)?;
                    if exit.is_some() {
                        return Ok(exit);
                    }
                    if confirm {
                        self.say(&FromPerson::Taken);
                        self.send()?;
                    }
                }
                ToPerson::Echo { shown } => {
                    if let Some(terminal) = &self.terminal {
                        terminal.echo(shown);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes what stands on standard input.
    fn listen(&mut self) -> Result<(), Failure> {
        let Some(mut typed) = self.typed.take() else { return Ok(()) };
        let mut chunk = Zeroizing::new(vec![0; 16 * 1024]);
        // past the buffer of std's own
        let ended = match nix::unistd::read(std::io::stdin(), &mut chunk) {
            Ok(count) => {
                typed.push(&chunk[..count]);
                count == 0
            }
            Err(nix::Error::EINTR) => false,
            Err(_) => true,
        };
        while let Some(line) = typed.next_line().map_err(|error| unreadable(&error))? {
            self.say_line(&Zeroizing::new(line))?;
        }
        if ended {
            let rest = Zeroizing::new(typed.rest().to_vec());
            if !rest.is_empty() {
                self.say_line(&rest)?;
            }
            self.say(&FromPerson::InputEnded);
        } else {
            self.typed = Some(typed);
        }
        self.send()
    }

    fn say_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let line = std::str::from_utf8(line).map_err(|_| unreadable(&"not UTF-8"))?;
        self.say(&FromPerson::Line { line: SecretText::new(line.to_owned()) });
        Ok(())
    }
}

/// A reader that has gone away ends the command.
fn write(mut output: impl Write, text: &str) -> Result<(), Failure> {
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| Failure::new(Exit::Failed, format!("cannot write the answer: {error}")))
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, format!("standard input: {error}")).hint("is it the right file?")
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, format!("the bastion is lost: {error}")).hint("log in again")
}
