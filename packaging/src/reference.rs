//! The guide's page of commands, in Markdown: every command and every flag.

use clap::{Arg, Command};

use crate::argument::{Described, sentence};
use crate::programs::{self, EXIT_STATUS, Program};

/// The page.
pub fn text() -> String {
    let mut page = "# Every command and every flag\n\nThe same as `--help` and the man pages have, and made from the same source. \
                    `wgmfa-sync` and `pam_wgmfa.so` have pages of their own: [sshd.md](sshd.md), [pam.md](pam.md).\n"
        .to_owned();
    page.push_str("\n| exit status | of all programs |\n|---|---|\n");
    EXIT_STATUS.iter().for_each(|(status, what)| page.push_str(&format!("| {status} | {what} |\n")));
    programs::all().iter().for_each(|program| of_program(&mut page, program));
    page
}

fn of_program(page: &mut String, program: &Program) {
    let mut command = program.command.clone();
    command.build();
    page.push_str(&format!("\n## `{}`\n\nTo {}.\n", program.name, program.title));
    table(page, "with any command", command.get_arguments());
    commands(page, &command);
}

/// Each command that is not hidden, with the commands below it.
fn commands(page: &mut String, command: &Command) {
    for each in command.get_subcommands().filter(|each| !each.is_hide_set() && each.get_name() != "help") {
        if !each.is_subcommand_required_set() {
            let usage = each.clone().render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ").lines().next().unwrap_or_default();
            page.push_str(&format!("\n### `{usage}`\n"));
            if let Some(about) = each.get_about() {
                page.push_str(&format!("\n{}\n", escaped(&sentence(&about.to_string()))));
            }
            table(page, "argument", each.get_arguments().filter(|arg| !arg.is_global_set()));
            if let Some(text) = each.get_after_help() {
                after(page, &text.to_string());
            }
        }
        commands(page, each);
    }
}

fn table<'a>(page: &mut String, head: &str, arguments: impl Iterator<Item = &'a Arg>) {
    let shown: Vec<_> =
        arguments.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").map(Described::of).collect();
    if shown.is_empty() {
        return;
    }
    page.push_str(&format!("\n| {head} | meaning |\n|---|---|\n"));
    for Described { names, value, meaning } in shown {
        let term = [names.join(", "), value].join(" ");
        page.push_str(&format!("| `{}` | {} |\n", term.trim().replace('|', "\\|"), escaped(&meaning)));
    }
}

/// What stands behind the options in `--help`: indented lines are shown as they are.
fn after(page: &mut String, text: &str) {
    let mut verbatim = false;
    page.push('\n');
    for line in text.lines() {
        let indented = line.starts_with("  ");
        if indented && !verbatim && !page.ends_with("\n\n") {
            page.push('\n');
        }
        verbatim = indented;
        match indented {
            true => page.push_str(&format!("    {}\n", line.trim_start())),
            false => page.push_str(&format!("{}\n", escaped(line))),
        }
    }
}

/// Text in which no character stands for anything else.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('*', "\\*")
}
