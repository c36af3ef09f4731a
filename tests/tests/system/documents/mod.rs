//! The project's documents, as their readers take them: text, commands to follow, machines to follow them on.

pub mod help;
pub mod machines;
pub mod place;
pub mod steps;

use std::path::{Path, PathBuf};

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a document, by its path from the project's folder.
#[track_caller]
pub fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The section of a document with this title (`## TITLE`), with all below it.
#[track_caller]
pub fn section(name: &str, title: &str) -> String {
    let text = text(name);
    let found =
        text.split("\n## ").find_map(|section| section.strip_prefix(title)?.strip_prefix('\n').map(str::to_owned));
    found.unwrap_or_else(|| panic!("{name} has no section {title}"))
}

/// The blocks of a text in this language, in their order.
pub fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).map(str::to_owned).collect()
}

/// The documents for people who run a site: README.md, SECURITY.md and all of `doc/`, by their paths.
pub fn all() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "SECURITY.md".to_owned()];
    found.extend(below("doc").into_iter().filter(|path| has_end(path, "md")));
    found
}

/// The files below a folder of the project, by their paths.
pub fn below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let entry = entry.expect("a folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().expect("an entry has a type").is_dir() {
            true => found.extend(below(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Whether a path ends in this extension.
pub fn has_end(path: &str, end: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == end)
}
