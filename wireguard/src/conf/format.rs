//! How the three kinds of configuration files are written: lines, comments, sections, keys.

/// Who reads a configuration file, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `wg-quick(8)`: names in any case, white space anywhere, comments from `#` to the end of the line.
    WgQuick,
    /// systemd-networkd, as `systemd.syntax(7)` says: names as they are, whole lines of comment after `#` or `;`, a
    /// backslash at the end of a line joins the next one.
    Networkd,
    /// NetworkManager, as GLib reads key files: names as they are, whole lines of comment after `#`, the peer's public key in the
    /// section's name, sections of the same name are one.
    NetworkManager,
}

impl Format {
    /// White space around names and values.
    pub(super) fn is_space(self, byte: u8) -> bool {
        match self {
            // isspace(3) in the C locale
            Self::WgQuick => byte == b' ' || (b'\t'..=b'\r').contains(&byte),
            // a zero byte ends a line
            Self::Networkd => matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0),
            Self::NetworkManager => matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c),
        }
    }

    /// Whether a line that begins so, white space aside, is a comment as a whole.
    pub(super) fn begins_comment(self, byte: u8) -> bool {
        byte == b'#' || (byte == b';' && self == Self::Networkd)
    }

    /// How a peer's section and its public key are written, for people.
    pub(super) fn peer_in_words(self, peer: impl std::fmt::Display) -> String {
        match self {
            Self::WgQuick => format!("[Peer] with PublicKey = {peer}"),
            Self::Networkd => format!("[WireGuardPeer] with PublicKey={peer}"),
            Self::NetworkManager => format!("[wireguard-peer.{peer}]"),
        }
    }

    /// The key of a preshared key.
    pub(super) fn preshared_key(self) -> &'static str {
        match self {
            Self::WgQuick | Self::Networkd => "PresharedKey",
            Self::NetworkManager => "preshared-key",
        }
    }

    /// The lines of a file, each with its end; what a backslash joins is one line.
    pub(super) fn lines(self, bytes: &[u8]) -> Vec<&[u8]> {
        if self != Self::Networkd {
            return bytes.split_inclusive(|byte| *byte == b'\n').collect();
        }
        let (mut lines, mut rest, mut length) = (Vec::new(), bytes, 0);
        let mut joined = false;
        while length < rest.len() {
            let part = physical(&rest[length..]);
            length += part.len();
            // a comment between two joined lines changes nothing
            joined = if self.is_comment(part) { joined } else { is_joined(part) };
            if !joined {
                let (line, after) = rest.split_at(length);
                lines.push(line);
                (rest, length) = (after, 0);
            }
        }
        if !rest.is_empty() {
            lines.push(rest);
        }
        lines
    }

    pub(super) fn is_comment(self, line: &[u8]) -> bool {
        line.iter().find(|byte| !self.is_space(**byte)).is_some_and(|byte| self.begins_comment(*byte))
    }
}

/// The first line as systemd reads it: up to a newline, carriage return or zero byte, and the others of these that follow.
pub(super) fn physical(bytes: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    let Some(first) = bytes.iter().position(is_end) else { return bytes };
    let mut end = first + 1;
    while bytes.get(end).is_some_and(|byte| is_end(byte) && !bytes[first..end].contains(byte)) {
        end += 1;
    }
    &bytes[..end]
}

/// Whether a line ends in a backslash that no other one takes away.
pub(super) fn is_joined(line: &[u8]) -> bool {
    let text = line.iter().rev().skip_while(|byte| matches!(byte, b'\n' | b'\r' | 0));
    text.take_while(|byte| **byte == b'\\').count() % 2 == 1
}
