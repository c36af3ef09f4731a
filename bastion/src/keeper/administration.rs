//! An administrator's command over SSH: the same words as on the bastion itself, in the administrator's name.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::admin::{AdminReply, AdminRequest};
use wgmfa_core::message::front::{FromFront, ToFront};
use wgmfa_core::message::{LINE_OF_INPUT, VERSION};
use wgmfa_core::release::RELEASE_WINDOW_SECONDS;
use wgmfa_core::words::words;
use zeroize::Zeroizing;

use super::attempt::Passed;
use super::caller::{By, Caller, Gone};
use super::conversation::{Conversation, Over, out_of_place};
use super::{Keeper, orders};
use crate::cli::over_ssh::{Cost, cost, reads_input};
use crate::store::{Event, Note};
use crate::voice::PROGRAM;
use crate::{admin, cli};

/// Longest input of a command, in bytes.
const LONGEST_INPUT: usize = LINE_OF_INPUT;

/// Output is handed to the front in pieces of about this many bytes, each when the last one has gone out: the front holds
/// no more than that for a client that reads slowly.
const PIECE: usize = 256 * 1024;

/// How long a client may read nothing before it is hung up on: somebody looks at the answer page by page.
const READS_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The words after `wgmfa-bastion`; none: it is another command.
pub fn words_of(command: &str) -> Option<Vec<String>> {
    let mut words = words(command).ok()?.into_iter();
    (words.next()? == PROGRAM).then(|| words.collect())
}

/// Carries out `wgmfa-bastion WORDS` for a person who may or may not be an administrator.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn serve(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    passed: &Passed,
    words: Vec<String>,
    (channel, terminal): (u32, bool),
) -> Result<(), Over> {
    let mut caller = Channel { keeper: keeper.clone(), conversation, number: channel };
    let done = match keeper.admit(passed, &words) {
        Ok(()) => run(keeper, &mut caller, passed, words, terminal).await,
        Err(failure) => caller.hear(refusal(&failure)).await,
    };
    ended(done)
}

/// `wgmfa-status --watch`: a person's own connections, until they leave.
///
/// # Errors
/// The connection is gone, or the front asked for something out of its order.
pub async fn watch(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    passed: &Passed,
    json: bool,
    (channel, terminal): (u32, bool),
) -> Result<(), Over> {
    let by = By { name: passed.login.user.to_string(), from: passed.login.from.parse().ok() };
    let mut caller = Channel { keeper: keeper.clone(), conversation, number: channel };
    let outcome = keeper.with_admin(&by, |context| admin::watch_own(context, &passed.login.user, json, terminal));
    ended(orders::tell(keeper, outcome, &by, &mut caller).await)
}

/// A caller who leaves a command leaves the connection to the others.
fn ended(done: Result<(), Gone>) -> Result<(), Over> {
    match done {
        Ok(()) | Err(Gone::Caller) => Ok(()),
        Err(Gone::Connection(over)) => Err(over),
    }
}

async fn run(
    keeper: &Rc<Keeper>,
    caller: &mut Channel<'_>,
    passed: &Passed,
    words: Vec<String>,
    terminal: bool,
) -> Result<(), Gone> {
    let mut stdin = None;
    // help and wrong usage cost nothing; they are told when the words are carried out
    if let Ok(line) = cli::parse_forwarded(&words) {
        if reads_input(&line.command) {
            match caller.input().await? {
                Ok(input) => stdin = Some(input),
                Err(failure) => return caller.hear(refusal(&failure)).await,
            }
        }
        if cost(&line.command) == Cost::FreshCode
            && let Err(failure) = keeper.pay(passed, &words)
        {
            return caller.hear(refusal(&failure)).await;
        }
    }
    let request = AdminRequest { version: VERSION, words, stdin, terminal, colour: terminal };
    let by = By { name: passed.login.user.to_string(), from: passed.login.from.parse().ok() };
    orders::carry_out(keeper, &request, &by, caller).await
}

fn refusal(failure: &Failure) -> AdminReply {
    let exit = Some(failure.exit.code());
    AdminReply { stderr: failure.lines(PROGRAM), exit, ..AdminReply::default() }
}

impl Keeper {
    /// Whether this person may give an administrator's command now.
    fn admit(&self, passed: &Passed, words: &[String]) -> Result<(), Failure> {
        let login = &passed.login;
        if self.store.person(&login.user)?.is_some_and(|person| person.admin && !person.disabled) {
            return Ok(());
        }
        let note = Note::new(Event::ActRefused).user(&login.user).from(Some(&login.from));
        self.store.note(self.now(), note.reason(format!("{}: not an administrator", cli::named(words))))?;
        Err(Failure::new(Exit::Failed, "only an administrator may ask for this"))
    }

