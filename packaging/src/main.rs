//! Writes what packages hold besides programs: `wgmfa-packaging FOLDER` makes man pages, shell completions and
//! configuration samples below the folder.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(folder), None) = (words.next(), words.next()) else {
        return fail("usage: wgmfa-packaging FOLDER", 2);
    };
    match wgmfa_packaging::write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", Path::new(&folder).display()), 1),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where this program speaks")]
fn fail(error: &str, status: u8) -> ExitCode {
    eprintln!("wgmfa-packaging: error: {error}");
    status.into()
}
