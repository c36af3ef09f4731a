//! What the keeper does for an administrator's command: the words are parsed, carried out on the store, and answered
//! with text for people or JSON for programs.

mod after_logins;
mod answer;
mod backup;
mod by_hand;
mod clock;
pub mod credentials;
pub mod cuts;
mod device;
mod difference;
mod ends;
mod evidence;
mod handout;
mod host;
mod host_key;
mod inventory;
mod key;
pub mod key_row;
mod log;
mod pair_row;
mod person_key;
mod policy;
mod sealing_key;
mod show;
pub mod site;
pub mod states;
mod status;
mod table;
pub mod tier_row;
mod user;
mod watch;
pub mod when;
mod why;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::{AdminReply, AdminRequest};
use wgmfa_core::message::agent::PeerRef;
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::policy::PolicySet;

use self::answer::{Answer, failed, shown, with_exit};
use self::when::When;
use crate::cli::words::{ClockCommand, Command, CommandLine, SealingKeyCommand};
use crate::cli::{NoCommand, parse_forwarded};
use crate::config::Config;
use crate::store::Store;
use crate::{check, voice};

pub use self::by_hand::{ByHand, What};
pub use self::evidence::told as tell_verified;
pub use self::host::is_overdue;
pub use self::sealing_key::done as tell_resealed;
pub use self::show::Show;

/// What a command may look at and change.
pub struct Context<'a> {
    /// The bastion's memory.
    pub store: &'a Store,
    /// The policies that are in force.
    pub policies: &'a PolicySet,
    /// Since when they are.
    pub policies_since: Timestamp,
    /// The configuration with which the keeper was started.
    pub config: &'a Config,
    /// Now, as the keeper counts: never below the last recorded time.
    pub now: Timestamp,
    /// What the machine's clock shows; behind `now` when it was set back.
    pub system: Timestamp,
    /// The time zone in which people read times.
    pub zone: TimeZone,
    /// The agents of the hosts.
    pub agents: &'a dyn Agents,
    /// Who acts: `root` on the bastion itself, or the administrator's name.
    pub actor: String,
    /// Where an administrator's words come from over SSH; none: from the bastion itself.
    pub from: Option<IpAddr>,
}

/// What the keeper knows of the agents.
pub trait Agents {
    /// Whether this host's agent is connected now.
    fn connected(&self, host: &HostName) -> bool;
    /// Whether the agent that is connected stays, and so can be told things.
    fn resident(&self, host: &HostName) -> bool;
    /// When this host's agent was last heard, in this run of the keeper or before.
    fn last_seen(&self, host: &HostName) -> Option<Timestamp>;
    /// Ends the logins in progress; answers how many there were.
    fn end_logins(&self) -> usize {
        0
    }
    /// Whether this host has said, in this run of the keeper, that it knows a host key of the bastion.
    fn knows_host_key(&self, host: &HostName, key: &str) -> bool;
    /// Which version this host's agent is of, if it has said so in this run of the keeper.
    fn version(&self, host: &HostName) -> Option<String>;
    /// Has the bastion use and announce the host keys that lie on disk now.
    ///
    /// # Errors
    /// One of them cannot be read.
    fn take_host_keys(&self) -> Result<(), Failure>;
}

/// What the keeper does for a command after it has changed the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Tell the host's agent to do a round.
    Round {
        /// The host.
        host: HostName,
        /// Why, in words.
        reason: String,
    },
    /// Tell the host's agent to cut a peer off, and wait at most a second for its answer.
    Lock {
        /// The host.
        host: HostName,
        /// The peer on it.
        peer: PeerRef,
        /// Why, in words.
        reason: String,
    },
    /// Tell the host's agent to close every tier of a peer, and wait likewise.
    Revoke {
        /// The host.
        host: HostName,
        /// The peer on it.
        peer: PeerRef,
        /// Why, in words.
        reason: String,
    },
    /// Hang up on this host's agent.
    HangUpHost(HostName),
    /// Hang up on this person.
    HangUpUser(UserName),
}

/// The answer to a command, and what the keeper has to do before and after it is given.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What to print. Complete when `stream` is none: then `exit` is set.
    pub reply: AdminReply,
    /// To be carried out before the reply is sent; what of it closes something and was not confirmed goes to
    /// [`name_unconfirmed`].
    pub orders: Vec<Order>,
    /// Policies to put in force before the reply is sent.
    pub policies: Option<PolicySet>,
    /// Keys to be released; the answer to that takes the place of the reply.
    pub show: Option<Show>,
    /// Keys to be put on hosts; the answer to that takes the place of the reply.
    pub by_hand: Option<ByHand>,
    /// What comes after the reply, until the caller is gone.
    pub stream: Option<Box<dyn Stream>>,
}

