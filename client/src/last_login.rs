//! What the last login told of the bastion, for `check`: its version, and how its clock stands to this machine's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use wgmfa_core::message::sync::Release;
use wgmfa_core::message::{VERSION, decode, encode};
use wgmfa_core::version::told;

use crate::opened::folder_of_the_person;
use crate::sessions::{FOLDER, Locked};

/// No name of a session's file, which ends in `.json`.
const NAME: &str = "last-login";

/// Longest file that is read back, in bytes.
const LONGEST: u64 = 4096;

/// What a login told. It goes when the person logs out, or with the next start of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLogin {
    version: u32,
    /// The version of the bastion's program.
    pub program: Option<String>,
    /// By how many seconds this machine's clock was ahead of the bastion's; below zero: behind.
    pub ahead: Option<i64>,
}

impl LastLogin {
    /// What this release tells, which has just come in.
    pub fn of(release: &Release) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let ahead = release.clock.map(|clock| now.saturating_sub(clock));
        Self { version: VERSION, program: told(release.program.as_deref()), ahead }
    }

    /// Leaves it behind where the person may write; a machine without such a place remembers nothing.
    pub fn remember(&self) {
        let Some(folder) = folder() else { return };
        let Ok(_locked) = Locked::wait(&folder) else { return };
        let fresh = folder.join("last-login.new");
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&fresh)
            .and_then(|mut file| file.write_all(&encode(self)))
            .and_then(|()| std::fs::rename(&fresh, folder.join(NAME)));
        let _ = written;
    }

    /// What the last login on this machine told, by root or by this person.
    pub fn read() -> Option<Self> {
        [folder(), Some(FOLDER.into())].into_iter().flatten().find_map(|folder| Self::read_from(&folder))
    }

    fn read_from(folder: &Path) -> Option<Self> {
        let mut text = Vec::new();
        File::open(folder.join(NAME)).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
        decode::<Self>(&text).ok().map(|login| Self { program: told(login.program.as_deref()), ..login })
    }
}

fn folder() -> Option<PathBuf> {
    if geteuid().is_root() { Some(FOLDER.into()) } else { folder_of_the_person() }
}
