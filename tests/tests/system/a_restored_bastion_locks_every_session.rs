//! A backup is put back: nobody is let in by what was good before, and everybody can see what is missing.

use std::os::unix::fs::PermissionsExt;

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::wait::{LONG, until};

use super::site::Site;

#[test]
fn no_key_and_no_code_of_before_is_good_and_the_log_names_the_gap() {
    let mut lab = Lab::with_resident_agent("1h");
    let file = lab.bastion.machine.path("wgmfa.backup");
    let shown = file.to_string_lossy().into_owned();
    let made = lab.bastion.admin(&["backup", &shown, "--json"]).ok();
    assert!(made.stderr.contains("keep a copy of"), "{made:#?}");
    assert_eq!(file.metadata().expect("it was written").permissions().mode() & 0o7777, 0o600);
    lab.bastion.admin(&["backup", &shown]).expect(1); // it overwrites nothing
    let waiting = lab.bastion.key(DEVICE)["generation"].as_u64().expect("a number");

    // what the backup knows nothing of: a login, a session, and the key after it
    lab.log_in();
    lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]).ok();
    lab.bastion.await_generation(DEVICE, waiting + 1);
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    lab.gateway.agent(&["rotate"]).ok();

    lab.bastion.admin(&["restore", &shown]).expect(1); // it runs
    lab.bastion.stop();
    let newest = lab.gateway.status()["log_head"]["seq"].as_u64().expect("a line of the log");
    let restored = lab.bastion.admin(&["restore", &shown, "--json"]).ok().json();
    let replaced = restored["replaced"].as_str().expect("the store that was there is kept");
    assert!(std::path::Path::new(replaced).exists());
    lab.bastion.start();

    let above = || lab.bastion.key(DEVICE)["generation"].as_u64().filter(|generation| *generation > waiting + 1);
    until("a generation above all that ever were", LONG, above);
    assert!(!lab.accepts(&released), "the session is over");
    assert_eq!(lab.bastion.key(DEVICE)["state"], "Expired");
    lab.laptop.sync_as_set(&[]).expect(3); // the code of the last login, which the backup has never seen

    assert_eq!(lab.bastion.log("restored").len(), 1);
    let lost = lab.bastion.log("log-lost");
    assert!(lost[0]["reason"].as_str().is_some_and(|reason| reason.contains("lines after")), "{lost:#?}");
    assert_eq!(lab.bastion.log("generations-raised").len(), 1);
    let named = format!("host app-gw saw line {newest}");
    let status = lab.bastion.admin(&["status"]).expect(1);
    assert!(status.stdout.contains(&named), "{status:#?}");
    let verified = lab.bastion.admin(&["log", "verify"]).expect(1);
    assert!(verified.stderr.contains(&named), "{verified:#?}");
    lab.bastion.admin(&["log", "accept", "--reason", "restored on purpose"]).ok();
    lab.bastion.admin(&["log", "verify"]).ok();
    lab.bastion.admin(&["status"]).ok();

    lab.laptop.authenticator.skip_to_now();
    lab.log_in();
}

#[test]
fn a_backup_with_another_key_or_without_its_end_is_refused() {
    let mut lab = Lab::new("1h");
    let text = lab.bastion.admin(&["backup", "-"]).ok().stdout;
    lab.bastion.stop();
    let cut = &text[..text.len() - 10];
    lab.bastion.admin_with(&["restore", "-"], cut.as_bytes()).expect(1);
    lab.bastion.admin_with(&["restore", "-"], b"something else\n").expect(1);
    lab.bastion.admin(&["sealing-key", "rotate"]).ok();
    let refused = lab.bastion.admin_with(&["restore", "-"], text.as_bytes()).expect(1);
    assert!(refused.stderr.contains("sealed with key"), "{refused:#?}");
    lab.bastion.start();
    assert_eq!(lab.bastion.log("restored").len(), 0);
    lab.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn an_administrator_takes_a_backup_home_and_restores_nothing_from_there() {
    let mut site = Site::new();
    let mut ann = site.administrator("ann");
    let taken = ann.ssh(&["wgmfa-bastion", "backup", "-"]).ok().stdout;
    assert!(taken.starts_with("{\"wgmfa-backup\":1,") && taken.ends_with("\"}\n"), "{} bytes", taken.len());
    assert_eq!(site.bastion.log("backed-up")[0]["actor"], "ann");
    for words in [
        &["wgmfa-bastion", "restore", "-"][..],
        &["wgmfa-bastion", "backup", "/root/wgmfa.backup"],
        &["wgmfa-bastion", "clock", "reset", "--reason", "test"],
    ] {
        let refused = ann.ssh(words).expect(2);
        assert!(refused.stderr.contains("is refused here"), "{refused:#?}");
    }
    site.bastion.stop();
    site.bastion.admin_with(&["restore", "-"], taken.as_bytes()).ok();
    site.bastion.start();
    assert_eq!(site.bastion.log("restored").len(), 1);
}
