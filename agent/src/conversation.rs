//! Messages to and from the bastion, over SSH or, in tests, any stream of bytes.

use std::time::Duration;

use russh::ChannelMsg;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::agent::{FromAgent, ToAgent};
use wgmfa_core::message::{self, LINE_BEFORE_PROOF, LINE_FROM_AGENT, Lines};
use zeroize::Zeroizing;

use crate::clock;
use crate::config::Config;
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
}

impl Conversation {
    /// Connects, proves this host, and waits for the bastion's welcome.
    ///
    /// # Errors
    /// As [`ssh::connect`]; [`Exit::LoginRefused`] when the bastion refuses the proof.
    pub async fn begin(config: &Config, resident: bool) -> Result<Self, Failure> {
        let identity = identity::read(&config.identity)?;
        let connection = ssh::connect(config, identity.clone()).await?;
        let (to_bastion, outgoing) = mpsc::unbounded_channel();
        let (incoming, from_bastion) = mpsc::unbounded_channel();
        let pump = tokio::spawn(pump(connection, outgoing, incoming));
        let now = clock::now();
        let mut conversation =
            Self { to_bastion, from_bastion, pump, open_question: None, open_ping: None, last_question: now };
        let ToAgent::Challenge { version, nonce } = conversation.first_answer().await? else {
            return Err(unexpected("no challenge came"));
        };
        if version != message::VERSION {
            let error = format!("the bastion speaks version {version}, this agent version {}", message::VERSION);
            return Err(Failure::new(Exit::Unreachable, error).hint("install the same version on both"));
        }
        let signature = identity::prove(&identity, &config.host, &nonce)?;
        let host = config.host.clone();
        conversation.send(FromAgent::Hello { version: message::VERSION, host, signature, resident });
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
        let message = self.from_bastion.recv().await.unwrap_or_else(|| Err(gone()))?;
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
                let message = message::decode(&Zeroizing::new(line)).map_err(|error| unexpected(&error.to_string()))?;
                if matches!(message, ToAgent::Welcome { .. }) {
                    lines.set_limit(LINE_FROM_AGENT);
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

fn gone() -> Failure {
    Failure::new(Exit::Unreachable, "the connection to the bastion was lost")
}

fn refused(reason: &str) -> Failure {
    Failure::new(Exit::LoginRefused, format!("the bastion refuses this host: {reason}"))
}

fn unexpected(what: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the bastion does not speak as expected: {what}"))
}
