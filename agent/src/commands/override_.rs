//! `override`: root's way in when the bastion is gone.

use std::io::{IsTerminal, Read};
use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::PresharedKey;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::orders::Order;

/// Reads the key from standard input and opens the peer.
///
/// # Errors
/// No key came, or the peer could not be opened.
pub fn run(path: &Path, peer: String, reason: String, time: Interval) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    let preshared_key = read_key()?;
    super::order(config, Order::Override { peer, preshared_key, seconds: time.as_seconds(), reason })
}

fn read_key() -> Result<PresharedKey, Failure> {
    let usage = |error: String| Failure::new(Exit::Usage, error).hint("wg genpsk makes a key; pipe it in");
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        return Err(usage("the key comes from standard input, not from a terminal".to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    input.by_ref().take(100).read_to_string(&mut text).map_err(|error| usage(format!("standard input: {error}")))?;
    text.trim().parse().map_err(|error| usage(format!("standard input: {error}")))
}
