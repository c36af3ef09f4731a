//! Messages to and from the bastion, over SSH or, in tests, any stream of bytes.

use std::time::Duration;

use russh::ChannelMsg;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::agent::{FromAgent, ToAgent};
use wgmfa_core::message::{self, LINE_BEFORE_PROOF, LINE_TO_AGENT, Lines};
use wgmfa_core::version;
use zeroize::Zeroizing;

use crate::clock;
use crate::config::Config;
use crate::host_keys::Follower;
use crate::identity;
use crate::ssh::{self, Connection, PATIENCE};

/// How long an answer of the bastion may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// A resident agent asks whether the bastion is there when it has asked nothing for so long, in seconds.
const PING_EVERY: u64 = 9;

/// A proven conversation with the bastion. Dropping it hangs up.
pub struct Conversation {
    to_bastion: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>,
    from_bastion: mpsc::UnboundedReceiver<Result<ToAgent, Failure>>,
    pump: JoinHandle<()>,
    /// When the question was asked that is still open.
    open_question: Option<Boottime>,
    /// When the open ping was sent.
    open_ping: Option<Boottime>,
    last_question: Boottime,
    /// Follows the bastion when it changes its SSH host key; none: nothing is to be changed.
    follower: Option<Follower>,
    /// Something was said about that, and nothing since that tells that it has arrived.
    told_keys: bool,
}

impl Conversation {
    /// Connects, proves this host, and waits for the bastion's welcome.
    ///
    /// # Errors
    /// As [`ssh::connect`]; [`Exit::LoginRefused`] when the bastion refuses the proof.
    pub async fn begin(config: &Config, resident: bool) -> Result<Self, Failure> {
        let (connection, identity) = ssh::connect_with_own_key(config).await?;
        let follower = Some(Follower::new(config, connection.host_key.clone()));
        let (to_bastion, outgoing) = mpsc::unbounded_channel();
        let (incoming, from_bastion) = mpsc::unbounded_channel();
        let pump = tokio::spawn(pump(connection, outgoing, incoming));
        let now = clock::now();
        let mut conversation = Self {
            to_bastion,
            from_bastion,
            pump,
            open_question: None,
            open_ping: None,
            last_question: now,
            follower,
            told_keys: false,
        };
        let ToAgent::Challenge { version, nonce, .. } = conversation.first_answer().await? else {
            return Err(unexpected("no challenge came"));
        };
        same_version(version)?;
        let signature = identity::prove(&identity, &config.host, &nonce)?;
        let (host, program) = (config.host.clone(), Some(version::PROGRAM.to_owned()));
        conversation.send(FromAgent::Hello { version: message::VERSION, host, signature, resident, program });
        match conversation.first_answer().await? {
            ToAgent::Welcome { host } if host == config.host => Ok(conversation),
            ToAgent::Welcome { host } => Err(unexpected(&format!("it takes this host for {host}"))),
            _ => Err(unexpected("no welcome came")),
        }
    }

    /// Says something. That the other side has gone is seen at the next answer.
    pub fn send(&mut self, message: FromAgent) {
        let now = clock::now();
        match message {
            FromAgent::Ping => self.open_ping = Some(now),
            FromAgent::Report { .. } | FromAgent::Deposit { .. } | FromAgent::Applied { .. } => {
                self.open_question = Some(now);
                self.last_question = now;
            }
            _ => {}
        }
        let _ = self.to_bastion.send(Zeroizing::new(message::encode(&message)));
    }

    /// Asks whether the bastion is there, if nothing was asked lately.
    pub fn ping_if_due(&mut self) {
        let quiet = clock::now().since(self.last_question).as_secs() >= PING_EVERY;
        if quiet && self.open_ping.is_none() && self.open_question.is_none() {
            self.last_question = clock::now();
            self.send(FromAgent::Ping);
        }
    }

    /// Whether an answer is overdue: the connection is dead.
    pub fn is_dead(&self) -> bool {
        let now = clock::now();
        [self.open_question, self.open_ping].into_iter().flatten().any(|asked| now.since(asked) > LONGEST_ANSWER)
    }

    /// The next message. May be dropped and called again. A pong comes with the moment at which its ping was sent.
    ///
    /// # Errors
    /// The connection is gone, or the bastion refused to go on.
    pub async fn next(&mut self) -> Result<(ToAgent, Option<Boottime>), Failure> {
        let mut message = self.from_bastion.recv().await.unwrap_or_else(|| Err(gone()))?;
        if let ToAgent::Assignments { host_keys, .. } = &mut message
            && let Some(follower) = &mut self.follower
            && let Some(host_keys) = follower.follow(host_keys)
        {
            self.told_keys = true;
            self.send(FromAgent::Knows { host_keys });
        }
        let asked = match &message {
            ToAgent::Refused { reason } => return Err(refused(reason)),
            ToAgent::Pong => self.open_ping.take(),
            ToAgent::Assignments { .. } | ToAgent::Stored { .. } | ToAgent::Noted { .. } => {
                self.open_question = None;
                None
            }
            _ => None,
        };
        Ok((message, asked))
    }

