//! `make install` and `make uninstall`, for systems without our packages.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use wgmfa_tests::program::{folder, run};

use crate::built::{manifest, tree};

#[test]
fn what_is_installed_goes_again_but_for_a_sites_own_files() {
    let to = tempfile::tempdir().unwrap();
    wgmfa_packaging::write(&to.path().join("made")).unwrap();
    let root = to.path().join("root");
    let install = |words: &[&str]| {
        let mut install = Command::new(tree().join("packaging/install"));
        install.arg("--built").arg(folder()).arg("--made").arg(to.path().join("made")).args(words);
        run(install.env("DESTDIR", &root).env("PREFIX", "/opt/wgmfa").env("PAMDIR", "/lib/security"), b"").ok()
    };
    let files = || {
        let listed = run(Command::new("find").arg(&root).args(["-type", "f", "-printf", "/%P\n"]), b"").ok().stdout;
        listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    install(&[]);
    assert_eq!(files().len(), manifest().len(), "{:?}", files());
    let unit = fs::read_to_string(root.join("opt/wgmfa/lib/systemd/system/wgmfa-agent.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/wgmfa/sbin/wgmfa-agent run\n"), "{unit}");
    let rules = fs::read_to_string(root.join("etc/sudoers.d/wgmfa")).unwrap();
    assert!(rules.contains("NOPASSWD: /opt/wgmfa/bin/wgmfa apply, /opt/wgmfa/bin/wgmfa interfaces"), "{rules}");

    fs::write(root.join("etc/wgmfa/client.toml"), "# own\n").unwrap();
    let again = install(&[]).stdout;
    assert!(again.contains("left as it is: ") && again.contains("/etc/wgmfa/client.toml\n"), "{again}");
    assert_eq!(fs::read_to_string(root.join("etc/wgmfa/client.toml")).unwrap(), "# own\n");

    let left = install(&["--uninstall"]).stdout;
    let own: BTreeSet<_> =
        ["/etc/pam.d/wgmfa", "/etc/sudoers.d/wgmfa", "/etc/wgmfa/client.toml"].map(str::to_owned).into();
    assert_eq!(files(), own);
    assert_eq!(left.lines().count(), own.len(), "{left}");
}

#[test]
fn one_package_alone_is_installed_on_this_very_machine() {
    let to = tempfile::tempdir().unwrap();
    wgmfa_packaging::write(&to.path().join("made")).unwrap();
    let mut install = Command::new(tree().join("packaging/install"));
    install.arg("--built").arg(folder()).arg("--made").arg(to.path().join("made")).args(["--package", "libpam-wgmfa"]);
    // this one has nothing below /etc, no user and no folder
    install.env_remove("DESTDIR").env("PREFIX", to.path().join("root")).env("PAMDIR", to.path().join("pam"));
    run(&mut install, b"").ok();
    assert!(to.path().join("pam/pam_wgmfa.so").exists());
}
