//! `rotate`: one round, for cron.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use wgmfa_core::exit::{Exit, Failure};

use super::{Doer, find_doer, tell, wait_for};
use crate::agent::{Agent, Outcome};
use crate::config::Config;
use crate::conversation::Conversation;
use crate::orders::{self, Order};
use crate::speech;
use crate::store::Store;
use crate::voice;

/// How long the bastion has to say that a session whose deadline has passed here was prolonged, and how often deadlines are
/// looked at while it is waited for.
const SOON: Duration = Duration::from_secs(5);

/// A bastion that lets a round last longer than this keeps the next ones from beginning, whatever it says meanwhile.
const LONGEST_ROUND: Duration = Duration::from_secs(240);

/// What no answer of the bastion can mend first, then a round with it; deadlines as soon as it has answered, is not
/// reached, or says nothing.
///
/// # Errors
/// Whatever stops it before anything is changed; an unreachable bastion is an exit status, told once.
pub fn run(path: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let order = Order::Round { dry_run, says_all: dry_run || voice::is_read_by_a_person() };
    if dry_run {
        // It changes nothing, so it waits for nobody; but a resident agent has the connection.
        let store = Store::at(&config.state_dir);
        return match orders::ask(&store.socket(), &order)? {
            Some(answer) => Ok(tell(&answer)),
            // nothing begins again with a look
            None => plan(Agent::as_it_was(config, store, false)?),
        };
    }
    let store = Store::open(&config.state_dir)?;
    let _only = match find_doer(&store, Some(&order))? {
        Doer::Resident(answer) => return Ok(tell(&answer)),
        Doer::Here(only) => only,
    };
    let mut agent = Agent::load(config, store, false)?;
    agent.enforce_before_asking();
    let round = {
        let enforcing = Enforcing(&mut agent);
        wait_for(one_round(enforcing.0, false))
    };
    let speech = speech::after_round(&mut agent, &round, voice::is_read_by_a_person());
    voice::speak(&speech);
    agent.save()?;
    Ok(round.map_or_else(|failure| failure.exit, |outcome| outcome.exit))
}

fn plan(mut agent: Agent) -> Result<Exit, Failure> {
    let outcome = wait_for(one_round(&mut agent, true))?;
    outcome.planned.iter().for_each(|line| voice::say(line));
    outcome.faults.iter().for_each(|fault| _ = voice::fail(&Failure::new(Exit::Partly, fault)));
    Ok(outcome.exit)
}

/// However a round ends, deadlines are enforced after it.
struct Enforcing<'a>(&'a mut Agent);

impl Drop for Enforcing<'_> {
    fn drop(&mut self) {
        self.0.enforce();
    }
}

/// A whole round in a conversation of its own.
async fn one_round(agent: &mut Agent, dry_run: bool) -> Result<Outcome, Failure> {
    let no_end = || Failure::new(Exit::Unreachable, "the bastion does not come to an end");
    timeout(LONGEST_ROUND, converse(agent, dry_run)).await.unwrap_or_else(|_| Err(no_end()))
}

async fn converse(agent: &mut Agent, dry_run: bool) -> Result<Outcome, Failure> {
    let mut look = (!dry_run).then(|| Instant::now() + SOON);
    let config = agent.config.clone();
    let mut conversation = or_enforce(agent, &mut look, Conversation::begin(&config, false)).await?;
    if dry_run {
        conversation = conversation.that_changes_nothing();
    }
    conversation.send(agent.begin_round(dry_run));
    let mut again = !dry_run;
    loop {
        let message = or_enforce(agent, &mut look, conversation.answer()).await?;
        agent.hear(message).into_iter().for_each(|answer| conversation.send(answer));
        if let Some(outcome) = agent.take_outcome() {
            // what was changed without a word of confirmation shows in a second report, not a minute later
            if !(std::mem::take(&mut again) && agent.is_round_due()) {
                // the round is done whether the bastion has heard that or not
                let _ = timeout(SOON, conversation.settle()).await;
                return Ok(outcome);
            }
            conversation.send(agent.begin_round(false));
        }
    }
}

/// What the bastion answers; as long as that does not come, or something else does, deadlines are enforced.
async fn or_enforce<T>(agent: &mut Agent, look: &mut Option<Instant>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    while let Some(moment) = look {
        if *moment <= Instant::now() {
            agent.enforce();
            *moment = Instant::now() + SOON;
        }
        if let Ok(answered) = timeout_at(*moment, &mut answer).await {
            return answered;
        }
    }
    answer.await
}