    /// The same, within the time that an answer may take.
    ///
    /// # Errors
    /// As [`Conversation::next`], or nothing came.
    pub async fn answer(&mut self) -> Result<ToAgent, Failure> {
        match timeout(LONGEST_ANSWER, self.next()).await {
            Ok(next) => next.map(|(message, _)| message),
            Err(_) => Err(Failure::new(Exit::Unreachable, "the bastion does not answer")),
        }
    }

    /// The same conversation of somebody who only looks: the file of known hosts stays as it is.
    #[must_use]
    pub fn that_changes_nothing(mut self) -> Self {
        self.follower = None;
        self
    }

    /// Waits until the bastion has heard which host keys are known here, if it was told.
    ///
    /// # Errors
    /// As [`Conversation::next`].
    pub async fn settle(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.told_keys) {
            self.send(FromAgent::Ping);
            while !matches!(self.answer().await?, ToAgent::Pong) {}
        }
        Ok(())
    }

    async fn first_answer(&mut self) -> Result<ToAgent, Failure> {
        match timeout(PATIENCE, self.next()).await {
            Ok(next) => next.map(|(message, _)| message),
            Err(_) => Err(Failure::new(Exit::Unreachable, "the bastion accepted the connection and says nothing")),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Carries lines both ways until the connection or the conversation ends.
async fn pump(
    mut connection: Connection,
    mut outgoing: mpsc::UnboundedReceiver<Zeroizing<Vec<u8>>>,
    incoming: mpsc::UnboundedSender<Result<ToAgent, Failure>>,
) {
    let mut writer = Box::pin(connection.channel.make_writer());
    let (mut lines, mut said) = (Lines::new(LINE_BEFORE_PROOF), String::new());
    let write = async {
        while let Some(line) = outgoing.recv().await {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &line).await?;
            tokio::io::AsyncWriteExt::flush(&mut writer).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let read = async {
        while let Some(part) = connection.channel.wait().await {
            match part {
                ChannelMsg::Data { data } => lines.push(&data),
                ChannelMsg::ExtendedData { data, .. } if said.len() < 1000 => {
                    said.push_str(&String::from_utf8_lossy(&data))
                }
                ChannelMsg::Failure => return Err(unexpected("it has no subsystem wgmfa-agent")),
                ChannelMsg::Eof | ChannelMsg::Close => break,
                _ => {}
            }
            while let Some(line) = lines.next_line().map_err(|error| unexpected(&error.to_string()))? {
                let line = Zeroizing::new(line);
                let message =
                    message::decode(&line).map_err(|error| match message::version_of(&line).map(same_version) {
                        Some(Err(failure)) => failure,
                        _ => unexpected(&error.to_string()),
                    })?;
                if matches!(message, ToAgent::Welcome { .. }) {
                    lines.set_limit(LINE_TO_AGENT);
                }
                if incoming.send(Ok(message)).is_err() {
                    break;
                }
            }
        }
        Err(if said.is_empty() { gone() } else { refused(said.trim_end()) })
    };
    let ended: Result<(), Failure> = tokio::select! {
        biased; // what the bastion said last is worth more than that it hung up
        ended = read => ended,
        _ = write => Err(gone()),
    };
    if let Err(failure) = ended {
        let _ = incoming.send(Err(failure));
    }
}

/// The first line that the bastion says to whoever comes with a host's key, and nothing is answered: it tells its version
/// and its time.
///
/// # Errors
/// As [`ssh::connect`], or something else came.
pub async fn challenge(mut connection: Connection) -> Result<ToAgent, Failure> {
    let mut lines = Lines::new(LINE_BEFORE_PROOF);
    let first = timeout(PATIENCE, async {
        loop {
            match connection.channel.wait().await {
                Some(ChannelMsg::Data { data }) => lines.push(&data),
                Some(ChannelMsg::Failure) => return Err(unexpected("it has no subsystem wgmfa-agent")),
                None | Some(ChannelMsg::Eof | ChannelMsg::Close) => return Err(gone()),
                _ => {}
            }
            if let Some(line) = lines.next_line().map_err(|error| unexpected(&error.to_string()))? {
                message::version_of(&line).map_or(Ok(()), same_version)?;
                return message::decode(&line).map_err(|error| unexpected(&error.to_string()));
            }
        }
    });
    first.await.unwrap_or_else(|_| Err(unexpected("it accepts the connection and says nothing")))
}

/// Refuses a bastion of another version, in words that say what to do.
fn same_version(theirs: u32) -> Result<(), Failure> {
    match message::other_version(theirs, "the agents' conversation") {
        None => Ok(()),
        Some(error) => Err(Failure::new(Exit::Unreachable, format!("bastion: {error}")).hint(message::BRING_FORWARD)),
    }
}

fn gone() -> Failure {
    Failure::new(Exit::Unreachable, "the connection to the bastion was lost")
}

fn refused(reason: &str) -> Failure {
    Failure::new(Exit::LoginRefused, format!("the bastion refuses this host: {reason}"))
}

fn unexpected(what: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the bastion does not speak as expected: {what}"))
}
