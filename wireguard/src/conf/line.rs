//! One line of a configuration file, with all its bytes.

use std::ops::Range;

use zeroize::Zeroizing;

/// A line with its end, if it has one.
#[derive(Clone)]
pub(super) struct Line {
    bytes: Zeroizing<Vec<u8>>,
    /// Where the key and the value of `key = value` stand, without the white space around them.
    pair: Option<(Range<usize>, Range<usize>)>,
}

/// `isspace(3)` in the C locale, as `wg(8)` skips it.
fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Line {
    pub fn parse(bytes: &[u8]) -> Self {
        let text_end = bytes.iter().position(|byte| *byte == b'#').unwrap_or(bytes.len());
        let text_start = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let equals = bytes[..text_end].iter().position(|byte| *byte == b'=');
        let pair = equals.filter(|equals| *equals >= text_start).map(|equals| {
            let mut value = trim(bytes, equals + 1..text_end);
            if value.is_empty() {
                // where a value would go: after one space, if there is one
                let after = equals + 1 + usize::from(bytes.get(equals + 1) == Some(&b' '));
                value = after..after;
            }
            (trim(bytes, text_start..equals), value)
        });
        Self { bytes: Zeroizing::new(bytes.to_vec()), pair }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `wg(8)` looks at: no comment, no white space.
    pub fn squeezed(&self) -> Zeroizing<Vec<u8>> {
        let text = self.bytes.split(|byte| *byte == b'#').next().unwrap_or_default();
        squeeze(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
    }

    pub fn is_header(&self) -> bool {
        self.squeezed().first() == Some(&b'[')
    }

    /// Whether it is a line `key = …`; `key` in lower case.
    pub fn has_key(&self, key: &str) -> bool {
        let own = self.pair.as_ref().map(|(own, _)| squeeze(&self.bytes[own.clone()]));
        own.is_some_and(|own| own.eq_ignore_ascii_case(key.as_bytes()))
    }

    pub fn value(&self) -> Zeroizing<Vec<u8>> {
        self.pair.as_ref().map(|(_, value)| squeeze(&self.bytes[value.clone()])).unwrap_or_default()
    }

    /// Replaces the value's bytes and no other.
    pub fn set_value(&mut self, value: &[u8]) {
        if let Some((_, old)) = self.pair.clone() {
            *self = Self::from_parts(&[&self.bytes[..old.start], value, &self.bytes[old.end..]]);
        }
    }

    /// A line `key = value` with the indentation, spacing and end of this one, without its comment.
    pub fn like_this(&self, key: &str, value: &[u8]) -> Self {
        let Some((own, own_value)) = self.pair.clone() else { return Self::from_parts(&[]) };
        let indentation = &self.bytes[..own.start];
        let spacing = &self.bytes[own.end..own_value.start];
        // where the equals signs stand in one column they still do
        let aligned = spacing.iter().take_while(|byte| **byte == b' ').count();
        let surplus = if aligned > 1 { key.len().saturating_sub(own.len()).min(aligned - 1) } else { 0 };
        let end = trim(&self.bytes, 0..self.bytes.len()).end;
        let line_end = self.bytes[end..]
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'))
            .map_or(&[][..], |at| &self.bytes[end + at..]);
        Self::from_parts(&[
            indentation.strip_prefix(BYTE_ORDER_MARK).unwrap_or(indentation),
            key.as_bytes(),
            &spacing[surplus..],
            value,
            line_end,
        ])
    }

    /// Gives the line an end if it has none.
    pub fn end(&mut self, line_end: &[u8]) {
        if !self.bytes.ends_with(b"\n") {
            let missing = if self.bytes.ends_with(b"\r") { b"\n" } else { line_end };
            *self = Self::from_parts(&[&self.bytes, missing]);
        }
    }

    /// Undoes [`Line::end`] when `next`, which was made with [`Line::like_this`] before it, was the file's last line.
    pub fn open_again(&mut self, next: &Self) {
        if next.bytes.ends_with(b"\n") {
            return;
        }
        let end: &[u8] = if self.bytes.ends_with(b"\r\n") && !next.bytes.ends_with(b"\r") { b"\r\n" } else { b"\n" };
        if let Some(open) = self.bytes.strip_suffix(end) {
            *self = Self::parse(open);
        }
    }

    fn from_parts(parts: &[&[u8]]) -> Self {
        Self::parse(&Zeroizing::new(parts.concat()))
    }
}

fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    match text.iter().position(|byte| !is_space(*byte)) {
        None => range.start..range.start,
        Some(first) => {
            let last = text.iter().rposition(|byte| !is_space(*byte)).unwrap_or(first);
            range.start + first..range.start + last + 1
        }
    }
}

fn squeeze(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut squeezed = Zeroizing::new(Vec::with_capacity(bytes.len()));
    squeezed.extend(bytes.iter().copied().filter(|byte| !is_space(*byte)));
    squeezed
}
