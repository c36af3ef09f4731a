//! A person who has logged in: what they may ask for, and how it is answered.

use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, timeout, timeout_at};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{FromFront, Limits};
use wgmfa_core::message::sync::{ClientAnswer, ClientHello, Release};
use wgmfa_core::message::{decode, encode};
use wgmfa_core::words::words;

use super::attempt::Passed;
use super::conversation::{Conversation, Over, out_of_place};
use super::dialogue::{Dialogue, WITHIN};
use super::own_secrets::{CodesWords, PasswdWords};
use super::release::Wish;
use super::{Keeper, administration, answer, enrol, host_keys, own_secrets};
use crate::cli;
use crate::cli::words::{SyncFormat, SyncWords};

/// What can be asked for.
const COMMANDS: &str = "wgmfa-sync, wgmfa-status, wgmfa-passwd, wgmfa-codes, wgmfa-enrol, wgmfa-host-key";

/// What everything else is refused with.
fn refusal() -> Said {
    Said::failure(&Failure::new(Exit::Failed, format!("only these can be asked for here: {COMMANDS}")), "wgmfa")
}

/// How long the subsystem waits for the client's first line, which it may leave out.
const HELLO_WITHIN: Duration = Duration::from_secs(2);

/// How long the subsystem waits for each answer of the client.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long a connection lives on after an answer that took its time: the last of it is still on its way.
const READS_ON: Duration = Duration::from_secs(20);

/// The words after `wgmfa-status`.
#[derive(Debug, Parser)]
#[command(
    name = "wgmfa-status",
    about = "Shows your connections and how long each is open",
    after_help = "Example:\n  ssh bastion wgmfa-status --json\n  ssh -t bastion wgmfa-status --watch",
    disable_version_flag = true
)]
struct StatusWords {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Again whenever something has changed: redrawn in place on a terminal (ssh -t); with --json, JSON lines
    #[arg(long)]
    watch: bool,
}

/// Whether this is `wgmfa-status --watch`, and then whether it wants JSON.
fn watched_status(command: &str) -> Option<bool> {
    let words = words(command).ok().filter(|words| words.first().is_some_and(|word| word == "wgmfa-status"))?;
    StatusWords::try_parse_from(words).ok().filter(|asked| asked.watch).map(|asked| asked.json)
}

/// Answers requests until the connection is gone.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn serve(keeper: &Rc<Keeper>, conversation: &mut Conversation, passed: &Passed) -> Result<(), Over> {
    keeper.people.borrow_mut().insert(conversation.id, passed.login.user.clone());
    let over = answer_all(keeper, conversation, passed).await;
    keeper.people.borrow_mut().remove(&conversation.id);
    over
}

async fn answer_all(keeper: &Rc<Keeper>, conversation: &mut Conversation, passed: &Passed) -> Result<(), Over> {
    // the front keeps it too, until a command without an end has run
    let mut until = passed.at + Duration::from_secs(Limits::default().session_seconds);
    loop {
        let Ok(event) = timeout_at(until, conversation.next()).await else {
            return Err(Over::HangUp("its time is over".to_owned()));
        };
        match event? {
            FromFront::Exec { channel, command, subsystem: true, .. } if command == "wgmfa-sync" => {
                subsystem(keeper, conversation, passed, channel).await?;
            }
            FromFront::Exec { channel, command, subsystem: false, terminal, .. } => {
                if let Some(words) = administration::words_of(&command) {
                    administration::serve(keeper, conversation, passed, words, (channel, terminal)).await?;
                    continue;
                }
                if let Some(json) = watched_status(&command) {
                    administration::watch(keeper, conversation, passed, json, (channel, terminal)).await?;
                    continue;
                }
                run(keeper, conversation, passed, &command, (channel, terminal)).await?;
            }
            FromFront::Exec { channel, .. } => {
                refusal().end(keeper, conversation.id, channel);
            }
            FromFront::Line { .. } | FromFront::InputEnded { .. } => {}
            FromFront::Taken { .. } | FromFront::ChannelGone { .. } => {}
            _ => return out_of_place(),
        }
        // whoever has just been told something long is still reading
        if std::mem::take(&mut conversation.stays) {
            until = until.max(Instant::now() + READS_ON);
        }
    }
}

