//! Unknown names, keys that are none, names that are taken: each with its message, its hint and its status. What could be
//! a secret is never repeated.

use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::Lab;
use wgmfa_tests::tunnel::Keys;

use super::{agent_key, bastion};

#[track_caller]
fn refused(bastion: &Bastion, words: &[&str], status: i32, error: &str, hint: &str) {
    refused_with(bastion, words, "", status, error, hint);
}

#[track_caller]
fn refused_with(bastion: &Bastion, words: &[&str], stdin: &str, status: i32, error: &str, hint: &str) {
    let refused = bastion.admin_with(words, stdin.as_bytes()).expect(status);
    let lines = format!("wgmfa-bastion: error: {error}\nwgmfa-bastion: hint: {hint}\n");
    assert_eq!((refused.stdout.as_str(), refused.stderr), ("", lines), "{words:?}");
    let json = bastion.admin_with(&[&["--json"], words].concat(), stdin.as_bytes()).expect(status);
    assert_eq!(json.stdout, "", "{words:?}");
}

#[test]
fn an_unknown_name_is_told_with_the_list_that_shows_them() {
    let bastion = bastion();
    for (kind, acts) in [
        ("user", &["show", "disable", "enable", "unlock"][..]),
        ("host", &["show", "disable", "enable", "accept"]),
        ("device", &["show", "disable", "enable"]),
    ] {
        for act in acts {
            let hint = format!("wgmfa-bastion {kind} list shows them");
            refused(&bastion, &[kind, act, "zoe"], 1, &format!("there is no {kind} 'zoe'"), &hint);
        }
    }
    let (error, hint) = ("there is no user 'zoe'", "wgmfa-bastion user list shows them");
    refused_with(&bastion, &["user", "reset", "zoe", "--password-stdin"], "x\n", 1, error, hint);
    refused(&bastion, &["key", "rotate", "--user", "zoe", "--reason", "x"], 1, error, hint);
    let (error, hint) = ("there is no host 'zoe'", "wgmfa-bastion host list shows them");
    refused(&bastion, &["key", "rotate", "--host", "zoe", "--reason", "x"], 1, error, hint);

    let error = "no connection is called 'zoe'";
    let hint = "any unique part of a name will do; wgmfa-bastion key list and wgmfa-status show them";
    refused(&bastion, &["key", "list", "zoe"], 1, error, hint);
    refused(&bastion, &["key", "rotate", "zoe", "--reason", "x"], 1, error, hint);
    refused(&bastion, &["policy", "explain", "zoe"], 1, error, "any part of HOST/INTERFACE:OTHER will do");
    let hint = "wgmfa-bastion user list and wgmfa-bastion key list show them";
    refused(&bastion, &["why", "zoe"], 1, "neither a person nor a connection is called 'zoe'", hint);
    refused(&bastion, &["why", "a\u{1b}[2J"], 1, "neither a person nor a connection is called 'a?[2J'", hint);
}

#[test]
fn a_name_or_a_key_that_is_none_is_wrong_usage_and_not_repeated() {
    let bastion = bastion();
    bastion.admin_with(&["user", "add", "justin", "--password-stdin"], b"hunter22\n").ok();
    let characters = "a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'";
    let usage = "usage: wgmfa-bastion user show [OPTIONS] <NAME>; --help shows an example";
    for (name, error) in [
        ("Justin", characters),
        ("-justin", ""),
        ("jus tin", characters),
        ("\u{1b}[2J", characters),
        ("root", "'agent' and 'root' are reserved names"),
        ("agent", "'agent' and 'root' are reserved names"),
        ("", "a name cannot be empty"),
    ] {
        if error.is_empty() {
            assert_eq!(bastion.admin(&["user", "show", name]).code(), 2);
        } else {
            refused(&bastion, &["user", "show", name], 2, &format!("<NAME>: {error}"), usage);
        }
    }
    let key = Keys::generate().public;
    let error = "--public-key: a key is 44 characters of base64 that decode to 32 bytes, as wg prints them";
    let hint = "on the device: wg show INTERFACE public-key";
    for wrong in [&key[1..], &format!("{key}="), "AAAA", &key.replace('=', "!"), &format!("{}B=", &key[..42])] {
        let words = ["device", "add", "laptop", "--owner", "justin", "--public-key", wrong];
        refused(&bastion, &words, 2, error, hint);
    }
    let (error, hint) = ("--key: not an SSH public key in one line", "wgmfa-agent init --print-key prints it");
    let host_key = std::fs::read_to_string(bastion.folder().join("ssh_host_ed25519_key")).expect("init made it");
    let agent = agent_key();
    for wrong in ["", "hello", "ssh-ed25519 AAAA", &key, &host_key, &format!("{agent}{agent}")] {
        refused_with(&bastion, &["host", "add", "app-gw", "--key", "-"], wrong, 2, error, hint);
    }
    let hint = "the password is the first line of standard input: --password-stdin < FILE";
    for (wrong, error) in [("", "no password on standard input"), ("hunter2\n", "a password has at least 8 characters")]
    {
        let add = ["user", "add", "ann", "--password-stdin"];
        refused_with(&bastion, &add, wrong, 2, &format!("--password-stdin: {error}"), hint);
    }
    let hint = "name a text file that can be read; - is standard input";
    let add = ["host", "add", "app-gw", "--key", "/nonexistent"];
    refused(&bastion, &add, 1, "/nonexistent: no such file or folder", hint);
    let verify = bastion.admin(&["log", "verify", "--file", "/nonexistent"]).expect(1);
    assert!(verify.stderr.contains("hint: name a file as wgmfa-bastion log export"), "{verify:?}");
    let spoken = bastion.admin_with(&["user", "add", "ann", "hunter2"], b"").expect(2);
    assert!(!spoken.said().contains("hunter2"), "{spoken:?}");
}

