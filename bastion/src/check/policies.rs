//! `policy check`: every fault and warning of the policy files, then a count.

use std::path::Path;

use wgmfa_core::diagnostic::{Faults, count};
use wgmfa_core::exit::Exit;
use wgmfa_core::inventory::Inventory;
use wgmfa_core::policy::{self, PolicySet};

use crate::policies::{Trust, read};

/// What to print about a folder of policies, and the exit status. With an inventory at hand, connections are looked at
/// too.
pub fn check(folder: &Path, trust: Trust, inventory: &Inventory, json: bool) -> (String, Exit) {
    match read(folder, trust) {
        Ok(set) => (sound(&set, inventory, json), Exit::Done),
        Err(faults) => (broken(&faults, json), Exit::Usage),
    }
}

fn sound(set: &PolicySet, inventory: &Inventory, json: bool) -> String {
    let warnings = policy::warnings(set, inventory);
    let policies = set.policies().len();
    if json {
        let warnings: Vec<_> = warnings.0.iter().map(ToString::to_string).collect();
        let answer = serde_json::json!({ "version": 1, "policies": policies, "faults": [], "warnings": warnings });
        return format!("{answer}\n");
    }
    let mut text: String = warnings.0.iter().map(|warning| format!("{warning}\n")).collect();
    let policies = if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
    text.push_str(&match warnings.0.len() {
        0 => format!("{policies}, no faults\n"),
        warnings => format!("{policies}, no faults, {}\n", count(warnings, "warning")),
    });
    text
}

fn broken(faults: &Faults, json: bool) -> String {
    if !json {
        return format!("{faults}\n");
    }
    let faults: Vec<_> = faults
        .as_slice()
        .iter()
        .map(|fault| {
            serde_json::json!({
                "file": fault.file,
                "line": fault.place.map(|place| place.line),
                "column": fault.place.map(|place| place.column),
                "message": fault.message,
            })
        })
        .collect();
    format!("{}\n", serde_json::json!({ "version": 1, "faults": faults, "warnings": [] }))
}
