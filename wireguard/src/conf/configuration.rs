//! Everything that configures one interface, wherever it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;

use super::folders::{Folders, Owner};
use super::format::Format;
use super::key_file::KeyFile;
use super::stored::Stored;
use super::text::{ConfigFile, NotSet};
use super::{networkd, networkmanager};

/// Where one interface is configured: the file of `wg-quick(8)` or of NetworkManager, or those of systemd-networkd.
///
/// Change preshared keys, then call [`Configuration::write`].
#[derive(Debug)]
pub struct Configuration {
    /// In the order in which they are read; there is at least one.
    files: Vec<File>,
    /// Those that are to be changed.
    key_files: BTreeMap<PathBuf, KeyFile>,
    /// Whose keys stand in files of their own, and where that is said.
    users: HashMap<PathBuf, Vec<(PublicKey, String)>>,
    /// The folders in which nothing is changed.
    vendors: Vec<PathBuf>,
}

#[derive(Debug)]
struct File {
    text: ConfigFile,
    stored: Stored,
    owner: Owner,
}

/// A file that configures an interface, before it is opened.
pub(super) struct Part {
    pub path: PathBuf,
    pub owner: Owner,
}

impl Configuration {
    /// Finds and opens what configures this interface; none: nothing does.
    ///
    /// # Errors
    /// It is configured in several places; or a file is a symbolic link, or it or its folder belongs to somebody else or can be
    /// written by others.
    pub fn open(folders: &Folders, name: &InterfaceName) -> Result<Option<Self>, Failure> {
        let quick = folders.wireguard.join(format!("{name}.conf"));
        let is_there = !matches!(quick.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        let quick = is_there.then(|| vec![Part { path: quick, owner: Owner::Site }]);
        let mut places: Vec<(Format, Vec<Part>)> = quick.into_iter().map(|parts| (Format::WgQuick, parts)).collect();
        let networkd = networkd::find(&folders.networkd, name)?;
        places.extend(networkd.into_iter().map(|parts| (Format::Networkd, parts)));
        let networkmanager = networkmanager::find(&folders.networkmanager, name)?;
        places.extend(networkmanager.into_iter().map(|parts| (Format::NetworkManager, parts)));
        if places.len() > 1 {
            let names: Vec<_> = places.iter().map(|(_, parts)| parts[0].path.display().to_string()).collect();
            let error = format!("{name} is configured in {} places: {}", names.len(), names.join(", "));
            return Err(Failure::new(Exit::Failed, error).hint("move away all but the one that is used"));
        }
        let Some((format, parts)) = places.pop() else { return Ok(None) };
        let mut files = Vec::new();
        for Part { path, owner } in parts {
            if let Some((stored, content)) = Stored::open(&path)? {
                files.push(File { text: ConfigFile::parse(format, &content), stored, owner });
            }
        }
        if files.is_empty() {
            return Ok(None);
        }
        let vendors = folders.networkd.iter().skip(2).cloned().collect();
        let mut users = HashMap::<_, Vec<_>>::new();
        for file in files.iter().filter(|_| format == Format::Networkd) {
            for peer in file.text.peers() {
                for (line, path) in file.text.key_files_of(&peer) {
                    users.entry(path).or_default().push((peer, file.place(line)));
                }
            }
        }
        Ok(Some(Self { files, key_files: BTreeMap::new(), users, vendors }))
    }

    /// Where it is: of several files the first.
    pub fn path(&self) -> &Path {
        self.files[0].stored.path()
    }

    /// Who reads it.
    pub fn format(&self) -> Format {
        self.files[0].text.format
    }

    /// The public keys of its peers, each once.
    pub fn peers(&self) -> Vec<PublicKey> {
        let mut known = HashSet::new();
        self.files.iter().flat_map(|file| file.text.peers()).filter(|peer| known.insert(*peer)).collect()
    }

    /// Whether `wg-quick down` writes the live keys over the file.
    pub fn save_config(&self) -> bool {
        self.files.iter().any(|file| file.text.save_config())
    }

    /// The preshared key with which this peer comes up; none: it has none, or it is not there.
    pub fn preshared_key(&self, peer: &PublicKey) -> Option<PresharedKey> {
        let text = &self.files.iter().find(|file| file.text.has_peer(peer))?.text;
        let Some(path) = text.key_file(peer) else { return text.preshared_key(peer) };
        match self.key_files.get(&path) {
            Some(opened) => opened.key().cloned(),
            None => KeyFile::open(&path).ok()?.key().cloned(),
        }
    }

    /// Where the peer is expected: `ADDRESS:PORT` or `NAME:PORT`, as it is written there.
    pub fn endpoint(&self, peer: &PublicKey) -> Option<String> {
        self.files.iter().rev().find_map(|file| file.text.endpoint(peer))
    }

    /// Gives this peer another preshared key, wherever it stands.
    ///
    /// # Errors
    /// Why nothing was changed, with file and line.
    pub fn set_preshared_key(&mut self, peer: &PublicKey, key: &PresharedKey) -> Result<(), Failure> {
        self.change(peer, Some(key))
    }

    /// Takes the preshared key of this peer out: undoes a [`Configuration::set_preshared_key`] that added one.
    ///
    /// # Errors
    /// Why nothing was changed, with file and line.
    pub fn remove_preshared_key(&mut self, peer: &PublicKey) -> Result<(), Failure> {
        self.change(peer, None)
    }

    /// The file from which everybody on this machine can read the preshared key of this peer.
    pub fn exposed(&self, peer: &PublicKey) -> Option<Failure> {
        let own = self.files.iter().filter(|file| file.text.holds_key_of(peer) && file.stored.exposed);
        let own = own.map(|file| file.stored.path().to_owned()).next();
        let own = own.or_else(|| {
            let path = self.files.iter().find_map(|file| file.text.key_file(peer))?;
            KeyFile::open(&path).is_ok_and(|file| file.exposed()).then_some(path)
        })?;
        let hint = match self.format() {
            Format::Networkd => format!("chown root:systemd-network {0}; chmod 0640 {0}", own.display()),
            Format::WgQuick | Format::NetworkManager => format!("chmod 0600 {}", own.display()),
        };
        let error = format!("{}: everybody on this machine can read it", own.display());
        Some(Failure::new(Exit::Failed, error).hint(hint))
    }

    /// The file with this peer that is gone after a reboot.
    pub fn gone_after_reboot(&self, peer: &PublicKey) -> Option<Failure> {
        let file = self.files.iter().find(|file| file.owner == Owner::Boot && file.text.holds_key_of(peer))?;
        let error = format!("{}: the file is gone after a reboot", file.stored.path().display());
        Some(Failure::new(Exit::Failed, error).hint("configure the interface under /etc"))
    }

    /// Peers that stand in it more than once, with file and line. All their sections get the same key; of their other settings
    /// one section's win.
    pub fn repeated(&self) -> Vec<String> {
        let mut places = BTreeMap::<PublicKey, Vec<String>>::new();
        for file in &self.files {
            for peer in file.text.peers() {
                let here = file.text.lines_of(&peer).into_iter().map(|line| file.place(line));
                places.entry(peer).or_default().extend(here);
            }
        }
        let repeated = places.into_iter().filter(|(_, places)| places.len() > 1);
        repeated.map(|(peer, places)| format!("{}: {peer} stands in {} already", places[1], places[0])).collect()
    }

    /// Writes what was changed, each file whole or not at all; says whether anything was.
    ///
    /// # Errors
    /// A file was changed by somebody else since it was opened, the disk is full, the file is immutable. The files before it are
    /// written, it and the others are as they were.
    pub fn write(&mut self) -> Result<bool, Failure> {
        let mut changed = false;
        for file in self.key_files.values_mut() {
            changed |= file.write()?;
        }
        for file in self.files.iter_mut().filter(|file| file.owner != Owner::Vendor) {
            changed |= file.stored.replace(&file.text.render())?;
        }
        Ok(changed)
    }

    fn change(&mut self, peer: &PublicKey, key: Option<&PresharedKey>) -> Result<(), Failure> {
        let with_peer = || self.files.iter().filter(|file| file.text.has_peer(peer));
        if with_peer().next().is_none() {
            let unknown = NotSet::UnknownPeer(self.format().peer_in_words(peer));
            return Err(self.files[0].failure(&unknown));
        }
        let mut key_files = Vec::new();
        for file in with_peer() {
            file.text.check(peer).map_err(|refused| file.failure(&refused))?;
            if file.owner == Owner::Vendor && file.text.holds_key_of(peer) {
                return Err(vendors(&file.place(file.text.lines_of(peer)[0])));
            }
            for (line, path) in file.text.key_files_of(peer) {
                key_files.push(self.key_file(peer, &file.place(line), path)?);
            }
        }
        for mut opened in key_files {
            opened.want(key);
            self.key_files.insert(opened.path().to_owned(), opened);
        }
        for file in self.files.iter_mut().filter(|file| file.text.has_peer(peer)) {
            let outcome = match key {
                Some(key) => file.text.set_preshared_key(peer, key),
                None => file.text.remove_preshared_key(peer),
            };
            outcome.map_err(|refused| file.failure(&refused))?;
        }
        Ok(())
    }

    /// Opens a file that must hold the key of this peer alone.
    fn key_file(&self, peer: &PublicKey, place: &str, path: PathBuf) -> Result<KeyFile, Failure> {
        let other = self.users[&path].iter().find(|(other, _)| other != peer);
        if let Some((_, elsewhere)) = other {
            let error = format!("{place}: {} holds the preshared key of another peer too, {elsewhere}", path.display());
            return Err(Failure::new(Exit::Failed, error).hint("give each peer a PresharedKeyFile= of its own"));
        }
        if self.vendors.iter().any(|vendor| path.starts_with(vendor)) {
            return Err(vendors(&path.display().to_string()));
        }
        KeyFile::open(&path)
    }
}

impl File {
    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.stored.path().display())
    }

    fn failure(&self, refused: &NotSet) -> Failure {
        let place = refused.line().map_or_else(|| self.stored.path().display().to_string(), |line| self.place(line));
        Failure::new(Exit::Failed, format!("{place}: {refused}")).hint(refused.hint())
    }
}

fn vendors(place: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{place}: a file of the system's packages, which wgmfa does not change"))
        .hint("copy it to the folder under /etc, which goes before it, and change it there")
}
