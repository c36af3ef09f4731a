//! `wgmfa code`: gives a one-time code to the gateway, inside the tunnel, so that its firewall opens.

mod asking;
mod conversation;
pub mod ways;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

pub use wgmfa::code::gateway;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::gate::dialogue::NOT_NEEDED;
use wgmfa_core::name::TierName;
use zeroize::Zeroizing;

use crate::commands::Code;
use crate::config::Config;
use crate::person::Person;
use crate::voice::{self, foreign};

use asking::{Asked, Asking};
use conversation::{Conversation, Heard};
use ways::Ways;

/// How long it may take until a gateway asks: WireGuard begins a handshake again after 5 s.
const GATEWAY: Duration = Duration::from_secs(15);

/// What is left for the answer when the time for typing is over.
const ANSWER: Duration = Duration::from_secs(5);

/// The longest that anything waits: no gateway has more patience, and wg-quick is not to wait longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Parts of what a gateway says when a code may be good later: nothing was wrong with this one.
const LATER: [&str; 6] = [
    "not reached",
    "others are waiting",
    "too many conversations",
    "that took too long",
    "cannot record anything now",
    "another code of yours is being looked at",
];

/// The command. As `PostUp` it ends well whatever happens, because wg-quick takes the interface down otherwise.
pub fn code(options: &Code, config: Option<&Path>) -> Result<Exit, Failure> {
    match run(options, config) {
        Err(failure) if options.post_up && !options.or_down => {
            voice::failure(&failure);
            Ok(Exit::Done)
        }
        Ok(_) if options.post_up && !options.or_down => Ok(Exit::Done),
        result => result,
    }
}

fn run(options: &Code, config: Option<&Path>) -> Result<Exit, Failure> {
    let until = Instant::now() + Duration::from_secs(options.limit.as_seconds()).min(LONGEST);
    let config = Config::load(config, Person::find().as_ref())?;
    let interface = options.interface.as_ref().or(config.interface.as_ref());
    let again = again(options);
    let Some(asking) = Asking::find(options.post_up) else {
        voice::line(&format!("code needed: {again}"));
        return Ok(Exit::LoginNeeded);
    };
    let ways = match options.gateway.as_ref().or(config.gateway.as_ref()) {
        Some(gateway) => ways::named(gateway, interface, until.min(Instant::now() + GATEWAY))?,
        None => ways::guessed(interface)?,
    };
    let begun = Conversation::begin(&ways.ways, until.min(Instant::now() + GATEWAY));
    let (conversation, line) = begun.map_err(|tried| nobody(&ways, &tried))?;
    if Answer::of(&line) == Answer::NotNeeded {
        voice::line(NOT_NEEDED);
        return Ok(Exit::Done);
    }
    let mut giving = Giving { conversation, asking, tier: options.tier.as_ref(), again, until };
    let question = giving.question(line)?;
    giving.give(&question)
}

/// How the person begins again.
fn again(options: &Code) -> String {
    let mut words = vec!["wgmfa code".to_owned()];
    words.extend(options.interface.iter().map(|name| format!("--interface {name}")));
    words.extend(options.tier.iter().map(|name| format!("--tier {name}")));
    words.join(" ")
}

fn nobody(ways: &Ways, tried: &[String]) -> Failure {
    let failure = Failure::new(Exit::Unreachable, format!("no gateway asks for a code: {}", tried.join("; ")));
    match &ways.hidden {
        Some(name) => failure.hint(format!(
            "only root can see the peers of {name}: name the gateway, wgmfa code GATEWAY, or run it with sudo"
        )),
        None => failure.hint("name the gateway: wgmfa code GATEWAY; where no gateway asks for a code: wgmfa sync"),
    }
}

/// A gateway, and a person.
struct Giving<'o> {
    conversation: Conversation,
    asking: Asking,
    tier: Option<&'o TierName>,
    again: String,
    until: Instant,
}

/// What a gateway says to a code, as `interfaces.md` has its words.
#[derive(Debug, PartialEq, Eq)]
enum Answer<'l> {
    Question,
    Ok,
    Wrong,
    Locked,
    NoSuchTier,
    NotNeeded,
    Error(&'l str),
    Unknown,
}

impl<'l> Answer<'l> {
    fn of(line: &'l str) -> Self {
        let begins = |word: &str| line.starts_with(word);
        match line {
            "no such tier" => Self::NoSuchTier,
            _ if begins("wgmfa ") => Self::Question,
            _ if begins("ok: ") => Self::Ok,
            _ if begins("wrong code") => Self::Wrong,
            _ if begins("locked for ") => Self::Locked,
            _ if line.strip_prefix("error: ") == Some(NOT_NEEDED) => Self::NotNeeded,
            _ => line.strip_prefix("error: ").map_or(Self::Unknown, Self::Error),
        }
    }
}

