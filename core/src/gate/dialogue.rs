//! What is said inside the tunnel, line by line: plain enough for `ncat`.
//!
//! The gateway's edge carries lines to and fro, asks the bastion and opens the gate; what is said and when it is over is
//! decided here.

use crate::boottime::Boottime;
use crate::code::looks_like_recovery;
use crate::exit::sanitise;
use crate::gate::{CodeVerdict, TierLeft};
use crate::interval::for_people;
use crate::key::SecretText;
use crate::message::agent::TierWish;
use crate::name::{HostName, TierName};
use crate::tier::Tiers;

/// Said to whoever the gate does not hold back. The client knows these words.
pub const NOT_NEEDED: &str = "nothing holds you back, no code is needed";

/// Longest line that a person may send, in bytes, newline not counted.
pub const LONGEST_LINE: usize = 64;

/// How long a conversation may take, in seconds.
pub const LONGEST: u64 = 60;

/// How long the gateway waits for another line after all was said, in seconds.
const AFTERWARDS: u64 = 2;

/// Most lines of one conversation.
const MOST_LINES: u32 = 32;

/// What to do next, in this order.
#[derive(Debug)]
pub enum Act {
    /// Send this line.
    Say(String),
    /// Ask the bastion about a code, and have [`Dialogue::answered`] hear what it says. No line is heard until then.
    Ask {
        /// The tier that it is to open.
        tier: TierName,
        /// The code.
        code: SecretText,
    },
    /// Find out which tiers are open, and have [`Dialogue::is_open`] hear it.
    Look,
    /// Close everything, and have [`Dialogue::logged_out`] hear of it.
    LogOut,
    /// The conversation is over.
    HangUp,
}

/// What the clock on the wall will show in so many seconds: `15:55`.
pub type Clock<'a> = &'a dyn Fn(u64) -> String;

/// One conversation.
#[derive(Debug)]
pub struct Dialogue {
    host: HostName,
    other: String,
    base: TierName,
    /// The tier that the next code is to open.
    wanted: TierName,
    /// When it has taken too long.
    latest: Boottime,
    /// When it is over, since all was said; none: a person is still at it.
    done_at: Option<Boottime>,
    lines: u32,
    /// No line is heard now.
    waits: bool,
    /// The other side sends no more.
    ended: bool,
}

impl Dialogue {
    /// Begins to speak with a peer, called `other`, whose policy gives the tier `base`.
    pub fn begin(host: HostName, other: String, base: TierName, now: Boottime) -> (Self, Vec<Act>) {
        let (wanted, latest) = (base.clone(), now.plus_seconds(LONGEST));
        let dialogue = Self { host, other, base, wanted, latest, done_at: None, lines: 0, waits: false, ended: false };
        let banner = dialogue.banner();
        (dialogue, vec![Act::Say(banner)])
    }

    /// When it is over if nothing more is heard.
    pub fn over_at(&self) -> Boottime {
        self.done_at.map_or(self.latest, |done| done.min(self.latest))
    }

    /// Whether a line may be heard now.
    pub fn hears(&self) -> bool {
        !self.waits
    }

