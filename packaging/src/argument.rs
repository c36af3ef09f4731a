//! What is to be said of one argument of a command line, wherever it is said.

use clap::Arg;

/// An argument in words.
pub struct Described {
    /// `-j`, `--json`; none: it is known by its place.
    pub names: Vec<String>,
    /// What stands for its value; empty: it takes none.
    pub value: String,
    /// What it means, its default, and the values that it may have.
    pub meaning: String,
}

impl Described {
    /// Takes the words from the definition that `--help` shows.
    pub fn of(arg: &Arg) -> Self {
        let names = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
        let takes_values = arg.get_action().takes_values();
        let mut value = String::new();
        if arg.is_positional() || takes_values {
            let names = arg.get_value_names().map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>());
            value = names.map_or_else(|| arg.get_id().as_str().to_uppercase(), |names| names.join(" "));
        }
        let mut meaning = sentence(&arg.get_help().map(ToString::to_string).unwrap_or_default());
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() && takes_values {
            meaning.push_str(&format!(" Default: {}.", defaults.join(" ")));
        }
        let possible: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if !possible.is_empty() && takes_values {
            meaning.push_str(&format!(" One of {}.", possible.join(", ")));
        }
        Self { names: names.into_iter().flatten().collect(), value, meaning }
    }
}

/// Help in the form of a sentence: command lines end theirs with a full stop or without.
pub fn sentence(help: &str) -> String {
    if help.is_empty() || help.ends_with(['.', ':', ']']) { help.to_owned() } else { format!("{help}.") }
}
