//! One line of a configuration file, with all its bytes.

use std::ops::Range;

use zeroize::Zeroizing;

use super::format::{Format, is_joined, physical};

/// A line with its end, if it has one.
#[derive(Clone)]
pub(super) struct Line {
    bytes: Zeroizing<Vec<u8>>,
    format: Format,
    /// Where the key and the value of `key = value` stand, without the white space around them.
    pair: Option<(Range<usize>, Range<usize>)>,
}

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Line {
    pub fn parse(format: Format, bytes: &[u8]) -> Self {
        let text = text(format, bytes);
        let equals = bytes[text.clone()].iter().position(|byte| *byte == b'=').map(|equals| text.start + equals);
        let pair = equals.map(|equals| {
            let mut value = trim(format, bytes, equals + 1..text.end);
            if value.is_empty() {
                // where a value would go: after one space, if there is one
                let after = equals + 1 + usize::from(bytes.get(equals + 1) == Some(&b' '));
                value = after..after;
            }
            (trim(format, bytes, text.start..equals), value)
        });
        Self { bytes: Zeroizing::new(bytes.to_vec()), format, pair }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many lines of an editor it takes.
    pub fn height(&self) -> usize {
        let (mut rest, mut height) = (self.bytes(), 0);
        while !rest.is_empty() {
            rest = &rest[physical(rest).len()..];
            height += 1;
        }
        if self.format == Format::Networkd { height } else { 1 }
    }

    /// The name of the section that begins here, in lower case where case does not matter.
    pub fn section(&self) -> Option<Vec<u8>> {
        let text = &self.bytes[text(self.format, &self.bytes)];
        let trimmed = &text[trim(self.format, text, 0..text.len())];
        if self.format == Format::WgQuick {
            let squeezed = self.squeeze(text);
            return (squeezed.first() == Some(&b'[')).then(|| squeezed.to_ascii_lowercase());
        }
        let inner = trimmed.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let is_one = self.format == Format::Networkd || !inner.contains(&b']');
        is_one.then(|| inner.to_vec())
    }

    /// Whether it is a line `key = …` of any key.
    pub fn is_pair(&self) -> bool {
        self.pair.is_some() && self.section().is_none()
    }

    /// Whether it is a line `key = …`; `key` in lower case where case does not matter.
    pub fn has_key(&self, key: &str) -> bool {
        let Some((own, _)) = &self.pair else { return false };
        let own = &self.bytes[own.clone()];
        match self.format {
            Format::WgQuick => self.squeeze(own).eq_ignore_ascii_case(key.as_bytes()),
            Format::Networkd | Format::NetworkManager => own == key.as_bytes(),
        }
    }

    /// The value as its reader takes it, without white space around it; none within it for `wg-quick(8)`.
    pub fn value(&self) -> Zeroizing<Vec<u8>> {
        let Some((_, value)) = &self.pair else { return Zeroizing::default() };
        let value = &self.bytes[value.clone()];
        match self.format {
            Format::WgQuick => self.squeeze(value),
            Format::Networkd => joined(value),
            Format::NetworkManager => Zeroizing::new(value.to_vec()),
        }
    }

    /// The value without any white space: how all three read a key's base64.
    pub fn squeezed_value(&self) -> Zeroizing<Vec<u8>> {
        self.squeeze(&self.value())
    }

    /// Whether lines of comment stand between the lines of the value.
    pub fn has_comment_inside(&self) -> bool {
        let (mut rest, mut found) = (self.bytes(), false);
        while self.format == Format::Networkd && !rest.is_empty() {
            rest = &rest[physical(rest).len()..];
            found |= self.format.is_comment(physical(rest));
        }
        found
    }

    /// Replaces the value's bytes and no other.
    pub fn set_value(&mut self, value: &[u8]) {
        if let Some((_, old)) = self.pair.clone() {
            *self = self.from_parts(&[&self.bytes[..old.start], value, &self.bytes[old.end..]]);
        }
    }

    /// A line `key = value` with the indentation, spacing and end of this one, without its comment.
    pub fn like_this(&self, key: &str, value: &[u8]) -> Self {
        let Some((own, own_value)) = self.pair.clone() else { return self.from_parts(&[]) };
        let indentation = &self.bytes[..own.start];
        let spacing = &self.bytes[own.end..own_value.start];
        // where the equals signs stand in one column they still do
        let aligned = spacing.iter().take_while(|byte| **byte == b' ').count();
        let surplus = if aligned > 1 { key.len().saturating_sub(own.len()).min(aligned - 1) } else { 0 };
        let spacing = spacing.iter().skip(surplus).copied();
        // a value may stand on the line below; the new one does not
        let spacing: Vec<u8> = spacing.filter(|byte| !matches!(byte, b'\\' | b'\n' | b'\r')).collect();
        let end = trim(self.format, &self.bytes, 0..self.bytes.len()).end;
        let line_end = self.bytes[end..]
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n' | 0))
            .map_or(&[][..], |at| &self.bytes[end + at..]);
        self.from_parts(&[
            indentation.strip_prefix(BYTE_ORDER_MARK).unwrap_or(indentation),
            key.as_bytes(),
            &spacing,
            value,
            line_end,
        ])
    }

    /// Gives the line an end if it has none.
    pub fn end(&mut self, line_end: &[u8]) {
        if !self.bytes.ends_with(b"\n") && !(self.format == Format::Networkd && self.bytes.ends_with(b"\r")) {
            let missing = if self.bytes.ends_with(b"\r") { b"\n" } else { line_end };
            *self = self.from_parts(&[&self.bytes, missing]);
        }
    }

    /// What stands at its end.
    pub fn line_end(&self) -> Vec<u8> {
        let end = self.bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        self.bytes[end..].to_vec()
    }

    /// Gives it this end in place of its own.
    pub fn end_with(&mut self, line_end: &[u8]) {
        let text = self.bytes.len() - self.line_end().len();
        *self = self.from_parts(&[&self.bytes[..text], line_end]);
    }

    /// Undoes [`Line::end`] when `next`, which was made with [`Line::like_this`] before it, was the file's last line.
    pub fn open_again(&mut self, next: &Self) {
        if next.bytes.ends_with(b"\n") || (self.format == Format::Networkd && next.bytes.ends_with(b"\r")) {
            return;
        }
        let whole = self.bytes.ends_with(b"\r\n") && !next.bytes.ends_with(b"\r");
        let end: &[u8] = match self.bytes.last() {
            Some(b'\n') if whole => b"\r\n",
            Some(b'\r') => b"\r",
            _ => b"\n",
        };
        if let Some(open) = self.bytes.strip_suffix(end) {
            *self = Self::parse(self.format, open);
        }
    }

    fn from_parts(&self, parts: &[&[u8]]) -> Self {
        Self::parse(self.format, &Zeroizing::new(parts.concat()))
    }

    fn squeeze(&self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut squeezed = Zeroizing::new(Vec::with_capacity(bytes.len()));
        squeezed.extend(bytes.iter().copied().filter(|byte| !self.format.is_space(*byte)));
        squeezed
    }
}

/// What is no comment and no byte order mark.
fn text(format: Format, bytes: &[u8]) -> Range<usize> {
    let has_mark = bytes.starts_with(BYTE_ORDER_MARK) && format != Format::NetworkManager;
    let start = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
    let end = match format {
        Format::WgQuick => bytes.iter().position(|byte| *byte == b'#'),
        Format::Networkd | Format::NetworkManager => format.is_comment(&bytes[start..]).then_some(start),
    };
    start..end.unwrap_or(bytes.len()).max(start)
}

fn trim(format: Format, bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    match text.iter().position(|byte| !format.is_space(*byte)) {
        None => range.start..range.start,
        Some(first) => {
            let last = text.iter().rposition(|byte| !format.is_space(*byte)).unwrap_or(first);
            range.start + first..range.start + last + 1
        }
    }
}

/// The lines of a value joined as systemd joins them: each backslash at an end becomes a space, comments are passed over.
fn joined(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value;
    while !rest.is_empty() {
        let part = physical(rest);
        let is_first = rest.len() == value.len();
        rest = &rest[part.len()..];
        if !is_first && Format::Networkd.is_comment(part) {
            continue;
        }
        let text = &part[trim(Format::Networkd, part, 0..part.len())];
        match text.strip_suffix(b"\\").filter(|_| is_joined(part)) {
            Some(open) => {
                whole.extend_from_slice(open);
                whole.push(b' ');
            }
            None => whole.extend_from_slice(text),
        }
    }
    let text = trim(Format::Networkd, &whole, 0..whole.len());
    Zeroizing::new(whole[text].to_vec())
}
