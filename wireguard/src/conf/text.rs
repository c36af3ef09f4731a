//! The text of a configuration file: read, one preshared key changed, every other byte kept.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use wgmfa_core::key::{PresharedKey, PublicKey};
use zeroize::Zeroizing;

use super::format::Format;
use super::line::Line;
use super::section::{Kind, Section, is_zero};

/// The text of a configuration file, taken apart into lines as its reader takes them.
///
/// Rendering gives the same bytes. `Debug` shows no content.
#[derive(Clone)]
pub struct ConfigFile {
    pub(super) format: Format,
    pub(super) sections: Vec<Section>,
    /// Where the sections of each peer stand.
    places: HashMap<PublicKey, Vec<usize>>,
    /// How lines end that have to be added: as the first line does.
    line_end: &'static [u8],
}

/// Why a preshared key was not changed. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSet {
    /// The file has no section of this peer, in words.
    UnknownPeer(String),
    /// Lines of comment stand between the lines of the key that begins in this line.
    CommentInside(usize),
    /// In this line the key is one of systemd's credentials.
    Credential(usize),
    /// In this line NetworkManager is told that somebody else has the key.
    AskedFor(usize),
}

impl NotSet {
    /// Where it is in the file, counted from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::UnknownPeer(_) => None,
            Self::CommentInside(line) | Self::Credential(line) | Self::AskedFor(line) => Some(*line),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownPeer(_) => "the key goes only where the peer stands already",
            Self::CommentInside(_) => "write the key in one line",
            Self::Credential(_) => {
                "write PresharedKey= or PresharedKeyFile= with a key, so that it can be changed here"
            }
            Self::AskedFor(_) => {
                "write preshared-key-flags=0 there, so that NetworkManager takes the key from this file"
            }
        }
    }
}

impl fmt::Display for NotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer(peer) => write!(f, "no {peer}"),
            Self::CommentInside(_) => f.write_str("a comment stands between the lines of the preshared key"),
            Self::Credential(_) => f.write_str("the preshared key is a credential of systemd's"),
            Self::AskedFor(_) => f.write_str("preshared-key-flags says that the key is not in this file"),
        }
    }
}

impl std::error::Error for NotSet {}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigFile(hidden)")
    }
}

impl ConfigFile {
    /// Takes any bytes; lines that its reader would not understand are kept as they are.
    pub fn parse(format: Format, bytes: &[u8]) -> Self {
        let mut sections = vec![Section::new(format, b"", 1)];
        let mut number = 1;
        for line in format.lines(bytes) {
            let line = Line::parse(format, line);
            if let Some(name) = line.section() {
                sections.push(Section::new(format, &name, number));
            }
            number += line.height();
            sections.last_mut().expect("the first section is there").lines.push(line);
        }
        let mut places = HashMap::<PublicKey, Vec<usize>>::new();
        for (place, section) in sections.iter_mut().enumerate() {
            section.complete();
            if let Some(peer) = section.peer {
                places.entry(peer).or_default().push(place);
            }
        }
        let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let line_end: &[u8] = if first.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        Self { format, sections, places, line_end }
    }

    /// The whole file's bytes (with the interface's private key: for writing, not for showing).
    pub fn render(&self) -> Zeroizing<Vec<u8>> {
        let lines = || self.sections.iter().flat_map(|section| &section.lines);
        let mut bytes = Zeroizing::new(Vec::with_capacity(lines().map(|line| line.bytes().len()).sum()));
        lines().for_each(|line| bytes.extend_from_slice(line.bytes()));
        bytes
    }

    /// The public keys of its peers, in order, each once.
    pub fn peers(&self) -> Vec<PublicKey> {
        let first = |(place, section): (usize, &Section)| section.peer.filter(|peer| self.places[peer][0] == place);
        self.sections.iter().enumerate().filter_map(first).collect()
    }

    /// Whether it has a section of this peer.
    pub fn has_peer(&self, peer: &PublicKey) -> bool {
        self.places.contains_key(peer)
    }

    /// In which lines the sections of this peer begin, counted from 1.
    pub fn lines_of(&self, peer: &PublicKey) -> Vec<usize> {
        self.sections_of(peer).map(|section| section.begins).collect()
    }

    /// Whether `SaveConfig = true` stands in `[Interface]`: then `wg-quick down` writes the live keys over this file.
    pub fn save_config(&self) -> bool {
        let interfaces = self.sections.iter().filter(|section| section.kind == Kind::Interface);
        let values = interfaces.filter_map(|section| section.value("saveconfig"));
        values.last().is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
    }

