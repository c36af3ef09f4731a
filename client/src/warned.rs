//! `wgmfa status --once`: a timer warns of the end of a session once, not every minute.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use wgmfa_core::exit::{Exit, Failure};

/// Longest file that is read back, in bytes: some thousand sessions.
const LONGEST: u64 = 1024 * 1024;

/// The sessions that were shown before, a line each. The file goes when the person logs out.
pub struct Warned {
    path: PathBuf,
    lines: Vec<String>,
}

impl Warned {
    /// Reads what was left by the runs before.
    ///
    /// # Errors
    /// There is no folder for it: nobody is logged in here.
    pub fn read() -> Result<Self, Failure> {
        let folder = std::env::var_os("XDG_RUNTIME_DIR").ok_or_else(|| {
            Failure::new(Exit::Failed, "XDG_RUNTIME_DIR is not set: there is nowhere to remember what was shown")
                .hint("run it as a user service: systemctl --user enable --now wgmfa-warn.timer")
        })?;
        let path = PathBuf::from(folder).join("wgmfa-warned");
        let mut text = String::new();
        // what cannot be read was not shown
        let _ = File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        Ok(Self { path, lines: text.lines().map(str::to_owned).collect() })
    }

    /// Whether a session was shown before.
    pub fn has(&self, session: &str) -> bool {
        self.lines.iter().any(|line| line == session)
    }

    /// Remembers these sessions and no others.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(&self, sessions: &[String]) -> Result<(), Failure> {
        let temporary = self.path.with_extension("new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(format!("{}\n", sessions.join("\n")).as_bytes()))
            .and_then(|()| std::fs::rename(&temporary, &self.path));
        written.map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", self.path.display())))
    }
}
