use crate::scene::Scene;

#[test]
fn a_refused_login_is_told_from_an_unreachable_bastion() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    scene.bastion_ends(255);
    scene.machine.write("bin/complaint", "justin@bastion: Permission denied (keyboard-interactive).\r\n");
    let ended = scene.sync(&[]).expect(3);
    assert_eq!(
        ended.stderr,
        "justin@bastion: Permission denied (keyboard-interactive).\nwgmfa: error: bastion refused the login\n"
    );
    scene.machine.write("bin/complaint", "ssh: connect to host bastion port 22: Connection refused\r\n");
    let ended = scene.sync(&[]).expect(5);
    assert!(ended.stderr.ends_with("wgmfa: error: bastion could not be reached\nwgmfa: hint: try: ssh bastion\n"));
    assert_eq!(scene.preshared_keys(), before);
}

#[test]
fn what_the_bastion_says_without_keys_decides_the_status() {
    let scene = Scene::new();
    scene.machine.write("bin/complaint", "wgmfa-sync: error: justin has several devices: a, b");
    scene.bastion_ends(2);
    let ended = scene.sync(&[]).expect(2);
    assert_eq!(
        ended.stderr,
        "wgmfa-sync: error: justin has several devices: a, b\nwgmfa: error: bastion released nothing\n\
         wgmfa: hint: its reasons stand above\n"
    );
    scene.bastion_ends(77);
    scene.sync(&[]).expect(1);
}

#[test]
fn without_ssh_it_says_so() {
    let scene = Scene::new();
    std::fs::remove_file(scene.machine.path("bin/ssh")).unwrap();
    let mut command = scene.machine.command("env");
    command.args(["PATH=/nonexistent", env!("CARGO_BIN_EXE_wgmfa"), "sync", "bastion"]);
    let ended = wgmfa_tests::program::run(&mut command, b"").expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: ssh: "), "{ended:?}");
    assert!(ended.stderr.ends_with("wgmfa: hint: install openssh-client\n"), "{ended:?}");
}

#[test]
fn wrong_usage_is_2_and_starts_nothing() {
    let scene = Scene::new();
    for words in [
        &["sync"][..],
        &["sync", "-oProxyCommand=id"],
        &["sync", "user@-oProxyCommand=id"],
        &["sync", "a b"],
        &["sync", "bastion", "--interface", "../etc"],
        &["sync", "bastion", "--post-up"],
        &["sync", "bastion", "--or-down"],
        &["status", "--warn-before", "soon"],
        &["nonsense"],
        &[],
    ] {
        let ended = scene.wgmfa(words, "").expect(2);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{ended:?}");
    }
    assert!(scene.file("bin/arguments").is_none());
    assert!(scene.wgmfa(&["sync", "--help"], "").ok().stdout.contains("Examples:"));
}
