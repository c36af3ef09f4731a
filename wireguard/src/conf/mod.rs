//! The configuration files of `wg-quick(8)`: read, one preshared key changed, written back with every other byte kept.
//!
//! ```no_run
//! # use std::path::Path;
//! # use wgmfa_core::{exit::Failure, key::{PresharedKey, PublicKey}, name::InterfaceName};
//! # use wgmfa_wireguard::conf::{self, StoredFile};
//! # fn lock(name: &InterfaceName, peer: &PublicKey, lock_key: &PresharedKey) -> Result<(), Box<dyn std::error::Error>> {
//! if let Some(mut file) = StoredFile::open(Path::new(conf::FOLDER), name)? {
//!     file.config.set_preshared_key(peer, lock_key)?;
//!     file.write()?; // true: it was changed on disk
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::fmt;

use wgmfa_core::key::{PresharedKey, PublicKey};
use zeroize::Zeroizing;

mod line;
mod stored;

use line::Line;
pub use stored::StoredFile;

/// Where `wg-quick(8)` looks for `NAME.conf`.
pub const FOLDER: &str = "/etc/wireguard";

/// The text of a configuration file, taken apart into lines as `wg(8)` and `wg-quick(8)` read them: names of sections and
/// keys in any case, white space anywhere, comments from `#` to the end of the line.
///
/// Rendering gives the same bytes. `Debug` shows no content.
#[derive(Clone)]
pub struct ConfigFile {
    sections: Vec<Section>,
    /// Where the sections of each peer stand.
    places: HashMap<PublicKey, Vec<usize>>,
    /// How lines end that have to be added: as the first line does.
    line_end: &'static [u8],
}

/// A header and the lines up to the next one; the first section is what stands above all headers.
#[derive(Clone)]
struct Section {
    kind: Kind,
    /// Whose `[Peer]` section it is: of several `PublicKey` lines the last counts.
    peer: Option<PublicKey>,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Interface,
    Peer,
    Other,
}

/// The configuration file has no `[Peer]` with this public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPeer(pub PublicKey);

impl fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no [Peer] with PublicKey = {}", self.0)
    }
}

impl std::error::Error for UnknownPeer {}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigFile(hidden)")
    }
}

impl ConfigFile {
    /// Takes any bytes; lines that `wg(8)` would not understand are kept as they are.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut sections = vec![Section { kind: Kind::Other, peer: None, lines: Vec::new() }];
        for line in bytes.split_inclusive(|byte| *byte == b'\n').map(Line::parse) {
            if line.is_header() {
                let kind = match &*line.squeezed().to_ascii_lowercase() {
                    b"[interface]" => Kind::Interface,
                    b"[peer]" => Kind::Peer,
                    _ => Kind::Other,
                };
                sections.push(Section { kind, peer: None, lines: Vec::new() });
            }
            sections.last_mut().expect("the first section is there").lines.push(line);
        }
        let mut places = HashMap::<PublicKey, Vec<usize>>::new();
        for (place, section) in sections.iter_mut().enumerate().filter(|(_, section)| section.kind == Kind::Peer) {
            section.peer = section.value("publickey").and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
            if let Some(peer) = section.peer {
                places.entry(peer).or_default().push(place);
            }
        }
        let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let line_end: &[u8] = if first.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        Self { sections, places, line_end }
    }

    /// The whole file's bytes (with the interface's private key: for writing, not for showing).
    pub fn render(&self) -> Zeroizing<Vec<u8>> {
        let lines = || self.sections.iter().flat_map(|section| &section.lines);
        let mut bytes = Zeroizing::new(Vec::with_capacity(lines().map(|line| line.bytes().len()).sum()));
        lines().for_each(|line| bytes.extend_from_slice(line.bytes()));
        bytes
    }

    /// The public keys of its `[Peer]` sections, in order, each once.
    pub fn peers(&self) -> Vec<PublicKey> {
        let first = |(place, section): (usize, &Section)| section.peer.filter(|peer| self.places[peer][0] == place);
        self.sections.iter().enumerate().filter_map(first).collect()
    }

    /// Whether `SaveConfig = true` stands in `[Interface]`: then `wg-quick down` writes the live keys over this file.
    pub fn save_config(&self) -> bool {
        self.sections
            .iter()
            .filter(|section| section.kind == Kind::Interface)
            .filter_map(|section| section.value("saveconfig"))
            .next_back()
            .is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
    }

    /// The preshared key that `wg setconf` would give to this peer; none: no line, or no valid one, or the peer is not there.
    pub fn preshared_key(&self, peer: &PublicKey) -> Option<PresharedKey> {
        // a later section of the same peer overrides an earlier one, also when it has no key
        let section = &self.sections[*self.places.get(peer)?.last()?];
        std::str::from_utf8(&section.value("presharedkey")?).ok()?.parse().ok()
    }

    /// Where `wg setconf` would expect this peer: `ADDRESS:PORT` or `NAME:PORT`, as it is written there.
    pub fn endpoint(&self, peer: &PublicKey) -> Option<String> {
        let last = |place: &usize| self.sections[*place].value("endpoint");
        let value = self.places.get(peer)?.iter().rev().find_map(last)?;
        String::from_utf8(value.to_vec()).ok().filter(|text| !text.is_empty())
    }

    /// Puts this preshared key into every `[Peer]` section of this peer: replaces the value alone, or adds a line after
    /// `PublicKey`, spaced like it.
    pub fn set_preshared_key(&mut self, peer: &PublicKey, key: &PresharedKey) -> Result<(), UnknownPeer> {
        let line_end = self.line_end;
        self.each(peer, |section| section.set_preshared_key(key, line_end))
    }

    /// Takes the `PresharedKey` lines of this peer out: undoes a [`ConfigFile::set_preshared_key`] that added one.
    pub fn remove_preshared_key(&mut self, peer: &PublicKey) -> Result<(), UnknownPeer> {
        self.each(peer, Section::remove_preshared_key)
    }

    fn each(&mut self, peer: &PublicKey, act: impl Fn(&mut Section)) -> Result<(), UnknownPeer> {
        for place in self.places.get(peer).ok_or(UnknownPeer(*peer))? {
            act(&mut self.sections[*place]);
        }
        Ok(())
    }
}

impl Section {
    fn value(&self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.lines.iter().rev().find(|line| line.has_key(key)).map(Line::value)
    }

    fn set_preshared_key(&mut self, key: &PresharedKey, line_end: &[u8]) {
        let text = key.expose_base64();
        let mut found = false;
        for line in self.lines.iter_mut().filter(|line| line.has_key("presharedkey")) {
            line.set_value(text.as_bytes());
            found = true;
        }
        let place = self.lines.iter().rposition(|line| line.has_key("publickey"));
        if let (false, Some(place)) = (found, place) {
            let added = self.lines[place].like_this("PresharedKey", text.as_bytes());
            self.lines[place].end(line_end);
            self.lines.insert(place + 1, added);
        }
    }

    fn remove_preshared_key(&mut self) {
        while let Some(place) = self.lines.iter().rposition(|line| line.has_key("presharedkey")) {
            let removed = self.lines.remove(place);
            if let Some(before) = place.checked_sub(1) {
                self.lines[before].open_again(&removed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
