//! README.md, SECURITY.md and `doc/` show no program, command, option, file or test that there is not, and what lies beside
//! them is valid.

use std::path::Path;
use std::process::Command;

use wgmfa_tests::program::{ours, run};

use super::documents::help::{Help, PROGRAMS, code, command_lines, option};
use super::documents::{self, root, text};

#[test]
fn each_command_line_of_the_documents_is_one_of_the_programs() {
    let help = Help::of_all();
    for document in documents::all() {
        let text = text(&document);
        let mut followed = 0;
        for line in code(&text) {
            for (program, words) in command_lines(line) {
                help.follow(program, &words, &document);
                followed += 1;
            }
            if line.starts_with("--") {
                let word = line.split([' ', '=']).next().unwrap_or_default();
                assert!(help.0.values().any(|text| option(text, word).is_some()), "{document}: no program has {word}");
            }
        }
        assert!(followed >= 15 || document != "README.md", "{followed} command lines were found in {document}");
    }
}

#[test]
fn each_row_of_the_readmes_table_names_commands_of_its_program() {
    let (help, text) = (Help::of_all(), text("README.md"));
    let mut found = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let program = cells[1].trim().trim_matches('`');
        if ["pam_wgmfa.so", "wgmfa-sync"].contains(&program) {
            continue; // their options are PAM's and the bastion's to show
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

#[test]
fn each_command_of_the_ansible_example_is_one_of_the_programs() {
    let (help, mut followed) = (Help::of_all(), 0);
    for path in documents::below("doc/examples/ansible").into_iter().filter(|path| documents::has_end(path, "yml")) {
        for line in text(&path).lines() {
            let line = line.replace(['[', ']', ','], " ");
            let Some(command) = ["cmd:", "argv:"].iter().find_map(|key| line.trim().strip_prefix(key)) else {
                continue;
            };
            for (program, words) in command_lines(command) {
                help.follow(program, &words, &path);
                followed += 1;
            }
        }
    }
    assert!(followed >= 9, "{followed} commands were found");
    // it is big, so that nobody needs to have it for the tests
    if Command::new("ansible-playbook").arg("--version").output().is_ok() {
        let mut check = Command::new("ansible-playbook");
        check.args(["-i", "inventory.yml", "site.yml", "--syntax-check"]);
        run(check.current_dir(root().join("doc/examples/ansible")), b"").ok();
    }
}

/// Names in a text that are those of tests: at least three words, and no PAM module's.
fn named_tests(text: &str) -> Vec<&str> {
    let is_name = |span: &&str| {
        let is_letter = |b: u8| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit();
        let words = span.split('_').filter(|word| !word.is_empty());
        span.bytes().all(is_letter) && words.count() >= 3 && !span.starts_with("pam_g")
    };
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_name).collect()
}

#[test]
fn each_test_that_a_document_names_is_there() {
    let mut there = String::new();
    for folder in ["tests/tests", "bastion", "agent", "client", "core", "wireguard", "pam_wgmfa"] {
        for path in documents::below(folder).into_iter().filter(|path| documents::has_end(path, "rs")) {
            let source = text(&path);
            let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if source.contains("#[test]") || source.contains("#[tokio::test") {
                there.push_str(&format!("fn {name}(\n{source}"));
            }
        }
    }
    for document in documents::all() {
        let text = text(&document);
        let named = named_tests(&text);
        for name in &named {
            let ours = name.starts_with('_') || there.contains(&format!("fn {name}("));
            assert!(ours || *name == "hash_preshared_key", "{document}: there is no test {name}");
        }
        assert!(named.len() >= 60 || document != "SECURITY.md", "{document} names {} tests", named.len());
    }
}

#[test]
fn each_make_command_of_the_documents_has_its_target() {
    let (makefile, mut found) = (text("Makefile"), 0);
    for document in documents::all() {
        for line in code(&text(&document)) {
            let Some(target) = line.trim().strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) else {
                continue;
            };
            let is_it = |line: &str| line.starts_with(&format!("{target}:"));
            assert!(makefile.lines().any(is_it), "{document}: the Makefile has no target {target}");
            found += 1;
        }
    }
    assert!(found >= 5, "{found} were found");
}

#[test]
fn each_link_between_documents_leads_somewhere() {
    for document in documents::all() {
        let (folder, text) = (Path::new(&document).parent().unwrap_or(Path::new("")), text(&document));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            if path.contains("://") {
                continue;
            }
            let path = if path.is_empty() { Path::new(&document).to_owned() } else { folder.join(path) };
            assert!(root().join(&path).exists(), "{document}: there is no {}", path.display());
            let Some(anchor) = anchor else { continue };
            let titles = std::fs::read_to_string(root().join(&path)).expect("a document");
            let is_it = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                title.chars().filter(|c| c.is_alphanumeric() || *c == '-').eq(anchor.chars())
            };
            assert!(titles.lines().any(|line| line.starts_with('#') && is_it(line)), "{document}: no title {target}");
        }
    }
}
