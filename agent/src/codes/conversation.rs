//! One conversation: lines to and fro, as [`wgmfa_core::gate::dialogue`] has it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Zoned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use wgmfa_core::boottime::Boottime;
use wgmfa_core::gate::CodeVerdict;
use wgmfa_core::gate::dialogue::{self, Act, Dialogue, LONGEST_LINE};
use wgmfa_core::message::Lines;
use wgmfa_core::name::InterfaceName;
use zeroize::Zeroizing;

use super::{Answer, Call, Question, Shared};
use crate::agent::{LONGEST_ANSWER, NOT_REACHED};
use crate::clock;

/// How far apart lines are heard: whoever sends faster waits, and the agent has time for others.
const PACE: Duration = Duration::from_millis(50);

/// How long what is still on its way is taken after the last word, so that the other side can read that.
const LINGER: Duration = Duration::from_secs(1);

/// How much of it.
const MOST_AFTER: usize = 64 * 1024;

struct Talk<'a> {
    stream: TcpStream,
    interface: InterfaceName,
    address: IpAddr,
    shared: &'a Shared,
}

/// Speaks with whoever has connected, until one side hangs up, its time is over, or it is asked to go.
pub(super) async fn converse(
    stream: TcpStream,
    interface: InterfaceName,
    address: IpAddr,
    shared: &Shared,
    asked_to_go: oneshot::Receiver<()>,
) {
    let mut talk = Talk { stream, interface, address, shared };
    tokio::select! {
        () = talk.speak() => {}
        _ = asked_to_go => {
            talk.carry_out(dialogue::over("others are waiting, begin again"), None).await;
        }
    }
    talk.hang_up().await;
}

impl Talk<'_> {
    async fn speak(&mut self) {
        let caller = match self.ask(Question::Caller).await {
            Answer::Caller(caller) => caller,
            Answer::Refused(why) => {
                self.carry_out(dialogue::over(&why), None).await;
                return;
            }
            _ => return,
        };
        let (mut dialogue, greeting) =
            Dialogue::begin(self.shared.host.clone(), caller.other, caller.base, clock::now());
        let mut acts = greeting;
        // one more byte for the carriage return that some programs send
        let (mut lines, mut part) = (Lines::new(LONGEST_LINE + 1), Zeroizing::new([0; 128]));
        let mut next = Instant::now();
        loop {
            if self.carry_out(acts, Some(&mut dialogue)).await.is_none() {
                return;
            }
            acts = match lines.next_line().map(|line| line.map(Zeroizing::new)) {
                Ok(Some(line)) => {
                    sleep_until(next).await;
                    next = Instant::now() + PACE;
                    dialogue.hear(&line, &self.shared.tiers)
                }
                Err(_) => dialogue::too_long(),
                Ok(None) => match timeout_at(instant(dialogue.over_at()), self.stream.read(&mut part[..])).await {
                    Ok(Ok(0) | Err(_)) => {
                        let rest = lines.rest();
                        if rest.is_empty() {
                            dialogue.ended()
                        } else {
                            lines.push(b"\n");
                            Vec::new()
                        }
                    }
                    Ok(Ok(read)) => {
                        lines.push(&part[..read]);
                        Vec::new()
                    }
                    Err(_) => dialogue.overdue(),
                },
            };
        }
    }

    /// Does what is to be done, and what follows from the answers. None: it is over.
    async fn carry_out(&mut self, mut acts: Vec<Act>, mut dialogue: Option<&mut Dialogue>) -> Option<()> {
        while !acts.is_empty() {
            let mut next = Vec::new();
            for act in acts {
                let question = match act {
                    Act::Say(line) => {
                        self.say(&line).await?;
                        continue;
                    }
                    Act::HangUp => return None,
                    Act::Ask { tier, code } => Question::Code { tier, code },
                    Act::Look => Question::Open,
                    Act::LogOut => Question::LogOut,
                };
                let answer = self.ask(question).await;
                let dialogue = dialogue.as_mut()?;
                next.extend(match answer {
                    Answer::Verdict(verdict) => dialogue.answered(&verdict, clock::now(), &time_of_day),
                    Answer::Open(open) => dialogue.is_open(&open, &time_of_day),
                    Answer::LoggedOut => dialogue.logged_out(clock::now()),
                    Answer::Refused(reason) => {
                        dialogue.answered(&CodeVerdict::Refuse { reason }, clock::now(), &time_of_day)
                    }
                    Answer::Caller(_) => Vec::new(),
                });
            }
            acts = next;
        }
        Some(())
    }

    /// Asks the agent. It never waits for this conversation: when the bastion is slow, only whoever asked waits.
    async fn ask(&self, question: Question) -> Answer {
        let (answer, answered) = oneshot::channel();
        let (interface, address) = (self.interface.clone(), self.address);
        let asked = async {
            self.shared.calls.send(Call { interface, address, question, answer }).await.ok()?;
            answered.await.ok()
        };
        let answer = timeout(Duration::from_secs(LONGEST_ANSWER), asked).await.ok().flatten();
        answer.unwrap_or_else(|| Answer::Refused(NOT_REACHED.to_owned()))
    }

    async fn say(&mut self, line: &str) -> Option<()> {
        let line = format!("{line}\n");
        timeout(LINGER, self.stream.write_all(line.as_bytes())).await.ok()?.ok()
    }

    /// With unread bytes a closed connection takes back what was said last.
    async fn hang_up(&mut self) {
        let _ = self.stream.shutdown().await;
        let rest = async {
            let (mut part, mut taken) = (Zeroizing::new([0; 1024]), 0);
            while taken < MOST_AFTER {
                match self.stream.read(&mut part[..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => taken += read,
                }
            }
        };
        let _ = timeout(LINGER, rest).await;
    }
}

fn instant(moment: Boottime) -> Instant {
    Instant::now() + moment.since(clock::now())
}

/// What the clock shows in so many seconds: `15:55`, with the day when that is not today.
fn time_of_day(seconds: u64) -> String {
    shown(seconds, &Zoned::now())
}

fn shown(seconds: u64, now: &Zoned) -> String {
    let ahead = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let Ok(then) = now.checked_add(ahead) else { return "the end of days".to_owned() };
    let form = if then.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    then.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_as_people_read_it() {
        let now: Zoned = "2026-11-21T14:55:10+00:00[UTC]".parse().unwrap();
        assert_eq!(shown(3600, &now), "15:55");
        assert_eq!(shown(86_400, &now), "2026-11-22 14:55");
    }
}