    /// What a section other than a peer's says, the last word: networkd's `[NetDev] Name=`.
    pub(super) fn setting(&self, section: &str, key: &str) -> Option<String> {
        let named = self.sections.iter().filter(|one| one.kind == Kind::Other(section.as_bytes().to_vec()));
        let value = named.filter_map(|section| section.value(key)).last()?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// The preshared key that its reader would give to this peer; none: no line, or no valid one, or the peer is not there,
    /// or its key is in a file of its own.
    pub fn preshared_key(&self, peer: &PublicKey) -> Option<PresharedKey> {
        match self.format {
            // a later section of the same peer overrides an earlier one, also when it has no key
            Format::WgQuick => self.sections_of(peer).last()?.preshared_key(),
            // networkd hands the peers to the kernel in reverse order
            Format::Networkd => {
                let first = self.sections_of(peer).next()?;
                first.preshared_key().filter(|_| first.preshared_key_file().is_none())
            }
            // sections of the same name are one
            Format::NetworkManager => {
                self.sections_of(peer).filter(|section| section.has_preshared_key()).last()?.preshared_key()
            }
        }
    }

    /// systemd-networkd: the files in which the preshared key of this peer stands, and the lines of their sections.
    pub(super) fn key_files_of(&self, peer: &PublicKey) -> Vec<(usize, PathBuf)> {
        let of = |section: &Section| Some((section.begins, section.preshared_key_file()?));
        self.sections_of(peer).filter_map(of).collect()
    }

    /// systemd-networkd: the file from which it takes the preshared key of this peer.
    pub(super) fn key_file(&self, peer: &PublicKey) -> Option<PathBuf> {
        self.sections_of(peer).next()?.preshared_key_file()
    }

    /// Whether a preshared key of this peer stands here, or would.
    pub(super) fn holds_key_of(&self, peer: &PublicKey) -> bool {
        self.sections_of(peer).any(|section| section.preshared_key_file().is_none())
    }

    /// Where its reader would expect this peer: `ADDRESS:PORT` or `NAME:PORT`, as it is written there.
    pub fn endpoint(&self, peer: &PublicKey) -> Option<String> {
        let key = if self.format == Format::Networkd { "Endpoint" } else { "endpoint" };
        let value = self.sections_of(peer).filter_map(|section| section.value(key)).last()?;
        String::from_utf8(value.to_vec()).ok().filter(|text| !text.is_empty())
    }

    /// Puts this preshared key into every section of this peer: replaces the value alone, or adds a line, spaced like the one
    /// beside it. A section whose key is in a file of its own is left as it is.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn set_preshared_key(&mut self, peer: &PublicKey, key: &PresharedKey) -> Result<(), NotSet> {
        self.check(peer)?;
        let line_end = self.line_end;
        if self.format == Format::NetworkManager {
            self.set_in_group(peer, key);
            return Ok(());
        }
        self.each(peer, |section| {
            if section.preshared_key_file().is_none() && !section.replace_preshared_key(key) {
                section.add_preshared_key(key, line_end);
            }
        });
        Ok(())
    }

    /// Takes the preshared key of this peer out: undoes a [`ConfigFile::set_preshared_key`] that added one.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn remove_preshared_key(&mut self, peer: &PublicKey) -> Result<(), NotSet> {
        self.check(peer)?;
        self.each(peer, |section| {
            if section.preshared_key_file().is_none() {
                section.remove_preshared_key();
            }
            if section.flags().is_some_and(|flags| is_zero(&flags)) {
                section.remove_flags();
            }
        });
        Ok(())
    }

    /// All sections of this name are one for NetworkManager: the last line counts, in whichever it stands.
    fn set_in_group(&mut self, peer: &PublicKey, key: &PresharedKey) {
        let line_end = self.line_end;
        let mut found = false;
        self.each(peer, |section| found |= section.replace_preshared_key(key));
        let has_flags = self.sections_of(peer).any(|section| section.flags().is_some());
        self.each(peer, Section::zero_flags);
        let first = self.places[peer][0];
        if !found {
            self.sections[first].add_preshared_key(key, line_end);
        } else if !has_flags {
            let place = self.places[peer].iter().find(|place| self.sections[**place].has_preshared_key());
            self.sections[*place.unwrap_or(&first)].add_flags(line_end);
        }
    }

    /// Whether a preshared key can be changed here.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, peer: &PublicKey) -> Result<(), NotSet> {
        if !self.has_peer(peer) {
            return Err(NotSet::UnknownPeer(self.format.peer_in_words(peer)));
        }
        let key = self.format.preshared_key();
        for section in self.sections_of(peer).filter(|_| self.format == Format::Networkd) {
            let is_credential = |line: &Line| line.value().starts_with(b"@");
            let refused = section.line_where(key, Line::has_comment_inside).map(NotSet::CommentInside);
            let refused = refused.or_else(|| section.line_where(key, is_credential).map(NotSet::Credential));
            if let Some(refused) = refused.filter(|_| section.preshared_key_file().is_none()) {
                return Err(refused);
            }
        }
        let flags = self.sections_of(peer).filter(|section| section.flags().is_some()).last();
        match flags.and_then(|section| Some((section.flags()?, section.flags_line()?))) {
            Some((flags, line)) if asks_somebody(&flags) => Err(NotSet::AskedFor(line)),
            _ => Ok(()),
        }
    }

    fn sections_of(&self, peer: &PublicKey) -> impl Iterator<Item = &Section> {
        self.places.get(peer).into_iter().flatten().map(|place| &self.sections[*place])
    }

    fn each(&mut self, peer: &PublicKey, mut act: impl FnMut(&mut Section)) {
        for place in &self.places[peer] {
            act(&mut self.sections[*place]);
        }
    }
}

/// NetworkManager: flag 1 is a secret that an agent of the person's session has, flag 2 one that is asked for each time. Flag 4,
/// which is what no flags mean, is a secret that need not be there.
fn asks_somebody(flags: &[u8]) -> bool {
    let text = std::str::from_utf8(flags).unwrap_or_default();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.is_ok_and(|flags| flags & 3 != 0)
}