    /// Hears a line, without its newline.
    pub fn hear(&mut self, line: &[u8], tiers: &Tiers) -> Vec<Act> {
        self.lines += 1;
        self.done_at = None;
        if self.lines > MOST_LINES {
            return over("too many lines");
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LONGEST_LINE {
            return too_long();
        }
        let Some(text) = std::str::from_utf8(line).ok().filter(|text| !text.chars().any(char::is_control)) else {
            return over("a line is printable text");
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => Vec::new(),
            ["status"] => self.wait_for(Act::Look),
            ["logout"] => self.wait_for(Act::LogOut),
            ["tier", ref name @ ..] => self.tier(name, tiers),
            _ if is_code(text) => {
                let (tier, code) = (self.wanted.clone(), SecretText::new(words.concat()));
                self.wait_for(Act::Ask { tier, code })
            }
            _ => vec![error("write the code, status, logout or tier NAME")],
        }
    }

    /// The other side sends no more: when what was asked is answered, it is over.
    pub fn ended(&mut self) -> Vec<Act> {
        self.ended = true;
        self.go_on(Vec::new())
    }

    /// The bastion has answered, and if the code was good, the gate is open.
    pub fn answered(&mut self, verdict: &CodeVerdict, now: Boottime, clock: Clock<'_>) -> Vec<Act> {
        let line = match verdict {
            CodeVerdict::Accept { grants } => {
                let wanted = std::mem::replace(&mut self.wanted, self.base.clone());
                self.over_soon(now);
                match grants.iter().find(|grant| grant.tier == wanted).or(grants.last()) {
                    Some(grant) => format!("ok: {}", until(grant, clock)),
                    None => "ok: nothing more to open".to_owned(),
                }
            }
            CodeVerdict::Wrong { tries_left: 1 } => "wrong code, 1 try left".to_owned(),
            CodeVerdict::Wrong { tries_left } => format!("wrong code, {tries_left} tries left"),
            CodeVerdict::Locked { seconds } => format!("locked for {}", for_people(*seconds)),
            CodeVerdict::Refuse { reason } => return over(&sanitise(reason.lines().next().unwrap_or_default())),
        };
        self.go_on(vec![Act::Say(line)])
    }

    /// These tiers are open now, the highest last.
    pub fn is_open(&mut self, open: &[TierLeft], clock: Clock<'_>) -> Vec<Act> {
        let lines = if open.is_empty() {
            vec![Act::Say("closed: a one-time code is needed".to_owned())]
        } else {
            open.iter().rev().map(|grant| Act::Say(until(grant, clock))).collect()
        };
        self.go_on(lines)
    }

    /// Everything is closed.
    pub fn logged_out(&mut self, now: Boottime) -> Vec<Act> {
        self.over_soon(now);
        self.go_on(vec![Act::Say("ok: logged out".to_owned())])
    }

    /// Its time has come.
    pub fn overdue(&self) -> Vec<Act> {
        if self.done_at.is_some() { vec![Act::HangUp] } else { over("that took too long, begin again") }
    }

    fn tier(&mut self, name: &[&str], tiers: &Tiers) -> Vec<Act> {
        let name = if let [name] = name { name.parse::<TierName>().ok() } else { None };
        match name.filter(|name| tiers.steps(&self.base, name).is_some()) {
            Some(name) => {
                self.wanted = name;
                vec![Act::Say(self.banner())]
            }
            None => vec![Act::Say("no such tier".to_owned())],
        }
    }

    fn banner(&self) -> String {
        let tier = if self.wanted == self.base { String::new() } else { format!(", tier {}", self.wanted) };
        format!("wgmfa {}: one-time code for {}{tier}:", self.host, self.other)
    }

    fn wait_for(&mut self, act: Act) -> Vec<Act> {
        self.waits = true;
        vec![act]
    }

    fn go_on(&mut self, mut acts: Vec<Act>) -> Vec<Act> {
        if !acts.is_empty() {
            self.waits = false;
        }
        if self.ended && !self.waits {
            acts.push(Act::HangUp);
        }
        acts
    }

    fn over_soon(&mut self, now: Boottime) {
        self.done_at = Some(now.plus_seconds(AFTERWARDS));
    }
}

/// A line was too long before it was whole.
pub fn too_long() -> Vec<Act> {
    over(&format!("a line is at most {LONGEST_LINE} bytes"))
}

/// Says why, and hangs up.
pub fn over(why: &str) -> Vec<Act> {
    vec![error(why), Act::HangUp]
}

/// What a code is to open: the policy's tier and what lies between it and the wanted one, each with its own lifetime. None:
/// there is no such tier for this peer.
pub fn wishes(tiers: &Tiers, base: &TierName, wanted: &TierName) -> Option<Vec<TierWish>> {
    let lifetime =
        |tier: &TierName| tiers.get(tier).and_then(|tier| tier.lifetime).map(|lifetime| lifetime.as_seconds());
    let steps = tiers.steps(base, wanted)?;
    Some(steps.into_iter().map(|tier| TierWish { tier: tier.clone(), lifetime: lifetime(tier) }).collect())
}

/// Digits, as an app shows them, or a code from paper. A misspelt word is no try.
fn is_code(text: &str) -> bool {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == ' ') && text.chars().any(|c| c != ' ');
    is_number || looks_like_recovery(text)
}

/// `prod until 15:55 (60 min)`
fn until(grant: &TierLeft, clock: Clock<'_>) -> String {
    format!("{} until {} ({})", grant.tier, clock(grant.seconds_left), for_people(grant.seconds_left))
}

fn error(why: &str) -> Act {
    Act::Say(format!("error: {why}"))
}

#[cfg(test)]
mod tests;
