use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use wgmfa_tests::program::{Ended, install, run};

use crate::scene::Scene;

/// `nobody`, as Debian has it.
const NOBODY: &str = "65534";

/// `wgmfa` as somebody without rights, who can read the scene.
fn as_nobody(scene: &Scene) -> Command {
    let all = PermissionsExt::from_mode(0o777);
    let readable = [scene.machine.folder().to_owned(), scene.machine.path("bin")];
    readable.iter().for_each(|folder| std::fs::set_permissions(folder, Clone::clone(&all)).unwrap());
    for file in ["bin/status", "bin/answer"].map(|name| scene.machine.path(name)) {
        let _ = std::fs::set_permissions(file, Clone::clone(&all));
    }
    // where nobody may start it, whatever folder it was built in
    install(env!("CARGO_BIN_EXE_wgmfa"), &scene.machine.path("wgmfa"));
    let mut command = scene.machine.command("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(scene.machine.path("wgmfa"));
    command.env("PATH", scene.path()).env("HOME", scene.machine.folder()).env_remove("SUDO_UID");
    command
}

fn sync(scene: &Scene, options: &[&str]) -> Ended {
    run(as_nobody(scene).args(["sync", "bastion"]).args(options), b"")
}

/// Real sudo, which reads what this machine has as `/etc/sudoers.d`.
fn allow(scene: &mut Scene, commands: &[&str]) {
    let program = scene.machine.path("wgmfa");
    let allowed: Vec<_> = commands.iter().map(|command| format!("{} {command}", program.display())).collect();
    let path = scene.machine.own_etc("sudoers.d").join("wgmfa");
    std::fs::write(&path, format!("#{NOBODY} ALL = (root) NOPASSWD: {}\n", allowed.join(", "))).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).unwrap();
}

#[test]
fn without_rights_nobody_is_asked_for_a_code() {
    let scene = Scene::new();
    let ended = sync(&scene, &[]).expect(1);
    assert!(ended.stderr.contains("wgmfa: error: no right to change WireGuard interfaces"), "{ended:?}");
    assert!(scene.file("bin/arguments").is_none(), "ssh was started");
    for word in ["interfaces", "apply"] {
        let ended = run(as_nobody(&scene).arg(word), b"").expect(1);
        assert_eq!(
            ended.stderr,
            "wgmfa: error: no right to read or change WireGuard interfaces\n\
             wgmfa: hint: it needs CAP_NET_ADMIN: run it with sudo\n"
        );
    }
}

#[test]
fn without_the_interface_nobody_is_asked_for_a_code() {
    let scene = Scene::new();
    let ended = scene.sync(&["--interface", "nosuch"]).expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: nosuch: no such WireGuard interface here\n"), "{ended:?}");
    assert!(scene.file("bin/arguments").is_none(), "ssh was started");
    scene.tunnel.down(&scene.machine);
    let ended = scene.sync(&[]).expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: no WireGuard interface here\nwgmfa: hint: "), "{ended:?}");
    assert!(scene.file("bin/arguments").is_none(), "ssh was started");
}

#[test]
fn sudo_needs_to_allow_two_commands_and_no_more() {
    let mut scene = Scene::new();
    allow(&mut scene, &["apply", "interfaces"]);
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    let name = scene.tunnel.name.clone();
    let ended = sync(&scene, &["--interface", &name]).ok();
    assert!(ended.stdout.starts_with("gw0/devices: OK, 60 min left (until "), "{ended:?}");
    assert_eq!(scene.preshared_keys()[0], preshared_key);
    assert_eq!(scene.file("bin/uid").unwrap(), format!("{NOBODY}\n"), "ssh runs as the person");
    assert_eq!(scene.said().len(), 2);

    let ended = sync(&scene, &["--save"]).expect(6);
    assert!(ended.stderr.contains(": not saved: there is no /etc/wireguard/"), "{ended:?}");
    let ended = sync(&scene, &["--interface", "nosuch"]).expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: no WireGuard interface nosuch\n"), "{ended:?}");
}

#[test]
fn a_login_that_opens_only_tiers_changes_no_interface() {
    let mut scene = Scene::new();
    allow(&mut scene, &["interfaces"]);
    let mut release = scene.release(&[]);
    release["grants"] = serde_json::json!([{
        "connection": "app-gw/devices:justins-laptop", "public_key": scene.tunnel.keys.public,
        "peer_public_key": scene.peers[0], "tier": "prod", "state": "OK", "seconds_left": 3600,
        "policy": {"ordinal": 101, "description": "Prod", "mfa": true}, "deadline": "2026-11-21T15:55:00Z",
    }]);
    scene.bastion_answers(&format!("{release}\n"));
    let ended = sync(&scene, &[]).ok();
    assert!(ended.stdout.ends_with(", policy 101 Prod, tier prod\n"), "{ended:?}");
    assert!(ended.stderr.contains("wgmfa status does not know of it: sudo wgmfa apply failed"), "{ended:?}");
}

#[test]
fn a_right_that_ends_in_between_says_how_to_go_on() {
    let mut scene = Scene::new();
    allow(&mut scene, &["interfaces"]);
    let before = scene.preshared_keys();
    let (key, _) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    let ended = sync(&scene, &[]).expect(1);
    assert!(ended.stderr.contains("wgmfa: error: sudo wgmfa apply failed; nothing was changed\n"), "{ended:?}");
    assert_eq!(scene.preshared_keys(), before);
}
