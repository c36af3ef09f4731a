//! Nobody can hold the front up: not by silence, noise, number or slow reading.

mod front;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use front::{Front, run};
use wgmfa_core::message::front::{Limits, ToFront};

/// Reads to the end, which the front must bring about.
fn drain(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

fn connect(front: &Front) -> TcpStream {
    TcpStream::connect(("127.0.0.1", front.port)).unwrap()
}

fn waiting(front: &Front, command: &str) -> Child {
    let mut ssh = front.ssh();
    ssh.args(["justin@127.0.0.1", command]).stdout(Stdio::piped()).stderr(Stdio::null());
    ssh.spawn().unwrap()
}

#[test]
fn a_client_without_a_login_is_hung_up_on_after_the_grace_time() {
    let front = Front::start(Limits { login_seconds: 1, ..Limits::default() }, &[]);
    assert_eq!(drain(&connect(&front)), b"SSH-2.0-wgmfa\r\n");

    let polite = connect(&front);
    (&polite).write_all(b"SSH-2.0-silent\r\n").unwrap();
    assert!(drain(&polite).starts_with(b"SSH-2.0-wgmfa\r\n"));

    // the keeper has asked nothing yet when the time is over
    let (_, _, status) = run(front.ssh().args(["mute@127.0.0.1", "hello"]));
    assert_eq!(status, 255);
    front.told.wait_for(&["\"gone\""]);

    // the person thinks too long
    let slow = front.path().join("slow");
    std::fs::write(&slow, "#!/bin/sh\nsleep 2\n").unwrap();
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (_, _, status) = run(front.ssh().env("SSH_ASKPASS", &slow).args(["justin@127.0.0.1", "hello"]));
    assert_eq!(status, 255);
    assert_eq!(front.told.count("\"answers\""), 0);
}

#[test]
fn noise_at_the_port_ends_that_connection_only() {
    let front = Front::start(Limits::default(), &[]);
    let noise = [b"\0".repeat(4096), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), b"x\r\n".repeat(100_000), {
        let mut binary = b"SSH-2.0-x\r\n".to_vec();
        binary.extend((0..8192u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()));
        binary
    }];
    for noise in noise {
        let stream = connect(&front);
        let _ = (&stream).write_all(&noise);
        drain(&stream);
    }
    let (stdout, stderr, _) = run(front.ssh().args(["justin@127.0.0.1", "hello"]));
    assert_eq!(stdout, "hello\nworld\n", "{stderr}");
}

