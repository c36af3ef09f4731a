//! `stand-down`: enforce nothing, with the keys that were configured before wgmfa.

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};

use crate::config::Config;
use crate::orders::Order;

/// Has it stand down, here or in the resident agent, which then ends.
///
/// # Errors
/// The configuration or the state is broken.
pub fn run(path: &Path, reason: String) -> Result<Exit, Failure> {
    super::order(Config::load(path)?, Order::StandDown { reason })
}