/// What a command says, and its exit status.
pub struct Said {
    /// For standard output.
    pub stdout: SecretText,
    /// For standard error.
    pub stderr: String,
    /// The exit status.
    pub exit: Exit,
}

impl Said {
    /// All was done, and this is the answer.
    pub fn done(stdout: impl Into<String>) -> Self {
        Self { stdout: SecretText::new(stdout.into()), stderr: String::new(), exit: Exit::Done }
    }

    /// It was not done.
    pub fn failure(failure: &Failure, command: &str) -> Self {
        Self { stdout: SecretText::default(), stderr: failure.lines(command), exit: failure.exit }
    }

    /// What clap says: help on standard output, wrong usage on standard error.
    pub fn usage(error: &clap::Error, command: &str) -> Self {
        if !error.use_stderr() {
            return Self::done(error.render().to_string());
        }
        let failure = Failure::new(Exit::Usage, cli::what(error)).hint(format!("ssh bastion {command} --help"));
        Self::failure(&failure, command)
    }

    /// Says it on a channel, as the last words there.
    pub fn end(self, keeper: &Keeper, conversation: u64, channel: u32) {
        keeper.output(conversation, channel, self.stdout, &self.stderr, Some(self.exit.code()));
    }
}

/// The commands, each with its words.
async fn run(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    passed: &Passed,
    command: &str,
    (channel, terminal): (u32, bool),
) -> Result<(), Over> {
    let words = match words(command) {
        Ok(words) => words,
        Err(error) => {
            let failure = Failure::new(Exit::Usage, error.to_string());
            Said::failure(&failure, "wgmfa").end(keeper, conversation.id, channel);
            return Ok(());
        }
    };
    let user = &passed.login.user;
    let said = match words.first().map(String::as_str) {
        None => {
            let table = answer::status(keeper, user, false, terminal);
            let is_admin = keeper.store.person(user).ok().flatten().is_some_and(|person| person.admin);
            let more = if is_admin { ", wgmfa-bastion" } else { "" };
            Said::done(format!("{table}\nAsk for one of these: {COMMANDS}{more} (ssh bastion wgmfa-sync)\n"))
        }
        Some("wgmfa-sync") => match SyncWords::try_parse_from(&words) {
            Ok(asked) => sync(keeper, passed, asked).await,
            Err(error) => Said::usage(&error, "wgmfa-sync"),
        },
        Some("wgmfa-status") => match StatusWords::try_parse_from(&words) {
            Ok(asked) => Said::done(answer::status(keeper, user, asked.json, terminal)),
            Err(error) => Said::usage(&error, "wgmfa-status"),
        },
        Some(own_secrets::PASSWD) => match PasswdWords::try_parse_from(&words) {
            Ok(asked) => {
                let mut dialogue = Dialogue::begin(keeper, own_secrets::PASSWD, conversation, (channel, terminal));
                let done = timeout(WITHIN, own_secrets::passwd(&mut dialogue, passed, asked.json)).await;
                dialogue.end(done.map_err(|_| Over::HangUp("its time is over".to_owned()))??);
                return Ok(());
            }
            Err(error) => Said::usage(&error, own_secrets::PASSWD),
        },
        Some(own_secrets::CODES) => match CodesWords::try_parse_from(&words) {
            Ok(asked) => match own_secrets::codes(keeper, passed, asked.json) {
                Ok(stdout) => Said { stdout, stderr: String::new(), exit: Exit::Done },
                Err(failure) => Said::failure(&failure, own_secrets::CODES),
            },
            Err(error) => Said::usage(&error, own_secrets::CODES),
        },
        Some(host_keys::COMMAND) => host_keys::for_a_person(keeper, &words),
        Some(enrol::ENROL) => enrol::after_a_login(&words),
        Some(_) => refusal(),
    };
    said.end(keeper, conversation.id, channel);
    Ok(())
}

async fn sync(keeper: &Rc<Keeper>, passed: &Passed, asked: SyncWords) -> Said {
    let (hello, json) = (ClientHello::default(), asked.format == SyncFormat::Json);
    if let Some(host) = asked.push {
        let wish = Wish { device: Some(host), connections: asked.connections, hello, push: true };
        return match keeper.push(passed, wish).await {
            Ok(pushed) => pushed.said(keeper, json),
            Err(failure) => Said::failure(&failure, "wgmfa-sync"),
        };
    }
    let wish = Wish { device: asked.device, connections: asked.connections, hello, push: false };
    match keeper.release(passed, &wish).await {
        Ok(release) if json => answer::json(&release),
        Ok(release) => answer::tsv(keeper, &release),
        Err(failure) => Said::failure(&failure, "wgmfa-sync"),
    }
}

