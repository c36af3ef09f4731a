//! The keeper: it owns the store, the sealing key and every decision.
//!
//! One event loop on one thread; each conversation is a task. The front asks a short table of requests (`conversation`),
//! agents come through it (`agent`), the PAM module asks on its socket (`module`), administrators on theirs.

mod admin_socket;
mod administration;
mod agent;
mod answer;
mod attempt;
mod by_hand;
mod caller;
mod children;
mod clock;
mod conversation;
mod coverage;
mod dialogue;
mod enrol;
mod foreign;
mod gates;
mod heads;
mod host_keys;
mod links;
mod metrics;
mod module;
mod orders;
mod own_secrets;
mod pairs;
mod people;
mod person;
mod process;
mod push;
mod reach;
mod release;
mod renewal;
mod requests;
mod rounds;
mod serve;
mod sessions;
mod show;
mod sockets;
mod target;
mod transitions;
mod verify;
mod wire;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, mpsc};
use wgmfa_core::exit::{Failure, sanitise};
use wgmfa_core::message::admin::AdminRequest;
use wgmfa_core::message::front::ToFront;
use wgmfa_core::message::module::Verdict;
use wgmfa_core::message::{LINE_OF_FRONT, VERSION, encode};
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::policy::PolicySet;
use wgmfa_core::release::Phase;
use zeroize::Zeroizing;

use crate::admin::when::When;
use crate::config::Config;
use crate::crash::crash_point;
use crate::store::{Actor, Ended, Event, Note, Store};
use crate::{check, credential, host_key, policies, voice};

pub use self::serve::serve;
pub use self::sockets::only_one;

/// How far the clock may be behind the last recorded time before it was set back.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// The policies in force.
pub struct Policies {
    /// The set.
    pub set: PolicySet,
    /// Since when.
    pub since: Timestamp,
}

/// What all tasks share.
pub struct Keeper {
    config: Config,
    store: Store,
    zone: TimeZone,
    policies: RefCell<Rc<Policies>>,
    front: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>,
    /// Logins in progress, by the process id of their PAM worker.
    logins: RefCell<HashMap<i32, Rc<attempt::Ours>>>,
    /// Logins that came by other PAM applications, and their sessions.
    foreign: foreign::Foreign,
    /// Commands of people who came by them.
    local: people::People,
    /// Agents that are connected.
    links: RefCell<BTreeMap<HostName, agent::Link>>,
    /// When each host's agent was last heard, in this run.
    heard: RefCell<BTreeMap<HostName, Timestamp>>,
    /// People who are logged in, by conversation.
    people: RefCell<HashMap<u64, UserName>>,
    sessions: sessions::Sessions,
    clock: clock::Clock,
    host_keys: host_keys::HostKeys,
    said_head: heads::Said,
    measures: metrics::Measures,
    to_look_over: transitions::ToLookOver,
    hashing: Semaphore,
}

impl Keeper {
    fn new(config: Config, store: Store, policies: Policies, front: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>) -> Self {
        Self {
            store,
            zone: TimeZone::system(),
            clock: clock::Clock::new(policies.since),
            policies: RefCell::new(Rc::new(policies)),
            front,
            logins: RefCell::default(),
            foreign: foreign::Foreign::default(),
            local: people::People::of(check::people::group(&config).ok()),
            links: RefCell::default(),
            heard: RefCell::default(),
            people: RefCell::default(),
            sessions: sessions::Sessions::default(),
            host_keys: host_keys::HostKeys::default(),
            said_head: heads::Said::default(),
            measures: metrics::Measures::new(),
            to_look_over: transitions::ToLookOver::default(),
            hashing: Semaphore::new(2),
            config,
        }
    }

    fn to_front(&self, message: &ToFront) {
        if self.local.deliver(message).is_some() {
            return;
        }
        let mut line = Zeroizing::new(encode(message));
        if let (true, Some(conversation)) = (line.len() > LINE_OF_FRONT, message.conversation()) {
            // for all the others the front goes on
            let reason = format!("conversation {conversation}: what is to be said there is too long");
            line = Zeroizing::new(encode(&ToFront::End { conversation, reason }));
        }
        // without a front there is nobody to tell, and the keeper is about to end
        let _ = self.front.send(line);
    }

    /// A time of day for people, with the date when it is not today.
    fn clock(&self, time: Timestamp) -> String {
        When::new(self.now(), self.zone.clone()).clock(time)
    }

    /// What a PAM worker must not see: the store, the sealing key, the host keys, and the sockets on which administrators
    /// and people ask.
    fn covered_paths(&self) -> Vec<String> {
        let config = &self.config;
        let mut paths = vec![config.state_dir.clone(), config.admin_socket()];
        paths.extend(Some(config.people_socket()).filter(|socket| socket.exists()));
        paths.extend(config.host_keys.iter().cloned());
        // both, where there are both; a file that is to be there was read at the start
        paths.extend(credential::sealing_key());
        if credential::sealing_key().is_none() || config.sealing_key.exists() {
            paths.push(config.sealing_key.clone());
        }
        paths.extend(host_key::change::secret_paths(config));
        paths.into_iter().map(|path| path.display().to_string()).collect()
    }