#[test]
fn connections_without_a_login_are_counted_by_source_and_a_login_frees_its_place() {
    let front = Front::start(Limits { connections_per_source: 2, ..Limits::default() }, &[]);
    let mut first = [waiting(&front, "wait"), waiting(&front, "wait")];
    for child in &mut first {
        // logged in once it says `waiting`
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    }
    let silent = [connect(&front), connect(&front)];
    for mut stream in &silent {
        stream.read_exact(&mut [0; 15]).unwrap();
    }
    assert_eq!(drain(&connect(&front)), b"");
    assert!(front.log().contains("127.0.0.1: too many connections without a login"), "{}", front.log());
    for child in &mut first {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn connections_in_all_are_counted() {
    let front = Front::start(Limits { connections: 1, ..Limits::default() }, &[]);
    let mut first = waiting(&front, "wait");
    first.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    assert_eq!(drain(&connect(&front)), b"");
    first.kill().unwrap();
    first.wait().unwrap();
    front.told.wait_for(&["\"gone\""]);
}

#[test]
fn a_persons_connection_ends_when_its_time_is_over() {
    let front = Front::start(Limits { session_seconds: 5, ..Limits::default() }, &[]);
    let (stdout, _, status) = run(front.ssh().args(["justin@127.0.0.1", "wait"]));
    assert_eq!((stdout.as_str(), status), ("waiting\n", 255));
    front.told.wait_for(&["\"gone\""]);
}

#[test]
fn a_command_without_an_end_keeps_its_connection_until_the_keeper_ends_it() {
    let front = Front::start(Limits { session_seconds: 5, ..Limits::default() }, &[]);
    let mut staying = waiting(&front, "stay");
    staying.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    // one that was begun later comes to its end
    let (_, _, status) = run(front.ssh().args(["justin@127.0.0.1", "wait"]));
    assert_eq!((status, staying.try_wait().unwrap()), (255, None));
    front.say(&ToFront::End { conversation: 1, reason: "enough".into() });
    assert_eq!(staying.wait().unwrap().code(), Some(255));
}

#[test]
fn a_hosts_connection_goes_on() {
    let keys = tempfile::tempdir().unwrap();
    let key = front::keygen(keys.path(), "host", "ed25519");
    let limits = Limits { session_seconds: 5, login_seconds: 5, ..Limits::default() };
    let front = Front::start(limits, &[front::public(&key)]);
    let identity = format!("IdentityFile={}", key.display());
    let mut ssh = front.ssh_with(&["-o", "PubkeyAuthentication=yes", "-o", &identity]);
    let mut host =
        ssh.args(["-s", "agent@127.0.0.1", "count"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    front.told.wait_for(&["exec"]);
    // a person's connection, begun later, comes to its end: so the host's would have, too
    let (_, _, status) = run(front.ssh().args(["justin@127.0.0.1", "wait"]));
    assert_eq!(status, 255);
    let long = "x".repeat(1 << 20);
    writeln!(host.stdin.take().unwrap(), "{long}").unwrap();
    let output = host.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 lines, 1048576 bytes\n");
}

#[test]
fn a_client_that_does_not_read_loses_its_connection_and_holds_up_nobody() {
    let front = Front::start(Limits::default(), &[]);
    let mut slow = waiting(&front, "flood");
    front.told.wait_for(&["flood"]);
    let (stdout, stderr, _) = run(front.ssh().args(["justin@127.0.0.1", "hello"]));
    assert_eq!(stdout, "hello\nworld\n", "{stderr}");
    front.told.wait_for(&["\"gone\"", "\"conversation\":1}"]);
    assert!(front.log().contains("reads too slowly"), "{}", front.log());
    let memory = std::fs::read_to_string(format!("/proc/{}/status", front.pid())).unwrap();
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} kB");
    slow.kill().unwrap();
    slow.wait().unwrap();
}

#[test]
fn a_client_that_reads_late_gets_all_that_the_keeper_hands_out_at_its_pace() {
    let front = Front::start(Limits::default(), &[]);
    let mut late = waiting(&front, "paced");
    front.told.wait_for(&["\"taken\""]);
    // what fits into buffers on the way is taken, and no more until somebody reads
    let (stdout, stderr, _) = run(front.ssh().args(["justin@127.0.0.1", "hello"]));
    assert_eq!(stdout, "hello\nworld\n", "{stderr}");
    assert!(front.told.count("\"taken\"") < 200, "{}", front.told.count("\"taken\""));
    let mut all = Vec::new();
    late.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), late.wait().unwrap().code()), (401 * 65536, Some(0)));
    assert_eq!(front.told.count("\"taken\""), 400);
    assert!(!front.log().contains("reads too slowly"), "{}", front.log());
}

#[test]
fn the_keeper_can_hang_up_and_its_end_is_the_fronts_end() {
    let mut front = Front::start(Limits::default(), &[]);
    let mut person = waiting(&front, "wait");
    front.told.wait_for(&["exec"]);
    front.say(&ToFront::End { conversation: 1, reason: "a newer connection of this host".into() });
    assert_eq!(person.wait().unwrap().code(), Some(255));
    front.told.wait_for(&["\"gone\""]);
    assert_eq!(front.lose_the_keeper(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", front.port)).is_err());
}

#[test]
fn the_front_holds_nothing_but_its_sockets() {
    let front = Front::start(Limits::default(), &[]);
    run(front.ssh().args(["justin@127.0.0.1", "hello"]));
    let status = std::fs::read_to_string(format!("/proc/{}/status", front.pid())).unwrap();
    for line in [
        "NoNewPrivs:\t1",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "Seccomp:\t2",
        "Threads:\t1",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", front.pid())).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")), "{limits}");
    assert_eq!(
        front
            .log()
            .replace("wgmfa-bastion front: warning: this kernel has no landlock: files are not fenced off\n", ""),
        ""
    );
}
