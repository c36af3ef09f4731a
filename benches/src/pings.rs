//! Pings, 500 a second: the first answer tells when a tunnel began to carry packets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wgmfa_tests::daemon::{Daemon, Line};
use wgmfa_tests::machine::Machine;
use wgmfa_tests::wait::LONG;

/// A stream of pings.
#[derive(Debug)]
pub struct Pings(Daemon);

/// An answered ping.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// When it went out.
    pub sent: SystemTime,
    /// When the answer came.
    pub received: SystemTime,
}

impl Pings {
    /// Starts them.
    pub fn start(machine: &Machine, address: &str) -> Self {
        // -D: the time of each answer
        Self(Daemon::start(machine.command("ping").args(["-n", "-D", "-i", "0.002", address])))
    }

    /// The first answer so far.
    pub fn first(&self) -> Option<Reply> {
        self.0.lines().iter().find_map(reply)
    }

    /// Waits for the first answer.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn await_first(&self) -> Reply {
        reply(&self.0.await_line_from(0, "a reply", LONG, |line| reply(line).is_some())).expect("it is a reply")
    }
}

/// `[1763765000.123456] 64 bytes from 10.77.0.1: icmp_seq=5 ttl=64 time=0.512 ms`
fn reply(line: &Line) -> Option<Reply> {
    let (time, rest) = line.text.strip_prefix('[')?.split_once(']')?;
    let took: f64 = rest.split_once("time=")?.1.split(' ').next()?.parse().ok()?;
    let received = UNIX_EPOCH + Duration::from_secs_f64(time.parse().ok()?);
    Some(Reply { sent: received - Duration::from_secs_f64(took / 1000.0), received })
}