    /// Spends the code of this login on one act.
    fn pay(&self, passed: &Passed, words: &[String]) -> Result<(), Failure> {
        let (login, act) = (&passed.login, cli::named(words));
        // the store counts too, but its time stands still while the system's clock is behind
        let late = passed.at.elapsed().as_secs() > RELEASE_WINDOW_SECONDS.unsigned_abs();
        let paid = match late {
            true => Err(Failure::new(Exit::Failed, "this login is more than 60 s old")),
            false => self.store.spend_on_act(self.now(), login, &act).map_err(Failure::from),
        };
        paid.or_else(|failure| {
            let note = Note::new(Event::ActRefused).user(&login.user).from(Some(&login.from));
            self.store.note(self.now(), note.reason(format!("{act}: {}", failure.error)))?;
            Err(failure.hint("log in again: each act of this kind costs a fresh code"))
        })
    }
}

/// A channel of an SSH connection.
pub struct Channel<'a> {
    /// The keeper.
    pub keeper: Rc<Keeper>,
    /// The connection.
    pub conversation: &'a mut Conversation,
    /// The channel, by the front's number.
    pub number: u32,
}

impl Channel<'_> {
    /// The next thing that concerns this channel. Another command on the same connection is told to wait.
    async fn next(&mut self) -> Result<FromFront, Gone> {
        loop {
            let event = self.conversation.next().await.map_err(Gone::Connection)?;
            match event {
                FromFront::ChannelGone { channel, .. } if channel == self.number => return Err(Gone::Caller),
                FromFront::Line { channel, .. }
                | FromFront::InputEnded { channel, .. }
                | FromFront::Taken { channel, .. }
                    if channel == self.number =>
                {
                    return Ok(event);
                }
                FromFront::Line { .. } | FromFront::InputEnded { .. } => {}
                FromFront::Taken { .. } | FromFront::ChannelGone { .. } => {}
                FromFront::Exec { channel, .. } => {
                    let failure = Failure::new(Exit::Failed, "another command runs on this connection")
                        .hint("wait until it has ended, or log in a second time");
                    let exit = Some(failure.exit.code());
                    let lines = failure.lines("wgmfa");
                    self.keeper.output(self.conversation.id, channel, SecretText::default(), &lines, exit);
                }
                _ => return out_of_place().map_err(Gone::Connection),
            }
        }
    }

    /// Hands a part of the answer to the front, and waits until it is on its way.
    async fn hand_out(&mut self, stdout: &str, stderr: &str) -> Result<(), Gone> {
        let (conversation, channel) = (self.conversation.id, self.number);
        let (stdout, stderr) = (SecretText::new(stdout.to_owned()), stderr.to_owned());
        let output = ToFront::Output { conversation, channel, stdout, stderr, exit: None, confirm: true };
        self.keeper.to_front(&output);
        let taken = async {
            while !matches!(self.next().await?, FromFront::Taken { .. }) {} // what is typed meanwhile is for nobody
            Ok(())
        };
        let too_slow = || Gone::Connection(Over::HangUp("the client does not read".to_owned()));
        timeout(READS_WITHIN, taken).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// All that comes until the other side has ended its input.
    async fn input(&mut self) -> Result<Result<SecretText, Failure>, Gone> {
        // it never grows, so no part of a secret is left behind where it stood before
        let mut text = Zeroizing::new(String::with_capacity(LONGEST_INPUT));
        loop {
            match self.next().await? {
                FromFront::Line { line, .. } if text.len() + line.expose().len() < LONGEST_INPUT => {
                    text.push_str(line.expose());
                    text.push('\n');
                }
                FromFront::Line { .. } => {
                    return Ok(Err(Failure::new(Exit::Failed, "standard input: longer than 1 MiB")));
                }
                FromFront::InputEnded { .. } => return Ok(Ok(SecretText::new(std::mem::take(&mut *text)))),
                _ => {}
            }
        }
    }
}

impl Caller for Channel<'_> {
    async fn hear(&mut self, reply: AdminReply) -> Result<(), Gone> {
        let mut rest = reply.stdout.expose();
        if rest.len() > PIECE {
            self.stay();
        }
        while rest.len() > PIECE {
            let end = (0..=PIECE).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            self.hand_out(piece, "").await?;
            rest = after;
        }
        match reply.exit {
            None if rest.is_empty() && reply.stderr.is_empty() => Ok(()),
            None => self.hand_out(rest, &reply.stderr).await,
            Some(_) => {
                let (id, rest) = (self.conversation.id, SecretText::new(rest.to_owned()));
                self.keeper.output(id, self.number, rest, &reply.stderr, reply.exit);
                Ok(())
            }
        }
    }

    fn stay(&mut self) {
        self.conversation.stays = true;
        self.keeper.to_front(&ToFront::Stay { conversation: self.conversation.id });
    }

    async fn wait(&mut self, how_long: Duration) -> Result<(), Gone> {
        let until = Instant::now() + how_long;
        while let Ok(event) = timeout_at(until, self.next()).await {
            event?; // what is typed meanwhile is for nobody
        }
        Ok(())
    }
}