    /// Ends what is past its deadline.
    fn expire(&self) {
        match self.store.expire(self.now()) {
            // a server that thinks otherwise is told
            Ok(ended) => {
                let mut hosts = BTreeSet::new();
                for Ended { place, .. } in ended {
                    // the other end may have become the server side meanwhile
                    let other = self.store.interface_with(&place.public_key).ok().flatten();
                    hosts.extend(other.map(|interface| interface.host));
                    hosts.insert(place.server_side.host);
                }
                for host in hosts {
                    self.order_round(&host, "a session is over");
                }
            }
            Err(error) => say(&format!("a session's end could not be recorded: {error}")),
        }
        self.expire_grants();
    }

    /// A clock that was set back would let every session last longer by as much: all of them are over.
    fn end_sessions_of_another_time(&self) -> Result<(), Failure> {
        let behind = self.now().duration_since(Timestamp::now());
        if behind < CLOCK_TOLERANCE {
            return Ok(());
        }
        say(&format!("the clock is {} s behind the last recorded time; all sessions are over", behind.as_secs()));
        for grant in self.store.grants()? {
            self.store.end_grants(self.now(), Actor::BASTION, &grant.place, None, "the clock was set back")?;
        }
        for record in self.store.records()? {
            if record.current.is_some_and(|current| matches!(current.phase, Phase::Released { .. })) {
                self.store.order_rotation(self.now(), Actor::BASTION, &record.place, "the clock was set back")?;
            }
        }
        Ok(())
    }

    /// The `account` hook of the PAM module.
    fn account(&self, user: &str) -> Verdict {
        let person = user.parse::<UserName>().ok().map(|user| self.store.person(&user));
        match person {
            Some(Ok(Some(person))) if !person.disabled => Verdict::Accept,
            Some(Err(_)) => Verdict::Unavailable,
            _ => Verdict::Refuse,
        }
    }

    fn heard(&self, host: &HostName) {
        self.heard.borrow_mut().insert(host.clone(), self.now());
    }

    /// The `session` hook of the PAM module, of the bastion's own service or another one on this machine.
    fn note_session(&self, user: &str, service: &str, session: Session) {
        let word = match session {
            Session::OpenedWithCode => "opened by a login with a one-time code",
            Session::Opened => "opened",
            Session::Closed => "closed",
        };
        let service: String = service.chars().take(64).collect();
        let note = Note::new(Event::Noted).reason(format!("session {word} (PAM service {service})"));
        let note = match user.parse::<UserName>() {
            Ok(user) => note.user(user),
            Err(_) => note,
        };
        if let Err(error) = self.store.note(self.now(), note) {
            say(&error.to_string());
        }
    }

    fn note_host(&self, host: &HostName, event: Event, source: Option<IpAddr>, reason: &str) {
        let from = source.map(|source| source.to_string());
        let note = Note::new(event).host(host).from(from.as_deref()).reason(reason);
        if let Err(error) = self.store.note_of_host(self.now(), host, note) {
            say(&error.to_string());
        }
    }

    fn hang_up_host(&self, host: &HostName) {
        if let Some(link) = self.links.borrow().get(host) {
            let _ = link.asks.send(agent::Ask::HangUp("this host was cut off by an administrator".to_owned()));
        }
    }

    fn hang_up_user(&self, user: &UserName) {
        for (conversation, _) in self.people.borrow().iter().filter(|(_, name)| *name == user) {
            let reason = "cut off by an administrator".to_owned();
            self.to_front(&ToFront::End { conversation: *conversation, reason });
        }
    }

    /// Records which policies are in force, and learns since when.
    fn note_policies(&self) -> Result<(), Failure> {
        let loaded = self.policies.borrow().clone();
        let summary = match loaded.set.policies().len() {
            1 => "1 policy".to_owned(),
            count => format!("{count} policies"),
        };
        self.store.note_policies(self.now(), Actor::BASTION, &policies::digest(&loaded.set), &summary)?;
        let since = self.store.policies_since()?.unwrap_or(loaded.since);
        *self.policies.borrow_mut() = Rc::new(Policies { set: loaded.set.clone(), since });
        Ok(())
    }

    /// SIGHUP: the policy files anew, as by `reload`.
    fn reload(&self) {
        let words = vec!["reload".to_owned()];
        let request = AdminRequest { version: VERSION, words, stdin: None, terminal: false, colour: false };
        let mut outcome = self.with_admin(&caller::By::root(), |context| crate::admin::run(&request, context));
        let told = [outcome.reply.stdout.expose(), &outcome.reply.stderr].concat();
        // the program's name stands in front of each line here, once
        let named = format!("{}: ", voice::PROGRAM);
        told.lines().for_each(|line| say(&format!("reload: {}", line.strip_prefix(&named).unwrap_or(line))));
        if let Some(set) = outcome.policies.take() {
            self.put_in_force(set);
        }
    }
}

/// What a PAM application tells of a session.
#[derive(Clone, Copy)]
enum Session {
    /// It is open, and a login whose code the keeper has accepted led to it.
    OpenedWithCode,
    /// It is open.
    Opened,
    /// It is closed.
    Closed,
}

/// Seconds from now until then, for a message; what has begun counts as a whole one, so that an hour does not read as
/// 59 minutes.
fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(then.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000)
}

/// A line for the log.
fn say(text: &str) {
    voice::complain(&format!("{}: {}\n", voice::PROGRAM, sanitise(text)));
}
