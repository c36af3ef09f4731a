//! What a command asks of the person at the other end of its channel.
//!
//! Questions and explanations go to standard error, what was asked for goes to standard output: so a command is of use
//! with a terminal (`ssh -t`), where both are seen, and with its output or its answers in a pipe.

use std::rc::Rc;
use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::ToFront;

use super::Keeper;
use super::conversation::{Conversation, Over};
use super::person::{Line, line};

/// How long a dialogue may take: time to install an app.
pub const WITHIN: Duration = Duration::from_secs(15 * 60);

/// A running command's channel, seen from the command.
pub struct Dialogue<'a> {
    /// The keeper.
    pub keeper: &'a Rc<Keeper>,
    /// The name of the command, in front of what it complains about.
    pub command: &'static str,
    conversation: &'a mut Conversation,
    channel: u32,
    terminal: bool,
}

/// Whether an answer is shown while it is typed at a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It is not: a password.
    Hidden,
    /// It is: a code, which is worthless once it was used.
    Shown,
}

impl<'a> Dialogue<'a> {
    /// Begins. Without a terminal nothing hides what is typed, so that is said once.
    pub fn begin(
        keeper: &'a Rc<Keeper>,
        command: &'static str,
        conversation: &'a mut Conversation,
        (channel, terminal): (u32, bool),
    ) -> Self {
        let dialogue = Self { keeper, command, conversation, channel, terminal };
        // people look for their telephones; the keeper has its own limit
        keeper.to_front(&ToFront::Stay { conversation: dialogue.conversation.id });
        if !terminal {
            dialogue.say(&format!("{command}: hint: ssh -t hides what is typed here\n"));
        }
        dialogue
    }

    /// Asks. The inner failure: the person has left off.
    ///
    /// # Errors
    /// The connection is gone, or the front asked for something out of its order.
    pub async fn ask(&mut self, prompt: &str, typed: Typed) -> Result<Result<SecretText, Failure>, Over> {
        if self.terminal {
            let (conversation, channel) = (self.conversation.id, self.channel);
            self.keeper.to_front(&ToFront::Echo { conversation, channel, shown: typed == Typed::Shown });
        }
        self.say(prompt);
        Ok(match line(self.conversation, self.channel).await? {
            Line::Text(text) => Ok(text),
            Line::Ended | Line::Gone => Err(Failure::new(Exit::Failed, "left off before the end")),
        })
    }

    /// Text for the person, on standard error.
    pub fn say(&self, text: &str) {
        self.keeper.output(self.conversation.id, self.channel, SecretText::default(), text, None);
    }

    /// Says what is wrong with an answer, for another try.
    pub fn complain(&self, what: &str) {
        self.say(&format!("{}: error: {what}\n", self.command));
    }

    /// What was asked for, on standard output.
    pub fn show(&self, text: SecretText) {
        self.keeper.output(self.conversation.id, self.channel, text, "", None);
    }

    /// The last words, and the exit status.
    pub fn end(self, done: Result<SecretText, Failure>) {
        let (stdout, stderr, exit) = match done {
            Ok(text) => (text, String::new(), Exit::Done),
            Err(failure) => {
                let failure =
                    if failure.hint.is_some() { failure } else { failure.hint("nothing was changed; try again") };
                (SecretText::default(), failure.lines(self.command), failure.exit)
            }
        };
        self.keeper.output(self.conversation.id, self.channel, stdout, &stderr, Some(exit.code()));
    }
}
