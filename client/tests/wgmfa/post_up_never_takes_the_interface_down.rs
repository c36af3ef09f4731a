use std::os::unix::fs::PermissionsExt;

use wgmfa_tests::program::{Ended, run};

use crate::scene::Scene;

/// `wgmfa sync --post-up` as wg-quick runs it: root, with a person behind sudo, in a session without a terminal.
fn post_up(scene: &Scene, options: &[&str], terminal: bool) -> Ended {
    let program = env!("CARGO_BIN_EXE_wgmfa");
    let words = ["sync", "bastion", "--post-up", "--interface", &scene.tunnel.name];
    let mut command = if terminal {
        let line: Vec<_> = [&[program], &words[..], options].concat().iter().map(|word| format!("'{word}'")).collect();
        let mut command = scene.machine.command("script");
        command.args(["-qec", &line.join(" "), "/dev/null"]);
        command
    } else {
        let mut command = scene.machine.command("setsid");
        command.arg("-w").arg(program).args(words).args(options);
        command
    };
    command.env("PATH", scene.path()).env("SUDO_UID", "65534").env("HOME", scene.machine.folder());
    run(&mut command, b"")
}

#[test]
fn without_a_terminal_it_says_what_is_needed_and_leaves() {
    let scene = Scene::new();
    let ended = post_up(&scene, &[], false).ok();
    assert_eq!(ended.stdout, "login needed: wgmfa sync\n");
    post_up(&scene, &["--or-down"], false).expect(4);
    assert!(scene.file("bin/arguments").is_none(), "ssh was started");
}

#[test]
fn with_a_terminal_ssh_runs_as_the_person_behind_sudo() {
    let scene = Scene::new();
    let everyone = |name: &str| {
        std::fs::set_permissions(scene.machine.path(name), PermissionsExt::from_mode(0o777)).unwrap();
    };
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    ["", "bin", "bin/status", "bin/answer"].iter().for_each(|name| everyone(name));
    post_up(&scene, &[], true).ok();
    assert_eq!(scene.file("bin/uid").unwrap(), "65534\n");
    assert_eq!(scene.preshared_keys()[0], preshared_key);
}

#[test]
fn a_failed_login_fails_only_with_or_down() {
    let scene = Scene::new();
    scene.bastion_ends(255);
    for name in ["", "bin", "bin/status"] {
        std::fs::set_permissions(scene.machine.path(name), PermissionsExt::from_mode(0o777)).unwrap();
    }
    let ended = post_up(&scene, &[], true).ok();
    assert!(ended.stdout.contains("wgmfa: error: bastion could not be reached"), "{ended:?}");
    post_up(&scene, &["--or-down"], true).expect(5);
}
