//! `key show`: which connections' keys an administrator wants to see.

use wgmfa_core::connection::Connection;

use super::answer::Answer;
use super::site::Site;
use super::{Asked, Outcome};

/// Keys that the keeper is to release to the one who asked.
#[derive(Debug)]
pub struct Show {
    /// Of these connections, each once.
    pub connections: Vec<Connection>,
    /// Why, for the audit log.
    pub reason: String,
    /// Answer with JSON.
    pub json: bool,
}

/// Finds the connections; the keeper does the rest, since their servers are told first.
///
/// # Errors
/// A name that means none or several.
pub fn run(names: &[String], reason: &str, site: &Site, asked: &Asked<'_>) -> Answer {
    let mut connections = names.iter().map(|name| site.find(name)).collect::<Result<Vec<_>, _>>()?;
    connections.sort_by(|one, other| one.name.cmp(&other.name));
    connections.dedup_by(|one, other| one.name == other.name);
    let connections = connections.into_iter().cloned().collect();
    let show = Show { connections, reason: reason.to_owned(), json: asked.json };
    Ok(Outcome { show: Some(show), ..Outcome::default() })
}
