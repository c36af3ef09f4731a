//! Who is it? One connection's way from nobody to a person or a host, as the keeper decides.
//!
//! Methods are enforced here (the library only advertises them): keyboard-interactive for people, after a public key
//! where the configuration has it so; public keys for the user name `agent`. Any other request while a login is
//! unfinished ends the connection, and so does a changed name.

use std::borrow::Cow;
use std::net::IpAddr;

use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use tokio::sync::mpsc;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{Admits, FromFront, Limits, MAX_ATTEMPTS};
use wgmfa_core::message::worker::{Prompt, PromptKind};

use super::deadline::Lifetime;
use super::keeper::{Keeper, Reply};

/// The user name of hosts; no person can have it.
pub const AGENT: &str = "agent";

/// Longest user name, in bytes; longer than any that can exist.
const USER_NAME: usize = 64;

/// Keys that one connection may ask about: OpenSSH's agent holds a handful, each asked about twice.
const KEYS: u32 = 32;

/// Where a connection stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Nobody,
    /// The person was asked this many questions.
    Asked(usize),
    /// The person is being shown why the login was refused.
    Refused,
    /// A person is in.
    Person,
    /// A host is in.
    Host,
}

/// Why a connection ends before anybody is in.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client broke a rule that no honest client breaks, or the keeper is gone: hang up without a word.
    Silently(&'static str),
    /// Something a person should read.
    Telling(String),
}

/// The login of one connection.
pub struct Login {
    /// The conversation with the keeper.
    pub conversation: u64,
    keeper: Keeper,
    replies: mpsc::Receiver<Reply>,
    lifetime: Lifetime,
    source: IpAddr,
    admits: Admits,
    limits: Limits,
    state: State,
    user: String,
    attempts: u32,
    questions: usize,
    keys: u32,
    keys_of_people: bool,
    /// The user has shown a key of theirs.
    keyed: bool,
}

impl Login {
    /// Nobody has said anything yet.
    pub fn new(
        (conversation, replies): (u64, mpsc::Receiver<Reply>),
        keeper: Keeper,
        lifetime: Lifetime,
        (source, admits): (IpAddr, Admits),
        limits: Limits,
        keys_of_people: bool,
    ) -> Self {
        let (state, user) = (State::Nobody, String::new());
        Self {
            conversation,
            keeper,
            replies,
            lifetime,
            source,
            admits,
            limits,
            state,
            user,
            attempts: 0,
            questions: 0,
            keys: 0,
            keys_of_people,
            keyed: false,
        }
    }

    /// Whether it is a host that is in.
    pub fn is_host(&self) -> bool {
        self.state == State::Host
    }

    /// A method that nobody may use, or a question which methods there are.
    pub fn other_method(&mut self, user: &str) -> Result<Auth, Broken> {
        self.nothing_under_way()?;
        Ok(self.refuse(user))
    }

    /// Keyboard-interactive begins.
    pub async fn begin(&mut self, user: &str) -> Result<Auth, Broken> {
        self.nothing_under_way()?;
        if self.keyed && user != self.user {
            return Err(Broken::Silently("another user name after a key"));
        }
        if user == AGENT || self.admits == Admits::Agents || self.attempts == MAX_ATTEMPTS {
            return Ok(self.refuse(user));
        }
        self.attempts += 1;
        self.questions = 0;
        self.user = user.to_owned();
        let (conversation, source) = (self.conversation, self.source);
        self.ask(FromFront::Login { conversation, user: cut(user), source }).await?;
        self.verdict().await
    }

    /// Answers have come.
    pub async fn answer<A: AsRef<[u8]>>(
        &mut self,
        user: &str,
        answers: impl Iterator<Item = A>,
    ) -> Result<Auth, Broken> {
        if user != self.user {
            return Err(Broken::Silently("another user name in an unfinished login"));
        }
        match self.state {
            State::Refused => {
                self.state = State::Nobody;
                Ok(self.refuse(user))
            }
            State::Asked(questions) => {
                let answers = self.read(answers, questions)?;
                self.ask(FromFront::Answers { conversation: self.conversation, answers }).await?;
                self.verdict().await
            }
            State::Nobody | State::Person | State::Host => Err(Broken::Silently("answers to no question")),
        }
    }

    /// A key is offered (`verified` false: worth a signature?) or has signed (`verified` true: decide).
    pub async fn key(&mut self, user: &str, public_key: String, verified: bool) -> Result<Auth, Broken> {
        self.nothing_under_way()?;
        let closed = match user == AGENT {
            true => self.admits == Admits::People,
            false => self.admits == Admits::Agents || !self.keys_of_people,
        };
        if closed {
            return Ok(self.refuse(user));
        }
        self.keys += 1;
        if self.keyed || self.keys > KEYS {
            return Err(Broken::Silently("too many keys"));
        }
        let (conversation, source) = (self.conversation, self.source);
        if user != AGENT {
            self.ask(FromFront::PersonKey { conversation, user: cut(user), public_key, source, verified }).await?;
            return self.persons_key(user, verified).await;
        }
        self.ask(FromFront::HostKey { conversation, public_key, source, verified }).await?;
        match self.reply().await? {
            Reply::Host(true) => {
                if verified {
                    self.state = State::Host;
                }
                Ok(Auth::Accept)
            }
            Reply::Host(false) => Ok(self.refuse(user)),
            _ => Err(Broken::Silently("the keeper answered another question")),
        }
    }

