//! One SSH connection, as the front relays it: the rows of the table in `message::front`, each only in its state.
//!
//! Whatever comes out of its state ends the conversation: the front does not do that unless it was taken over.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use russh::keys::ssh_key::{HashAlg, PublicKey};
use tokio::sync::mpsc;
use wgmfa_core::key::SecretText;
use wgmfa_core::login::REFUSED;
use wgmfa_core::message::LINE_FROM_AGENT;
use wgmfa_core::message::front::{FromFront, MAX_ATTEMPTS, ToFront};
use wgmfa_core::name::UserName;

use super::{Keeper, agent, attempt, enrol, person, say};
use crate::config::FirstFactor;
use crate::store::{Event, Note};

/// The keeper's end of one SSH connection.
pub struct Conversation {
    /// The front's number for it.
    pub id: u64,
    /// Where it comes from.
    pub source: IpAddr,
    /// A command has said that it may outlast the connection's time.
    pub stays: bool,
    inbox: Inbox,
}

/// How many requests of one connection may wait for the keeper.
const MOST_WAITING: usize = 512;

/// How long they may be together, in bytes: two of the longest lines. Above it the conversation ends.
const MOST_BYTES: usize = 2 * LINE_FROM_AGENT;

/// Work for a host that takes longer is followed by a rest as long.
const WORTH_A_REST: Duration = Duration::from_millis(5);

/// Requests of one connection that wait for the keeper.
pub struct Inbox {
    requests: mpsc::Receiver<FromFront>,
    bytes: Rc<Cell<usize>>,
}

/// Where they are put.
pub struct Outlet {
    requests: mpsc::Sender<FromFront>,
    bytes: Rc<Cell<usize>>,
}

/// An empty inbox and its outlet.
pub fn inbox() -> (Outlet, Inbox) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let bytes = Rc::new(Cell::new(0));
    (Outlet { requests: sender, bytes: bytes.clone() }, Inbox { requests: receiver, bytes })
}

impl Outlet {
    /// Puts a request there; whether there was room.
    pub fn put(&self, request: FromFront) -> bool {
        let bytes = self.bytes.get().saturating_add(cost(&request));
        let fits = bytes <= MOST_BYTES && self.requests.try_send(request).is_ok();
        if fits {
            self.bytes.set(bytes);
        }
        fits
    }

    /// Nobody will take anything out.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

fn cost(request: &FromFront) -> usize {
    if let FromFront::Line { line, .. } = request { line.expose().len() } else { 0 }
}

/// The conversation is over; with the reason if it is our decision.
#[derive(Debug)]
pub enum Over {
    /// The other side is gone.
    Gone,
    /// We hang up, and this is why.
    HangUp(String),
}

/// A host that talks without an end gets half of the keeper's time at most: the rest is for the others.
pub async fn rest_after(work: Duration) {
    if work < WORTH_A_REST {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(work).await;
    }
}

/// Something came that has no place in this state.
pub fn out_of_place<T>() -> Result<T, Over> {
    Err(Over::HangUp("a request came out of its order".to_owned()))
}

impl Conversation {
    /// A conversation that begins.
    pub fn new(id: u64, source: IpAddr, inbox: Inbox) -> Self {
        Self { id, source, stays: false, inbox }
    }

    /// The next thing that happens on this connection.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn next(&mut self) -> Result<FromFront, Over> {
        match self.inbox.requests.recv().await {
            Some(FromFront::Gone { .. }) | None => Err(Over::Gone),
            Some(event) => {
                let bytes = &self.inbox.bytes;
                bytes.set(bytes.get().saturating_sub(cost(&event)));
                Ok(event)
            }
        }
    }
}

/// Serves one connection from its first request to its end.
pub async fn serve(keeper: Rc<Keeper>, id: u64, source: IpAddr, inbox: Inbox) {
    let mut conversation = Conversation::new(id, source, inbox);
    let over = run(&keeper, &mut conversation).await;
    if let Err(Over::HangUp(reason)) = over {
        keeper.to_front(&ToFront::End { conversation: id, reason });
    }
}

