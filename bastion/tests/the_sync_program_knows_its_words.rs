//! `wgmfa-sync` on the site's own sshd answers what needs no bastion before it asks for one.

use std::process::{Command, Output};

fn sync(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgmfa-sync")).args(words).output().unwrap()
}

#[test]
fn help_and_the_version_need_no_bastion() {
    let help = sync(&["--help"]);
    let said = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && said.contains("ssh bastion wgmfa-sync --device justins-laptop"), "{said}");
    let version = sync(&["--version"]);
    assert!(version.status.success());
    assert_eq!(version.stdout, format!("wgmfa-sync {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

#[test]
fn wrong_usage_is_told_as_such() {
    for (words, error) in [
        (&["--nonsense"][..], "unexpected argument '--nonsense' found"),
        (&["--format", "xml"], "--format <FORMAT>: write one of tsv, json"),
        (&["--device"], "--device <NAME>: a value is missing"),
    ] {
        let wrong = sync(words);
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{words:?}: {said}");
        let lines =
            format!("wgmfa-sync: error: {error}\nwgmfa-sync: hint: ssh bastion wgmfa-sync --help shows an example\n");
        assert_eq!(said, lines, "{words:?}");
    }
}
