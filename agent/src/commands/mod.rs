//! The commands, and how they come to an agent that may do something.

pub mod check;
pub mod init;
pub mod lock;
pub mod new_key;
pub mod override_;
pub mod rotate;
pub mod run;
pub mod stand_down;
pub mod status;

use std::future::Future;
use std::time::{Duration, Instant};

use wgmfa_core::exit::{Exit, Failure};

use crate::agent::Agent;
use crate::config::Config;
use crate::orders::{self, Answer, Order};
use crate::store::{OnlyAgent, Store};
use crate::voice;

/// How long a command waits for another one to end: less than cron's minute.
const PATIENCE: Duration = Duration::from_secs(50);

/// How often it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who carries an order out.
enum Doer {
    /// This process: it is the only agent now.
    Here(OnlyAgent),
    /// The resident agent, and this is its answer.
    Resident(Answer),
}

/// Becomes the only agent, or has the resident one carry out the order.
fn find_doer(store: &Store, order: Option<&Order>) -> Result<Doer, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(only) = store.try_lock()? {
            return Ok(Doer::Here(only));
        }
        if let Some(order) = order
            && let Some(answer) = orders::ask(&store.socket(), order)?
        {
            return Ok(Doer::Resident(answer));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(Failure::new(Exit::Failed, "another wgmfa-agent has been at work for 50 s; nothing was done")
        .hint("fuser -v on the file lock in the state folder shows which one"))
}

/// Carries out an order that needs no bastion, here or in the resident agent.
fn order(config: Config, order: Order) -> Result<Exit, Failure> {
    let store = Store::open(&config.state_dir)?;
    let answer = match find_doer(&store, Some(&order))? {
        Doer::Resident(answer) => answer,
        Doer::Here(_only) if matches!(order, Order::StandDown { .. }) => {
            Agent::as_it_was(config, store, false)?.obey(order)
        }
        Doer::Here(_only) => Agent::load(config, store, false)?.obey(order),
    };
    Ok(tell(&answer))
}

/// Prints an answer and returns its exit status.
fn tell(answer: &Answer) -> Exit {
    answer.lines.iter().for_each(|line| voice::say(line));
    answer.notes.iter().for_each(|line| voice::note(line));
    for (error, hint) in &answer.complaints {
        voice::fail(&Failure { exit: Exit::Partly, error: error.clone(), hint: hint.clone() });
    }
    const ALL: [Exit; 7] =
        [Exit::Done, Exit::Failed, Exit::Usage, Exit::LoginRefused, Exit::LoginNeeded, Exit::Unreachable, Exit::Partly];
    ALL.into_iter().find(|exit| exit.code() == answer.exit).unwrap_or(Exit::Failed)
}

/// Runs something that waits.
fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?.block_on(work)
}
