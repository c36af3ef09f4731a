//! Hides the keeper's files from PAM modules, in a mount namespace of this process alone.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Puts an empty folder, or `/dev/null`, over each path.
///
/// # Errors
/// When one of them is not covered: then no module may run.
pub fn cover(paths: &[String]) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("a mount namespace: {error}"))?;
    // Without this, the system's own mount namespace would get what is mounted here (mount_namespaces(7)).
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|error| format!("a private mount namespace: {error}"))?;
    for path in paths {
        cover_one(Path::new(path)).map_err(|error| format!("{path} cannot be covered: {error}"))?;
    }
    Ok(())
}

fn cover_one(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        let sealed = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("none"), path, Some("tmpfs"), sealed, Some("size=4k,nr_inodes=1,mode=0"))?;
    } else {
        mount(Some("/dev/null"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}
