//! Pings through a tunnel, and what they prove.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::daemon::{Daemon, Line};
use crate::machine::Machine;
use crate::wait::LONG;

/// An answered ping.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// Its number.
    pub number: u32,
    /// When the question went out.
    pub sent: SystemTime,
    /// When the answer came.
    pub received: SystemTime,
}

/// A stream of pings.
#[derive(Debug)]
pub struct Pings(Daemon);

impl Pings {
    /// Starts them, 50 a second.
    pub fn start(machine: &Machine, address: &str) -> Self {
        Self::every(machine, address, "0.02")
    }

    /// Starts them, one in so many seconds.
    pub fn every(machine: &Machine, address: &str, seconds: &str) -> Self {
        // -D: the time of each answer; an answer tells how long it took
        Self(Daemon::start(machine.command("ping").args(["-n", "-D", "-i", seconds, "-W", "1", address])))
    }

    /// The pings below the highest answered one that were not answered. A ping wraps at 65,536.
    pub fn lost(&self) -> Vec<u32> {
        let answered: BTreeSet<u32> = self.replies().iter().map(|reply| reply.number).collect();
        let highest = answered.last().copied().unwrap_or_default();
        (1..highest).filter(|number| !answered.contains(number)).collect()
    }

    /// Every answer so far.
    pub fn replies(&self) -> Vec<Reply> {
        self.0.lines().iter().filter_map(reply).collect()
    }

    /// The first answer to a ping that was sent after `time`.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn first_reply_after(&self, time: SystemTime) -> Reply {
        let wanted = |line: &Line| reply(line).is_some_and(|reply| reply.sent > time);
        reply(&self.0.await_line_from(0, "a reply", LONG, wanted)).expect("it is a reply")
    }

    /// The last answer that came, and no further one within `quiet`.
    ///
    /// # Panics
    /// Answers go on.
    pub fn await_silence(&self, quiet: Duration, limit: Duration) -> Option<Reply> {
        let since = SystemTime::now();
        crate::wait::until("silence", limit, || {
            let last = self.replies().last().copied();
            let heard = last.map_or(since, |reply| reply.received);
            SystemTime::now().duration_since(heard).is_ok_and(|silence| silence > quiet).then_some(last)
        })
    }

    /// No ping that was sent after `time` has been answered.
    #[track_caller]
    pub fn assert_none_after(&self, time: SystemTime) {
        let late: Vec<Reply> = self.replies().into_iter().filter(|reply| reply.sent > time).collect();
        assert!(late.is_empty(), "{} pings were answered that were sent after {time:?}: {:?}", late.len(), late[0]);
    }
}

/// One ping is answered.
pub fn is_answered(machine: &Machine, address: &str) -> bool {
    machine.run("ping", &["-n", "-q", "-c", "1", "-W", "2", address]).code() == 0
}

/// `[1763765000.123456] 64 bytes from 10.77.0.1: icmp_seq=5 ttl=64 time=0.512 ms`
fn reply(line: &Line) -> Option<Reply> {
    let (time, rest) = line.text.strip_prefix('[')?.split_once(']')?;
    let number = rest.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok()?;
    let took: f64 = rest.split_once("time=")?.1.split(' ').next()?.parse().ok()?;
    let received = UNIX_EPOCH + Duration::from_secs_f64(time.parse().ok()?);
    Some(Reply { number, sent: received - Duration::from_secs_f64(took / 1000.0), received })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_tells_when_its_question_went_out() {
        let line = |text: &str| Line { at: SystemTime::now(), text: text.to_owned() };
        let reply_line = line("[1763765000.500000] 64 bytes from 10.77.0.1: icmp_seq=5 ttl=64 time=250 ms");
        let reply = reply(&reply_line).unwrap();
        assert_eq!(reply.number, 5);
        assert_eq!(reply.sent, UNIX_EPOCH + Duration::from_secs_f64(1_763_765_000.25));
        assert!(super::reply(&line("PING 10.77.0.1 (10.77.0.1) 56(84) bytes of data.")).is_none());
        assert!(super::reply(&line("[1763765000.5] From 10.77.0.2 icmp_seq=5 Destination Host Unreachable")).is_none());
    }
}
