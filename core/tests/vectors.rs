//! Each folder of `tests/vectors/`: an inventory and policies, and for each connection what must come out.
#![allow(clippy::disallowed_methods)] // a test reads its files itself

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use wgmfa_core::explain::{Explanation, explain};
use wgmfa_core::inventory::Inventory;
use wgmfa_core::policy::{PolicySet, warnings};

/// What `expected.json` says about one connection.
#[derive(Debug, PartialEq, Deserialize)]
struct Expected {
    winner: Option<u64>,
    server_side: Option<String>,
    conflict: bool,
}

fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn policies(folder: &Path) -> PolicySet {
    let named =
        |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| named(entry.unwrap().path())).collect();
    PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{}:\n{faults}", folder.display()))
}

fn outcome(set: &PolicySet, inventory: &Inventory) -> BTreeMap<String, Expected> {
    let expected = |of: Explanation| {
        let winner = of.winner.map(|ordinal| ordinal.0);
        let server_side = of.server_side.map(|end| end.to_string());
        (of.connection.to_string(), Expected { winner, server_side, conflict: of.conflict })
    };
    explain(set, inventory, Timestamp::UNIX_EPOCH).connections.into_iter().map(expected).collect()
}

#[test]
fn every_folder_of_vectors_gives_what_it_expects() {
    let entries = fs::read_dir(in_project("tests/vectors")).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 6, "folders are missing: {folders:?}");
    for folder in folders {
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        let set = policies(&folder.join("policy.d"));
        let mut inventory: Inventory = serde_json::from_str(&read("inventory.json")).unwrap();
        let expected: BTreeMap<String, Expected> = serde_json::from_str(&read("expected.json")).unwrap();
        assert_eq!(outcome(&set, &inventory), expected, "{}", folder.display());

        // and however the inventory is ordered
        inventory.hosts.reverse();
        inventory.devices.reverse();
        assert_eq!(outcome(&set, &inventory), expected, "{} in another order", folder.display());
    }
}

#[test]
fn the_samples_of_policy_d_pass_without_a_warning() {
    let set = policies(&in_project("policy.d"));
    assert_eq!(warnings(&set, &Inventory::default()).to_string(), "no warnings");
}
