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
        "wgmfa-agent: error: bastion [127.0.0.1]:{port}: its host key is not the one in {0}\n\
         wgmfa-agent: hint: nothing was told to it; it may have changed its key while this host was away: compare with \
         wgmfa-bastion host-key on the bastion, then: rm {0}; wgmfa-agent init --known-host 'LINE'\n",
        known.display()
    );
    refused(&bed, &["rotate"], 5, &lines);
    assert!(bed.bastion.heard().is_empty());

    std::fs::write(&known, "# nobody\n").unwrap();
    std::fs::remove_dir_all(bed.path("state")).unwrap();
    let lines = format!(
        "wgmfa-agent: error: {}: no host key for [127.0.0.1]:{port}\n\
         wgmfa-agent: hint: on the bastion: wgmfa-bastion host-key; then here: wgmfa-agent init --known-host 'LINE'\n",
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
    // nobody keeps the clock right on some machines, and that is said too
    assert!(out.status.code() == Some(2) && text(&out.stdout).starts_with("1 fault"), "{out:?}");
    set("agent_ed25519", 0o600);
    bed.configure("manage-file = true");
    let out = bed.agent(&["status"]);
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    let place = format!("{}:7:1: ", shown("agent.toml"));
    assert!(said.starts_with("wgmfa-agent: error: broken configuration\n") && said.contains(&place), "{said}");
    std::fs::remove_file(bed.path("agent.toml")).unwrap();
    let lines = format!(
        "wgmfa-agent: error: {}: no such file or folder\nwgmfa-agent: hint: make one with wgmfa-agent init, or name one with --config\n",
        shown("agent.toml")
    );
    refused(&bed, &["check"], 2, &lines);
}

#[test]
fn what_the_agent_remembers_is_trusted_only_where_nobody_else_could_write_it() {
    let bed = Bed::new(1);
    bed.rotate();
    for (name, mode, what, chmod) in [
        ("known_hosts", 0o664, "others can write to it", "go-w"),
        ("state/state.json", 0o640, "others can read it", "go-rwx"),
        ("state", 0o770, "others can write to it", "go-w"),
    ] {
        let path = bed.path(name);
        let before = path.metadata().unwrap().permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let path_shown = path.display();
        let lines = format!(
            "wgmfa-agent: error: {path_shown}: mode {mode:04o}: {what}\n\
             wgmfa-agent: hint: chmod {chmod} {path_shown}\n"
        );
        refused(&bed, &["rotate"], 2, &lines);
        std::fs::set_permissions(&path, before).unwrap();
    }
    assert!(bed.is_waiting(0));
}

