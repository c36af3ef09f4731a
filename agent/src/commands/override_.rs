//! `override`: root's way in when the bastion is gone.

use std::io::{IsTerminal, Read};
use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::PresharedKey;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::orders::{Exposed, Order};
use crate::store::Store;

/// How long root may open a peer at most, as on the bastion.
const LONGEST: Interval = Interval::from_seconds(30 * 86_400);

/// Opens the peer, with a key from standard input unless the firewall alone holds it back.
///
/// # Errors
/// The time is too long, or none; no key came, or the peer could not be opened.
pub fn run(path: &Path, peer: String, reason: String, time: Interval) -> Result<Exit, Failure> {
    if time == Interval::from_seconds(0) || time > LONGEST {
        return Err(Failure::new(Exit::Usage, format!("--for: write a time of at most {LONGEST}")));
    }
    let config = Config::load(path)?;
    let state = Store::at(&config.state_dir).load()?;
    let by_firewall_alone = state.find(&peer).is_ok_and(|found| state.is_by_firewall_alone(&found));
    let preshared_key = if by_firewall_alone { None } else { Some(Exposed(read_key()?)) };
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
