//! What is wrong with the words of a command, in the one voice.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with the words, in one line. A rejected value is not repeated.
pub fn what(error: &clap::Error) -> String {
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    let possible = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => Some(values.join(", ")),
        _ => None,
    };
    let is_missing =
        matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(given)) if given.is_empty());
    match (error.kind(), stray) {
        (ErrorKind::UnknownArgument, Some(word)) if !word.starts_with('-') => "one word too many".to_owned(),
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(argument)) => {
            let why = match (std::error::Error::source(error), possible) {
                (Some(why), _) => why.to_string(),
                (None, Some(possible)) => format!("write one of {possible}"),
                (None, None) if is_missing => "a value is missing".to_owned(),
                (None, None) => "not understood".to_owned(),
            };
            format!("{argument}: {why}")
        }
        _ => first_paragraph(&error.to_string()),
    }
}

/// What clap writes before the first empty line, as one line.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<_> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let (first, rest) = lines.split_first().unwrap_or((&"wrong usage", &[]));
    let first = first.trim_start_matches("error: ").trim_end_matches('.');
    if rest.is_empty() { first.to_owned() } else { format!("{first} {}", rest.join(", ")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn what_could_stand_in_place_of_a_wrong_value_is_told() {
        #[derive(Debug, Parser)]
        struct Words {
            #[arg(long, value_parser = ["tsv", "json"])]
            format: String,
        }
        let wrong = Words::try_parse_from(["x", "--format", "secret"]).unwrap_err();
        assert_eq!(what(&wrong), "--format <FORMAT>: write one of tsv, json");
    }

    #[test]
    fn a_value_that_is_missing_is_told_as_such() {
        #[derive(Debug, Parser)]
        struct Words {
            #[arg(long)]
            reason: String,
            #[arg(long)]
            count: Option<u8>,
        }
        let wrong = |words: &[&str]| what(&Words::try_parse_from(words).unwrap_err());
        assert_eq!(wrong(&["x", "--reason"]), "--reason <REASON>: a value is missing");
        assert_eq!(wrong(&["x", "--reason", "y", "--count"]), "--count <COUNT>: a value is missing");
    }
}
