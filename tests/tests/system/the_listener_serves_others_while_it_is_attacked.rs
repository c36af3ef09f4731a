//! The listener inside the tunnel is open to whoever holds a WireGuard key: garbage, half lines and a thousand connections
//! neither bring it down nor keep others out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{CODE_PORT, GATEWAY6, LAPTOP6, PROTECTED};
use wgmfa_tests::lab::GATEWAY;
use wgmfa_tests::wait::{LONG, until};

/// What comes back for these bytes until the gateway hangs up.
fn say(gated: &Gated, bytes: &[u8]) -> String {
    gated.lab.laptop.machine.within(|| {
        let mut stream = TcpStream::connect((GATEWAY, CODE_PORT)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(70))).expect("an option");
        let mut said = Vec::new();
        // it may hang up before all is written
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Memory of the agent, in KiB.
fn memory(gated: &Gated) -> u64 {
    let agent = gated.lab.gateway.agent.as_ref().expect("it runs");
    // `ip netns exec` executes it in its place
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn garbage_is_answered_and_forgotten() {
    let mut gated = Gated::with_resident_agent("5m");
    let before = memory(&gated);
    for bytes in [
        &b"\0\xff\x1b[2J\n"[..],
        b"12345",
        b"status",
        &[b'1'; 65],
        &vec![b'x'; 1 << 20],
        b"\n\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let said = say(&gated, bytes);
        assert!(said.starts_with("wgmfa app-gw: ") || said.is_empty(), "{said:?}");
        assert!(!said.contains('\u{1b}') && !said.contains("xxxx"), "nothing is echoed: {said:?}");
        assert!(!said.contains("ok:"), "{said:?}");
    }
    assert!(memory(&gated) < before + 8 * 1024, "memory is bounded");
    gated.open();
    gated.await_open(PROTECTED);
}

#[test]
fn a_thousand_connections_leave_room_for_others() {
    let mut gated = Gated::with_resident_agent("5m");
    let before = memory(&gated);
    let held: Vec<TcpStream> = gated.lab.laptop.machine.within(|| {
        let connect = |_| {
            TcpStream::connect_timeout(&format!("{GATEWAY}:{CODE_PORT}").parse().ok()?, Duration::from_secs(5)).ok()
        };
        (0..1000).filter_map(connect).collect()
    });
    assert!(held.len() > 4, "it listens");
    assert!(memory(&gated) < before + 16 * 1024, "memory is bounded");
    // another address of the same peer is another person's, for all the gateway knows of connections
    until("room for another address", LONG, || {
        gated.ask_from(LAPTOP6, GATEWAY6, "status\n").contains("\nclosed: ").then_some(())
    });
    // nor is it known that a connection is gone when a packet is lost: the oldest one makes room
    until("room for this one", LONG, || gated.ask("status\n").contains("\nclosed: ").then_some(()));
    drop(held);
    gated.open();
    gated.await_open(PROTECTED);
}
