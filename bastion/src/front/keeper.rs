//! The socket to the keeper: what connections ask goes there in turn, what the keeper says is dealt out to them.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{FromFront, ToFront};
use wgmfa_core::message::worker::Prompt;
use wgmfa_core::message::{LINE_FROM_AGENT, LINE_OF_FRONT, Lines, decode, encode};
use zeroize::Zeroizing;

use super::deadline::Lifetime;
use super::log;

/// Messages of all connections that wait for the keeper. When it is full, connections wait, and so do their clients, each
/// with one message; few, because one host's long lines could fill it, and a login waits behind them.
const ASKED: usize = 8;

/// Replies that wait for one connection; each answers a question, and a connection asks one at a time.
const REPLIES: usize = 4;

/// Output that may wait for one slow client, in bytes: two of the longest lines that agents say. Above it the connection ends,
/// unless it is one line alone, the longest answer to an agent.
const WAITING: usize = 2 * LINE_FROM_AGENT;

/// What a queued order costs beside its text, in bytes, roughly.
const ORDER: usize = 128;

/// An answer that a login waits for.
#[derive(Debug)]
pub enum Reply {
    /// Show and ask these.
    Prompts(Vec<Prompt>),
    /// The login is accepted.
    Accepted,
    /// The login is refused, with what to show.
    Refused(String),
    /// Whether this host may come.
    Host(bool),
    /// Whether it is a key of this person.
    PersonKey(bool),
}

/// Something to do on a connection.
#[derive(Debug)]
pub enum Order {
    /// Bytes for a channel, and its exit status with the last ones.
    Output {
        /// The channel's number.
        channel: u32,
        /// For standard output.
        stdout: SecretText,
        /// For standard error.
        stderr: String,
        /// The exit status.
        exit: Option<u8>,
        /// The keeper waits until they are taken.
        confirm: bool,
    },
    /// Whether what is typed on a channel is shown from now on.
    Echo {
        /// The channel's number.
        channel: u32,
        /// Show it.
        shown: bool,
    },
    /// Hang up.
    End(String),
}

impl Order {
    fn cost(&self) -> usize {
        match self {
            Self::Output { stdout, stderr, .. } => ORDER + stdout.expose().len() + stderr.len(),
            Self::Echo { .. } => ORDER,
            Self::End(reason) => ORDER + reason.len(),
        }
    }
}

/// Orders of one connection, in the order in which the keeper gave them.
#[derive(Debug)]
pub struct Orders {
    queue: mpsc::UnboundedReceiver<Order>,
    waiting: Arc<AtomicUsize>,
}

impl Orders {
    /// The next one; `None` once the conversation has ended.
    pub async fn next(&mut self) -> Option<Order> {
        let order = self.queue.recv().await?;
        self.waiting.fetch_sub(order.cost(), Ordering::Relaxed);
        Some(order)
    }
}

#[derive(Debug)]
struct Conversation {
    replies: mpsc::Sender<Reply>,
    orders: mpsc::UnboundedSender<Order>,
    waiting: Arc<AtomicUsize>,
    lifetime: Lifetime,
    /// The keeper has heard of it.
    told: bool,
}

/// The way to the keeper, shared by all connections.
#[derive(Debug, Clone)]
pub struct Keeper {
    asks: mpsc::Sender<FromFront>,
    conversations: Arc<Mutex<HashMap<u64, Conversation>>>,
    last: Arc<AtomicU64>,
}

/// The keeper cannot be asked any more.
#[derive(Debug)]
pub struct KeeperGone;

impl Keeper {
    /// Opens a conversation for one connection; the number is never used again.
    pub fn begin(&self, lifetime: &Lifetime) -> (u64, mpsc::Receiver<Reply>, Orders) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (replies, answered) = mpsc::channel(REPLIES);
        let (orders, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let conversation =
            Conversation { replies, orders, waiting: Arc::clone(&waiting), lifetime: lifetime.clone(), told: false };
        self.open().insert(number, conversation);
        (number, answered, Orders { queue, waiting })
    }

    /// What the keeper still says in this conversation is dropped; it learns of the end if it knew of the beginning.
    pub async fn end(&self, conversation: u64) {
        let ended = self.open().remove(&conversation);
        if ended.is_some_and(|conversation| conversation.told) {
            let _ = self.ask(FromFront::Gone { conversation }).await;
        }
    }

