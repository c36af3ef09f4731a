use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use wgmfa_tests::program::{Ended, run};

use crate::scene::Scene;

/// What the user unit runs, as systemd(1) hands it to the shell.
fn command_line() -> String {
    let unit = include_str!("../../../packaging/wgmfa-warn.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")).unwrap();
    line.strip_suffix('\'').unwrap().replace("$$", "$")
}

fn minute(scene: &Scene) -> Ended {
    let mut command = scene.machine.command("sh");
    let path = format!("{}:{}", scene.machine.path("bin").display(), std::env::var("PATH").unwrap());
    command.args(["-c", &command_line()]).env("PATH", path).env("XDG_RUNTIME_DIR", scene.machine.folder());
    run(command.env("HOME", scene.machine.folder()), b"")
}

#[test]
fn the_timers_command_line_warns_ahead_of_each_session_s_end_once() {
    let scene = Scene::new();
    let notify = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >>{}\n", scene.machine.path("notified").display());
    scene.machine.write("bin/notify-send", &notify);
    std::fs::set_permissions(scene.machine.path("bin/notify-send"), PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wgmfa"), scene.machine.path("bin/wgmfa")).unwrap();
    let said = || scene.file("notified").unwrap_or_default();
    let session = |seconds_left: u64| {
        let (mut key, _) = scene.key(0, 7);
        key["seconds_left"] = json!(seconds_left);
        scene.wgmfa(&["apply"], &scene.release(&[key]).to_string()).ok();
    };

    minute(&scene).ok();
    session(3600);
    minute(&scene).ok();
    assert_eq!(said(), "", "there is time enough");
    session(300);
    minute(&scene).ok();
    let warning = said();
    assert!(warning.contains("--urgency=critical\nwgmfa\ngw0/devices: 5 min left (until "), "{warning}");
    minute(&scene).ok();
    minute(&scene).ok();
    assert_eq!(said(), warning, "once");
    session(400);
    minute(&scene).ok();
    assert!(said().len() > warning.len(), "another session");

    let broken = scene.wgmfa(&["status", "--once", "--warn-before", "10x"], "");
    assert_eq!(broken.code(), 2);
}

#[test]
fn systemd_understands_the_units() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");
    let units = ["service", "timer"].map(|kind| format!("{folder}/wgmfa-warn.{kind}"));
    let verified = std::process::Command::new("systemd-analyze").args(["--man=no", "verify"]).args(units).output();
    let Ok(verified) = verified else { return }; // this system has none
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