async fn run(keeper: &Rc<Keeper>, conversation: &mut Conversation) -> Result<(), Over> {
    let id = conversation.id;
    let mut attempts = 0;
    let mut keyed: Option<String> = None;
    loop {
        match conversation.next().await? {
            FromFront::PersonKey { user, public_key, verified, .. } if keyed.is_none() => {
                let known = keeper.knows_key(&user, &public_key, verified.then_some(conversation.source));
                keeper.to_front(&ToFront::PersonKey { conversation: id, known });
                keyed = (known && verified).then_some(user);
            }
            FromFront::Login { user, .. } if keyed.as_ref().is_none_or(|name| *name == user) => {
                attempts += 1;
                if attempts > MAX_ATTEMPTS {
                    return Err(Over::HangUp("too many attempts on one connection".to_owned()));
                }
                match attempt::run(keeper, conversation, &user, keyed.is_some()).await? {
                    attempt::Verdict::Accept(login) => {
                        keeper.to_front(&ToFront::Accepted { conversation: id });
                        return person::serve(keeper, conversation, &login).await;
                    }
                    attempt::Verdict::Invite(invited) => {
                        keeper.to_front(&ToFront::Accepted { conversation: id });
                        return enrol::serve(keeper, conversation, invited).await;
                    }
                    attempt::Verdict::Refuse => {
                        keeper.to_front(&ToFront::Refused { conversation: id, text: keeper.refusal() });
                    }
                }
            }
            FromFront::HostKey { public_key, verified, .. } => {
                let hosts = agent::hosts_with_key(keeper, &public_key);
                keeper.to_front(&ToFront::Host { conversation: id, known: !hosts.is_empty() });
                if verified && !hosts.is_empty() {
                    return agent::serve(keeper, conversation, &public_key).await;
                }
            }
            FromFront::ChannelGone { .. } | FromFront::InputEnded { .. } => {}
            _ => return out_of_place(),
        }
    }
}

impl Keeper {
    /// Whether this is a person's registered key, where keys count. With the source of a key whose signature was
    /// verified, that is audited.
    ///
    /// That it was verified is the front's word: the library hands out neither the signature nor what was signed. So a
    /// front that was taken over can leave out a person's first factor (and could read their password as well), but not
    /// the second. Whoever knows a public key and its owner's name can learn that the key is registered, as from any SSH
    /// server that lets a client with several keys find the right one; disabled people's keys are known as before.
    fn knows_key(&self, user: &str, public_key: &str, verified_from: Option<IpAddr>) -> bool {
        if self.config.first_factor == FirstFactor::Password {
            return false;
        }
        let (Ok(user), Ok(key)) = (user.parse::<UserName>(), PublicKey::from_openssh(public_key)) else { return false };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let known = self.store.keys(&user).is_ok_and(|keys| keys.iter().any(|key| key.fingerprint == fingerprint));
        if let (true, Some(source)) = (known, verified_from) {
            let note = Note::new(Event::KeyAccepted).user(&user).from(Some(&source.to_string())).reason(fingerprint);
            if let Err(error) = self.store.note_within_quota(self.now(), note) {
                say(&format!("login of {user}: {error}"));
                return false;
            }
        }
        known
    }

    /// What a person reads after any refusal, and whom to call.
    pub fn refusal(&self) -> String {
        if self.config.contact.is_empty() { REFUSED.to_owned() } else { format!("{REFUSED}\n{}", self.config.contact) }
    }

    /// Writes to a channel; with `exit`, for the last time.
    pub fn output(&self, conversation: u64, channel: u32, stdout: SecretText, stderr: &str, exit: Option<u8>) {
        let stderr = stderr.to_owned();
        self.to_front(&ToFront::Output { conversation, channel, stdout, stderr, exit, confirm: false });
    }
}
