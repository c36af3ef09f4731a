//! Who changes the interfaces: this process, if it may, or `sudo` with exactly `wgmfa apply` and `wgmfa interfaces`.

use std::io::Write;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::sync::Release;
use wgmfa_core::message::{decode, encode};
use wgmfa_core::name::InterfaceName;
use zeroize::Zeroizing;

use crate::apply::carry_out;
use crate::handshake::Waiting;
use crate::interfaces::{Listing, here};
use crate::order::{Answer, Handover, Handshake, Manner, Order, Outcome};
use crate::person::has_terminal;
use crate::sessions::{FOLDER, Locked};
use crate::way;

/// CAP_NET_ADMIN, by its number in capabilities(7).
const CAP_NET_ADMIN: u32 = 12;

/// The hands that may touch an interface.
#[derive(Debug)]
pub enum Hands {
    /// Our own.
    Own,
    /// Those of this program, started by sudo.
    Sudo {
        /// This program.
        program: PathBuf,
        /// sudo may ask for a password.
        may_ask: bool,
    },
}

impl Hands {
    /// Finds out, and changes nothing.
    pub fn find() -> Result<Self, Failure> {
        if has_net_admin() {
            return Ok(Self::Own);
        }
        Ok(Self::Sudo { program: this_program()?, may_ask: has_terminal() })
    }

    /// Reads the interfaces, and so proves that it may be done before anyone types a code.
    pub fn interfaces(&self, only: Option<&InterfaceName>) -> Result<Listing, Failure> {
        let Self::Sudo { .. } = self else {
            drop(Locked::wait(Path::new(FOLDER))?);
            way::remove_stale();
            return Ok(Listing::of(&here(only)?));
        };
        let mut child = self.start("interfaces", Stdio::null())?;
        let output = read_all(&mut child);
        match child.wait() {
            Ok(status) if status.success() => parse(&output),
            _ => {
                Err(Failure::new(Exit::Failed, "no right to change WireGuard interfaces: sudo wgmfa interfaces failed")
                    .hint(
                        "adduser NAME wgmfa, and log in anew (or allow wgmfa apply and wgmfa interfaces in sudoers(5), or run it as \
                         root); where it is only firewalls that open: wgmfa sync --tiers-only",
                    ))
            }
        }
    }

    /// Has the keys applied.
    pub fn apply(&self, release: &Release, manner: Manner) -> Result<Applying, Failure> {
        let Self::Sudo { .. } = self else {
            let outcome = carry_out(&Order::new(release, manner))?;
            let waiting = Waiting::of(&outcome);
            return Ok(Applying { outcome, rest: Rest::Here(waiting) });
        };
        let mut child = self.start("apply", Stdio::piped())?;
        let order = Zeroizing::new(encode(&Handover { release, manner: &Manner { answer: true, ..manner } }));
        // a fault in writing shows in the answer
        let _ = child.stdin.take().expect("the pipe was asked for").write_all(&order);
        let mut answers = BufReader::new(child.stdout.take().expect("the pipe was asked for"));
        match next_answer(&mut answers) {
            Some(Answer::Outcome(outcome)) => Ok(Applying { outcome, rest: Rest::Behind(child, answers) }),
            _ => {
                let _ = child.wait();
                Err(Failure::new(Exit::Failed, "sudo wgmfa apply failed; nothing was changed")
                    .hint("within a minute, wgmfa sync fetches the same keys again"))
            }
        }
    }

    /// Starts the privileged half as a process of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, command: &str, stdin: Stdio) -> Result<Child, Failure> {
        let mut half = match self {
            Self::Own => Command::new(this_program()?),
            Self::Sudo { program, may_ask } => {
                let mut sudo = Command::new("sudo");
                if !may_ask {
                    sudo.arg("-n");
                }
                sudo.arg("--").arg(program);
                sudo
            }
        };
        half.arg(command).stdin(stdin).stdout(Stdio::piped()).spawn().map_err(|error| {
            Failure::new(Exit::Failed, format!("no right to change WireGuard interfaces, and sudo: {error}"))
                .hint("run it as root")
        })
    }
}

/// Keys that were applied, and what is still to come.
#[derive(Debug)]
pub struct Applying {
    /// What was done.
    pub outcome: Outcome,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Nothing,
    Here(Waiting),
    Behind(Child, BufReader<ChildStdout>),
}

impl Applying {
    /// No interface was touched.
    pub fn nothing(outcome: Outcome) -> Self {
        Self { outcome, rest: Rest::Nothing }
    }

    /// The handshakes that were waited for, if that was wanted.
    pub fn handshakes(self, wait: bool) -> Vec<Handshake> {
        match self.rest {
            Rest::Nothing => Vec::new(),
            Rest::Here(waiting) => {
                if wait {
                    waiting.look()
                } else {
                    Vec::new()
                }
            }
            Rest::Behind(mut child, mut answers) => {
                let answer = if wait { next_answer(&mut answers) } else { None };
                let _ = child.wait();
                if let Some(Answer::Handshakes(handshakes)) = answer { handshakes } else { Vec::new() }
            }
        }
    }
}

fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::new(Exit::Failed, format!("where is this program? {error}")))
}

fn next_answer(answers: &mut BufReader<ChildStdout>) -> Option<Answer> {
    let mut line = Vec::new();
    answers.read_until(b'\n', &mut line).ok()?;
    decode(&line).ok()
}

fn read_all(child: &mut Child) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        let _ = stdout.read_to_end(&mut output);
    }
    output
}

fn parse<T: DeserializeOwned>(output: &[u8]) -> Result<T, Failure> {
    decode(output).map_err(|error| Failure::new(Exit::Failed, format!("sudo wgmfa interfaces: {error}")))
}

/// For the commands that touch interfaces themselves.
pub fn require() -> Result<(), Failure> {
    if has_net_admin() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "no right to read or change WireGuard interfaces")
        .hint("it needs CAP_NET_ADMIN: run it with sudo"))
}

fn has_net_admin() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_capability(&status, CAP_NET_ADMIN))
}

/// Whether the line `CapEff:` of proc(5) has this bit.
fn has_capability(status: &str, number: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << number) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_read_from_the_effective_set() {
        let status = |mask: &str| format!("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{mask}\n");
        assert!(has_capability(&status("0000000000001000"), CAP_NET_ADMIN));
        assert!(has_capability(&status("000001ffffffffff"), CAP_NET_ADMIN));
        assert!(!has_capability(&status("000001ffffffefff"), CAP_NET_ADMIN));
        assert!(!has_capability("", CAP_NET_ADMIN));
    }
}
