//! Bad input and bad surroundings, each with its exact words and status.

use std::os::unix::fs::PermissionsExt;

use wgmfa_core::message::agent::FromAgent;

use crate::bed::{Bed, mode, text};

fn refused(bed: &Bed, words: &[&str], status: i32, lines: &str) {
    let out = bed.agent(words);
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(status), lines));
}

#[test]
fn another_host_key_gets_nothing_from_this_host() {
    let mut bed = Bed::new(1);
    bed.bastion.change_host_key();
    let port = bed.bastion.port();
    let known = bed.path("known_hosts");
    let lines = format!(
        "wgmfa-agent: error: bastion [127.0.0.1]:{port}: its host key is not the one in {}\n\
         wgmfa-agent: hint: nothing was told to it; if the bastion has a new key, compare it with wgmfa-bastion host-key on the bastion and \
         replace the line\n",
        known.display()
    );
    refused(&bed, &["rotate"], 5, &lines);
    assert!(bed.bastion.heard().is_empty());

    std::fs::write(&known, "# nobody\n").unwrap();
    std::fs::remove_dir_all(bed.path("state")).unwrap();
    let lines = format!(
        "wgmfa-agent: error: {}: no host key for [127.0.0.1]:{port}\n\
         wgmfa-agent: hint: on the bastion: wgmfa-bastion host-key; then here: wgmfa-agent init --known-host LINE\n",
        known.display()
    );
    refused(&bed, &["rotate"], 5, &lines);
}

#[test]
fn a_key_that_the_bastion_does_not_know_is_refused() {
    let bed = Bed::new(1);
    let other = Bed::new(1);
    bed.bastion.accept(text(&other.agent(&["init", "--print-key"]).stdout).trim());
    let lines = format!(
        "wgmfa-agent: error: bastion [127.0.0.1]:{} does not accept this host's key\n\
         wgmfa-agent: hint: on the bastion: wgmfa-bastion host add app-gw --key -; the key: wgmfa-agent init --print-key\n",
        bed.bastion.port()
    );
    refused(&bed, &["rotate"], 3, &lines);
    assert_eq!(bed.key_on(0), bed.configured);
}

#[test]
fn files_that_others_can_touch_are_not_trusted() {
    let bed = Bed::new(1);
    let set =
        |name: &str, mode| std::fs::set_permissions(bed.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    let shown = |name: &str| bed.path(name).display().to_string();
    set("agent.toml", 0o666);
    let path = shown("agent.toml");
    let lines = format!(
        "wgmfa-agent: error: {path}: mode 0666: others can write to it\nwgmfa-agent: hint: chmod go-w {path}\n"
    );
    refused(&bed, &["rotate"], 2, &lines);
    set("agent.toml", 0o644);
    set("agent_ed25519", 0o644);
    let path = shown("agent_ed25519");
    let lines =
        format!("wgmfa-agent: error: {path}: mode 0644: others can read it\nwgmfa-agent: hint: chmod go-rwx {path}\n");
    refused(&bed, &["run"], 2, &lines);
    let out = bed.agent(&["check"]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(2), "1 fault\n"), "{out:?}");
    set("agent_ed25519", 0o600);
    bed.configure("manage-file = true");
    let out = bed.agent(&["status"]);
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    let place = format!("{}:7:1: ", shown("agent.toml"));
    assert!(said.starts_with("wgmfa-agent: error: broken configuration\n") && said.contains(&place), "{said}");
    std::fs::remove_file(bed.path("agent.toml")).unwrap();
    let lines = format!(
        "wgmfa-agent: error: {}: no such file\nwgmfa-agent: hint: make one with wgmfa-agent init, or name one with --config\n",
        shown("agent.toml")
    );
    refused(&bed, &["check"], 2, &lines);
}

#[test]
fn a_file_that_wg_quick_overwrites_is_refused_and_the_interface_enforced_all_the_same() {
    let bed = Bed::new(1);
    let old = std::fs::read_to_string(bed.file()).unwrap();
    std::fs::write(bed.file(), old.replace("[Interface]\n", "[Interface]\nSaveConfig = true\n")).unwrap();
    let line = format!(
        "wgmfa-agent: error: {}: SaveConfig = true would write live keys to disk; take that line out\n",
        bed.file().display()
    );
    refused(&bed, &["rotate"], 6, &line);
    assert!(bed.is_waiting(0));
    refused(&bed, &["rotate"], 6, "");
    assert_eq!(bed.agent(&["status"]).status.code(), Some(6));
}

