//! A file that holds one preshared key and nothing else: systemd-networkd's `PresharedKeyFile=`.

use std::path::{Path, PathBuf};

use nix::unistd::Group;
use wgmfa_core::exit::Failure;
use wgmfa_core::key::PresharedKey;
use zeroize::Zeroizing;

use super::stored::{Stored, create, remove};

/// What is to become of it.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    /// As it was found; none: it is not there.
    stored: Option<Stored>,
    found: Option<PresharedKey>,
    /// What is to stand there; none: it is to go.
    wanted: Option<PresharedKey>,
}

/// The group that networkd reads with.
const GROUP: &str = "systemd-network";

impl KeyFile {
    /// Opens it, whether or not it is there.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let (stored, content) = Stored::open(path)?.unzip();
        let found = content.and_then(|content| {
            let mut text = Zeroizing::new(Vec::with_capacity(content.len()));
            text.extend(content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
            std::str::from_utf8(&text).ok()?.parse().ok()
        });
        Ok(Self { path: path.to_owned(), stored, wanted: found.clone(), found })
    }

    /// The key that stands there.
    pub fn key(&self) -> Option<&PresharedKey> {
        self.wanted.as_ref()
    }

    /// What is to stand there; none: networkd is to find no key, and so does not set the peer up.
    pub fn want(&mut self, key: Option<&PresharedKey>) {
        self.wanted = key.cloned();
    }

    /// Whether everybody here can read it.
    pub fn exposed(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.exposed)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it if it was changed; says whether. The mode and owner stay; one that was not there is readable for networkd's
    /// group, or for its owner alone where there is no such group.
    pub fn write(&mut self) -> Result<bool, Failure> {
        if self.wanted == self.found {
            return Ok(false);
        }
        match (&self.wanted, &mut self.stored) {
            (Some(key), stored) => {
                let text = key.expose_base64();
                let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 1));
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(b'\n');
                if let Some(stored) = stored {
                    stored.replace(&bytes)?;
                } else {
                    let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
                    create(&self.path, &bytes, if group.is_some() { 0o640 } else { 0o600 }, group)?;
                    self.stored = Stored::open(&self.path)?.map(|(stored, _)| stored);
                }
            }
            (None, Some(_)) => {
                remove(&self.path)?;
                self.stored = None;
            }
            (None, None) => {}
        }
        self.found.clone_from(&self.wanted);
        Ok(true)
    }
}
