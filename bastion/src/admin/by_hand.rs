//! `override` and `key set`: which connections' keys an administrator has put on hosts.

use wgmfa_core::connection::Connection;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PresharedKey;

use super::answer::Answer;
use super::site::Site;
use super::{Asked, Context, Outcome};
use crate::cli::words::Override;

/// Keys that the keeper is to have put on hosts.
#[derive(Debug)]
pub struct ByHand {
    /// What to put.
    pub what: What,
    /// Why, for the audit log.
    pub reason: String,
    /// Answer with JSON.
    pub json: bool,
}

/// What an administrator has put on hosts.
#[derive(Debug)]
pub enum What {
    /// The generations that wait, released without a login.
    Release {
        /// Of these connections, each once.
        connections: Vec<Connection>,
        /// For how long, in seconds; none: as their policies say.
        seconds: Option<u64>,
    },
    /// A key of the administrator's own.
    Set {
        /// Of this connection.
        connection: Box<Connection>,
        /// The key.
        key: PresharedKey,
    },
}

/// Finds the connections of `override`; the keeper does the rest, since their hosts are asked.
///
/// # Errors
/// A name that means none or several.
pub fn release(words: &Override, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let site = Site::read(context.store)?;
    let mut found = words.connections.iter().map(|name| site.find(name)).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    let seconds = words.time.map(wgmfa_core::interval::Interval::as_seconds);
    let what = What::Release { connections: found.into_iter().cloned().collect(), seconds };
    by_hand(what, &words.reason, asked)
}

/// Reads the key of `key set`, and finds its connection.
///
/// # Errors
/// A name that means none or several, or standard input is no key.
pub fn set(name: &str, reason: &str, site: &Site, asked: &Asked<'_>) -> Answer {
    let connection = Box::new(site.find(name)?.clone());
    let key = asked.stdin().trim().parse().map_err(|error: wgmfa_core::key::KeyError| {
        Failure::new(Exit::Usage, format!("standard input: {error}"))
            .hint("wg genpsk | wgmfa-bastion key set CONNECTION --reason TEXT")
    })?;
    by_hand(What::Set { connection, key }, reason, asked)
}

fn by_hand(what: What, reason: &str, asked: &Asked<'_>) -> Answer {
    let by_hand = ByHand { what, reason: reason.to_owned(), json: asked.json };
    Ok(Outcome { by_hand: Some(by_hand), ..Outcome::default() })
}
