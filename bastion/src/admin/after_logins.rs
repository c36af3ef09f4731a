//! Acts that begin by ending the logins in progress: each PAM worker has the key files of its time covered, and a file that
//! takes the place of one would not be.

use std::fmt;
use std::time::Duration;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::admin::AdminReply;

use super::answer::{Answer, failed};
use super::{Context, Outcome, Stream};

/// How often to look whether the logins in progress have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often to look at most: others may begin a login again and again.
const LOOKS: u32 = 250;

/// An act that no login may be in the middle of.
pub trait Act: fmt::Debug + 'static {
    /// What to do where there is always a login in progress.
    const HINT: &'static str;

    /// Does it.
    fn act(&self, context: &Context<'_>) -> Answer;
}

/// Does this once the logins in progress have ended.
pub fn begin(act: impl Act) -> Outcome {
    Outcome { stream: Some(Box::new(Waiting { act, looks: LOOKS })), ..Outcome::default() }
}

#[derive(Debug)]
struct Waiting<A> {
    act: A,
    looks: u32,
}

impl<A: Act> Stream for Waiting<A> {
    fn every(&self) -> Duration {
        LOOK_EVERY
    }

    fn next(&mut self, context: &mut Context<'_>) -> AdminReply {
        if context.agents.end_logins() > 0 {
            self.looks -= 1;
            if self.looks > 0 {
                return AdminReply::default();
            }
            let failure = Failure::new(Exit::Failed, "there are always logins in progress; nothing was changed");
            return failed(&failure.hint(A::HINT)).reply;
        }
        self.act.act(context).unwrap_or_else(|failure| failed(&failure)).reply
    }
}
