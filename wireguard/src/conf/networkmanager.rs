//! Which files configure an interface of NetworkManager, `nm-settings-keyfile(5)`.

use std::path::PathBuf;

use wgmfa_core::exit::Failure;
use wgmfa_core::name::InterfaceName;

use super::configuration::Part;
use super::folders::{Owner, names};
use super::format::Format;
use super::stored::{failure, peek};
use super::text::ConfigFile;

/// What NetworkManager does not take for a connection among the administrator's files, where the suffix may be missing.
const PASSED_OVER: [&str; 7] = ["~", ".bak", ".swp", ".swpx", ".pem", ".der", ".rpmnew"];

/// Whether NetworkManager has written this only to describe an interface that somebody else has made (wg-quick, networkd):
/// nothing is made from it. Names and values are those of its keyfiles under /run, `libnm-core-intern/nm-keyfile-internal.h`.
fn is_a_description(text: &ConfigFile) -> bool {
    let is_set = |key| matches!(text.setting(".nmmeta", key).as_deref(), Some("true" | "1"));
    is_set("nm-generated") || is_set("external")
}

/// The files of the connections that make this interface.
pub(super) fn find(folders: &[PathBuf], interface: &InterfaceName) -> Result<Vec<Vec<Part>>, Failure> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for (place, folder) in folders.iter().enumerate() {
        let owner = Owner::of(place);
        let suffix = if owner == Owner::Site { "" } else { ".nmconnection" };
        for name in names(folder, suffix).map_err(|error| failure(folder, &error))? {
            if PASSED_OVER.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            let path = folder.join(name);
            let Some(content) = peek(&path)? else { continue };
            let text = ConfigFile::parse(Format::NetworkManager, &content);
            if text.setting("connection", "type").as_deref() != Some("wireguard") {
                continue;
            }
            if owner == Owner::Boot && is_a_description(&text) {
                continue;
            }
            let named = text.setting("connection", "interface-name");
            let named = named.or_else(|| text.setting("wireguard", "interface-name"));
            if named.as_deref() != Some(interface.as_str()) {
                continue;
            }
            // the same connection in a package's folder is overridden
            let uuid = text.setting("connection", "uuid").filter(|uuid| !uuid.is_empty());
            if owner == Owner::Vendor && uuid.is_some() && known.contains(&uuid) {
                continue;
            }
            known.push(uuid);
            found.push(vec![Part { path, owner }]);
        }
    }
    Ok(found)
}