#[test]
fn a_key_has_one_owner_and_a_second_one_is_audited() {
    let bastion = bastion();
    for name in ["justin", "alice"] {
        bastion.admin_with(&["user", "add", name, "--password-stdin"], b"hunter22\n").ok();
    }
    let key = Keys::generate().public;
    bastion.add_device("laptop", "justin", &key);
    let error = format!("{key} belongs to device laptop");
    let hint = "each device has a key of its own: make one with `wg genkey`";
    refused(&bastion, &["device", "add", "phone", "--owner", "alice", "--public-key", &key], 1, &error, hint);

    let agent = agent_key();
    bastion.add_host("app-gw", &agent);
    let error = "this SSH key belongs to host app-gw";
    let add = ["host", "add", "db-gw", "--key", "-"];
    refused_with(&bastion, &add, &agent, 1, error, "each host has a key of its own");

    let audited = bastion.log("registration-refused");
    let reasons: Vec<_> = audited.iter().map(|line| line["reason"].as_str().unwrap_or_default()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("belongs to device laptop")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("belongs to host app-gw")), "{reasons:?}");

    let hint = "hosts and devices share one name space: take another name";
    let add = ["host", "add", "laptop", "--key", "-"];
    refused_with(&bastion, &add, &agent_key(), 1, "laptop is the name of a device", hint);
    let add = ["device", "add", "app-gw", "--owner", "alice", "--public-key", &Keys::generate().public];
    refused(&bastion, &add, 1, "app-gw is the name of a host", hint);
    let add = ["device", "add", "tablet", "--owner", "zoe", "--public-key", &Keys::generate().public];
    refused(&bastion, &add, 1, "no such user: zoe", "`user list` shows who there is");
}

#[test]
fn a_reported_key_that_is_somebody_elses_is_refused_and_named() {
    let lab = Lab::new("1h");
    let interface = lab.gateway.interface();
    let key = &lab.gateway.tunnel.keys.public;
    lab.gateway.agent(&["rotate"]).ok();
    let words = ["device", "add", "phone", "--owner", "justin", "--public-key", key];
    let error = format!("{key} belongs to interface {interface}");
    refused(&lab.bastion, &words, 1, &error, "each device has a key of its own: make one with `wg genkey`");

    let removed = lab.bastion.admin(&["host", "remove", &lab.gateway.name]).expect(6);
    assert!(removed.stderr.contains("app-gw has not confirmed the lock yet"), "{removed:?}");
    lab.bastion.add_device("phone", "justin", key);
    let agent = lab.gateway.agent(&["init", "--print-key"]).ok().stdout;
    lab.bastion.add_host(&lab.gateway.name, &agent);
    lab.gateway.agent(&["rotate"]);
    let refused = lab.bastion.log("report-refused");
    let reason = format!("{}: its public key {key} belongs to device phone", lab.gateway.tunnel.name);
    assert_eq!(refused.last().expect("an audit line")["reason"], reason.as_str());
    let status = lab.bastion.admin(&["status"]).expect(1);
    let trouble = format!("trouble   {interface}: its public key {key} belongs to device phone\n");
    assert!(status.stdout.contains(&trouble), "{}", status.stdout);
}

#[test]
fn a_bastion_that_does_not_run_is_told_as_such() {
    let mut bastion = bastion();
    bastion.stop();
    let socket = bastion.folder().join("run/admin.sock");
    let hint = "the bastion does not run: systemctl start wgmfa-bastion, or wgmfa-bastion serve";
    for words in [&["user", "list"][..], &["key", "list"], &["status"], &["reload"], &["log"], &["inventory"]] {
        refused(&bastion, words, 5, &format!("{}: no such file or folder", socket.display()), hint);
    }
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("its folder is there"));
    refused(&bastion, &["user", "list"], 5, &format!("{}: connection refused", socket.display()), hint);
}
