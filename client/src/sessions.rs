//! What `sync` leaves behind for `status`: a file without keys for each interface, in `/run/wgmfa-client`, and the lock
//! that lets one program at a time change interfaces.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::net::if_::if_nametoindex;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::{VERSION, decode, encode};
use wgmfa_core::name::InterfaceName;

use crate::opened::Opened;
use crate::order::Session;

/// Where the files are; gone after a reboot, as the keys are.
pub const FOLDER: &str = "/run/wgmfa-client";

/// The sessions of one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Version of this format.
    pub version: u32,
    /// The boot to which the times belong.
    pub boot_id: BootId,
    /// The interface.
    pub interface: InterfaceName,
    /// Its public key.
    pub public_key: PublicKey,
    /// Each connection that was ever unlocked in this boot.
    pub connections: Vec<Remembered>,
    /// Each tier that a login has opened in this boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<RememberedTier>,
}

/// A released key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The peer.
    pub peer_public_key: PublicKey,
    /// What the bastion said.
    #[serde(flatten)]
    pub session: Session,
    /// When it came in.
    pub received: Boottime,
    /// The latest handshake that stood there when this key was put in place of another one, in seconds since 1970; none
    /// after a re-add, which leaves none. As long as it is the latest, nothing proves this key.
    #[serde(default)]
    pub handshake_before: Option<i64>,
}

/// A tier that a login has opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedTier {
    /// The gateway.
    pub peer_public_key: PublicKey,
    /// What the bastion said.
    #[serde(flatten)]
    pub opened: Opened,
    /// When it came in.
    pub received: Boottime,
}

impl Remembered {
    /// Seconds until the key stops being accepted; 0: it has.
    pub fn seconds_left(&self, now: Boottime) -> u64 {
        seconds_left(self.received, self.session.seconds_left, now)
    }
}

impl RememberedTier {
    /// Seconds until the tier closes; 0: it has.
    pub fn seconds_left(&self, now: Boottime) -> u64 {
        seconds_left(self.received, self.opened.seconds_left, now)
    }
}

fn seconds_left(received: Boottime, seconds: u64, now: Boottime) -> u64 {
    received.plus_seconds(seconds).since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

impl Sessions {
    /// None yet.
    pub fn none(boot_id: BootId, interface: InterfaceName, public_key: PublicKey) -> Self {
        Self { version: VERSION, boot_id, interface, public_key, connections: Vec::new(), tiers: Vec::new() }
    }

    /// What is remembered about a peer.
    pub fn of(&self, peer: &PublicKey) -> Option<&Remembered> {
        self.connections.iter().find(|known| known.peer_public_key == *peer)
    }

    /// Remembers a key, in place of what was known about its peer: also of a tier that an earlier login has opened there.
    /// A bare key says nothing about how long it is good.
    pub fn remember(
        &mut self,
        peer: PublicKey,
        session: Option<&Session>,
        received: Boottime,
        handshake_before: Option<i64>,
    ) {
        self.connections.retain(|known| known.peer_public_key != peer);
        if let Some(session) = session.cloned() {
            self.tiers.retain(|known| known.peer_public_key != peer || known.received >= received);
            self.connections.push(Remembered { peer_public_key: peer, session, received, handshake_before });
            self.connections.sort_by(|a, b| a.session.connection.cmp(&b.session.connection));
        }
    }

    /// Remembers an opened tier, in place of what was known about it, unless a later login has opened it. The key of an
    /// earlier login is over: the same login would have brought it too.
    pub fn remember_tier(&mut self, peer: PublicKey, opened: &Opened, received: Boottime) {
        let is_it = |known: &RememberedTier| known.peer_public_key == peer && known.opened.tier == opened.tier;
        if self.tiers.iter().any(|known| is_it(known) && known.received > received) {
            return;
        }
        self.tiers.retain(|known| !is_it(known));
        self.connections.retain(|known| known.peer_public_key != peer || known.received >= received);
        self.tiers.push(RememberedTier { peer_public_key: peer, opened: opened.clone(), received });
        self.tiers.sort_by(|a, b| (&a.opened.connection, &a.opened.tier).cmp(&(&b.opened.connection, &b.opened.tier)));
    }

    /// What a later login was refused is over: a login is needed. Whether anything was known of it.
    fn end(&mut self, refused: &[String], received: Boottime) -> bool {
        let is_over = |connection: &String, known: Boottime| known <= received && refused.contains(connection);
        let keys = self.connections.iter_mut().filter(|known| is_over(&known.session.connection, known.received));
        let keys = keys.map(|known| &mut known.session.seconds_left);
        let tiers = self.tiers.iter_mut().filter(|known| is_over(&known.opened.connection, known.received));
        let tiers = tiers.map(|known| &mut known.opened.seconds_left);
        keys.chain(tiers).map(|left| *left = 0).count() > 0
    }
}

/// The folder, while this program alone may change interfaces.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Locked {
    /// Makes the folder if it is missing, and waits until no other `wgmfa` changes interfaces: milliseconds.
    ///
    /// # Errors
    /// The folder cannot be made, or somebody else could have prepared it.
    pub fn wait(folder: &Path) -> Result<Self, Failure> {
        let name = folder.display();
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, format!("{name}: {error}")).hint("it needs root: run it with sudo")
        };
        match DirBuilder::new().mode(0o755).create(folder) {
            Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed)?, // past the umask
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let found = folder.symlink_metadata().map_err(failed)?;
        if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            let error = format!("{name}: not a folder that belongs to root alone (mode {:04o})", found.mode() & 0o7777);
            return Err(Failure::new(Exit::Failed, error).hint("remove it; it is made anew"));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(failed)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        Ok(Self { path: folder.to_owned(), _lock: lock })
    }

    /// What is known of an interface in this boot; a file that cannot be read is as good as none.
    pub fn load(&self, interface: &InterfaceName, public_key: &PublicKey, boot_id: &BootId) -> Sessions {
        load(&self.path.join(format!("{interface}.json")))
            .filter(|known| known.boot_id == *boot_id && known.public_key == *public_key)
            .unwrap_or_else(|| Sessions::none(boot_id.clone(), interface.clone(), *public_key))
    }

    /// Notes which connections a login was refused: what was known of them, on whichever interface of this network
    /// namespace, is over.
    pub fn end(&self, refused: &[String], received: Boottime) -> std::io::Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        for mut sessions in all(&self.path) {
            // an interface of another namespace is another machine's, as far as a login goes
            let is_here = if_nametoindex(sessions.interface.as_str()).is_ok();
            if is_here && sessions.end(refused, received) {
                self.save(&sessions)?;
            }
        }
        Ok(())
    }

    /// Puts a file in place of the old one, whole or not at all.
    pub fn save(&self, sessions: &Sessions) -> std::io::Result<()> {
        let temporary = self.path.join(format!(".{}.json", sessions.interface));
        let _ = std::fs::remove_file(&temporary); // left by one that was killed: only the holder of the lock is here
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(&encode(sessions))?;
        std::fs::rename(&temporary, self.path.join(format!("{}.json", sessions.interface)))
    }
}

