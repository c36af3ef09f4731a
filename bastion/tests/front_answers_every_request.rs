//! Whatever stock OpenSSH asks for, the front answers: what exists works, everything else is refused and never hangs.

mod front;

use std::io::Write;
use std::process::{Command, Stdio};

use front::{Front, run};
use wgmfa_core::message::front::Limits;

fn start() -> Front {
    Front::start(Limits::default(), &[])
}

#[test]
fn a_command_gives_its_output_its_errors_and_its_status() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().args(["justin@127.0.0.1", "hello"]));
    assert_eq!((stdout.as_str(), status), ("hello\nworld\n", 0), "{stderr}");
    assert!(stderr.contains("a note\n"), "{stderr}");
    front.told.wait_for(&["gone"]);
    assert_eq!(front.told.count("\"gone\""), 1);
    assert_eq!(front.told.count("channel-gone"), 0);
}

#[test]
fn an_unknown_command_is_refused_by_the_keeper_with_its_status() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().args(["-T", "justin@127.0.0.1", "rm -rf /"]));
    assert_eq!((stdout.as_str(), status), ("", 1));
    assert!(stderr.contains("wgmfa: error: no such command: rm -rf /\n"), "{stderr}");
}

#[test]
fn nothing_of_a_long_output_is_lost() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().args(["justin@127.0.0.1", "big"]));
    assert_eq!((stdout.len(), status), (4 << 20, 7));
    assert!(stdout.lines().all(|line| line == "0123456789abcde"));
    assert!(stderr.contains("all sent\n"), "{stderr}");
}