    /// A key of a person is half a login: the code is asked for next, of nobody else.
    async fn persons_key(&mut self, user: &str, verified: bool) -> Result<Auth, Broken> {
        match self.reply().await? {
            Reply::PersonKey(true) if verified => {
                self.keyed = true;
                user.clone_into(&mut self.user);
                let next = MethodSet::from([MethodKind::KeyboardInteractive].as_slice());
                Ok(Auth::Reject { proceed_with_methods: Some(next), partial_success: true })
            }
            Reply::PersonKey(true) => Ok(Auth::Accept),
            Reply::PersonKey(false) => Ok(self.refuse(user)),
            _ => Err(Broken::Silently("the keeper answered another question")),
        }
    }

    /// A refusal that names the methods that this name could use.
    fn refuse(&self, user: &str) -> Auth {
        let methods: &[MethodKind] = match user == AGENT {
            true => &[MethodKind::PublicKey],
            false if self.keys_of_people && !self.keyed => &[MethodKind::PublicKey, MethodKind::KeyboardInteractive],
            false => &[MethodKind::KeyboardInteractive],
        };
        Auth::Reject { proceed_with_methods: Some(MethodSet::from(methods)), partial_success: false }
    }

    fn nothing_under_way(&self) -> Result<(), Broken> {
        match self.state {
            State::Nobody => Ok(()),
            _ => Err(Broken::Silently("another request in an unfinished login")),
        }
    }

    fn read<A: AsRef<[u8]>>(
        &self,
        answers: impl Iterator<Item = A>,
        questions: usize,
    ) -> Result<Vec<SecretText>, Broken> {
        let mut read = Vec::with_capacity(questions);
        for answer in answers.take(questions + 1) {
            if answer.as_ref().len() > self.limits.answer_bytes {
                return Err(Broken::Telling(format!("an answer is longer than {} bytes", self.limits.answer_bytes)));
            }
            let text = str::from_utf8(answer.as_ref()).map_err(|_| Broken::Telling("an answer is not UTF-8".into()))?;
            read.push(SecretText::new(text.to_owned()));
        }
        if read.len() == questions {
            Ok(read)
        } else {
            Err(Broken::Silently("another number of answers than asked for"))
        }
    }

    async fn verdict(&mut self) -> Result<Auth, Broken> {
        match self.reply().await? {
            Reply::Accepted => {
                self.state = State::Person;
                Ok(Auth::Accept)
            }
            Reply::Refused(text) => {
                self.state = State::Refused;
                Ok(show(text, Vec::new()))
            }
            Reply::Prompts(prompts) => {
                let (texts, questions) = sort(prompts);
                self.questions += questions.len();
                if self.questions > self.limits.prompts {
                    return Err(Broken::Telling(format!("the login asks more than {} questions", self.limits.prompts)));
                }
                self.state = State::Asked(questions.len());
                Ok(show(texts, questions))
            }
            Reply::Host(_) | Reply::PersonKey(_) => Err(Broken::Silently("the keeper answered another question")),
        }
    }

    async fn ask(&self, message: FromFront) -> Result<(), Broken> {
        self.keeper.ask(message).await.map_err(|_| Broken::Silently("the keeper is gone"))
    }

    /// The library polls nothing of this connection while we wait here, so the deadline must be kept here too.
    async fn reply(&mut self) -> Result<Reply, Broken> {
        tokio::select! {
            reply = self.replies.recv() => reply.ok_or(Broken::Silently("the keeper is gone")),
            () = self.lifetime.over() => Err(Broken::Silently("no decision in time")),
        }
    }
}

/// A request with these texts above these questions.
fn show(texts: String, questions: Vec<(Cow<'static, str>, bool)>) -> Auth {
    Auth::Partial { name: "".into(), instructions: texts.into(), prompts: questions.into() }
}

/// Texts in one, questions with whether their answer is shown.
fn sort(prompts: Vec<Prompt>) -> (String, Vec<(Cow<'static, str>, bool)>) {
    let (mut texts, mut questions) = (Vec::new(), Vec::new());
    for Prompt { text, kind } in prompts {
        match kind {
            PromptKind::Secret => questions.push((text.into(), false)),
            PromptKind::Visible => questions.push((text.into(), true)),
            PromptKind::Info | PromptKind::Error => texts.push(text),
        }
    }
    (texts.join("\n"), questions)
}

/// A name that is too long is nobody's: cut, and filled so that it stays longer than any name.
fn cut(user: &str) -> String {
    if user.len() <= USER_NAME {
        return user.to_owned();
    }
    let end = (0..=USER_NAME).rev().find(|&at| user.is_char_boundary(at)).unwrap_or(0);
    let mut name = user[..end].to_owned();
    while name.len() < USER_NAME {
        name.push('?');
    }
    name
}

#[cfg(test)]
mod tests;
