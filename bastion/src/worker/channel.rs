//! The conversation with the keeper, and the bounds on what a module may ask and a person may answer.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use wgmfa_core::key::SecretText;
use wgmfa_core::message::worker::{FromWorker, Prompt, PromptKind, ToWorker};
use wgmfa_core::message::{LINE_FROM_PERSON, Lines, decode, encode};
use zeroize::{Zeroize, Zeroizing};

/// Messages of one login, texts and questions together; the keeper allows fewer questions.
const MOST_PROMPTS: usize = 32;

/// Longest text that a module may show, in bytes; more is cut off. Twice `PAM_MAX_MSG_SIZE`.
const LONGEST_TEXT: usize = 1024;

/// Longest answer, in bytes: `PAM_MAX_RESP_SIZE`.
const LONGEST_ANSWER: usize = 512;

/// The keeper at the other end of a socket pair.
pub struct Channel {
    keeper: UnixStream,
    lines: Lines,
    /// Texts that wait for the next question.
    waiting: Vec<Prompt>,
    prompts: usize,
    fault: Option<String>,
}

/// The conversation cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Channel {
    /// A conversation at its beginning.
    pub fn new(keeper: UnixStream) -> Self {
        Self { keeper, lines: Lines::new(LINE_FROM_PERSON), waiting: Vec::new(), prompts: 0, fault: None }
    }

    /// The keeper's next message.
    ///
    /// # Errors
    /// The keeper has hung up, or said what is no message.
    pub fn receive(&mut self) -> Result<ToWorker, String> {
        let mut bytes = Zeroizing::new([0; 4096]);
        loop {
            if let Some(mut line) = self.lines.next_line().map_err(|error| format!("the keeper sent {error}"))? {
                let message = decode(&line).map_err(|error| format!("the keeper sent {error}"));
                line.zeroize();
                return message;
            }
            match self.keeper.read(bytes.as_mut()) {
                Ok(0) => return Err("the keeper has hung up".to_owned()),
                Ok(read) => self.lines.push(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the keeper is gone: {error}")),
            }
        }
    }

    /// Tells the keeper.
    ///
    /// # Errors
    /// The keeper has hung up.
    pub fn send(&mut self, message: &FromWorker) -> Result<(), String> {
        self.keeper.write_all(&encode(message)).map_err(|error| format!("the keeper is gone: {error}"))
    }

    /// Has the person asked, and returns one answer for each question, none for a text.
    ///
    /// Texts without a question are kept until a question comes: nobody could say when they have been read. Those after
    /// the last question are dropped; the keeper says its own word at the end of every login.
    ///
    /// # Errors
    /// The conversation is broken; [`Channel::fault`] has the reason, which libpam cannot carry.
    pub fn ask(&mut self, prompts: Vec<Prompt>) -> Result<Vec<Option<CString>>, Broken> {
        self.try_to_ask(prompts).map_err(|reason| {
            self.fault.get_or_insert(reason);
            Broken
        })
    }

    /// Why the conversation broke, if it did.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn try_to_ask(&mut self, prompts: Vec<Prompt>) -> Result<Vec<Option<CString>>, String> {
        self.prompts += prompts.len();
        if self.prompts > MOST_PROMPTS {
            return Err("a PAM module asks without end".to_owned());
        }
        let questions: Vec<bool> = prompts.iter().map(is_question).collect();
        self.waiting.extend(prompts.into_iter().map(cut));
        if !questions.contains(&true) {
            return Ok(questions.iter().map(|_| None).collect());
        }
        let prompts = std::mem::take(&mut self.waiting);
        self.send(&FromWorker::Prompts { prompts })?;
        let ToWorker::Answers { answers } = self.receive()? else {
            return Err("the keeper sent a message out of turn".to_owned());
        };
        if answers.len() != questions.iter().filter(|question| **question).count() {
            return Err("the keeper sent another number of answers than there were questions".to_owned());
        }
        let mut answers = answers.iter();
        questions
            .iter()
            .map(|question| if *question { answers.next().map(answer).transpose() } else { Ok(None) })
            .collect()
    }
}

fn is_question(prompt: &Prompt) -> bool {
    matches!(prompt.kind, PromptKind::Secret | PromptKind::Visible)
}

