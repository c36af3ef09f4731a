//! Where configuration files are looked for.

use std::path::{Path, PathBuf};

/// The folders of the three who configure interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Where `wg-quick(8)` looks for `NAME.conf`.
    pub wireguard: PathBuf,
    /// Where systemd-networkd looks, the first before the next: the administrator's, the one that is gone after a reboot,
    /// and the ones of the system's packages, which are never changed.
    pub networkd: Vec<PathBuf>,
    /// Where NetworkManager looks, in the same order.
    pub networkmanager: Vec<PathBuf>,
}

/// Whose a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The administrator's: what is written there stays.
    Site,
    /// Gone after a reboot, and made anew by whoever made it.
    Boot,
    /// The system's packages': nothing is written there.
    Vendor,
}

impl Owner {
    /// Of the folder at this place in its list.
    pub fn of(place: usize) -> Self {
        match place {
            0 => Self::Site,
            1 => Self::Boot,
            _ => Self::Vendor,
        }
    }
}

impl Folders {
    /// Where `wg-quick(8)` looks when nobody says otherwise.
    pub const WIREGUARD: &str = "/etc/wireguard";
    /// Where systemd-networkd looks, `systemd.netdev(5)`.
    pub const NETWORKD: [&str; 5] = [
        "/etc/systemd/network",
        "/run/systemd/network",
        "/usr/local/lib/systemd/network",
        "/usr/lib/systemd/network",
        "/lib/systemd/network",
    ];
    /// Where NetworkManager looks.
    pub const NETWORKMANAGER: [&str; 3] = [
        "/etc/NetworkManager/system-connections",
        "/run/NetworkManager/system-connections",
        "/usr/lib/NetworkManager/system-connections",
    ];
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            wireguard: Self::WIREGUARD.into(),
            networkd: Self::NETWORKD.iter().map(PathBuf::from).collect(),
            networkmanager: Self::NETWORKMANAGER.iter().map(PathBuf::from).collect(),
        }
    }
}

/// The names of the files in a folder that end so and are not hidden, sorted; none if there is no such folder.
pub(super) fn names(folder: &Path, suffix: &str) -> std::io::Result<Vec<String>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // a name that is not UTF-8 is passed over
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(suffix)
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