#[test]
fn a_peer_that_is_gone_is_named_and_the_others_are_rotated() {
    let bed = Bed::new(2);
    let gone = bed.peers[1].public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &gone, "remove"]).status.success());
    let out = bed.agent(&["rotate"]);
    assert_eq!(out.status.code(), Some(6));
    let line = format!(": not a peer of interface {}\n", bed.interface);
    assert!(text(&out.stderr).ends_with(&line), "{out:?}");
    assert!(bed.is_waiting(0));
    bed.configure("interfaces = [\"elsewhere\"]");
    let out = bed.agent(&["rotate"]);
    assert_eq!(out.status.code(), Some(6));
    let said = text(&out.stderr);
    assert!(said.contains("elsewhere: no such WireGuard interface here\n"), "{said}");
    assert!(said.contains(&format!(": interface {} is gone\n", bed.interface)), "{said}");
}

#[test]
fn a_generation_that_the_bastion_did_not_take_is_never_used() {
    let bed = Bed::new(1);
    bed.bastion.change(&bed.peers[0], |connection| connection.disk_is_full = true);
    let out = bed.agent(&["rotate"]);
    assert_eq!(out.status.code(), Some(6));
    assert!(text(&out.stderr).ends_with(": the bastion did not take generation 1\n"), "{out:?}");
    let deposited = bed.bastion.heard().into_iter().find_map(|heard| match heard.message {
        FromAgent::Deposit { deposits } => Some(deposits[0].preshared_key.expose_base64().to_string()),
        _ => None,
    });
    assert!(bed.key_on(0) != deposited.unwrap() && bed.key_on(0) != bed.configured, "locked until the bastion can");
    bed.bastion.change(&bed.peers[0], |connection| connection.disk_is_full = false);
    bed.rotate();
    assert!(bed.is_waiting(0));
}

#[test]
fn nonsense_from_the_bastion_ends_the_conversation() {
    let bed = Bed::new(1);
    let long = [vec![b'a'; 9 * 1024 * 1024], vec![b'\n']].concat();
    for (nonsense, what) in [
        (&b"{\"type\":\"add-peer\"}\n"[..], "not a message of this conversation (column 18)"),
        (&b"\xff\n"[..], "not a message of this conversation (column 1)"),
        (&long[..], "a line is longer than 8388608 bytes"),
    ] {
        bed.bastion.talk_nonsense(nonsense);
        let _ = std::fs::remove_dir_all(bed.path("state"));
        let line = format!("wgmfa-agent: error: the bastion does not speak as expected: {what}\n");
        refused(&bed, &["rotate"], 5, &line);
        assert_eq!(bed.key_on(0), bed.configured);
    }
}

#[test]
fn init_overwrites_nothing_and_trusts_nothing() {
    let bed = Bed::new(1);
    let folder = bed.path("new");
    let config = folder.join("agent.toml");
    let init = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wgmfa-agent"));
        command.arg("--config").arg(&config).arg("init").args(words).output().unwrap()
    };
    let out = init(&[]);
    let lines = "wgmfa-agent: error: where is the bastion?\nwgmfa-agent: hint: --bastion bastion.example.net:2222\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(2), lines));
    let out = init(&["--bastion", "b.example:2222", "--host", "db-gw"]);
    assert!(out.status.success(), "{out:?}");
    assert!(text(&out.stdout).ends_with(" wgmfa-agent@db-gw' | wgmfa-bastion host add db-gw --key -\n"), "{out:?}");
    assert!(text(&out.stderr).starts_with("wgmfa-agent: hint: [b.example]:2222 is not known yet: "), "{out:?}");
    assert!(!folder.join("known_hosts").exists());
    assert_eq!(mode(&folder.join("agent_ed25519")), 0o600);
    let known = bed.bastion.known_host("bastion.other");
    let out = init(&["--known-host", &known]);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let key = known.split_once(' ').unwrap().1;
    assert_eq!(std::fs::read_to_string(folder.join("known_hosts")).unwrap(), format!("[b.example]:2222 {key}\n"));
    let before = std::fs::read(&config).unwrap();
    let out = init(&["--bastion", "b.example:2222", "--known-host", &known]);
    assert_eq!(
        (out.status.code(), text(&out.stdout).as_str(), text(&out.stderr).as_str()),
        (Some(0), "unchanged\n", "")
    );
    let out = init(&["--bastion", "c.example:2222"]);
    let lines = format!(
        "wgmfa-agent: error: {}: bastion has another value\nwgmfa-agent: hint: nothing was changed; edit the file, or remove it first\n",
        config.display()
    );
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(1), lines));
    let out = init(&["--known-host", "nonsense"]);
    let lines = "wgmfa-agent: error: --known-host: write NAME KEYTYPE KEY, as wgmfa-bastion host-key prints it\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(2), lines));
    let out = init(&["--print-key"]);
    assert!(text(&out.stdout).starts_with("ssh-ed25519 ") && text(&out.stdout).lines().count() == 1, "{out:?}");
    assert_eq!(std::fs::read(&config).unwrap(), before);
}