/// The files of all interfaces, sorted by interface.
pub fn all(folder: &Path) -> Vec<Sessions> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let visible = |path: &PathBuf| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut all: Vec<_> = files.filter(visible).filter_map(|path| load(&path)).collect();
    all.sort_by(|a, b| a.interface.cmp(&b.interface));
    all
}

fn load(path: &Path) -> Option<Sessions> {
    if path.extension()? != "json" {
        return None;
    }
    decode(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use wgmfa_core::message::sync::PolicyRef;

    use super::*;

    fn session(connection: &str, generation: u64) -> Session {
        let policy = PolicyRef { ordinal: 101, description: "Prod".into(), mfa: true };
        Session {
            connection: connection.into(),
            generation,
            policy,
            seconds_left: 3600,
            not_prolonged: None,
            tier: None,
        }
    }

    #[test]
    fn sessions_are_remembered_for_this_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("wgmfa-client");
        let locked = Locked::wait(&folder).unwrap();
        let (boot, wg0, key) = (BootId("b".into()), "wg0".parse().unwrap(), PublicKey::from_bytes([1; 32]));
        let peer = PublicKey::from_bytes([2; 32]);
        let mut sessions = locked.load(&wg0, &key, &boot);
        sessions.remember(peer, Some(&session("a/x:d", 6)), Boottime::from_millis(0), None);
        sessions.remember(peer, Some(&session("a/x:d", 7)), Boottime::from_millis(5_000), None);
        locked.save(&sessions).unwrap();
        locked.save(&sessions).unwrap();
        assert_eq!(locked.load(&wg0, &key, &boot), sessions);
        assert_eq!(all(&folder), [sessions.clone()]);
        assert_eq!(sessions.of(&peer).unwrap().session.generation, 7);
        assert_eq!(sessions.of(&peer).unwrap().seconds_left(Boottime::from_millis(5_001)), 3600);
        assert_eq!(sessions.of(&peer).unwrap().seconds_left(Boottime::from_millis(3_605_000)), 0);
        assert_eq!(locked.load(&wg0, &key, &BootId("c".into())).connections, []);
        assert_eq!(locked.load(&wg0, &peer, &boot).connections, []);
        let mode = |path: &str| folder.join(path).metadata().unwrap().mode() & 0o777;
        assert_eq!((mode("."), mode("wg0.json"), mode("lock")), (0o755, 0o644, 0o600));

        sessions.remember(peer, None, Boottime::from_millis(0), None);
        assert_eq!(sessions.of(&peer), None);
    }

    #[test]
    fn of_two_logins_that_open_a_tier_the_later_one_is_remembered() {
        let (wg0, key) = ("wg0".parse().unwrap(), PublicKey::from_bytes([1; 32]));
        let mut sessions = Sessions::none(BootId("b".into()), wg0, key);
        let opened = |tier: &str, seconds_left| Opened {
            connection: "a/x:d".into(),
            tier: tier.parse().unwrap(),
            policy: PolicyRef { ordinal: 101, description: "Prod".into(), mfa: true },
            state: "OK".into(),
            seconds_left,
            waits: None,
        };
        for (tier, seconds_left, received) in [("prod", 60, 2_000), ("admin", 60, 0), ("prod", 30, 1_000)] {
            sessions.remember_tier(key, &opened(tier, seconds_left), Boottime::from_millis(received));
        }
        let known: Vec<_> =
            sessions.tiers.iter().map(|one| (one.opened.tier.as_str(), one.opened.seconds_left)).collect();
        assert_eq!(known, [("admin", 60), ("prod", 60)]);
        assert_eq!(sessions.tiers[1].seconds_left(Boottime::from_millis(32_001)), 30);
        let text = encode(&sessions);
        assert_eq!(decode::<Sessions>(&text), Ok(sessions));
    }

    #[test]
    fn a_folder_that_others_prepared_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        assert!(Locked::wait(&path).unwrap_err().error.ends_with("belongs to root alone (mode 0777)"));
        std::os::unix::fs::symlink("/tmp", folder.path().join("link")).unwrap();
        assert!(Locked::wait(&folder.path().join("link")).is_err());
    }
}
