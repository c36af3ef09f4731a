//! `run`: the resident agent.

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};

use super::{Doer, find_doer, wait_for};
use crate::agent::Agent;
use crate::config::Config;
use crate::identity;
use crate::resident;
use crate::store::Store;

/// Enforces at once, then connects and stays.
///
/// # Errors
/// The configuration or the state is broken, or another agent stays here already.
pub fn run(path: &Path) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    identity::read(&config.identity)?;
    let store = Store::open(&config.state_dir)?;
    if std::os::unix::net::UnixStream::connect(store.socket()).is_ok() {
        return Err(
            Failure::new(Exit::Failed, "a resident agent already runs here").hint("systemctl status wgmfa-agent")
        );
    }
    let Doer::Here(_only) = find_doer(&store, None)? else { unreachable!("nobody was asked") };
    let mut agent = Agent::load(config, store.clone(), true)?;
    agent.enforce();
    wait_for(resident::run(agent, &store))
}