impl Giving<'_> {
    /// What the gateway asks, once the tier is named.
    fn question(&mut self, first: String) -> Result<String, Failure> {
        let line = match self.tier {
            Some(tier) if Answer::of(&first) == Answer::Question => {
                self.conversation.say(format!("tier {tier}\n").as_bytes());
                self.hear()?
            }
            _ => first,
        };
        match Answer::of(&line) {
            Answer::Question => Ok(format!("{line} ")),
            _ => Err(self.refusal(&line)),
        }
    }

    /// Asks for the code until one is good, or there is no sense in asking again.
    fn give(&mut self, question: &str) -> Result<Exit, Failure> {
        let mut said: Option<String> = None;
        loop {
            let code = self.ask(&said.take().map_or(question.to_owned(), |said| format!("{said}\n{question}")))?;
            if code.is_empty() || is_a_word(&code) {
                if !self.asking.can_repeat() {
                    return Err(self.no_code("that is no code"));
                }
                said = Some("that is no code".to_owned());
                continue;
            }
            let mut line = Zeroizing::new(Vec::with_capacity(code.len() + 1));
            line.extend_from_slice(code.as_bytes());
            line.push(b'\n');
            self.conversation.say(&line);
            let mut heard = self.hear()?;
            while Answer::of(&heard) == Answer::Question {
                heard = self.hear()?;
            }
            match Answer::of(&heard) {
                Answer::Ok => {
                    voice::line(&heard);
                    return Ok(Exit::Done);
                }
                Answer::NotNeeded => {
                    voice::line(NOT_NEEDED);
                    return Ok(Exit::Done);
                }
                Answer::Wrong if self.asking.can_repeat() => said = Some(heard),
                _ => return Err(self.refusal(&heard)),
            }
        }
    }

    fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let until = self.until - ANSWER.min(self.until.saturating_duration_since(Instant::now()) / 4);
        loop {
            match self.asking.ask(prompt, self.conversation.as_fd(), until) {
                Asked::Typed(code) => return Ok(code),
                // nothing on standard input: then a person on the terminal, if there is one
                Asked::Nothing if !self.asking.can_repeat() => match Asking::on_terminal() {
                    Some(person) => self.asking = person,
                    None => return Err(self.no_code("nobody can be asked for a code")),
                },
                Asked::Nothing => return Err(self.no_code("no code was given")),
                Asked::TooLong => return Err(self.no_code("that is no code")),
                Asked::Interrupted => return Err(self.no_code("interrupted")),
                Asked::TimeIsOver => return Err(self.no_code("no code was given in time")),
                Asked::Failed(errno) => {
                    return Err(Failure::new(
                        Exit::Failed,
                        format!("cannot ask for a code: {}", errno.desc().to_lowercase()),
                    ));
                }
                Asked::GatewaySpeaks => {
                    let line = self.hear()?;
                    if Answer::of(&line) != Answer::Question {
                        return Err(self.refusal(&line));
                    }
                }
            }
        }
    }

    fn hear(&mut self) -> Result<String, Failure> {
        match self.conversation.hear(self.until) {
            Heard::Line(line) => Ok(line),
            Heard::End => Err(self.unreachable("the gateway hung up")),
            Heard::Silence => Err(self.unreachable("the gateway does not answer")),
            Heard::Nonsense(why) => Err(Failure::new(Exit::Failed, format!("it does not speak like a gateway: {why}"))),
        }
    }

    /// Why a line of the gateway opens nothing.
    fn refusal(&self, line: &str) -> Failure {
        let refused = |error: &str| Failure::new(Exit::LoginRefused, error);
        match Answer::of(line) {
            Answer::Wrong => refused(line).hint(format!("wait for the next code, then: {}", self.again)),
            Answer::Locked => refused(line).hint(format!("wait so long, then: {}", self.again)),
            Answer::NoSuchTier => Failure::new(Exit::Failed, line)
                .hint("without --tier the policy's own tier opens; others stand in agent.toml of the gateway"),
            Answer::Error(why) if LATER.iter().any(|part| why.contains(part)) => {
                self.unreachable(&format!("the gateway says: {why}"))
            }
            Answer::Error(why) => refused(&format!("the gateway says: {why}")),
            Answer::Question | Answer::Ok | Answer::NotNeeded | Answer::Unknown => {
                Failure::new(Exit::Failed, format!("it does not speak like a gateway: {}", foreign(line)))
            }
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::new(Exit::Unreachable, why).hint(&self.again)
    }

    fn no_code(&self, why: &str) -> Failure {
        Failure::new(Exit::LoginNeeded, why).hint(&self.again)
    }
}

/// What a gateway takes for something other than a code.
fn is_a_word(code: &str) -> bool {
    code.split_whitespace().next().is_some_and(|word| matches!(word, "status" | "logout" | "tier"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_gateway_are_known() {
        for (line, expected) in [
            ("wgmfa app-gw: one-time code for justins-laptop:", Answer::Question),
            ("ok: prod until 15:55 (60 min)", Answer::Ok),
            ("wrong code, 4 tries left", Answer::Wrong),
            ("locked for 30 s", Answer::Locked),
            ("no such tier", Answer::NoSuchTier),
            ("error: nothing holds you back, no code is needed", Answer::NotNeeded),
            ("error: unknown peer", Answer::Error("unknown peer")),
            ("SSH-2.0-OpenSSH_9.2p1", Answer::Unknown),
            ("", Answer::Unknown),
        ] {
            assert_eq!(Answer::of(line), expected, "{line}");
        }
    }

    #[test]
    fn a_command_is_no_code() {
        assert!(is_a_word("logout") && is_a_word(" tier prod") && is_a_word("status"));
        assert!(!is_a_word("123 456") && !is_a_word("abcd-efgh-ijkl-mnop") && !is_a_word(""));
    }
}