fn cut(mut prompt: Prompt) -> Prompt {
    while prompt.text.len() > LONGEST_TEXT {
        prompt.text.pop();
    }
    prompt
}

fn answer(answer: &SecretText) -> Result<CString, String> {
    if answer.expose().len() > LONGEST_ANSWER {
        return Err(format!("an answer is longer than {LONGEST_ANSWER} bytes"));
    }
    CString::new(answer.expose()).map_err(|error| {
        error.into_vec().zeroize();
        "an answer has a NUL byte".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(kind: PromptKind, text: &str) -> Prompt {
        Prompt { text: text.to_owned(), kind }
    }

    /// What the worker sends, and what it makes of the keeper's reply.
    fn ask(prompts: Vec<Prompt>, reply: &str) -> (String, Result<Vec<Option<CString>>, Broken>) {
        let (ours, mut keeper) = UnixStream::pair().unwrap();
        keeper.write_all(reply.as_bytes()).unwrap();
        let mut channel = Channel::new(ours);
        let answers = channel.ask(prompts);
        channel.keeper.shutdown(std::net::Shutdown::Write).unwrap();
        let mut sent = String::new();
        keeper.read_to_string(&mut sent).unwrap();
        (sent, answers)
    }

    const TWO: &str = "{\"type\":\"answers\",\"answers\":[\"one\",\"two\"]}\n";

    #[test]
    fn each_question_gets_its_answer_and_a_text_none() {
        let prompts = vec![
            prompt(PromptKind::Info, "hello"),
            prompt(PromptKind::Secret, "Password: "),
            prompt(PromptKind::Error, "caps lock"),
            prompt(PromptKind::Visible, "Code: "),
        ];
        let (sent, answers) = ask(prompts, TWO);
        assert_eq!(sent.lines().count(), 1);
        assert_eq!(answers, Ok(vec![None, Some(c"one".to_owned()), None, Some(c"two".to_owned())]));
    }

    #[test]
    fn a_text_waits_for_the_next_question() {
        let (ours, mut keeper) = UnixStream::pair().unwrap();
        keeper.write_all(b"{\"type\":\"answers\",\"answers\":[\"x\"]}\n").unwrap();
        let mut channel = Channel::new(ours);
        assert_eq!(channel.ask(vec![prompt(PromptKind::Info, "first")]), Ok(vec![None]));
        assert!(channel.ask(vec![prompt(PromptKind::Visible, "second")]).is_ok());
        drop(channel);
        let mut sent = String::new();
        keeper.read_to_string(&mut sent).unwrap();
        assert_eq!(
            sent,
            "{\"type\":\"prompts\",\"prompts\":[{\"text\":\"first\",\"kind\":\"info\"},\
             {\"text\":\"second\",\"kind\":\"visible\"}]}\n"
        );
    }

    #[test]
    fn absurd_answers_and_questions_end_the_conversation() {
        let question = || prompt(PromptKind::Secret, "?");
        let long = format!("{{\"type\":\"answers\",\"answers\":[\"{}\"]}}\n", "x".repeat(513));
        for (prompts, reply) in [
            (vec![question()], TWO),
            (vec![question()], &*long),
            (vec![question()], "{\"type\":\"answers\",\"answers\":[\"a\\u0000b\"]}\n"),
            (vec![question()], "{\"type\":\"begin\",\"service\":\"x\",\"user\":\"y\",\"rhost\":\"z\"}\n"),
            (vec![question()], "garbage\n"),
            ((0..33).map(|_| question()).collect(), TWO),
        ] {
            assert!(ask(prompts, reply).1.is_err(), "{reply}");
        }
        let (sent, _) = ask(vec![prompt(PromptKind::Secret, &"ä".repeat(5000))], "garbage\n");
        assert!(sent.len() < 1200, "long texts are cut between two characters");
    }

    #[test]
    fn a_keeper_that_has_hung_up_answers_nothing() {
        let (ours, keeper) = UnixStream::pair().unwrap();
        drop(keeper);
        assert!(Channel::new(ours).ask(vec![prompt(PromptKind::Secret, "?")]).is_err());
    }
}
