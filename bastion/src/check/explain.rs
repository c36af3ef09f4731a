//! `policy explain --inventory`: tries policies on a file, without a running bastion.

use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wgmfa_core::diagnostic::{Fault, Faults};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::explain::{Explanation, explain, render};
use wgmfa_core::inventory::Inventory;

use super::inventory::contradictions;
use crate::admin::when::When;
use crate::config::Config;
use crate::policies::{Trust, read};
use crate::{trusted, voice};

/// What is to be tried.
pub struct TryOut<'a> {
    /// Connections, or parts of their names; none: all.
    pub names: &'a [String],
    /// The inventory, `-` for standard input.
    pub file: &'a Path,
    /// The policies; none: those of the configuration.
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
            Some(folder) => folder.to_owned(),
            None => Config::load(config)?.policy_dir,
        };
        let inventory = self.inventory()?;
        let set = read(&folder, Trust::NotNeeded)?;
        let now = self.at.unwrap_or_else(Timestamp::now);
        let mut explanations = explain(&set, &inventory, now);
        explanations.connections = named(explanations.connections, self.names)?;
        if json {
            let text = serde_json::to_string(&explanations).expect("explanations are plain data");
            voice::say(&format!("{text}\n"));
        } else {
            voice::say(&for_people(&explanations.connections, &When::new(now, TimeZone::system())));
        }
        Ok(Exit::Done)
    }

    fn inventory(&self) -> Result<Inventory, Failure> {
        let shown = self.file.display();
        let mut bytes = Vec::new();
        let read = if self.file == Path::new("-") {
            std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
        } else {
            std::fs::read(self.file).map(|content| bytes = content)
        };
        let hint = "wgmfa-bastion inventory --json writes such a file";
        read.map_err(|error| Failure::new(Exit::Usage, format!("{shown}: {}", trusted::io_words(&error))).hint(hint))?;
        let inventory: Inventory = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let what = text.rsplit_once(" at line").map_or(text.as_str(), |(what, _)| what);
            Failure::new(Exit::Usage, format!("{shown}:{line}:{column}: {what}")).hint(hint)
        })?;
        if inventory.version != 1 {
            let error = format!("{shown}: version {} is not one that this program knows (1)", inventory.version);
            return Err(Failure::new(Exit::Usage, error));
        }
        let faults = contradictions(&inventory).into_iter().map(|what| Fault::of_file(shown.to_string(), what));
        let faults = Faults::new(faults.collect());
        if faults.as_slice().is_empty() {
            return Ok(inventory);
        }
        Err(Failure::new(Exit::Usage, format!("broken inventory\n{faults}")).hint(hint))
    }
}

/// Those whose names have one of these parts, all without any.
///
/// # Errors
/// No connection has one of them.
pub fn named(all: Vec<Explanation>, names: &[String]) -> Result<Vec<Explanation>, Failure> {
    for name in names {
        if !all.iter().any(|each| each.connection.to_string().contains(name)) {
            return Err(Failure::new(Exit::Failed, format!("no connection is called '{name}'"))
                .hint("any part of HOST/INTERFACE:OTHER will do"));
        }
    }
    let wanted = |each: &Explanation| {
        let connection = each.connection.to_string();
        names.is_empty() || names.iter().any(|name| connection.contains(name))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// What people read.
pub fn for_people(explanations: &[Explanation], when: &When) -> String {
    match explanations {
        [] => "no connections\n".to_owned(),
        some => format!("{}\n", render(some, |time| when.moment(time)).trim_end()),
    }
}