#[test]
fn a_subsystem_hears_lines_until_the_input_ends() {
    let front = start();
    let mut ssh = front.ssh();
    ssh.args(["-s", "justin@127.0.0.1", "count"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut ssh = ssh.spawn().unwrap();
    let line = "x".repeat(60_000);
    write!(ssh.stdin.take().unwrap(), "{line}\nshort\nwithout a newline").unwrap();
    let output = ssh.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 lines, 60022 bytes\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(front.told.all().iter().any(|line| line.contains(r#""command":"count","subsystem":true"#)));
}

#[test]
fn a_line_that_is_too_long_ends_its_channel_with_a_clear_word() {
    let front = start();
    let mut ssh = front.ssh();
    ssh.args(["justin@127.0.0.1", "count"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let _ = ssh.stdin.take().unwrap().write_all(&vec![b'x'; 70_000]);
    let output = ssh.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("wgmfa: error: a line is longer than 65536 bytes\n"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
    front.told.wait_for(&["channel-gone"]);
}

#[test]
fn with_a_terminal_lines_end_with_a_carriage_return_too() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().args(["-tt", "justin@127.0.0.1", "hello"]));
    assert_eq!((stdout.as_str(), status), ("hello\r\nworld\r\n", 0), "{stderr}");
    assert!(stderr.contains("a note\r\n"), "{stderr}");
}

#[test]
fn ctrl_c_on_a_terminal_ends_a_command() {
    let front = start();
    let mut ssh = front.ssh();
    ssh.args(["-tt", "-e", "none", "justin@127.0.0.1", "wait"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut ssh = ssh.stderr(Stdio::null()).spawn().unwrap();
    front.told.wait_for(&["exec", "wait"]);
    ssh.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(ssh.wait().unwrap().code(), Some(130));
    front.told.wait_for(&["channel-gone"]);
}

#[test]
fn a_shell_is_the_keepers_to_refuse() {
    let front = start();
    for (option, terminal) in [("-T", false), ("-tt", true)] {
        let (_, stderr, status) = run(front.ssh().args([option, "justin@127.0.0.1"]));
        assert!(stderr.contains(&format!("no shell here, terminal {terminal}")), "{stderr}");
        assert_eq!(status, 1);
    }
}

#[test]
fn file_transfers_end_with_the_refusal_and_a_status() {
    let front = start();
    let file = front.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (program, arguments) in [
        ("scp", vec![file.display().to_string(), "justin@127.0.0.1:".into()]),
        ("scp", vec!["-O".into(), file.display().to_string(), "justin@127.0.0.1:".into()]),
        ("sftp", vec!["justin@127.0.0.1".into()]),
    ] {
        let mut command = Command::new(program);
        front.options(&mut command);
        command.args(["-P", &front.port.to_string()]).args(&arguments);
        let (_, stderr, status) = run(&mut command);
        assert_ne!(status, 0, "{program} {arguments:?}: {stderr}");
        assert!(stderr.contains("no such command: "), "{program} {arguments:?}: {stderr}");
    }
}

#[test]
fn what_is_to_be_forwarded_is_refused_and_the_command_still_runs() {
    let front = start();
    for (options, complaint) in [
        (vec!["-R", "0:127.0.0.1:9"], "remote port forwarding failed"),
        (vec!["-A"], ""),
        (vec!["-X"], "X11 forwarding request failed"),
        (vec!["-o", "SetEnv=WGMFA=1"], ""),
        (vec!["-o", "Tunnel=no", "-o", "Compression=yes"], ""),
    ] {
        let mut ssh = front.ssh();
        ssh.env("DISPLAY", ":99").args(&options).args(["justin@127.0.0.1", "hello"]);
        let (stdout, stderr, status) = run(&mut ssh);
        assert_eq!((stdout.as_str(), status), ("hello\nworld\n", 0), "{options:?}: {stderr}");
        assert!(stderr.contains(complaint), "{options:?}: {stderr}");
    }
}

#[test]
fn a_forwarded_port_is_refused_when_it_is_used() {
    let front = start();
    // -W opens a direct-tcpip channel at once, as -L does for each connection
    let (_, stderr, status) = run(front.ssh().args(["-W", "127.0.0.1:9", "justin@127.0.0.1"]));
    assert!(stderr.contains("administratively prohibited: wgmfa forwards nothing"), "{stderr}");
    assert_ne!(status, 0);
    let socket = front.path().join("socket").display().to_string();
    let (_, stderr, status) = run(front
        .ssh()
        .args(["-o", "ExitOnForwardFailure=yes", "-R", &format!("{socket}:{socket}")])
        .args(["justin@127.0.0.1", "hello"]));
    assert_eq!(status, 255, "{stderr}");
}

#[test]
fn a_second_command_of_one_connection_needs_no_login_and_channels_are_counted() {
    let front = start();
    let path = format!("ControlPath={}", front.path().join("master").display());
    let mut master = front.ssh();
    master.args(["-o", "ControlMaster=yes", "-o", &path, "justin@127.0.0.1", "wait"]).stderr(Stdio::null());
    let mut master = master.stdout(Stdio::null()).spawn().unwrap();
    front.told.wait_for(&["exec", "wait"]);
    let other = |command: &str| {
        let mut ssh = front.ssh();
        ssh.args(["-o", "ControlMaster=no", "-o", &path, "justin@127.0.0.1", command]);
        ssh
    };
    let (stdout, stderr, status) = run(&mut other("hello"));
    assert_eq!((stdout.as_str(), status), ("hello\nworld\n", 0), "{stderr}");
    assert_eq!(front.told.count("\"login\""), 1);

    let mut waiting: Vec<_> =
        (0..3).map(|_| other("wait").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).collect();
    front.told.wait_for_so_many(4, &["exec", "wait"]);
    // a fifth channel is refused; stock ssh then makes a connection of its own, with a login of its own
    let (_, stderr, _) = run(&mut other("hello"));
    assert!(stderr.contains("Session open refused by peer"), "{stderr}");
    assert_eq!(front.told.count("\"login\""), 2);

    master.kill().unwrap();
    master.wait().unwrap();
    for ssh in &mut waiting {
        ssh.wait().unwrap();
    }
    front.told.wait_for(&["\"gone\""]);
}

#[test]
fn old_algorithms_and_compression_are_not_offered_and_the_guard_against_terrapin_is_on() {
    let front = start();
    let (_, said, status) = run(front.ssh().args(["-vvv", "justin@127.0.0.1", "hello"]));
    assert_eq!(status, 0);
    let peer = said.split_once("peer server KEXINIT proposal").expect("what the front offers").1;
    let offer = |what: &str| {
        let found = peer.lines().find_map(|line| line.strip_prefix(&format!("debug2: {what}: ")));
        found.unwrap_or_else(|| panic!("{what}: {peer}")).trim_end().to_owned()
    };
    let kex = offer("KEX algorithms");
    assert!(kex.starts_with("mlkem768x25519-sha256,curve25519-sha256,"), "{kex}");
    assert!(kex.contains("kex-strict-s-v00@openssh.com") && !kex.contains("diffie-hellman"), "{kex}");
    assert_eq!(offer("host key algorithms"), "ssh-ed25519");
    assert_eq!((offer("compression ctos"), offer("compression stoc")), ("none".into(), "none".into()));
    assert!(!offer("MACs ctos").contains("sha1") && !offer("ciphers ctos").contains("cbc"), "{peer}");
    assert!(said.contains("will use strict KEX ordering"), "{said}");
    assert!(said.contains("server-sig-algs=<ssh-ed25519,ecdsa-sha2-nistp256"), "{said}");
    assert!(said.contains("remote software version wgmfa"), "{said}");
}
