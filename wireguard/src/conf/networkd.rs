//! Which files configure an interface of systemd-networkd, `systemd.netdev(5)`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wgmfa_core::exit::Failure;
use wgmfa_core::name::InterfaceName;

use super::configuration::Part;
use super::folders::{Owner, names};
use super::format::Format;
use super::stored::{failure, peek};
use super::text::ConfigFile;

/// The files of each `.netdev` that makes this interface: the file itself, then what is dropped in, as networkd reads them.
pub(super) fn find(folders: &[PathBuf], name: &InterfaceName) -> Result<Vec<Vec<Part>>, Failure> {
    let mut found = Vec::new();
    for (file, place) in in_force(folders, Path::new(""), ".netdev")? {
        let main = folders[place].join(&file);
        let Some(content) = peek(&main)?.filter(|content| !content.is_empty()) else { continue };
        let mut parts = vec![Part { path: main, owner: Owner::of(place) }];
        let mut texts = vec![ConfigFile::parse(Format::Networkd, &content)];
        let dropped = PathBuf::from(format!("{file}.d"));
        for (dropped_in, place) in in_force(folders, &dropped, ".conf")? {
            let path = folders[place].join(&dropped).join(dropped_in);
            if let Some(content) = peek(&path)?.filter(|content| !content.is_empty()) {
                texts.push(ConfigFile::parse(Format::Networkd, &content));
                parts.push(Part { path, owner: Owner::of(place) });
            }
        }
        let last = |key| texts.iter().rev().find_map(|text| text.setting("NetDev", key));
        if last("Kind").as_deref() == Some("wireguard") && last("Name").as_deref() == Some(name.as_str()) {
            found.push(parts);
        }
    }
    Ok(found)
}

/// The files with this suffix under `below` of the folders, sorted, each with the place of the first folder that has it.
fn in_force(folders: &[PathBuf], below: &Path, suffix: &str) -> Result<BTreeMap<String, usize>, Failure> {
    let mut first = BTreeMap::new();
    for (place, folder) in folders.iter().enumerate() {
        let folder = folder.join(below);
        for name in names(&folder, suffix).map_err(|error| failure(&folder, &error))? {
            first.entry(name).or_insert(place);
        }
    }
    Ok(first)
}
