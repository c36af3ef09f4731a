//! `new-key`: another SSH key for this host, which waits until the bastion has it.

use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted;

use crate::config::Config;
use crate::identity;
use crate::voice;

/// Makes the key, if none waits yet, and prints its line.
///
/// # Errors
/// The key that is there cannot be read, or the folder cannot be written.
pub fn run(path: &Path) -> Result<Exit, Failure> {
    let config = Config::load(path)?;
    identity::read(&config.identity)?;
    let waiting = match identity::next(&config.identity)? {
        Some(key) => key,
        None => {
            let next = identity::next_path(&config.identity);
            trusted::replace(&next, identity::make(&config.host).as_bytes()).map_err(|error| {
                Failure::new(Exit::Failed, format!("{}: {}", next.display(), error.to_string().to_lowercase()))
            })?;
            identity::read(&next)?
        }
    };
    voice::say(&identity::public_line(&waiting));
    let host = &config.host;
    voice::note(&format!(
        "hint: on the bastion: wgmfa-bastion host add {host} --key - --replace; until then the old key is used"
    ));
    Ok(Exit::Done)
}
