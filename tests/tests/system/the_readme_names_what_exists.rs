//! README.md shows no program, command or option that the programs do not have, and what lies beside it is valid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_tests::program::{ours, run};

/// The programs of the table that have commands.
const PROGRAMS: [&str; 3] = ["wgmfa-bastion", "wgmfa-agent", "wgmfa"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// What a program says of itself: the text of `--help` for each command, under the words that lead to it.
#[derive(Default)]
struct Help(BTreeMap<String, String>);

impl Help {
    fn of_all() -> Self {
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
    fn follow(&self, program: &str, rest: &[&str]) {
        let mut at = program.to_owned();
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let text = &self.0[&at];
            let deeper = format!("{at} {word}");
            if *word == "--" {
                break;
            } else if word.starts_with("--") {
                let row = option(text, word).unwrap_or_else(|| panic!("{at} has no {word}: {rest:?}"));
                if row.contains(&format!("{word} <")) {
                    words.next();
                }
            } else if self.0.contains_key(&deeper) {
                at = deeper;
            } else {
                assert!(commands(text).next().is_none(), "{at} has no command {word}: {rest:?}");
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
fn option<'a>(help: &'a str, option: &str) -> Option<&'a str> {
    let explains = |line: &&str| line.starts_with(' ') && line.split([' ', ',']).any(|word| word == option);
    help.lines().skip_while(|line| *line != "Options:").find(explains)
}

/// Everything in a text that is code: blocks by their lines, and spans.
fn code(text: &str) -> Vec<&str> {
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

#[test]
fn each_command_line_of_the_readme_is_one_of_the_programs() {
    let (help, text) = (Help::of_all(), readme());
    let mut followed = 0;
    for line in code(&text) {
        let line = line.split(" #").next().unwrap_or_default();
        for command in line.split(['|', ';', '&', '<', '>', '→']) {
            let words: Vec<&str> = command.split_whitespace().collect();
            if words.last().is_some_and(|word| word.ends_with(':')) {
                continue; // what a gateway asks
            }
            if let Some((place, program)) = words.iter().enumerate().find(|(_, word)| PROGRAMS.contains(word)) {
                help.follow(program, &words[place + 1..]);
                followed += 1;
            }
        }
        if line.starts_with("--") {
            let word = line.split([' ', '=']).next().unwrap_or_default();
            assert!(help.0.values().any(|text| option(text, word).is_some()), "no program has {word}");
        }
    }
    assert!(followed >= 15, "{followed} command lines were found");
}

#[test]
fn each_row_of_the_readmes_table_names_commands_of_its_program() {
    let (help, text) = (Help::of_all(), readme());
    let mut found = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let program = cells[1].trim().trim_matches('`');
        if program == "pam_wgmfa.so" {
            continue; // its options are PAM's to show
        }
        for command in cells[3].split('`').skip(1).step_by(2).filter(|span| span.len() > 3) {
            assert!(help.0.contains_key(&format!("{program} {command}")), "{program} has no command {command}");
        }
        found.push(program);
    }
    assert_eq!(found, PROGRAMS);
}

#[test]
fn each_command_has_help_with_an_example() {
    let without: Vec<_> = Help::of_all().0.into_iter().filter(|(_, text)| !text.contains("\nExample")).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn the_sample_policies_are_valid() {
    let folder = root().join("policy.d");
    let check =
        |folder: &Path| run(Command::new(ours("wgmfa-bastion")).args(["policy", "check"]).arg(folder), b"").ok();
    check(&folder);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let sample = entry.unwrap().path();
        let alone = tempfile::tempdir().unwrap();
        std::fs::copy(&sample, alone.path().join(sample.file_name().unwrap())).unwrap();
        check(alone.path());
    }
}