/// The subsystem `wgmfa-sync`: JSON lines.
async fn subsystem(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    passed: &Passed,
    channel: u32,
) -> Result<(), Over> {
    let id = conversation.id;
    let end = |failure: &Failure| {
        let exit = Some(failure.exit.code());
        keeper.output(id, channel, SecretText::default(), &failure.lines("wgmfa-sync"), exit);
    };
    let hello = match timeout(HELLO_WITHIN, line(conversation, channel)).await {
        Err(_) | Ok(Ok(Line::Ended)) => ClientHello::default(),
        Ok(Ok(Line::Gone)) => return Ok(()),
        Ok(Ok(Line::Text(text))) => match decode::<ClientHello>(text.expose().as_bytes()) {
            Ok(hello) => hello,
            Err(error) => {
                end(&Failure::new(Exit::Usage, format!("the first line: {error}"))
                    .hint("begin with {\"version\": 1, \"public_keys\": [\"…\"], \"peers\": [\"…\"]}"));
                return Ok(());
            }
        },
        Ok(Err(over)) => return Err(over),
    };
    let wish = Wish { device: hello.device.clone(), connections: Vec::new(), hello, push: false };
    let release: Release = match keeper.release(passed, &wish).await {
        Ok(release) => release,
        Err(failure) => {
            end(&failure);
            return Ok(());
        }
    };
    let keys = String::from_utf8(encode(&release)).expect("JSON is UTF-8");
    keeper.output(id, channel, SecretText::new(keys), "", None);
    let exit = if release.refused.is_empty() { Exit::Done } else { Exit::Partly };
    let mut changes = release.keys.iter().any(|key| key.next.is_some());
    loop {
        match timeout(ANSWER_WITHIN, line(conversation, channel)).await {
            Ok(Ok(Line::Text(text))) => match decode::<ClientAnswer>(text.expose().as_bytes()) {
                Ok(ClientAnswer::Received { received: true }) if std::mem::take(&mut changes) => {
                    let changed = encode(&keeper.change(&release).await);
                    let changed = String::from_utf8(changed).expect("JSON is UTF-8");
                    keeper.output(id, channel, SecretText::new(changed), "", None);
                }
                Ok(ClientAnswer::Received { .. }) => {}
                Ok(ClientAnswer::Applied { applied }) => {
                    keeper.note_client_applied(&passed.login, &release, &applied);
                    break;
                }
                Err(error) => {
                    end(&Failure::new(Exit::Usage, format!("after the keys: {error}")));
                    return Ok(());
                }
            },
            Ok(Ok(Line::Ended)) | Err(_) => break,
            Ok(Ok(Line::Gone)) => return Ok(()),
            Ok(Err(over)) => return Err(over),
        }
    }
    keeper.output(id, channel, SecretText::default(), "", Some(exit.code()));
    Ok(())
}

/// What came on a channel.
pub enum Line {
    /// A line, without its newline.
    Text(SecretText),
    /// Nothing more will come.
    Ended,
    /// The channel is closed.
    Gone,
}

/// The next line of this channel. Another command on the same connection is told to wait.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn line(conversation: &mut Conversation, channel: u32) -> Result<Line, Over> {
    loop {
        match conversation.next().await? {
            FromFront::Line { channel: on, line, .. } if on == channel => return Ok(Line::Text(line)),
            FromFront::InputEnded { channel: on, .. } if on == channel => return Ok(Line::Ended),
            FromFront::ChannelGone { channel: on, .. } if on == channel => return Ok(Line::Gone),
            FromFront::Line { .. } | FromFront::InputEnded { .. } => {}
            FromFront::Taken { .. } | FromFront::ChannelGone { .. } => {}
            FromFront::Exec { .. } => {
                return Err(Over::HangUp("two commands at once on one connection".to_owned()));
            }
            _ => return out_of_place(),
        }
    }
}
