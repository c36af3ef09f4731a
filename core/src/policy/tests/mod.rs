//! What policy files may say, what their faults look like, and which policy wins.

mod files;
mod selection;
mod warnings;

use crate::policy::PolicySet;

/// A set from file names and texts; a policy without a description or an interval gets one.
fn set(files: &[(&str, &str)]) -> PolicySet {
    let complete = |text: &str| format!("description = \"Some\"\nrotation-interval = \"1h\"\n{text}");
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), complete(text))).collect();
    PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{faults}"))
}
