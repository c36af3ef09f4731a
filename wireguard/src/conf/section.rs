//! One section of a configuration file: its header and the lines up to the next one.

use std::path::PathBuf;

use wgmfa_core::key::{PresharedKey, PublicKey};
use zeroize::Zeroizing;

use super::format::Format;
use super::line::Line;

/// The first section of a file is what stands above all headers.
#[derive(Clone)]
pub(super) struct Section {
    pub kind: Kind,
    /// Whose section it is, if it is a peer's.
    pub peer: Option<PublicKey>,
    /// In which line of the file it begins, from 1.
    pub begins: usize,
    pub lines: Vec<Line>,
    format: Format,
}

/// What is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[Interface]` of `wg-quick(8)`.
    Interface,
    /// One peer.
    Peer,
    /// Any other, by its name.
    Other(Vec<u8>),
}

/// NetworkManager: what stands before a peer's public key.
const PEER_PREFIX: &[u8] = b"wireguard-peer.";
/// NetworkManager: who has a secret.
const FLAGS: &str = "preshared-key-flags";

impl Section {
    pub fn new(format: Format, name: &[u8], begins: usize) -> Self {
        let (mut peer, mut kind) = (None, Kind::Other(name.to_vec()));
        match format {
            Format::WgQuick if name == b"[interface]" => kind = Kind::Interface,
            Format::WgQuick if name == b"[peer]" => kind = Kind::Peer,
            Format::Networkd if name == b"WireGuardPeer" => kind = Kind::Peer,
            Format::NetworkManager if name.starts_with(PEER_PREFIX) => {
                kind = Kind::Peer;
                peer = parse(&name[PEER_PREFIX.len()..]);
            }
            _ => {}
        }
        Self { kind, peer, begins, lines: Vec::new(), format }
    }

    /// Called when all lines are there: of several public keys the last counts.
    pub fn complete(&mut self) {
        if self.kind == Kind::Peer && self.format != Format::NetworkManager {
            let key = if self.format == Format::WgQuick { "publickey" } else { "PublicKey" };
            self.peer = self.key(key);
        }
    }

    /// The value of this key that counts, the last one; `key` in lower case where case does not matter.
    pub fn value(&self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.lines.iter().rev().find(|line| line.has_key(key)).map(Line::value)
    }

    /// Whether there is a line for a preshared key, with a value or without.
    pub fn has_preshared_key(&self) -> bool {
        self.lines.iter().any(|line| line.has_key(self.preshared()))
    }

    /// The preshared key that its reader takes from here.
    pub fn preshared_key(&self) -> Option<PresharedKey> {
        self.key(self.preshared())
    }

    /// systemd-networkd: the file that holds the preshared key, whatever `PresharedKey=` says.
    pub fn preshared_key_file(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        if self.format != Format::Networkd {
            return None;
        }
        let values = self.lines.iter().rev().filter(|line| line.has_key("PresharedKeyFile")).map(Line::value);
        // a path that is not absolute is passed over, none at all takes an earlier one back
        let counts = |value: &Zeroizing<Vec<u8>>| value.is_empty() || value.starts_with(b"/");
        let value = values.into_iter().find(counts).filter(|value| !value.is_empty())?;
        Some(std::ffi::OsString::from_vec(value.to_vec()).into())
    }

    /// The first line in which this key's value is as asked, counted from 1.
    pub fn line_where(&self, key: &str, so: impl Fn(&Line) -> bool) -> Option<usize> {
        let mut number = self.begins;
        for line in &self.lines {
            if line.has_key(key) && so(line) {
                return Some(number);
            }
            number += line.height();
        }
        None
    }

    /// Replaces the value of each line for a preshared key; false: there is none.
    pub fn replace_preshared_key(&mut self, key: &PresharedKey) -> bool {
        let (name, text) = (self.preshared(), key.expose_base64());
        let mut found = false;
        for line in self.lines.iter_mut().filter(|line| line.has_key(name)) {
            line.set_value(text.as_bytes());
            found = true;
        }
        found
    }

