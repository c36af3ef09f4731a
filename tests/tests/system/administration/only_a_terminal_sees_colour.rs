//! Colour and questions are for a person at a terminal: nothing else gets an escape sequence or is asked anything.

use std::process::Command;

use wgmfa_tests::lab::Lab;
use wgmfa_tests::program::{Ended, run};

use super::super::site::Site;

/// `wgmfa-bastion` with these words, on a terminal of its own.
#[track_caller]
fn on_a_terminal(lab: &Lab, words: &str, environment: &[(&str, &str)]) -> Ended {
    let inside = format!("{:?}", lab.bastion.command()).replace('"', "'");
    let config = lab.bastion.folder().join("bastion.toml");
    let line = format!("{inside} --config {} {words}", config.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("NO_COLOR");
    run(script.envs(environment.iter().copied()), b"").ok()
}

#[test]
fn lists_are_coloured_on_a_terminal_without_no_color_and_nowhere_else() {
    let lab = Lab::new("1h");
    lab.gateway.agent(&["rotate"]).ok();
    let coloured = on_a_terminal(&lab, "key list", &[]).stdout;
    assert!(coloured.contains("\u{1b}[31mExpired\u{1b}[0m  a login is needed\r\n"), "{coloured:?}");
    let plain = on_a_terminal(&lab, "key list", &[("NO_COLOR", "1")]).stdout;
    assert!(plain.contains("Expired  a login is needed\r\n") && !plain.contains('\u{1b}'), "{plain:?}");
    let json = on_a_terminal(&lab, "key list --json", &[]).stdout;
    assert!(!json.contains('\u{1b}'), "{json:?}");
    for words in [
        &["key", "list"][..],
        &["user", "list"],
        &["user", "show", "justin"],
        &["host", "list"],
        &["device", "list"],
        &["inventory"],
        &["policy", "explain"],
        &["policy", "check"],
        &["log"],
        &["status"],
        &["check"],
        &["why", "justin"],
    ] {
        let shown = lab.bastion.admin(words);
        assert!(!shown.said().contains('\u{1b}') && !shown.said().is_empty(), "{shown:?}");
    }
}

#[test]
fn a_persons_status_is_coloured_on_a_terminal_and_nowhere_else() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    site.host("app-gw").connect(false).wait_with_keys(&[&device], 1);
    for (words, coloured) in [
        (&["-tt", "bastion", "wgmfa-status"][..], true),
        (&["-tt", "bastion"], true),
        (&["-tt", "bastion", "wgmfa-status", "--json"], false),
        (&["bastion", "wgmfa-status"], false),
    ] {
        let status = site.justin.start(words);
        let said: Vec<String> = std::iter::from_fn(|| status.hear()).collect();
        assert!(said.iter().any(|line| line.contains("Expired")), "{words:?}: {said:?}");
        let painted = said.iter().any(|line| line.contains("\u{1b}[31mExpired\u{1b}[0m"));
        let plain = !said.iter().any(|line| line.contains('\u{1b}'));
        assert_eq!((painted, plain), (coloured, !coloured), "{words:?}: {said:?}");
    }
}

#[test]
fn nothing_is_asked_without_a_terminal() {
    let lab = Lab::new("1h");
    let refused = lab.bastion.admin_with(&["user", "add", "ann"], b"hunter2\nhunter2\n").expect(2);
    let lines = "wgmfa-bastion: error: no password\nwgmfa-bastion: hint: give --invite, --password-stdin or \
                 --system-password; a password is asked for only on a terminal\n";
    assert_eq!((refused.stdout.as_str(), refused.stderr.as_str()), ("", lines));
}

#[test]
fn what_others_wrote_steers_no_terminal() {
    let lab = Lab::new("1h");
    lab.gateway.agent(&["rotate"]).ok();
    lab.bastion.admin(&["key", "rotate", "--all", "--reason", "lent\u{1b}]0;x\u{7}\nfake line"]).ok();
    let log = lab.bastion.admin(&["log", "--event", "rotation-ordered"]).ok().stdout;
    assert!(log.ends_with(": lent?]0;x? fake line\n"), "{log:?}");
    assert_eq!(lab.bastion.log("rotation-ordered")[0]["reason"], "lent?]0;x? fake line");
}
