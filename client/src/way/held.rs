//! The privileged half of the way: rules that stand as long as this process, and are asked for on standard input.
//!
//! Whoever may start `wgmfa apply` through sudo may so have connections go past a tunnel. What that can be used for is kept
//! small: TCP to one port of at most [`MOST`] addresses, only where the connection would otherwise run into a WireGuard
//! interface of this machine, only to [`Config::way_around`] where the site says so, and for [`LONGEST`] at most.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::{Deserialize, Serialize};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::VERSION;
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::leaves_by;

use super::rules::{self, Rule};
use crate::config::Config;
use crate::sessions::{FOLDER, Locked};
use crate::voice;

/// The most addresses of one bastion.
pub const MOST: usize = 8;

/// How long rules stand at most: longer than any login takes.
const LONGEST: Duration = Duration::from_secs(300);

/// What is asked for, a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Version of the conversation.
    pub version: u32,
    /// Where a login is to go.
    pub way: Vec<SocketAddr>,
    /// Only past this interface; none: past each WireGuard interface.
    #[serde(default)]
    pub past: Option<InterfaceName>,
}

/// What stands now, a line of JSON. It goes when standard input ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// These are reached past the tunnel.
    pub way: Vec<SocketAddr>,
    /// These are not, and why, a line each.
    pub refused: Vec<String>,
}

/// Makes the rules, says which stand, and takes them away when standard input ends or the process is told to end.
pub fn hold(wanted: &Wanted) -> Result<Exit, Failure> {
    if wanted.version != VERSION || wanted.way.len() > MOST {
        return Err(Failure::new(Exit::Failed, format!("standard input: not a way to at most {MOST} addresses")));
    }
    let failed = |error: io::Error| Failure::new(Exit::Failed, format!("the way to the bastion: {error}"));
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(|errno| failed(errno.into()))?;
    let told_to_end = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(|errno| failed(errno.into()))?;

    let site = Config::of_the_site()?;
    let tunnels: Vec<String> = match &wanted.past {
        Some(name) => vec![name.to_string()],
        None => wgmfa_wireguard::interfaces()?.names.iter().map(ToString::to_string).collect(),
    };
    let _among_others = Holders::join().map_err(failed)?;
    let mut held = Held::default();
    let mut standing = Standing::default();
    for to in &wanted.way {
        match held.open(*to, &tunnels, &site) {
            Ok(()) => standing.way.push(*to),
            Err(why) => standing.refused.push(format!("{}: {why}", to.ip())),
        }
    }
    voice::json(&standing);
    if !standing.way.is_empty() {
        wait_for_the_end(&told_to_end);
    }
    held.close().map_err(failed)?;
    Ok(Exit::Done)
}

/// Takes away what killed processes have left. Nothing is done while another process holds a way: then it is for later.
pub fn remove_stale() {
    // as a rule there is nothing; what cannot be done now is tried by the next one
    if rules::standing().is_ok_and(|rules| !rules.is_empty()) {
        let _ = Holders::join();
    }
}

/// The rules of this process. Dropped, they are gone.
#[derive(Debug, Default)]
struct Held(Vec<Rule>);

impl Held {
    /// Has connections to an address go past the tunnels, if they run into one and there is another way.
    fn open(&mut self, to: SocketAddr, tunnels: &[String], site: &Config) -> Result<(), String> {
        let in_tunnel = || match leaves_by(to) {
            Ok(name) => Ok(name.filter(|name| tunnels.contains(name))),
            Err(error) => Err(error.to_string()),
        };
        if !rules::is_far(to.ip()) || to.port() == 0 {
            return Err("not an address of another machine".to_owned());
        }
        if !site.may_go_around_to(to.ip()) {
            return Err("the site's client.toml does not allow it (way-around)".to_owned());
        }
        // what another process has made goes with that process
        let tunnel = match in_tunnel()? {
            Some(tunnel) => tunnel,
            None if rules::stands_for(to) => "a tunnel".to_owned(),
            None => return Err("no tunnel is in its way".to_owned()),
        };
        self.0.push(rules::add(to).map_err(|error| error.to_string())?);
        if in_tunnel()?.is_none() && leaves_by(to).is_ok_and(|name| name.is_some()) {
            return Ok(());
        }
        self.0.pop().map_or(Ok(()), |rule| rules::remove(&rule)).map_err(|error| error.to_string())?;
        Err(format!("the main routing table has no way to it but {tunnel}"))
    }

    fn close(mut self) -> io::Result<()> {
        self.0.drain(..).map(|rule| rules::remove(&rule)).fold(Ok(()), io::Result::and)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().for_each(|rule| _ = rules::remove(rule)); // the next start tries again
    }
}