    /// Adds a line for a preshared key: after the public key and spaced like it, or behind the header.
    pub fn add_preshared_key(&mut self, key: &PresharedKey, line_end: &[u8]) {
        let text = key.expose_base64();
        let name = self.format.preshared_key();
        if self.format == Format::NetworkManager {
            let rows = [(name, text.as_bytes()), (FLAGS, b"0".as_slice())];
            // with flags already there, they stay where they are
            let rows = if self.lines.iter().any(|line| line.has_key(FLAGS)) { &rows[..1] } else { &rows[..] };
            self.add_after(0, rows, line_end);
            return;
        }
        let public = if self.format == Format::WgQuick { "publickey" } else { "PublicKey" };
        let place = self.lines.iter().rposition(|line| line.has_key(public));
        if let Some(place) = place {
            let added = self.lines[place].like_this(name, text.as_bytes());
            self.lines[place].end(line_end);
            self.lines.insert(place + 1, added);
        }
    }

    /// NetworkManager: adds the line that says who has the secret, after the preshared key.
    pub fn add_flags(&mut self, line_end: &[u8]) {
        if let Some(place) = self.lines.iter().rposition(|line| line.has_key(self.preshared())) {
            self.add_after(place, &[(FLAGS, b"0")], line_end);
        }
    }

    fn add_after(&mut self, place: usize, rows: &[(&str, &[u8])], line_end: &[u8]) {
        let model = self.lines[place..].iter().find(|line| line.is_pair()).cloned();
        let last_end = self.lines[place].line_end();
        self.lines[place].end(line_end);
        for (offset, (key, value)) in rows.iter().enumerate() {
            let mut added = match &model {
                Some(model) => model.like_this(key, value),
                None => Line::parse(self.format, &Zeroizing::new([key.as_bytes(), b"=", value].concat())),
            };
            added.end(line_end);
            if offset + 1 == rows.len() && !last_end.ends_with(b"\n") {
                added.end_with(&last_end);
            }
            self.lines.insert(place + 1 + offset, added);
        }
    }

    /// NetworkManager: which flags say who has the secret; none: no such line.
    pub fn flags(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.value(FLAGS)
    }

    /// NetworkManager: the line with the flags.
    pub fn flags_line(&self) -> Option<usize> {
        self.line_where(FLAGS, |_| true)
    }

    /// NetworkManager: says that the file has the secret.
    pub fn zero_flags(&mut self) {
        for line in self.lines.iter_mut().filter(|line| line.has_key(FLAGS) && !is_zero(&line.value())) {
            line.set_value(b"0");
        }
    }

    /// Takes the lines for a preshared key out.
    pub fn remove_preshared_key(&mut self) {
        self.remove(self.preshared());
    }

    /// NetworkManager: takes the flags out, which without a preshared key would have NetworkManager ask somebody for one.
    pub fn remove_flags(&mut self) {
        self.remove(FLAGS);
    }

    fn remove(&mut self, key: &str) {
        while let Some(place) = self.lines.iter().rposition(|line| line.has_key(key)) {
            let removed = self.lines.remove(place);
            if let Some(before) = place.checked_sub(1) {
                self.lines[before].open_again(&removed);
            }
        }
    }

    /// The key as its reader takes it.
    fn key<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        let mut values = self.lines.iter().rev().filter(|line| line.has_key(key)).map(Line::squeezed_value);
        match self.format {
            // systemd passes over what is no key, and takes an empty value for none
            Format::Networkd => {
                let read =
                    |value: Zeroizing<Vec<u8>>| if value.is_empty() { Some(None) } else { parse(&value).map(Some) };
                values.find_map(read)?
            }
            Format::WgQuick | Format::NetworkManager => parse(&values.next()?),
        }
    }

    fn preshared(&self) -> &'static str {
        if self.format == Format::WgQuick { "presharedkey" } else { self.format.preshared_key() }
    }
}

/// Whether flags say that the file has the secret: a number in C's notation.
pub(super) fn is_zero(flags: &[u8]) -> bool {
    let digits = flags.strip_prefix(b"0x").unwrap_or(flags);
    !digits.is_empty() && digits.iter().all(|byte| *byte == b'0')
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