/// Output that has no end of its own: `log --follow`, `--watch`.
pub trait Stream: std::fmt::Debug {
    /// How often to ask for more.
    fn every(&self) -> Duration;
    /// What is new since the last time; an exit status ends it.
    fn next(&mut self, context: &mut Context<'_>) -> AdminReply;
}

/// How an answer is wanted, and what the command reads.
struct Asked<'a> {
    json: bool,
    /// Standard output is a terminal.
    terminal: bool,
    colour: bool,
    stdin: Option<&'a SecretText>,
}

impl Asked<'_> {
    /// What the command reads; empty when nothing came.
    fn stdin(&self) -> &str {
        self.stdin.map_or("", SecretText::expose)
    }
}

impl Context<'_> {
    fn when(&self) -> When {
        When::new(self.now, self.zone.clone())
    }
}

/// Carries out one command of an administrator. It never fails otherwise than by what the reply says.
pub fn run(request: &AdminRequest, context: &mut Context<'_>) -> Outcome {
    match parse_forwarded(&request.words) {
        Err(NoCommand::Shown(text)) => shown(format!("{}\n", text.trim_end())),
        Err(NoCommand::Wrong(failure)) => failed(&failure),
        Ok(line) => {
            let stdin = request.stdin.as_ref();
            let asked = Asked { json: line.json, terminal: request.terminal, colour: request.colour, stdin };
            dispatch(&line, &asked, context).unwrap_or_else(|failure| failed(&failure))
        }
    }
}

fn dispatch(line: &CommandLine, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    match &line.command {
        Command::Init { .. } | Command::Serve | Command::Front | Command::PamWorker | Command::Restore { .. } => {
            Err(Failure::new(Exit::Usage, "the running bastion does not do this"))
        }
        Command::Reload { dry_run } => policy::reload(*dry_run, asked, context),
        Command::Check => {
            let mut findings = check::everything(context.config, &context.inventory()?);
            status::memory(context)?.check(&mut findings);
            Ok(with_exit(findings.render(asked.json), findings.exit()))
        }
        Command::Status => status::run(asked, context),
        Command::Why { name } => why::run(name, asked, context),
        Command::HostKey { sshfp, act } => host_key::run(*sshfp, act.as_ref(), asked, context),
        Command::User(command) => user::run(command, asked, context),
        Command::Host(command) => host::run(command, asked, context),
        Command::Device(command) => device::run(command, asked, context),
        Command::Policy(command) => policy::run(command, asked, context),
        Command::Inventory { unregistered } => inventory::run(*unregistered, asked, context),
        Command::Key(command) => key::run(command, asked, context),
        Command::Backup { .. } => backup::run(asked, context),
        Command::SealingKey(SealingKeyCommand::Rotate) => Ok(sealing_key::run(asked)),
        Command::Clock(ClockCommand::Reset { reason }) => clock::reset(reason, asked, context),
        Command::Override(words) => by_hand::release(words, asked, context),
        Command::Log { filter, act } => log::run(filter, act.as_ref(), asked, context),
    }
}

/// A person's own connections, for `wgmfa-status`: as `key list` shows them.
pub fn own_connections(context: &Context<'_>, user: &UserName, json: bool, colour: bool) -> String {
    let of_failure = |error: crate::store::StoreError| Failure::from(error).lines(voice::PROGRAM);
    key::own_connections(context, user, json, colour).unwrap_or_else(of_failure)
}

/// The same again and again, for `wgmfa-status --watch`.
pub fn watch_own(context: &Context<'_>, user: &UserName, json: bool, terminal: bool) -> Outcome {
    let asked = Asked { json, terminal, colour: terminal, stdin: None };
    watch::begin(watch::Watched::Own(user.clone()), &asked, context).unwrap_or_else(|failure| failed(&failure))
}

/// Adds to a reply which hosts have not confirmed that they have locked a peer, or closed their gate to it; the exit
/// status becomes 6.
pub fn name_unconfirmed(reply: &mut AdminReply, unconfirmed: &[Order], context: &Context<'_>) {
    let mut hosts: Vec<&HostName> = unconfirmed
        .iter()
        .filter_map(|order| match order {
            Order::Lock { host, .. } | Order::Revoke { host, .. } => Some(host),
            Order::Round { .. } | Order::HangUpHost(_) | Order::HangUpUser(_) => None,
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    for host in &hosts {
        let seen = match context.agents.last_seen(host) {
            Some(seen) => format!("last seen {}", context.when().ago(seen)),
            None => "never seen".to_owned(),
        };
        let locks = |order: &Order| matches!(order, Order::Lock { host: named, .. } if named == *host);
        let text = match unconfirmed.iter().any(locks) {
            true => {
                format!("{host} has not confirmed the lock yet ({seen}): it locks at its deadline or its next round")
            }
            false => format!(
                "{host} has not confirmed yet that its gate is closed ({seen}): it closes at its deadline or its next round"
            ),
        };
        reply.stderr.push_str(&voice::warning(&text));
    }
    if !hosts.is_empty() && reply.exit == Some(Exit::Done.code()) {
        reply.exit = Some(Exit::Partly.code());
    }
}

#[cfg(test)]
mod tests;
