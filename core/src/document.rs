//! TOML with the place of every value: the one reader of policies and of the configurations of all programs.
//!
//! Take each key that the program knows, parse its value further, report what is wrong with it at its place, then
//! [`Document::finish`]: a key that nobody took is a fault. Nothing stops at the first fault. A fault shows its whole
//! line, so no configuration that is read here may hold a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::take;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::diagnostic::{Fault, Faults, Place};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Span,
}

/// Where a value stands in its file, for [`Document::fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl From<Range<usize>> for Span {
    fn from(span: Range<usize>) -> Self {
        Self { start: span.start, end: span.end }
    }
}

/// The values of one table by their keys, with the place of each key.
type Table = BTreeMap<String, (Span, Placed<Value>)>;

/// What our configurations are made of.
#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Boolean(bool),
    Number(u64),
    List(Vec<Placed<Value>>),
    Table(Table),
    /// A broken or negative number, or a time: no key takes one.
    Other,
}

/// A parsed file, or one table of it, of which keys are taken.
#[derive(Debug)]
pub struct Document {
    file: String,
    text: String,
    /// What stands in front of this table's keys in messages: `tier.prod.`; empty for the file itself.
    prefix: String,
    values: Table,
    /// Every key that was asked for, present or not.
    known: Vec<String>,
    faults: Vec<Fault>,
}

/// One broken line can confuse the parser about all that follow: more faults than this say nothing new.
const MOST_SYNTAX_FAULTS: usize = 10;

/// So many faults of one file are told; nobody reads more at once.
const MOST_FAULTS: usize = 100;

impl Document {
    /// Parses a text. `file` is the name under which its faults are shown.
    ///
    /// # Errors
    /// Every syntax fault and duplicate key, the first of each line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let (values, errors) = DeTable::parse_recoverable(text);
        let mut faults: Vec<Fault> = Vec::new();
        let spanned = |error: toml::de::Error| (error.span().unwrap_or(text.len()..text.len()), error);
        let mut errors: Vec<_> = errors.into_iter().map(spanned).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let mut next_line = 0;
        for (span, error) in errors {
            if span.start < next_line {
                continue;
            }
            let newline = text.as_bytes().iter().skip(span.start).position(|&byte| byte == b'\n');
            next_line = newline.map_or(usize::MAX, |newline| span.start + newline + 1);
            faults.push(Fault::at(file, text, Place::of(text, span), error.message()));
            if faults.len() == MOST_SYNTAX_FAULTS {
                break;
            }
        }
        if !faults.is_empty() {
            return Err(Faults::new(faults));
        }
        Ok(Self {
            file: file.to_owned(),
            text: text.to_owned(),
            prefix: String::new(),
            values: own(values.into_inner()),
            known: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// Takes a string.
    pub fn string(&mut self, key: &str) -> Option<Placed<String>> {
        self.typed(key, "a string", string)
    }

    /// Takes a string and parses it; a fault at the value reads `KEY: what FromStr says`.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<Placed<T>> {
        let Placed { value, place } = self.string(key)?;
        match value.parse() {
            Ok(value) => Some(Placed { value, place }),
            Err(error) => {
                self.fault(&place, format!("{}{key}: {error}", self.prefix));
                None
            }
        }
    }

    /// Takes `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<Placed<bool>> {
        self.typed(key, "true or false", |value| match value {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    /// Takes a TCP port.
    pub fn port(&mut self, key: &str) -> Option<Placed<u16>> {
        self.typed(key, "a port: 1 to 65535", |value| match value {
            Value::Number(number) => u16::try_from(number).ok().filter(|port| *port > 0),
            _ => None,
        })
    }

    /// Takes a list of strings.
    pub fn strings(&mut self, key: &str) -> Option<Placed<Vec<Placed<String>>>> {
        let Placed { value: list, place } = self.typed(key, "a list of strings", |value| match value {
            Value::List(list) => Some(list),
            _ => None,
        })?;
        let mut strings = Vec::with_capacity(list.len());
        for item in list {
            let place = item.place;
            match string(item.value) {
                Some(value) => strings.push(Placed { value, place }),
                None => self.fault(&place, format!("{}{key} must be a list of strings", self.prefix)),
            }
        }
        Some(Placed { value: strings, place })
    }

    /// Takes a table, and reads it as a document of its own, of which `read` takes the keys.
    pub fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Document) -> T) -> Option<Placed<T>> {
        let Placed { value, place } = self.typed(key, "a table", table)?;
        Some(Placed { value: self.inside(key, value, read), place })
    }

    /// Takes a table whose keys are names and whose values are tables (`[tier.prod]`), and reads each of them; sorted
    /// by name.
    pub fn tables<T>(&mut self, key: &str, mut read: impl FnMut(&str, &mut Document) -> T) -> Vec<Placed<T>> {
        let Some(Placed { value: tables, .. }) = self.typed(key, "a table", table) else {
            return Vec::new();
        };
        let mut found = Vec::with_capacity(tables.len());
        for (name, (place, value)) in tables {
            let path = format!("{key}.{name}");
            match table(value.value) {
                Some(value) => {
                    let value = self.inside(&path, value, |document| read(&name, document));
                    found.push(Placed { value, place });
                }
                None => self.fault(&place, format!("{}{path} must be a table", self.prefix)),
            }
        }
        found
    }

    /// Passes a value on. When its key does not stand in the file, that is a fault of the whole file; a value that was
    /// there but wrong has been reported where it was taken.
    pub fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.values.contains_key(key) {
            self.faults.push(Fault::of_file(&self.file, format!("{}{key} is required", self.prefix)));
        }
        value
    }

