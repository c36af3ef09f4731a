//! The units, users, folders and sudo rules that packages bring are understood by the programs that read them, and the
//! sandboxes are as tight as they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_tests::program::{folder, run};

fn packaging() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_sandbox_is_as_tight_as_its_comment_says() {
    // less is tighter; what stands above nothing is explained in each unit
    for (unit, most) in [("wgmfa-bastion", 3.2), ("wgmfa-agent", 2.1), ("wgmfa-rotate", 2.1), ("wgmfa-lock", 2.2)] {
        let path = packaging().join(format!("{unit}.service"));
        let mut analyze = Command::new("systemd-analyze");
        let said = run(analyze.args(["security", "--offline=true", "--no-pager"]).arg(&path), b"").ok().stdout;
        let level = said.lines().find_map(|line| line.split_once("Overall exposure level for ")).expect("a level").1;
        let level: f64 = level.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(level <= most, "{said}");
        let stated = format!("# systemd-analyze security: {most:.1} of 10");
        assert!(fs::read_to_string(&path).unwrap().contains(&stated), "{unit}: {stated}");
    }
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let copies = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(packaging()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.ends_with(".service") || name.ends_with(".timer")) {
            continue;
        }
        // the programs are not installed here
        let text = fs::read_to_string(&entry).unwrap();
        let built = |path: &str| format!("={}/wgmfa{}", folder().display(), path.split_once("wgmfa").unwrap().1);
        let lines = text.lines().map(|line| match line.split_once('=') {
            Some((key, path)) if path.starts_with("/usr/") && key.starts_with("Exec") => key.to_owned() + &built(path),
            _ => line.to_owned(),
        });
        fs::write(copies.path().join(&name), lines.collect::<Vec<_>>().join("\n")).unwrap();
        names.push(copies.path().join(name.replace("@.", "@wg0.")));
    }
    assert!(names.len() >= 8, "{names:?}");
    for name in names.iter().filter(|name| name.to_str().unwrap().contains('@')) {
        fs::copy(name.to_str().unwrap().replace("@wg0.", "@."), name).unwrap();
    }
    let ended = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&names), b"").ok();
    assert_eq!(ended.said(), "");
}

#[test]
fn users_and_folders_are_made_with_their_rights() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let root_is = format!("--root={}", root.path().display());
    for name in ["wgmfa-bastion", "wgmfa"] {
        run(Command::new("systemd-sysusers").arg(&root_is).arg(packaging().join(format!("{name}.sysusers"))), b"").ok();
    }
    let read = |name: &str| fs::read_to_string(root.path().join("etc").join(name)).unwrap();
    let group = |name: &str| {
        let groups = read("group");
        let line =
            groups.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("{groups}"));
        line.split(':').nth(2).unwrap().to_owned()
    };
    let users = read("passwd");
    let user: Vec<&str> = users.lines().find(|line| line.starts_with("wgmfa:")).unwrap().split(':').collect();
    assert_eq!((user[3], user[6]), (group("wgmfa-front").as_str(), "/usr/sbin/nologin"), "{user:?}");
    // a front that was taken over must not be among those who may have keys written
    assert_ne!(user[3], group("wgmfa"));
    group("wgmfa-sync");

    for name in ["wgmfa-bastion", "wgmfa-agent"] {
        let mut tmpfiles = Command::new("systemd-tmpfiles");
        run(tmpfiles.args(["--create", &root_is]).arg(packaging().join(format!("{name}.tmpfiles"))), b"").ok();
    }
    for (folder, mode) in [("var/lib/wgmfa", 0o700), ("var/lib/wgmfa-agent", 0o700), ("etc/wgmfa/policy.d", 0o755)] {
        assert_eq!(mode_of(&root.path().join(folder)), mode, "{folder}");
    }
}

fn mode_of(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o7777
}

#[test]
fn sudo_allows_exactly_the_two_privileged_halves() {
    let file = packaging().join("wgmfa.sudoers");
    run(Command::new("visudo").args(["-c", "-f"]).arg(&file), b"").ok();
    let rules = fs::read_to_string(&file).unwrap();
    let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules, ["%wgmfa ALL = (root) NOPASSWD: /usr/bin/wgmfa apply, /usr/bin/wgmfa interfaces"]);
}
