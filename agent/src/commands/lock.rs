//! `lock`: a fresh lock key for every MFA peer, without the bastion.

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};

use crate::config::Config;
use crate::orders::Order;
use crate::store::Store;
use crate::voice;

/// Locks in the files and on running interfaces.
///
/// # Errors
/// The configuration or the state is broken.
pub fn run(path: &Path) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    if Store::at(&config.state_dir).load()?.stood_down {
        voice::note("root has had it stand down; nothing is locked");
        return Ok(Exit::Done);
    }
    super::order(config, Order::Lock)
}