    /// Reports a fault at a place of this file.
    pub fn fault(&mut self, place: &Span, message: impl Into<String>) {
        if self.faults.len() >= MOST_FAULTS {
            self.faults.truncate(MOST_FAULTS);
            self.faults
                .push(Fault::of_file(&self.file, format!("more than {MOST_FAULTS} faults, the others are not told")));
            return;
        }
        let place = Place::of(&self.text, place.start..place.end);
        self.faults.push(Fault::at(&self.file, &self.text, place, message));
    }

    /// The name under which faults of this file are shown.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Ends the reading: each key that was not taken is a fault.
    ///
    /// # Errors
    /// All faults of the document, sorted.
    pub fn finish(mut self) -> Result<(), Faults> {
        self.refuse_unknown();
        if self.faults.is_empty() { Ok(()) } else { Err(Faults::new(self.faults)) }
    }

    /// Takes a value of one type.
    fn typed<T>(&mut self, key: &str, kind: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<Placed<T>> {
        self.known.push(key.to_owned());
        let (_, Placed { value, place }) = self.values.get(key)?.clone();
        let value = read(value);
        if value.is_none() {
            self.fault(&place, format!("{}{key} must be {kind}", self.prefix));
        }
        Some(Placed { value: value?, place })
    }

    /// Reads a table of this document as a document of its own.
    fn inside<T>(&mut self, path: &str, values: Table, read: impl FnOnce(&mut Document) -> T) -> T {
        let mut inner = Document {
            file: self.file.clone(),
            text: take(&mut self.text),
            prefix: format!("{}{path}.", self.prefix),
            values,
            known: Vec::new(),
            faults: take(&mut self.faults),
        };
        let result = read(&mut inner);
        inner.refuse_unknown();
        self.text = inner.text;
        self.faults = inner.faults;
        result
    }

    fn refuse_unknown(&mut self) {
        for (key, (place, _)) in take(&mut self.values) {
            if self.known.contains(&key) {
                continue;
            }
            let message = match nearest(&key, &self.known) {
                Some(known) => format!("unknown key {}{key}, did you mean {known}?", self.prefix),
                None => format!("unknown key {}{key}; known here: {}", self.prefix, self.known.join(", ")),
            };
            self.fault(&place, message);
        }
    }
}

/// The parser's tree without its ties to the text.
fn own(table: DeTable<'_>) -> Table {
    let entry = |(key, value): (Spanned<DeString<'_>>, Spanned<DeValue<'_>>)| {
        let place = key.span().into();
        (key.into_inner().into_owned(), (place, own_value(value)))
    };
    table.into_iter().map(entry).collect()
}

fn own_value(value: Spanned<DeValue<'_>>) -> Placed<Value> {
    let place = value.span().into();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Array(list) => Value::List(list.into_iter().map(own_value).collect()),
        DeValue::Table(inner) => Value::Table(own(inner)),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Number)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
    };
    Placed { value, place }
}

fn string(value: Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn table(value: Value) -> Option<Table> {
    if let Value::Table(table) = value { Some(table) } else { None }
}

/// The known key that is meant, when one is near: a third of its characters may be wrong.
fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let near = |key: &&String| distance(name, key) <= key.chars().count().div_ceil(3);
    known.iter().filter(near).min_by_key(|key| distance(name, key)).map(String::as_str)
}

/// How many characters must be put in, taken out or changed to make `one` into `other` (Levenshtein, row by row).
fn distance(one: &str, other: &str) -> usize {
    // longer than any key, so as far as can be
    if one.len() > 100 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
