//! What the programs print with `--help` stands in their man pages and in the guide, and the pages are well formed.

use std::process::Command;

use wgmfa_tests::program::{ours, run};

/// Every help text of a program: that of each command, and of the commands below it.
fn helps(program: &str, words: &[String]) -> Vec<(Vec<String>, String)> {
    let help = run(Command::new(ours(program)).args(words).arg("--help"), b"").ok().stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<String> = commands.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    let mut all = vec![(words.to_vec(), help)];
    for command in commands.into_iter().filter(|command| command != "help") {
        all.extend(helps(program, &[words, &[command]].concat()));
    }
    all
}

/// The page of a program as people read it, without its line breaks.
fn page(program: &str) -> String {
    let found = wgmfa_packaging::pages().into_iter().find(|(name, _)| name.rsplit_once('.').unwrap().0 == program);
    shown(&found.expect("it has a page").1).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What man(1) makes of a page; its warnings are faults.
fn shown(page: &str) -> String {
    let mut man = Command::new("man");
    man.args(["--warnings", "--encoding=UTF-8", "--no-hyphenation", "--local-file", "-"]).env("MANWIDTH", "120");
    let ended = run(man.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", ""), page.as_bytes()).ok();
    assert_eq!(ended.stderr, "", "{page}");
    ended.stdout
}

#[test]
fn every_flag_and_every_command_of_every_program() {
    for (program, most) in [("wgmfa", 5), ("wgmfa-agent", 8), ("wgmfa-bastion", 40)] {
        let (page, helps) = (page(program), helps(program, &[]));
        assert!(helps.len() > most, "{program}: {} help texts", helps.len());
        for (words, help) in helps {
            let whole = words.join(" ");
            assert!(page.contains(&whole), "{program} {whole}");
            let separate = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
            for flag in help.split(separate).filter(|word| word.starts_with("--") && word.len() > 2) {
                assert!(page.contains(flag), "{program} {whole}: {flag}");
            }
        }
    }
}

#[test]
fn every_flag_and_every_command_stands_in_the_guide() {
    let there = include_str!("../../doc/commands.md");
    let made = wgmfa_packaging::reference::text();
    assert!(
        there == made,
        "doc/commands.md is of before: cargo run --package wgmfa-packaging -- FOLDER makes another one"
    );
    for program in ["wgmfa", "wgmfa-agent", "wgmfa-bastion"] {
        for (words, help) in helps(program, &[]) {
            let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).expect("it has one");
            let is_group = usage.contains("<COMMAND>");
            assert!(is_group || there.contains(&format!("### `{usage}`")), "{program} {words:?}: {usage}");
            for flag in help.lines().filter_map(|line| line.trim_start().strip_prefix("--")) {
                let flag = flag.split([' ', '=', '[']).next().unwrap_or_default();
                assert!(
                    flag == "help" || flag == "version" || there.contains(&format!("--{flag}")),
                    "{program} {words:?}: --{flag}"
                );
            }
        }
    }
}

#[test]
fn every_page_is_well_formed() {
    let pages = wgmfa_packaging::pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "wgmfa.1",
        "wgmfa-agent.8",
        "wgmfa-bastion.8",
        "pam_wgmfa.8",
        "wgmfa-sync.1",
        "wgmfa-policy.5",
        "wgmfa-bastion.toml.5",
        "wgmfa-agent.toml.5",
        "wgmfa-client.toml.5",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, text) in &pages {
        let shown = shown(text);
        assert!(shown.contains(name.rsplit_once('.').unwrap().0), "{name}: {shown}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            assert!(shown.lines().any(|line| line == section), "{name}: no {section}");
        }
    }
}

#[test]
fn every_completion_is_understood_by_its_shell() {
    let completions = wgmfa_packaging::completions();
    assert_eq!(completions.len(), 9);
    for (name, text) in completions {
        let shell = if name.ends_with(".bash") {
            "bash"
        } else if name.ends_with(".fish") {
            "fish"
        } else {
            "zsh"
        };
        run(Command::new(shell).args(["-n", "/dev/stdin"]), text.as_bytes()).ok();
        for hidden in ["pam-worker", "front"] {
            assert!(!text.contains(&format!("{hidden})")), "{name} completes {hidden}");
        }
    }
}
