//! People who came by the site's own sshd ask on `people.sock`, through `wgmfa-sync`: which login of theirs it is, and then
//! the very conversation that the front relays for those who came by it.
//!
//! The socket answers one group, that of the set-group-id program. It only carries bytes: what counts is who it is (the
//! kernel's word), and from which session it descends (`foreign`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::front::{FromFront, ToFront};
use wgmfa_core::message::module::Verdict;
use wgmfa_core::message::person::{FromPerson, ToPerson};
use wgmfa_core::message::{LINE_OF_INPUT, VERSION};
use wgmfa_core::words::words;

use super::conversation::{self, Conversation, Outlet, Over};
use super::foreign::NoTurn;
use super::process::Process;
use super::wire::Wire;
use super::{Keeper, person};
use crate::store::{Event, Note};

/// The numbers of conversations on this socket begin here; the front's must be smaller.
pub const FIRST: u64 = 1 << 63;

/// The only channel of such a conversation.
const CHANNEL: u32 = 0;

/// So many commands of one user may be in progress at once: each takes a descriptor of the keeper's.
const MOST_OF_ONE_USER: usize = 8;

/// So many in all.
const MOST: usize = 128;

/// A refusal comes so long after the question, so that nobody fills the log fast.
const REFUSAL_AFTER: Duration = Duration::from_millis(500);

/// Commands in progress.
#[derive(Default)]
pub struct People {
    /// The group of the program through which they ask; none: there is none, and no socket.
    group: Option<Gid>,
    outgoing: RefCell<HashMap<u64, mpsc::UnboundedSender<ToFront>>>,
    of_users: RefCell<HashMap<u32, usize>>,
    begun: Cell<u64>,
}

impl People {
    /// Nobody asks yet.
    pub fn of(group: Option<Gid>) -> Self {
        Self { group, ..Self::default() }
    }

    /// Hands a message to whoever asked here; none: it is for the front.
    pub fn deliver(&self, message: &ToFront) -> Option<()> {
        let conversation = message.conversation().filter(|conversation| *conversation >= FIRST)?;
        if let Some(outgoing) = self.outgoing.borrow().get(&conversation) {
            // one that has gone will not read it
            let _ = outgoing.send(message.clone());
        }
        Some(())
    }

    fn room(&self, user: u32) -> Option<Room<'_>> {
        let mut of_users = self.of_users.borrow_mut();
        let all: usize = of_users.values().sum();
        let mine = of_users.entry(user).or_default();
        if *mine >= MOST_OF_ONE_USER || all >= MOST {
            return None;
        }
        *mine += 1;
        Some(Room { people: self, user })
    }
}

/// Room for one command.
struct Room<'a> {
    people: &'a People,
    user: u32,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut of_users = self.people.of_users.borrow_mut();
        match of_users.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(of_users.remove(&self.user)),
        }
    }
}

/// Serves one command.
///
/// # Errors
/// What the other side did wrong, for the log.
pub async fn serve(keeper: Rc<Keeper>, stream: UnixStream) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    if keeper.local.group.is_none_or(|group| group.as_raw() != peer.gid()) {
        return Err(format!("user {} may not ask here but through the program of its group", peer.uid()));
    }
    let uid = Uid::from_raw(peer.uid());
    let process = Process::peer(&stream).map_err(|error| format!("a process of user {uid}: {error}"))?;
    let _room = keeper.local.room(peer.uid()).ok_or_else(|| format!("too many commands of user {uid} at once"))?;
    let mut wire = Wire::new(stream, LINE_OF_INPUT);
    let first = timeout(Duration::from_secs(5), wire.receive::<FromPerson>()).await;
    let asked = first.map_err(|_| "nothing was asked".to_owned())?.map_err(|error| error.to_string())?;
    let (command, subsystem, terminal) = match asked {
        Some(FromPerson::Exec { version: VERSION, command, subsystem, terminal }) => (command, subsystem, terminal),
        Some(_) => return Err("a request out of its order, or of another version".to_owned()),
        None => return Ok(()),
    };
    let turn = match keeper.foreign.turn(&process, uid) {
        Ok(turn) if keeper.account(turn.passed.login.user.as_str()) == Verdict::Accept => turn,
        Ok(turn) => {
            let user = turn.passed.login.user.to_string();
            return refuse(&keeper, &mut wire, &command, &user, Err("the person is disabled")).await;
        }
        Err(why) => {
            let user = name_of(uid).await;
            let why = if why == NoTurn::Busy { Ok(()) } else { Err(why.reason()) };
            return refuse(&keeper, &mut wire, &command, &user, why).await;
        }
    };
    let id = FIRST + keeper.local.begun.replace(keeper.local.begun.get() + 1);
    let (outlet, inbox) = conversation::inbox();
    let (sender, outgoing) = mpsc::unbounded_channel();
    keeper.local.outgoing.borrow_mut().insert(id, sender);
    outlet.put(FromFront::Exec { conversation: id, channel: CHANNEL, command, subsystem, terminal });
    // sshd may have told a name in place of an address; the login itself has what it told
    let source = turn.passed.login.from.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut conversation = Conversation::new(id, source, inbox);
    let answered = async {
        if let Err(Over::HangUp(reason)) = person::serve(&keeper, &mut conversation, &turn.passed).await {
            keeper.to_front(&ToFront::End { conversation: id, reason });
        }
    };
    let (carried, ()) = tokio::join!(carry(&mut wire, id, outlet, outgoing), answered);
    keeper.local.outgoing.borrow_mut().remove(&id);
    carried
}

