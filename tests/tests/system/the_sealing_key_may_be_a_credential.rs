//! The sealing key may be a systemd credential in place of a file: the bastion opens its store with it, and has no file to change.

use wgmfa_tests::Lab;
use wgmfa_tests::program::run;

#[test]
fn a_bastion_opens_its_store_with_a_credential_and_cannot_change_it() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.bastion.stop();
    let (file, credentials) = (lab.bastion.folder().join("sealing.key"), lab.bastion.folder().join("credentials"));
    std::fs::create_dir(&credentials).expect("a folder");
    std::fs::rename(&file, credentials.join("wgmfa.sealing-key")).expect("it was there");
    lab.bastion.start_with(&[("CREDENTIALS_DIRECTORY", credentials.to_str().expect("a path in UTF-8"))]);
    lab.gateway.await_contact(&lab.bastion);
    lab.log_in(); // with a secret and a key that were sealed when it was a file; the PAM worker has the credential covered

    let refused = lab.bastion.admin(&["sealing-key", "rotate"]).expect(1);
    assert!(refused.stderr.contains("error: the sealing key is a systemd credential"), "{refused:#?}");
    assert!(refused.stderr.contains("hint: ") && refused.stderr.contains("systemd-creds"), "{refused:#?}");
    assert!(!file.exists());
}

#[test]
fn a_backup_is_restored_with_a_credential() {
    let mut lab = Lab::with_resident_agent("1h");
    let backup = lab.bastion.folder().join("backup");
    lab.bastion.admin(&["backup", backup.to_str().expect("a path in UTF-8")]).ok();
    lab.bastion.stop();
    let (file, credentials) = (lab.bastion.folder().join("sealing.key"), lab.bastion.folder().join("credentials"));
    std::fs::create_dir(&credentials).expect("a folder");
    std::fs::rename(&file, credentials.join("wgmfa.sealing-key")).expect("it was there");
    let restore = |environment: &[(&str, &str)]| {
        let mut command = lab.bastion.command();
        command.arg("--config").arg(lab.bastion.folder().join("bastion.toml")).arg("restore").arg(&backup);
        command.envs(environment.iter().copied());
        run(&mut command, b"")
    };
    let missing = restore(&[]).expect(2);
    assert!(missing.stderr.contains("sealing.key: no such file"), "{missing:#?}");
    restore(&[("CREDENTIALS_DIRECTORY", credentials.to_str().expect("a path in UTF-8"))]).ok();
}
