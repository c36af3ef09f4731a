//! The person for whom `ssh` runs: with sudo in between, the one behind it, not root.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User, geteuid, getgroups, getuid, setfsgid, setfsuid, setgroups};

/// Whose `~/.ssh` and `~/.config` count.
#[derive(Debug)]
pub struct Person {
    user: User,
    /// Children must change to this user first.
    change: bool,
}

impl Person {
    /// The caller, or who called sudo (`SUDO_UID`, sudo(8)) when the caller is root.
    pub fn find() -> Option<Self> {
        let behind = if geteuid().is_root() { behind_sudo() } else { None };
        match behind {
            Some(user) => Some(Self { user, change: true }),
            None => Some(Self { user: User::from_uid(getuid()).ok()??, change: false }),
        }
    }

    /// Whether there is someone who could be asked: not root by itself.
    pub fn is_behind_sudo(&self) -> bool {
        self.change
    }

    /// The person's user number.
    pub fn uid(&self) -> u32 {
        self.user.uid.as_raw()
    }

    /// The home folder: what HOME says, but not root's for somebody else.
    pub fn home(&self) -> PathBuf {
        match std::env::var_os("HOME") {
            Some(home) if !self.change && !home.is_empty() => home.into(),
            _ => self.user.dir.clone(),
        }
    }

    /// Where this program keeps what it remembers for the person (XDG base directories).
    pub fn state_folder(&self) -> PathBuf {
        let base = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
            Some(base) if !self.change && base.is_absolute() => base,
            _ => self.home().join(".local/state"),
        };
        base.join("wgmfa")
    }

    /// Does something with files as the person, also when root runs for them: so it reads and writes nothing that the
    /// person could not.
    pub fn with_own_files<T>(&self, act: impl FnOnce() -> T) -> T {
        if !self.change {
            return act();
        }
        // root's groups open files too
        let groups = getgroups().unwrap_or_default();
        let _ = setgroups(&[self.user.gid]);
        let (gid, uid) = (setfsgid(self.user.gid), setfsuid(self.user.uid));
        let done = act();
        setfsuid(uid);
        setfsgid(gid);
        let _ = setgroups(&groups);
        done
    }

    /// Makes a program run as this person.
    pub fn lends_itself_to(&self, command: &mut Command) {
        if self.change {
            let Self { user, .. } = self;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()); // uid() also drops root's other groups
            command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name);
            command.current_dir("/");
        }
    }
}

fn behind_sudo() -> Option<User> {
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    let uid = Uid::from_raw(uid);
    if uid.is_root() { None } else { User::from_uid(uid).ok()? }
}

#[cfg(test)]
impl Person {
    /// Nobody, behind sudo, at home in this folder.
    pub fn nobody_at(home: &Path) -> Self {
        let nobody = User::from_name("nobody").unwrap().expect("every system has nobody");
        Self { user: User { dir: home.to_owned(), ..nobody }, change: true }
    }
}

/// Whether somebody sits at a terminal: then sudo and ssh may ask.
pub fn has_terminal() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open(Path::new("/dev/tty")).is_ok()
}
