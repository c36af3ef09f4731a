//! What the programs say of themselves, and which commands a text shows.

use std::collections::BTreeMap;
use std::process::Command;

use wgmfa_tests::program::{ours, run};

/// The programs that have commands.
pub const PROGRAMS: [&str; 3] = ["wgmfa-bastion", "wgmfa-agent", "wgmfa"];

/// What a program says of itself: the text of `--help` for each command, under the words that lead to it.
#[derive(Default)]
pub struct Help(pub BTreeMap<String, String>);

impl Help {
    /// Of all programs.
    pub fn of_all() -> Self {
        let mut help = Self::default();
        PROGRAMS.iter().for_each(|program| help.add(&[program]));
        help
    }

    fn add(&mut self, words: &[&str]) {
        let text = run(Command::new(ours(words[0])).args(&words[1..]).arg("--help"), b"").ok().stdout;
        for command in commands(&text).filter(|command| *command != "help") {
            self.add(&[words, &[command]].concat());
        }
        self.0.insert(words.join(" "), text);
    }

    /// Follows a command line as its reader would type it. Words that are no command of the current level are values.
    #[track_caller]
    pub fn follow(&self, program: &str, rest: &[&str], document: &str) {
        let mut at = program.to_owned();
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let text = &self.0[&at];
            let deeper = format!("{at} {word}");
            if *word == "--" {
                break;
            } else if word.starts_with('[') {
                continue; // stands for what may come there
            } else if word.starts_with("--") {
                let row = option(text, word).unwrap_or_else(|| panic!("{document}: {at} has no {word}: {rest:?}"));
                if row.contains(&format!("{word} <")) {
                    words.next();
                }
            } else if self.0.contains_key(&deeper) {
                at = deeper;
            } else {
                assert!(commands(text).next().is_none(), "{document}: {at} has no command {word}: {rest:?}");
            }
        }
    }
}

/// The commands that a help text lists.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // a description that goes on in the next line stands further to the right
    listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
}

/// The row of a help text that explains this option.
pub fn option<'a>(help: &'a str, option: &str) -> Option<&'a str> {
    let explains = |line: &&str| line.starts_with(' ') && line.split([' ', ',']).any(|word| word == option);
    help.lines().skip_while(|line| *line != "Options:").find(explains)
}

/// Everything in a text that is code: blocks by their lines, and spans.
pub fn code(text: &str) -> Vec<&str> {
    let mut code = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 1 {
            code.extend(part.lines().skip(1));
            continue;
        }
        let (blocks, prose): (Vec<&str>, Vec<&str>) = part.lines().partition(|line| line.starts_with("    "));
        code.extend(blocks);
        // no span goes over the end of a line
        code.extend(prose.iter().flat_map(|line| line.split('`').skip(1).step_by(2)));
    }
    code
}

/// The command lines of our programs in a line of code: the program, and the words behind it.
pub fn command_lines(line: &str) -> Vec<(&'static str, Vec<&str>)> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', ';', '&', '<', '>', '→', '(', ')']);
    let found = parts.filter_map(|part| {
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        if words.last().is_some_and(|word| word.ends_with(':')) {
            return None; // what a gateway asks
        }
        let (place, word) = words.iter().enumerate().find(|(_, word)| PROGRAMS.contains(word))?;
        // a message that names a program, or a program with any command
        if words[..place].iter().any(|word| word.ends_with(',')) || words.get(place + 1) == Some(&"…") {
            return None;
        }
        let program = PROGRAMS.into_iter().find(|program| program == word)?;
        Some((program, words[place + 1..].to_vec()))
    });
    found.collect()
}
