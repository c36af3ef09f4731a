//! What packages hold besides programs, made from the definitions of the programs: man pages and completions from the
//! command lines that `--help` shows, configuration samples and their man pages from one table of keys.

pub mod argument;
pub mod files;
pub mod keys;
pub mod page;
pub mod programs;
pub mod reference;
pub mod sample;

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;

/// The version that pages bear: that of the programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every man page: its name with the section, and its text.
pub fn pages() -> Vec<(String, String)> {
    let programs = programs::all().map(|program| (program.file_name(), page::of_program(&program)));
    let files = files::all().map(|file| (format!("{}.5", file.page), page::of_file(&file)));
    let modules = [files::MODULE, files::SYNC].map(|it| (format!("{}.{}", it.name, it.section), page::of_module(&it)));
    programs.into_iter().chain(files).chain(modules).collect()
}

/// Every completion: its file's name, and its text.
pub fn completions() -> Vec<(String, String)> {
    let mut made = Vec::new();
    for program in programs::all() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let (name, mut text) = (program.name, Vec::new());
            clap_complete::generate(shell, &mut program.without_hidden(), name, &mut text);
            let file = match shell {
                Shell::Zsh => format!("_{name}"),
                _ => format!("{name}.{shell}"),
            };
            made.push((file, String::from_utf8(text).expect("clap writes UTF-8")));
        }
    }
    made
}

/// Every configuration sample: its file's name, and its text.
pub fn samples() -> Vec<(String, String)> {
    files::all().iter().filter(|file| file.is_sampled).map(|file| (file.name.to_owned(), sample::of(file))).collect()
}

/// Writes all of it below a folder: `man`, `completions`, `samples`, and the page of commands in `doc/`.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path) -> io::Result<()> {
    for (below, made) in [("man", pages()), ("completions", completions()), ("samples", samples())] {
        let below = folder.join(below);
        fs::create_dir_all(&below)?;
        for (name, text) in made {
            fs::write(below.join(name), text)?;
        }
    }
    fs::write(folder.join("commands.md"), reference::text())
}
