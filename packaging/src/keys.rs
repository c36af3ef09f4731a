//! Keys of configuration files, as their man pages and samples show them. Tests hold every key against the program that
//! reads it.

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand there.
    pub form: &'static str,
    /// What the sample shows, as TOML: the default, if there is one.
    pub value: &'static str,
    /// What holds without it.
    pub without: Without,
    /// What it is for, in sentences.
    pub text: &'static str,
}

/// What holds where a key is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// The value that the sample shows.
    Default,
    /// Something that is no value; in words.
    Else(&'static str),
    /// The file is refused.
    Refused,
}

impl Key {
    /// A key that has a default.
    pub const fn new(name: &'static str, form: &'static str, default: &'static str, text: &'static str) -> Self {
        Self { name, form, value: default, without: Without::Default, text }
    }

    /// A key that the file must have.
    pub const fn required(name: &'static str, form: &'static str, example: &'static str, text: &'static str) -> Self {
        Self { name, form, value: example, without: Without::Refused, text }
    }

    /// A key without which something else holds.
    pub const fn optional(
        name: &'static str,
        form: &'static str,
        example: &'static str,
        without: &'static str,
        text: &'static str,
    ) -> Self {
        Self { name, form, value: example, without: Without::Else(without), text }
    }
}

/// A table of a file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its header as the page shows it; empty: the file itself.
    pub header: &'static str,
    /// Its header in the sample.
    pub sample: &'static str,
    /// What it is for, in sentences.
    pub text: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A configuration file.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// The sample's name.
    pub name: &'static str,
    /// The page's name, without the section.
    pub page: &'static str,
    /// Whether a sample is made of it.
    pub is_sampled: bool,
    /// What it is, in a line.
    pub title: &'static str,
    /// Where it lies.
    pub path: &'static str,
    /// The first lines of the sample.
    pub head: &'static str,
    /// Paragraphs in front of the keys.
    pub description: &'static [&'static str],
    /// Its tables.
    pub tables: &'static [Table],
    /// Pages to read next.
    pub see_also: &'static str,
}
