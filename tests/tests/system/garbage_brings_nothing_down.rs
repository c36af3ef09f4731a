//! Whatever comes on a socket: the bastion stays, its memory stays, and people are served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use serde_json::json;
use wgmfa_tests::bastion::{Bastion, PORT};
use wgmfa_tests::wait::{LONG, until};

use super::conversation::Conversation;
use super::site::Site;

/// The most memory that the keeper and the front may have used, in KiB. A password takes 19 MiB for a moment, two
/// are compared at a time, and a line of an agent may have 8 MiB.
const MOST_MEMORY: u64 = 96 * 1024;

/// Bytes that are no message of anything.
fn garbage(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect()
}

/// The keeper and its front are those they were, and have stayed small.
#[track_caller]
fn unharmed(bastion: &Bastion, before: &[Pid]) {
    until("the workers to end", LONG, || (processes(bastion) == before).then_some(()));
    for pid in before {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most memory so far");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < MOST_MEMORY, "process {pid} has used {peak} KiB");
    }
}

/// The keeper and the front.
fn processes(bastion: &Bastion) -> Vec<Pid> {
    let serve = bastion.serve.as_ref().expect("it runs").pid();
    let listed = std::fs::read_to_string(format!("/proc/{serve}/task/{serve}/children")).expect("it runs");
    let children = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
    std::iter::once(serve).chain(children).collect()
}

