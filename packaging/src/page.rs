//! Man pages.

use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use crate::VERSION;
use crate::argument::{Described, sentence};
use crate::files::Module;
use crate::keys::{File, Without};
use crate::programs::{EXIT_STATUS, Program};

/// The page of a program: its command line with that of each command.
pub fn of_program(program: &Program) -> String {
    let mut command = program.command.clone();
    command.build();
    let name = program.name;
    let mut page = begin(name, program.section, program.title);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(name), roman(" ["), italic("OPTION"), roman("]... "), italic("COMMAND"), roman(" ...")]);
    page.control("br", []);
    page.text([bold(name), roman(" ["), italic("COMMAND"), roman("]... "), bold("--help")]);
    page.control("SH", ["DESCRIPTION"]);
    if let Some(about) = command.get_about() {
        page.text([roman(sentence(&about.to_string()))]);
    }
    program.description.iter().for_each(|text| paragraph(&mut page, text));
    page.control("SH", ["OPTIONS"]);
    command.get_arguments().filter(|arg| !arg.is_hide_set()).for_each(|arg| argument(&mut page, arg));
    page.control("SH", ["COMMANDS"]);
    commands(&mut page, &command, "");
    if let Some(text) = command.get_after_help() {
        page.control("SH", ["EXAMPLES"]);
        after(&mut page, text.to_string().split_once('\n').map_or("", |(_, rest)| rest));
    }
    page.control("SH", ["FILES"]);
    program.files.iter().for_each(|(path, what)| entry(&mut page, [italic(*path)], what));
    page.control("SH", ["EXIT STATUS"]);
    EXIT_STATUS.iter().for_each(|(status, what)| entry(&mut page, [bold(*status)], what));
    end(page, program.see_also)
}

/// Each command that is not hidden, with the commands below it.
fn commands(page: &mut Roff, command: &Command, above: &str) {
    for each in command.get_subcommands().filter(|each| !each.is_hide_set() && each.get_name() != "help") {
        let path = format!("{above} {}", each.get_name());
        let path = path.trim();
        if !each.is_subcommand_required_set() {
            page.control("SS", [path]);
            let usage = each.clone().render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ").lines().next().unwrap_or_default();
            page.text([bold(usage)]);
            if let Some(about) = each.get_about() {
                paragraph(page, &sentence(&about.to_string()));
            }
            let own = each.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_global_set());
            own.filter(|arg| arg.get_id() != "help").for_each(|arg| argument(page, arg));
            if let Some(text) = each.get_after_help() {
                after(page, &text.to_string());
            }
        }
        commands(page, each, path);
    }
}

fn argument(page: &mut Roff, arg: &Arg) {
    let Described { names, value, meaning } = Described::of(arg);
    let mut term: Vec<Inline> = Vec::new();
    for name in names {
        if !term.is_empty() {
            term.push(roman(", "));
        }
        term.push(bold(name));
    }
    if !value.is_empty() {
        if !term.is_empty() {
            term.push(roman(" "));
        }
        term.push(italic(value));
    }
    entry(page, term, &meaning);
}

/// What stands behind the options in `--help`: indented lines are shown as they are.
fn after(page: &mut Roff, text: &str) {
    let mut verbatim = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indented = line.starts_with("  ");
        match (indented, verbatim) {
            (true, false) => drop(page.control("PP", []).control("nf", []).control("RS", ["4"])),
            (false, true) => drop(page.control("RE", []).control("fi", []).control("PP", [])),
            (false, false) => drop(page.control("PP", [])),
            (true, true) => {}
        }
        verbatim = indented;
        page.text([roman(if indented { line.strip_prefix("    ").unwrap_or(&line[2..]) } else { line })]);
    }
    if verbatim {
        page.control("RE", []).control("fi", []);
    }
}

/// The page of a configuration file: each of its keys.
pub fn of_file(file: &File) -> String {
    let mut page = begin(file.page, "5", file.title);
    page.control("SH", ["SYNOPSIS"]);
    page.text([italic(file.path)]);
    page.control("SH", ["DESCRIPTION"]);
    file.description.iter().for_each(|text| paragraph(&mut page, text));
    page.control("SH", ["KEYS"]);
    for table in file.tables {
        if !table.header.is_empty() {
            page.control("SS", [table.header]);
        }
        if !table.text.is_empty() {
            page.text([roman(table.text)]);
        }
        for key in table.keys {
            let without = match key.without {
                Without::Default => format!("Default: {}", key.value),
                Without::Else(what) => format!("Without it: {what}."),
                Without::Refused => "It must be there.".to_owned(),
            };
            entry(&mut page, [bold(key.name), roman(" = "), italic(key.form)], &format!("{} {without}", key.text));
        }
    }
    if file.is_sampled {
        page.control("SH", ["EXAMPLE"]);
        page.text([roman("Every key with its default, as in the sample that is installed:")]);
        verbatim(&mut page, &crate::sample::of(file));
    }
    end(page, file.see_also)
}

/// The page of the PAM module, or of `wgmfa-sync`.
pub fn of_module(module: &Module) -> String {
    let mut page = begin(module.name, module.section, module.title);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(module.synopsis)]);
    page.control("SH", ["DESCRIPTION"]);
    module.description.iter().for_each(|text| paragraph(&mut page, text));
    page.control("SH", ["OPTIONS"]);
    module.options.iter().for_each(|(option, what)| entry(&mut page, [bold(*option)], what));
    page.control("SH", [if module.section == "8" { "RETURN VALUES" } else { "EXIT STATUS" }]);
    module.returns.iter().for_each(|(value, what)| entry(&mut page, [bold(*value)], what));
    page.control("SH", ["EXAMPLES"]);
    for (what, lines) in module.examples {
        paragraph(&mut page, what);
        verbatim(&mut page, lines);
    }
    end(page, module.see_also)
}

fn begin(name: &str, section: &str, title: &str) -> Roff {
    let mut page = Roff::new();
    let version = format!("wgmfa {VERSION}");
    // without a date a page is the same whenever it is made
    page.control("TH", [name.to_uppercase().as_str(), section, "", version.as_str()]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {title}"))]);
    page
}

fn end(mut page: Roff, see_also: &str) -> String {
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(see_also)]);
    page.render()
}

fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []).text([roman(text)]);
}

fn entry(page: &mut Roff, term: impl Into<Vec<Inline>>, text: &str) {
    page.control("TP", []).text(term).text([roman(text)]);
}

fn verbatim(page: &mut Roff, text: &str) {
    page.control("PP", []).control("nf", []).control("RS", ["4"]);
    for line in text.lines() {
        // an empty line is a fault of style in a page
        if line.is_empty() {
            page.control("sp", []);
        } else {
            page.text([roman(line)]);
        }
    }
    page.control("RE", []).control("fi", []);
}
