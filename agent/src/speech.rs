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
    let (mut standing, mut speech) = (Vec::new(), Speech::default());
    match round {
        Ok(outcome) => {
            standing.extend(outcome.faults.iter().map(|fault| (fault.clone(), Failure::new(Exit::Partly, fault))));
            standing.extend(uncovered(agent).into_iter().map(|line| (line.clone(), Failure::new(Exit::Done, line))));
        }
        Err(failure) => {
            let faults = vec![failure.error.clone()];
            agent.state.last_round = Some(LastRound { at: clock::now(), exit: failure.exit.code(), faults });
            let words = match failure.exit {
                Exit::Unreachable | Exit::LoginRefused => "",
                _ => failure.error.as_str(),
            };
            standing.push((format!("{OUTAGE}{}{words}", failure.exit.code()), failure.clone()));
            standing.extend(agent.faults().iter().map(|fault| (fault.clone(), Failure::new(Exit::Partly, fault))));
        }
    }
    let before = std::mem::take(&mut agent.state.spoken);
    if before.iter().any(|key| key.starts_with(OUTAGE)) && round.is_ok() {
        speech.notes.push(format!("bastion {}: reached again", agent.config.bastion));
    }
    for (key, failure) in standing {
        if always || !before.contains(&key) {
            speech.failures.push(failure);
        }
        agent.state.spoken.push(key);
    }
    speech
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