/// Writes until the other side has had enough, or all is written; then reads what it says, until it hangs up.
fn blurt(stream: &mut (impl Read + Write), bytes: &[u8]) -> Vec<u8> {
    for piece in bytes.chunks(64 * 1024) {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

#[test]
fn on_the_ssh_port() {
    let mut site = Site::new();
    let before = processes(&site.bastion);
    let address: SocketAddr = format!("{}:{PORT}", site.bastion.address).parse().unwrap();
    let machine = std::sync::Arc::clone(&site.justin.laptop.machine);
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    // a line that never ends, lines before the version that never end, packets of a length that cannot be
    let endless = vec![b'x'; 4 << 20];
    let lines = b"not a version\r\n".repeat(100_000);
    let packet = [b"SSH-2.0-x\r\n".as_slice(), &[0xff; 4096]].concat();
    let kex = [b"SSH-2.0-x\r\n".as_slice(), &0x8000u32.to_be_bytes(), &garbage(1 << 20)].concat();
    for bytes in [garbage(1 << 20), endless, lines, packet, kex] {
        machine.within(|| {
            let said = blurt(&mut connect(), &bytes);
            assert!(said.len() < 4096, "{} bytes for garbage", said.len());
        });
    }
    // connections that say nothing, or half a line, and stay
    let _open = machine.within(|| {
        let half = || {
            let mut stream = connect();
            let _ = stream.write_all(b"SSH-2.0-half");
            stream
        };
        (0..16).map(|_| half()).collect::<Vec<_>>()
    });
    site.justin.ssh(&["wgmfa-status"]).ok();
    unharmed(&site.bastion, &before);
}

#[test]
fn a_thousand_connections() {
    let mut site = Site::new();
    let before = processes(&site.bastion);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let address: SocketAddr = format!("{}:{PORT}", site.bastion.address).parse().unwrap();
    let machine = std::sync::Arc::clone(&site.justin.laptop.machine);
    // one machine takes no more than its share: the others are hung up on
    let flood = machine.within(|| (0..1000).filter_map(|_| TcpStream::connect(address).ok()).collect::<Vec<_>>());
    assert_eq!(flood.len(), 1000);
    let admitted = flood
        .iter()
        .filter(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            matches!((&**stream).read(&mut [0; 64]), Ok(count) if count > 0) // the banner
        })
        .count();
    assert_eq!(admitted, 32);
    let mut alice = site.person("alice");
    alice.ssh(&["wgmfa-status"]).ok();
    assert_eq!(site.justin.laptop.ssh_as_set(&["wgmfa-status"]).code(), 255);
    unharmed(&site.bastion, &before);
    drop(flood);
    until("a place for justin", LONG, || {
        machine.within(|| {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.read(&mut [0; 64]).is_ok_and(|count| count > 0).then_some(())
        })
    });
    site.justin.ssh(&["wgmfa-status"]).ok();
}

#[test]
fn on_the_sockets_of_the_machine() {
    let mut site = Site::new();
    let before = processes(&site.bastion);
    let deep = "[".repeat(100_000);
    for name in ["keeper.sock", "admin.sock"] {
        let path = site.bastion.folder().join("run").join(name);
        let connect = || {
            let stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let half = connect();
        (&half).write_all(b"{\"type\":\"begin\",").unwrap();
        for bytes in [
            garbage(1 << 20),
            vec![b'x'; 20 << 20],
            format!("{deep}\n").into_bytes(),
            b"\n\n\n".to_vec(),
            b"{}\n".to_vec(),
            b"{\"type\":\"answers\",\"password\":\"x\",\"code\":\"x\"}\n".to_vec(),
            b"{\"type\":\"begin\",\"version\":2,\"user\":\"justin\",\"password\":true,\"otp\":true}\n".to_vec(),
            b"{\"type\":\"begin\",\"version\":1,\"user\":\"justin\",\"password\":false,\"otp\":false}\n".to_vec(),
            b"{\"version\":9,\"words\":[\"user\",\"list\"]}\n".to_vec(),
        ] {
            let said = blurt(&mut connect(), &bytes);
            assert!(said.is_empty(), "{name} answers: {}", String::from_utf8_lossy(&said));
        }
        // nobody but root may ask
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    site.justin.ssh(&["wgmfa-status"]).ok();
    unharmed(&site.bastion, &before);
}

#[test]
fn on_the_subsystems() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let before = processes(&site.bastion);
    let host = site.host("app-gw");
    host.connect(false).wait_with_keys(&[&device], 1);

    let bad = |mut conversation: Conversation, bytes: &[u8]| {
        conversation.say(bytes);
        conversation.hush();
        while conversation.hear().is_some() {}
        conversation.end()
    };
    for (bytes, words) in [
        (garbage(64), "wgmfa"),
        (b"{\"version\":1,\"public_keys\":[\"short\"]}\n".to_vec(), "the first line: not a message"),
        (vec![b'x'; 1 << 20], "a line is longer than 65536 bytes"),
        (b"\n".repeat(100_000), ""),
    ] {
        let (status, said) = bad(site.justin.subsystem("wgmfa-sync"), &bytes);
        assert!(!status.success() && said.contains(words), "{status}: {said}");
    }
    assert_eq!(site.count("released"), 0);

    // before the proof, and after it
    // what grows sixfold and twofold when it is wrapped for the keeper
    let grown = |byte: u8| [vec![byte; 6 << 20], b"\n".to_vec()].concat();
    for bytes in [garbage(64), vec![b'x'; 1 << 20], b"\n".repeat(10_000), grown(1), grown(b'"')] {
        let (status, _) = bad(host.challenged().0, &bytes);
        assert!(!status.success());
    }
    for bytes in [garbage(64), vec![b'x'; 9 << 20], b"{\"type\":\"hello\"}\n".to_vec(), grown(1), grown(b'"')] {
        let (status, _) = bad(host.connect(false).conversation, &bytes);
        assert!(!status.success());
    }
    // a report that would fill the log gets a bounded number of lines
    let mut agent = host.connect(false);
    let events = vec![json!({"event": "lock", "reason": "x\u{1b}[31m\nx", "seconds_ago": 0}); 5000];
    agent.conversation.say_json(&json!({"type": "report", "interfaces": [], "events": events}));
    assert_eq!(agent.conversation.hear_json()["type"], "assignments");
    assert_eq!(site.count("locked"), 200);
    assert!(
        site.bastion.log("noted").iter().any(|line| line["reason"] == "4800 more events of this host were not listed")
    );
    let shown = site.bastion.admin(&["log"]).ok().stdout;
    assert!(!shown.contains('\u{1b}') && !shown.contains("[31m\nx"), "what a host says does not reach a terminal");
    drop(agent);

    unharmed(&site.bastion, &before);
    host.connect(false).wait_with_keys(&[&device], 2);
    site.justin.ssh(&["wgmfa-sync"]).ok();
    site.bastion.admin(&["log", "verify"]).ok();
}
