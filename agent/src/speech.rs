//! Quiet when all is well: a complaint is made once while it stands, and the end of an outage is told once.

use wgmfa_core::exit::{Exit, Failure};

use crate::agent::{Agent, Outcome};
use crate::clock;
use crate::seen::Seen;
use crate::state::LastRound;

/// Stands in the state, with the exit status, for "no round with the bastion"; of a bastion that is away or refuses this
/// host, whatever the words were.
const OUTAGE: &str = "outage ";

/// What to print now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Speech {
    /// Failures that people have not read yet.
    pub failures: Vec<Failure>,
    /// Good news.
    pub notes: Vec<String>,
}

/// What there is to say after a round, apart from what was said before. `always`: say everything that stands.
pub fn after_round(agent: &mut Agent, round: &Result<Outcome, Failure>, always: bool) -> Speech {
    if let Err(failure) = round {
        let faults = vec![failure.error.clone()];
        agent.state.last_round = Some(LastRound { at: clock::now(), exit: failure.exit.code(), faults });
    }
    let mut read = std::mem::take(&mut agent.state.spoken);
    let speech = news(agent, round, &mut read, always);
    agent.state.spoken = read;
    speech
}

/// The same for those who order rounds from a resident agent.
pub fn answer(agent: &mut Agent, round: &Result<Outcome, Failure>, always: bool) -> Speech {
    let mut read = std::mem::take(&mut agent.state.answered);
    let speech = news(agent, round, &mut read, always);
    agent.state.answered = read;
    speech
}

/// What people have not read yet; then they have.
fn news(agent: &Agent, round: &Result<Outcome, Failure>, read: &mut Vec<String>, always: bool) -> Speech {
    let mut speech = Speech::default();
    let before = std::mem::take(read);
    if before.iter().any(|key| key.starts_with(OUTAGE)) && round.is_ok() {
        speech.notes.push(format!("bastion {}: reached again", agent.config.bastion));
    }
    for (key, failure) in standing(agent, round) {
        if always || !before.contains(&key) {
            speech.failures.push(failure);
        }
        read.push(key);
    }
    speech
}

/// All that there is to complain of, each with the key by which it is known again.
fn standing(agent: &Agent, round: &Result<Outcome, Failure>) -> Vec<(String, Failure)> {
    let of_fault = |fault: &String| (fault.clone(), Failure::new(Exit::Partly, fault));
    match round {
        Ok(outcome) => {
            let uncovered = uncovered(agent).into_iter().map(|line| (line.clone(), Failure::new(Exit::Done, line)));
            outcome.faults.iter().map(of_fault).chain(uncovered).collect()
        }
        Err(failure) => {
            let words = match failure.exit {
                Exit::Unreachable | Exit::LoginRefused => "",
                _ => failure.error.as_str(),
            };
            let outage = (format!("{OUTAGE}{}{words}", failure.exit.code()), failure.clone());
            std::iter::once(outage).chain(agent.faults().iter().map(of_fault)).collect()
        }
    }
}

/// Peers without a second factor, named with their addresses.
pub fn uncovered(agent: &Agent) -> Vec<String> {
    if agent.state.uncovered.is_empty() {
        return Vec::new();
    }
    let seen = Seen::now(&agent.config);
    let line = |peer| {
        let found: Option<&wgmfa_wireguard::Peer> = seen.peer(peer);
        let addresses: Vec<_> =
            found.map_or(Vec::new(), |peer| peer.allowed_ips.iter().map(ToString::to_string).collect());
        format!(
            "{} peer {} ({}): no second factor: the key is registered to nobody",
            peer.interface,
            peer.public_key,
            addresses.join(", ")
        )
    };
    agent.state.uncovered.iter().map(line).collect()
}
