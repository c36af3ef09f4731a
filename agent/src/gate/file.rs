//! The gate as a file, for the site's own ruleset to include: so there is no moment without a gate at boot or at a reload.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The file's name in the agent's state directory.
const NAME: &str = "gate.nft";

/// Writes the file whole, unless it reads so already.
pub fn write(state_dir: &Path, text: &str) -> Result<(), String> {
    let path = state_dir.join(NAME);
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let beside = state_dir.join(".gate.nft.new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // it holds addresses and networks, no secret, and other programs load it
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(state_dir)?.sync_all()
    });
    written.map_err(|error| format!("{}: {error}", path.display()))
}
