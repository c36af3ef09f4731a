//! `policy explain --inventory`: tries policies on an inventory that somebody wrote or edited.

use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wgmfa_core::diagnostic::{Fault, Faults};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::explain::{Explanation, explain, render};
use wgmfa_core::inventory::Inventory;
use wgmfa_core::policy::PolicySet;
use wgmfa_system::trusted;

use super::inventory::contradictions;
use crate::admin::when::When;
use crate::config::Config;
use crate::policies::{Trust, read};
use crate::voice;

/// Where an inventory comes from.
const HINT: &str = "wgmfa-bastion inventory --json writes such a file";

/// What is to be tried.
pub struct TryOut<'a> {
    /// Connections, or parts of their names; none: all.
    pub names: &'a [String],
    /// The inventory, `-` for standard input.
    pub file: &'a Path,
    /// The policies; none or `-`: those of the configuration.
    pub policy_dir: Option<&'a Path>,
    /// As if it were this time; none: now.
    pub at: Option<Timestamp>,
}

impl TryOut<'_> {
    /// Explains and prints.
    ///
    /// # Errors
    /// The inventory or the policies cannot be read, or no connection bears one of the names.
    pub fn run(&self, config: &Path, json: bool) -> Result<Exit, Failure> {
        let folder: PathBuf = match self.policy_dir {
            Some(folder) if folder != Path::new("-") => folder.to_owned(),
            _ => Config::load(config)?.policy_dir,
        };
        let inventory = self.inventory()?;
        let set = read(&folder, Trust::NotNeeded)?;
        let when = When::new(self.at.unwrap_or_else(Timestamp::now), TimeZone::system());
        voice::say(&explained(&set, &inventory, self.names, &when, json)?);
        Ok(Exit::Done)
    }

    fn inventory(&self) -> Result<Inventory, Failure> {
        let stdin = self.file == Path::new("-");
        let shown = if stdin { "standard input".to_owned() } else { self.file.display().to_string() };
        let mut bytes = Vec::new();
        let read = if stdin {
            std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
        } else {
            std::fs::read(self.file).map(|content| bytes = content)
        };
        read.map_err(|error| Failure::new(Exit::Usage, format!("{shown}: {}", trusted::io_words(&error))).hint(HINT))?;
        read_inventory(&bytes, &shown)
    }
}

/// An inventory from its text; `shown` is what messages call it.
///
/// # Errors
/// It is none, is of another version, or contradicts itself.
pub fn read_inventory(text: &[u8], shown: &str) -> Result<Inventory, Failure> {
    let inventory: Inventory = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let what = text.rsplit_once(" at line").map_or(text.as_str(), |(what, _)| what);
        Failure::new(Exit::Usage, format!("{shown}:{line}:{column}: {what}")).hint(HINT)
    })?;
    if inventory.version != 1 {
        let error = format!("{shown}: version {} is not one that this program knows (1)", inventory.version);
        return Err(Failure::new(Exit::Usage, error).hint(HINT));
    }
    let faults = contradictions(&inventory).into_iter().map(|what| Fault::of_file(shown.to_owned(), what));
    let faults = Faults::new(faults.collect());
    if faults.as_slice().is_empty() {
        return Ok(inventory);
    }
    Err(Failure::new(Exit::Usage, format!("broken inventory\n{faults}")).hint(HINT))
}

/// What the policies say of the connections that have one of these parts in their names, for people or for programs.
///
/// # Errors
/// No connection has one of them.
pub fn explained(
    set: &PolicySet,
    inventory: &Inventory,
    names: &[String],
    when: &When,
    json: bool,
) -> Result<String, Failure> {
    let mut explanations = explain(set, inventory, when.now());
    explanations.connections = named(explanations.connections, names)?;
    Ok(match json {
        true => format!("{}\n", serde_json::json!(explanations)),
        false => for_people(&explanations.connections, when),
    })
}

/// Those whose names have one of these parts, all without any.
///
/// # Errors
/// No connection has one of them.
fn named(all: Vec<Explanation>, names: &[String]) -> Result<Vec<Explanation>, Failure> {
    if let Some(name) = names.iter().find(|name| !all.iter().any(|each| bears(each, name))) {
        return Err(Failure::new(Exit::Failed, format!("no connection is called '{name}'"))
            .hint("any part of HOST/INTERFACE:OTHER will do"));
    }
    let wanted = |each: &Explanation| names.is_empty() || names.iter().any(|name| bears(each, name));
    Ok(all.into_iter().filter(wanted).collect())
}

/// Whether a connection's name has this part, or an end has this public key.
fn bears(explanation: &Explanation, part: &str) -> bool {
    let keys = [explanation.public_key, explanation.other_public_key];
    explanation.connection.has(part) || part.parse().is_ok_and(|key| keys.contains(&key))
}

/// What people read.
fn for_people(explanations: &[Explanation], when: &When) -> String {
    match explanations {
        [] => "no connections\n".to_owned(),
        some => format!("{}\n", render(some, |time| when.moment(time)).trim_end()),
    }
}
