//! `rotate`: one round, for cron.

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};

use super::{Doer, find_doer, tell, wait_for};
use crate::agent::{Agent, Outcome};
use crate::config::Config;
use crate::conversation::Conversation;
use crate::orders::{self, Order};
use crate::speech;
use crate::store::Store;
use crate::voice;

/// Deadlines first, then a round with the bastion.
///
/// # Errors
/// Whatever stops it before anything is changed; an unreachable bastion is an exit status, told once.
pub fn run(path: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let order = Order::Round { dry_run };
    if dry_run {
        // It changes nothing, so it waits for nobody; but a resident agent has the connection.
        let store = Store::at(&config.state_dir);
        return match orders::ask(&store.socket(), &order)? {
            Some(answer) => Ok(tell(&answer)),
            None => plan(Agent::load(config, store, false)?),
        };
    }
    let store = Store::open(&config.state_dir)?;
    let _only = match find_doer(&store, Some(&order))? {
        Doer::Resident(answer) => return Ok(tell(&answer)),
        Doer::Here(only) => only,
    };
    let mut agent = Agent::load(config, store, false)?;
    agent.enforce();
    let round = wait_for(one_round(&mut agent, false));
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

/// A whole round in a conversation of its own.
async fn one_round(agent: &mut Agent, dry_run: bool) -> Result<Outcome, Failure> {
    let mut conversation = Conversation::begin(&agent.config, false).await?;
    conversation.send(agent.begin_round(dry_run));
    loop {
        let message = conversation.answer().await?;
        agent.hear(message).into_iter().for_each(|answer| conversation.send(answer));
        if let Some(outcome) = agent.take_outcome() {
            return Ok(outcome);
        }
    }
}
