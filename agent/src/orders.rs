//! What root orders an agent, and the socket over which a resident agent takes such orders from other commands.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::{PresharedKey, exposed};
use wgmfa_core::message::{self, LINE_FROM_AGENT, LINE_FROM_PERSON, Lines};
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::speech::Speech;
use crate::voice;

/// How long an order may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the resident agent may take to carry an order out: less than cron's minute.
const LONGEST_ANSWER: Duration = Duration::from_secs(50);

/// What root orders.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// A round, or only its plan.
    Round {
        /// Plan only.
        dry_run: bool,
        /// A person waits for the answer, who wants to read all that stands; cron reads only what is new.
        #[serde(default)]
        says_all: bool,
    },
    /// A fresh lock key for every MFA peer.
    Lock,
    /// Open a peer for a time.
    Override {
        /// Which one, as a person names it.
        peer: String,
        /// The key; none for a peer that the firewall alone holds back.
        preshared_key: Option<Exposed>,
        /// For how long.
        seconds: u64,
        /// Why.
        reason: String,
    },
    /// Enforce nothing and put the configured keys back.
    StandDown {
        /// Why.
        reason: String,
    },
}

/// A key on its way to the resident agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exposed(#[serde(with = "exposed")] pub PresharedKey);

/// What became of an order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The exit status.
    pub exit: u8,
    /// For standard output.
    pub lines: Vec<String>,
    /// What went wrong, each with what to do about it.
    pub complaints: Vec<(String, Option<String>)>,
    /// What else there is to say on standard error.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Answer {
    /// It was done, apart from these.
    pub fn done(lines: Vec<String>, faults: Vec<String>) -> Self {
        let exit = if faults.is_empty() { Exit::Done } else { Exit::Partly };
        let complaints = faults.into_iter().map(|fault| (fault, None)).collect();
        Self { exit: exit.code(), lines, complaints, notes: Vec::new() }
    }

    /// A round has ended so, and this is to be said of it.
    pub fn after_round(exit: Exit, speech: Speech) -> Self {
        let Speech { failures, mut notes } = speech;
        let (warnings, failures): (Vec<_>, Vec<_>) = failures.into_iter().partition(|one| one.exit == Exit::Done);
        notes.extend(warnings.into_iter().map(|warning| voice::warning(&warning)));
        let complaints = failures.into_iter().map(|failure| (failure.error, failure.hint)).collect();
        Self { exit: exit.code(), lines: Vec::new(), complaints, notes }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let complaints = vec![(failure.error, failure.hint)];
        Self { exit: failure.exit.code(), lines: Vec::new(), complaints, notes: Vec::new() }
    }
}

impl Agent {
    /// Carries out an order that needs no bastion.
    pub fn obey(&mut self, order: Order) -> Answer {
        match order {
            Order::Round { .. } => Failure::new(Exit::Failed, "a round needs the bastion").into(),
            Order::Lock => {
                let faults = self.lock_all("ordered by root");
                Answer::done(Vec::new(), faults)
            }
            Order::Override { peer, preshared_key, seconds, reason } => {
                let opened =
                    self.open_by_root(&peer, preshared_key.map(|key| key.0), Interval::from_seconds(seconds), &reason);
                opened.map_or_else(Answer::from, |line| Answer::done(vec![line], Vec::new()))
            }
            Order::StandDown { reason } => match self.stand_down(&reason) {
                Ok(faults) => {
                    let line = "nothing is enforced here now; wgmfa-agent run or rotate begins again";
                    Answer::done(vec![line.to_owned()], faults)
                }
                Err(failure) => failure.into(),
            },
        }
    }
}

/// Asks the resident agent; none: there is none.
///
/// # Errors
/// It hung up without an answer.
pub fn ask(socket: &Path, order: &Order) -> Result<Option<Answer>, Failure> {
    let mut stream = match BlockingStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(socket, &error).hint("run it as root")),
    };
    stream.set_read_timeout(Some(LONGEST_ANSWER)).map_err(|error| failed(socket, &error))?;
    let order = Zeroizing::new(message::encode(order));
    stream.write_all(&order).map_err(|error| failed(socket, &error))?;
    let (mut lines, mut buffer) = (Lines::new(LINE_FROM_AGENT), [0; 8192]);
    loop {
        if let Some(line) = lines.next_line().map_err(|error| Failure::new(Exit::Failed, error.to_string()))? {
            let answer = message::decode(&line).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            return Ok(Some(answer));
        }
        match stream.read(&mut buffer).map_err(|error| failed(socket, &error))? {
            0 => return Err(Failure::new(Exit::Failed, "the resident agent ended before it had answered")),
            read => lines.push(&buffer[..read]),
        }
    }
}

/// An order with the way back for its answer.
pub type Asked = (Order, oneshot::Sender<Answer>);

/// The socket of a resident agent. It lies in a folder that only root can enter.
pub struct Listener {
    path: PathBuf,
    accept: JoinHandle<()>,
}

impl Listener {
    /// Listens, and passes orders on. The caller is the only agent, so a socket that lies there is a dead one's.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(path: PathBuf, orders: mpsc::Sender<Asked>) -> Result<Self, Failure> {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|error| failed(&path, &error))?;
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, orders.clone()));
            }
        });
        Ok(Self { path, accept })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accept.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One order, one answer. Whoever does not speak the language gets nothing.
async fn serve(mut stream: UnixStream, orders: mpsc::Sender<Asked>) -> Option<()> {
    let order = timeout(PATIENCE, read_order(&mut stream)).await.ok()??;
    let (answer, answered) = oneshot::channel();
    orders.send((order, answer)).await.ok()?;
    let answer = answered.await.ok()?;
    stream.write_all(&message::encode(&answer)).await.ok()
}

async fn read_order(stream: &mut UnixStream) -> Option<Order> {
    let (mut lines, mut buffer) = (Lines::new(LINE_FROM_PERSON), Zeroizing::new([0; 4096]));
    loop {
        if let Some(line) = lines.next_line().ok()? {
            return message::decode(&Zeroizing::new(line)).ok();
        }
        match stream.read(&mut buffer[..]).await.ok()? {
            0 => return None,
            read => lines.push(&buffer[..read]),
        }
    }
}

fn failed(socket: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", socket.display(), error.to_string().to_lowercase()))
}