    /// Sends a message; waits while the keeper is busy.
    pub async fn ask(&self, message: FromFront) -> Result<(), KeeperGone> {
        if let FromFront::Login { conversation, .. }
        | FromFront::HostKey { conversation, .. }
        | FromFront::PersonKey { conversation, .. } = &message
            && let Some(conversation) = self.open().get_mut(conversation)
        {
            conversation.told = true;
        }
        self.asks.send(message).await.map_err(|_| KeeperGone)
    }

    /// Deals out what the keeper said. Never waits: a client that reads too slowly loses its connection, not the others'.
    pub fn deliver(&self, message: ToFront) {
        match message {
            ToFront::HostKeys { .. } => {} // not for one connection
            ToFront::Start { .. } => log::line("warning: the keeper said `start` twice"),
            ToFront::Prompts { conversation, prompts } => self.reply(conversation, Reply::Prompts(prompts)),
            ToFront::Accepted { conversation } => self.reply(conversation, Reply::Accepted),
            ToFront::Refused { conversation, text } => self.reply(conversation, Reply::Refused(text)),
            ToFront::Host { conversation, known } => self.reply(conversation, Reply::Host(known)),
            ToFront::PersonKey { conversation, known } => self.reply(conversation, Reply::PersonKey(known)),
            ToFront::Output { conversation, channel, stdout, stderr, exit, confirm } => {
                self.order(conversation, Order::Output { channel, stdout, stderr, exit, confirm });
            }
            ToFront::Stay { conversation } => {
                self.with(conversation, |conversation| conversation.lifetime.change(None))
            }
            ToFront::Echo { conversation, channel, shown } => {
                self.order(conversation, Order::Echo { channel, shown });
            }
            ToFront::End { conversation, reason } => self.order(conversation, Order::End(reason)),
        }
    }

    fn reply(&self, number: u64, reply: Reply) {
        self.with(number, |conversation| {
            if conversation.replies.try_send(reply).is_err() {
                log::line(&format!("warning: conversation {number}: a reply that nobody waits for"));
            }
        });
    }

    fn order(&self, number: u64, order: Order) {
        self.with(number, |conversation| {
            let cost = order.cost();
            let before = conversation.waiting.fetch_add(cost, Ordering::Relaxed);
            if before > 0 && before + cost > WAITING {
                log::line(&format!("warning: conversation {number}: the client reads too slowly, hanging up"));
                conversation.lifetime.shorten(Instant::now());
            } else {
                let _ = conversation.orders.send(order);
            }
        });
    }

    /// A conversation may have ended while the keeper spoke: then there is nothing to do.
    fn with(&self, number: u64, act: impl FnOnce(&Conversation)) {
        if let Some(conversation) = self.open().get(&number) {
            act(conversation);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Conversation>> {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the keeper says, message by message.
pub struct Replies {
    stream: OwnedReadHalf,
    lines: Lines,
    buffer: Zeroizing<Vec<u8>>,
}

impl Replies {
    /// The next message; `None` when the keeper has closed the socket.
    pub async fn next(&mut self) -> Result<Option<ToFront>, String> {
        loop {
            let line = self.lines.next_line().map_err(|error| format!("keeper: {error}"))?;
            if let Some(line) = line.map(Zeroizing::new) {
                return decode(&line).map(Some).map_err(|error| format!("keeper: {error}"));
            }
            match self.stream.read(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(count) => self.lines.push(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(format!("keeper: {error}")),
            }
        }
    }
}

/// Begins to talk with the keeper.
///
/// # Errors
/// When the socket cannot be used.
pub fn talk(stream: std::os::unix::net::UnixStream) -> io::Result<(Keeper, Replies)> {
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    let (asks, asked) = mpsc::channel(ASKED);
    tokio::spawn(pass_on(asked, write));
    let keeper = Keeper { asks, conversations: Arc::default(), last: Arc::default() };
    let replies =
        Replies { stream: read, lines: Lines::new(LINE_OF_FRONT), buffer: Zeroizing::new(vec![0; 64 * 1024]) };
    Ok((keeper, replies))
}

async fn pass_on(mut asked: mpsc::Receiver<FromFront>, mut stream: OwnedWriteHalf) {
    while let Some(message) = asked.recv().await {
        let line = Zeroizing::new(encode(&message));
        drop(message);
        // the reader sees the same end of the socket, and ends the program
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}