#[test]
fn another_fault_in_an_outage_is_told_too() {
    let bed = Bed::new(1);
    std::fs::set_permissions(bed.path("known_hosts"), std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(text(&bed.agent(&["rotate"]).stderr).contains("known_hosts: mode 0666: "));
    refused(&bed, &["rotate"], 2, "");
    std::fs::set_permissions(bed.path("known_hosts"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(bed.path("agent_ed25519"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(text(&bed.agent(&["rotate"]).stderr).contains("agent_ed25519: mode 0644: "));
    refused(&bed, &["rotate"], 2, "");
}

#[test]
fn wrong_usage_is_told_without_the_rejected_value() {
    let bed = Bed::new(1);
    let hint = "wgmfa-agent: hint: wgmfa-agent COMMAND --help shows its words and an example\n";
    for (words, error) in [
        (&["spin"][..], "unrecognized subcommand 'spin'"),
        (&["override", "x"], "the following required arguments were not provided: --reason <TEXT>"),
        (&["override", "x", "--reason", " "], "--reason <TEXT>: say why"),
        (
            &["override", "x", "--reason", "y", "--for", "hunter2"],
            "--for <TIME>: write a length of time as 30s, 10m, 1h, 1d or 1d12h",
        ),
        (&["init", "--bastion", "b:0"], "--bastion <B>: write HOST, HOST:PORT or [IPV6]:PORT"),
    ] {
        refused(&bed, words, 2, &format!("wgmfa-agent: error: {error}\n{hint}"));
    }
    let lines = "wgmfa-agent: error: a command is missing\nwgmfa-agent: hint: wgmfa-agent --help lists them\n";
    refused(&bed, &[], 2, lines);
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
fn of_a_peer_that_is_gone_and_lets_nobody_in_nothing_is_said() {
    let bed = Bed::new(2);
    bed.bastion.change(&bed.peers[1], |connection| connection.keep_locked = Some("device p was removed".to_owned()));
    assert_eq!(bed.agent(&["rotate"]).status.code(), Some(0));
    let gone = bed.peers[1].public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &gone, "remove"]).status.success());
    refused(&bed, &["rotate"], 0, "");
    assert!(bed.is_waiting(0));
}

#[test]
fn of_a_peer_that_is_gone_and_has_no_policy_status_says_so() {
    let bed = Bed::new(2);
    bed.rotate();
    let gone = bed.peers[1].public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &gone, "remove"]).status.success());
    bed.bastion.uncover(&bed.peers[1..]);
    bed.rotate();
    let out = bed.agent(&["status"]);
    assert_eq!(out.status.code(), Some(0), "nobody misses it: {out:?}");
    assert!(text(&out.stdout).contains("  no policy  generation 1  waiting: not on the interface\n"), "{out:?}");
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
    let long = [vec![b'a'; 33 * 1024 * 1024], vec![b'\n']].concat();
    for (nonsense, what) in [
        (&b"{\"type\":\"add-peer\"}\n"[..], "not a message of this conversation (column 18)"),
        (&b"\xff\n"[..], "not a message of this conversation (column 1)"),
        (&long[..], "a line is longer than 33554432 bytes"),
    ] {
        bed.bastion.talk_nonsense(nonsense);
        let _ = std::fs::remove_dir_all(bed.path("state"));
        let line = format!("wgmfa-agent: error: the bastion does not speak as expected: {what}\n");
        refused(&bed, &["rotate"], 5, &line);
        assert_eq!(bed.key_on(0), bed.configured);
    }
}

#[test]
fn a_bastion_of_a_later_version_is_refused_with_what_to_do() {
    let bed = Bed::new(1);
    bed.bastion.talk_nonsense(b"{\"type\":\"anything\",\"version\":2,\"of\":\"tomorrow\"}\n");
    let lines = "wgmfa-agent: error: bastion: the other side speaks version 2 of the agents' conversation, this program version 1\n\
                 wgmfa-agent: hint: programs talk to each other when they are at most one minor version apart: bring the older \
                 one forward\n";
    refused(&bed, &["rotate"], 5, lines);
}

#[test]
fn a_bastion_whose_clock_or_version_is_far_off_is_worth_a_warning() {
    let bed = Bed::new(1);
    let warnings = || {
        let out = bed.agent(&["check", "--json"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let texts = found["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        (texts.filter(|text| !text.contains("no time service")).collect::<Vec<_>>(), found["notes"].to_string())
    };
    let (none, notes) = warnings();
    assert!(none.is_empty() && notes.contains("the bastion does not tell its version"), "{notes}");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    bed.bastion.tell(env!("CARGO_PKG_VERSION"), now());
    let (none, notes) = warnings();
    assert!(none.is_empty() && !notes.contains("version"), "{notes}");
    bed.bastion.tell("9.0.0", now() + 7200);
    let (told, _) = warnings();
    assert!(told[0].ends_with("more than one minor version apart (bring this host forward)"), "{told:?}");
    assert!(told[1].starts_with("clock: 7") && told[1].contains(" s behind the bastion's"), "{told:?}");
    assert!(bed.bastion.heard().is_empty(), "nothing is said to the bastion");
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

#[test]
fn init_leaves_a_file_of_known_hosts_as_it_is_but_for_its_own_lines() {
    let bed = Bed::new(1);
    let known = std::fs::read_to_string(bed.path("known_hosts")).unwrap();
    let key = known.trim_end().split_once(' ').unwrap().1;
    std::fs::write(bed.path("known_hosts"), format!("# mine\nother {key}")).unwrap();
    let out = bed.agent(&["init", "--known-host", &known]);
    assert!(out.status.success(), "{out:?}");
    let text = std::fs::read_to_string(bed.path("known_hosts")).unwrap();
    assert_eq!(text, format!("# mine\nother {key}\n{known}"));
    assert_eq!(mode(&bed.path("known_hosts")), 0o644);
    let others = std::fs::read_dir(bed.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!others.into_iter().any(|name| name.to_string_lossy().ends_with(".new")));
}