/// Carries input and output until the command has ended, or one of the two sides has gone. The outlet's end tells the
/// other half.
async fn carry(
    wire: &mut Wire,
    id: u64,
    outlet: Outlet,
    mut outgoing: mpsc::UnboundedReceiver<ToFront>,
) -> Result<(), String> {
    loop {
        tokio::select! {
            biased;
            message = outgoing.recv() => {
                let (message, last) = match message {
                    Some(ToFront::Output { stdout, stderr, exit, confirm, .. }) => {
                        (ToPerson::Output { stdout, stderr, exit, confirm }, exit.is_some())
                    }
                    Some(ToFront::Echo { shown, .. }) => (ToPerson::Echo { shown }, false),
                    Some(ToFront::End { reason, .. }) => {
                        let stderr = Failure::new(Exit::Failed, reason).lines("wgmfa");
                        let exit = Some(Exit::Failed.code());
                        (ToPerson::Output { stdout: Default::default(), stderr, exit, confirm: false }, true)
                    }
                    // it lives as long as it likes
                    Some(_) => continue,
                    None => return Ok(()),
                };
                if wire.send(&message).await.is_err() || last {
                    return Ok(());
                }
            }
            received = wire.receive::<FromPerson>() => {
                let (conversation, channel) = (id, CHANNEL);
                let event = match received {
                    Ok(Some(FromPerson::Line { line })) => FromFront::Line { conversation, channel, line },
                    Ok(Some(FromPerson::InputEnded)) => FromFront::InputEnded { conversation, channel },
                    Ok(Some(FromPerson::Taken)) => FromFront::Taken { conversation, channel },
                    Ok(Some(FromPerson::Exec { .. })) => return Err("a request out of its order".to_owned()),
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                };
                if !outlet.put(event) {
                    return Err("too much input at once".to_owned());
                }
            }
        }
    }
}

/// Refuses, in one text for all reasons but one (`Ok`: it is only not this one's turn); the audit log has the reason.
async fn refuse(
    keeper: &Keeper,
    wire: &mut Wire,
    command: &str,
    user: &str,
    why: Result<(), &str>,
) -> Result<(), String> {
    let asked = Instant::now();
    let failure = match why {
        Ok(()) => Failure::new(Exit::Failed, "another command runs on this connection")
            .hint("wait until it has ended, or log in a second time"),
        Err(reason) => {
            keeper.refused_local(user, reason)?;
            Failure::new(Exit::LoginRefused, "this session has no fresh login with a one-time code")
                .hint("log in again, and ask for the keys in that session: ssh bastion wgmfa-sync")
        }
    };
    sleep_until(asked + REFUSAL_AFTER).await;
    let program = words(command).ok().and_then(|words| words.into_iter().next()).unwrap_or("wgmfa".to_owned());
    let (stderr, exit) = (failure.lines(&program), Some(failure.exit.code()));
    let output = ToPerson::Output { stdout: Default::default(), stderr, exit, confirm: false };
    wire.send(&output).await.map_err(|error| error.to_string())
}

/// The user's name on this machine, for the log.
async fn name_of(uid: Uid) -> String {
    let found = tokio::task::spawn_blocking(move || User::from_uid(uid)).await;
    found.ok().and_then(Result::ok).flatten().map_or_else(|| format!("user id {uid}"), |user| user.name)
}

impl Keeper {
    fn refused_local(&self, user: &str, reason: &str) -> Result<(), String> {
        let reason = format!("wgmfa-sync on this machine: {reason}");
        let note = match user.parse::<wgmfa_core::name::UserName>() {
            Ok(user) => Note::new(Event::ReleaseRefused).user(user).reason(reason),
            Err(_) => Note::new(Event::ReleaseRefused).reason(format!("{user}: {reason}")),
        };
        self.store.note_within_quota(self.now(), note).map_err(|error| error.to_string())
    }
}