/// Standard input ends, a signal comes, or it took too long.
fn wait_for_the_end(told_to_end: &SignalFd) {
    let until = Instant::now() + LONGEST;
    let mut stdin = io::stdin().lock();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds =
            [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(told_to_end.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut fds, patience).is_ok();
        let [input, told] = fds.map(|fd| ready && fd.any().unwrap_or(true));
        if told || left.is_zero() {
            return;
        }
        if input && matches!(stdin.read(&mut [0; 256]), Ok(0) | Err(_)) {
            return;
        }
    }
}

/// A share of the lock that every process has as long as rules of its own may stand: while nobody has one, all rules that
/// stand are left over. One lock for each network namespace, since rules belong to one. The last one takes its file away:
/// only who has the whole lock of the file that bears the name does so, and who gets a lock of another file tries again.
struct Holders {
    path: PathBuf,
    lock: Flock<File>,
}

impl Holders {
    fn join() -> io::Result<Self> {
        drop(Locked::wait(Path::new(FOLDER)).map_err(|failure| io::Error::other(failure.error))?);
        let namespace = std::fs::metadata("/proc/self/ns/net")?.ino();
        let joined = Self::join_at(Path::new(FOLDER).join(format!("way-{namespace}.lock")), || {
            rules::standing()?.iter().try_for_each(rules::remove)
        });
        remove_unheld(Path::new(FOLDER));
        joined
    }

    /// Takes a share; whoever is alone first removes what is left over.
    fn join_at(path: PathBuf, remove_left_over: impl Fn() -> io::Result<()>) -> io::Result<Self> {
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(alone) if bears_the_name(&alone, &path) => {
                    remove_left_over()?;
                    alone.relock(FlockArg::LockShared).map_err(io::Error::from)?;
                    alone
                }
                Ok(_taken_away) => continue,
                Err((file, _)) => {
                    Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| io::Error::from(errno))?
                }
            };
            // in between the last one may have gone
            if bears_the_name(&lock, &path) {
                return Ok(Self { path, lock });
            }
        }
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        if self.lock.relock(FlockArg::LockExclusiveNonblock).is_ok() && bears_the_name(&self.lock, &self.path) {
            let _ = std::fs::remove_file(&self.path); // what stays is used again
        }
    }
}

/// Takes away the locks that killed processes have left behind, of whichever namespace.
fn remove_unheld(folder: &Path) {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_lock = |name: &str| name.starts_with("way-") && name.ends_with(".lock");
    for name in names.filter_map(|name| name.into_string().ok()).filter(|name| is_lock(name)) {
        let path = folder.join(name);
        let Ok(file) = OpenOptions::new().write(true).open(&path) else { continue };
        if let Ok(alone) = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            && bears_the_name(&alone, &path)
        {
            let _ = std::fs::remove_file(&path); // as long as it is locked: whoever waits for it tries again
        }
    }
}

/// Whether this is the file that has the name now.
fn bears_the_name(file: &File, path: &Path) -> bool {
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    let here = file.metadata().map(identity);
    here.is_ok_and(|here| path.metadata().is_ok_and(|there| identity(there) == here))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_last_holder_takes_the_lock_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("way-1.lock");
        let alone = AtomicUsize::new(0);
        let join = || {
            Holders::join_at(path.clone(), || {
                alone.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap()
        };
        let (one, other) = (join(), join());
        drop(one);
        assert!(path.exists(), "the other one holds it");
        drop(other);
        assert!(!path.exists());
        assert_eq!(alone.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_killed_holders_have_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let holder = Holders::join_at(path("way-1.lock"), || Ok(())).unwrap();
        for name in ["way-2.lock", "way-3.lock", "lock", "wg0.json"] {
            std::fs::write(path(name), "").unwrap();
        }
        remove_unheld(folder.path());
        let there = ["way-1.lock", "way-2.lock", "way-3.lock", "lock", "wg0.json"].map(|name| path(name).exists());
        assert_eq!(there, [true, false, false, true, true]);
        drop(holder);
    }

    #[test]
    fn however_many_come_and_go_nobody_removes_what_another_one_has_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("way-1.lock");
        let held = AtomicUsize::new(0);
        let come_and_go = || {
            for _ in 0..300 {
                let nobody = || {
                    assert_eq!(held.load(Ordering::SeqCst), 0, "rules of a holder would be removed");
                    Ok(())
                };
                let holder = Holders::join_at(path.clone(), nobody).unwrap();
                remove_unheld(folder.path());
                held.fetch_add(1, Ordering::SeqCst);
                std::thread::yield_now();
                held.fetch_sub(1, Ordering::SeqCst);
                drop(holder);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| _ = scope.spawn(come_and_go)));
        assert!(!path.exists());
    }
}
