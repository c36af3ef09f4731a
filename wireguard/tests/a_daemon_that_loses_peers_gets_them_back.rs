//! Daemons that do not keep a peer which is removed and added again in one request, played by a socket.

mod lab;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use lab::{Namespace, prefix, run, socket};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::{EndpointRule, Error, read, readd, set_preshared_key};

/// What a daemon does with the sections of one request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// `remove` and values stay set from section to section; the daemon dies when it is told to change a peer (boringtun).
    Boringtun,
    /// Adds first, removes then.
    AddsFirst,
    /// Takes nothing and says that all is well.
    Deaf,
}

type Peers = BTreeMap<String, Vec<String>>;

fn serve(listener: &UnixListener, manner: Manner, mut peers: Peers) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        if lines.first().is_some_and(|line| line == "get=1") {
            answer(&mut stream, manner, &peers);
        } else if lines.first().is_some_and(|line| line == "set=1") {
            if !change(&mut peers, manner, &lines[1..]) {
                return;
            }
            stream.write_all(b"errno=0\n\n").unwrap();
        } else {
            return;
        }
    }
}

fn answer(stream: &mut UnixStream, manner: Manner, peers: &Peers) {
    let own = if manner == Manner::Boringtun { "own_public_key" } else { "private_key" };
    let mut text = format!("{own}={}\n", "11".repeat(32));
    for (public_key, lines) in peers {
        text += &format!("public_key={public_key}\n{}\n", lines.join("\n"));
    }
    stream.write_all(format!("{text}errno=0\n\n").as_bytes()).unwrap();
}

/// False: the daemon is dead.
fn change(peers: &mut Peers, manner: Manner, lines: &[String]) -> bool {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines {
        match line.strip_prefix("public_key=") {
            Some(public_key) => sections.push((public_key.to_owned(), Vec::new())),
            None => sections.last_mut().unwrap().1.push(line.clone()),
        }
    }
    let removes = |lines: &[String]| lines.iter().any(|line| line == "remove=true");
    match manner {
        Manner::Deaf => {}
        Manner::AddsFirst => {
            sections.sort_by_key(|(_, lines)| removes(lines));
            for (public_key, lines) in sections {
                if removes(&lines) {
                    peers.remove(&public_key)
                } else {
                    peers.insert(public_key, settings(&lines))
                };
            }
        }
        Manner::Boringtun => {
            let mut sticky: Vec<String> = Vec::new();
            for (public_key, lines) in sections {
                assert!(!lines.iter().any(|line| line.starts_with("update_only")), "boringtun answers EINVAL");
                sticky.extend(lines);
                if removes(&sticky) {
                    peers.remove(&public_key);
                } else if peers.insert(public_key, settings(&sticky)).is_some() {
                    return false;
                }
            }
        }
    }
    true
}

fn settings(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !line.starts_with("replace_allowed_ips")).cloned().collect()
}

const NUMBERS: std::ops::Range<u8> = 1..5;

fn changes(kind: u8) -> Vec<(PublicKey, PresharedKey)> {
    let change = |n| (PublicKey::from_bytes([n; 32]), PresharedKey::from_bytes([kind + n; 32]).unwrap());
    NUMBERS.map(change).collect()
}

/// An interface with four peers, each different, whose daemon has this manner.
fn with_daemon(manner: Manner, act: impl FnOnce(&InterfaceName) + Send) {
    let namespace = Namespace::add(prefix());
    run(&["ip", "-n", &namespace.0, "tuntap", "add", &namespace.0, "mode", "tun"]);
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    let listener = UnixListener::bind(socket(&namespace.0)).unwrap();
    let peer = |n: u8| {
        let mut lines = vec![format!("preshared_key={}", "09".repeat(32)), format!("endpoint=192.0.2.{n}:51820")];
        lines.extend(n.is_multiple_of(2).then(|| "persistent_keepalive_interval=25".to_owned()));
        lines.extend([format!("allowed_ip=10.0.{n}.0/24"), format!("allowed_ip=fd00::{n}/128")]);
        (format!("{n:02x}").repeat(32), lines)
    };
    let daemon = std::thread::spawn(move || serve(&listener, manner, NUMBERS.map(peer).collect()));
    namespace.inside(|| act(&namespace.0.parse().unwrap()));
    if let Ok(mut stream) = UnixStream::connect(socket(&namespace.0)) {
        stream.write_all(b"end\n\n").unwrap();
    }
    daemon.join().unwrap();
}

fn expect(name: &InterfaceName, kind: u8, endpoint: EndpointRule) {
    let interface = read(name).unwrap();
    assert_eq!(interface.peers.len(), NUMBERS.len());
    for (n, (public_key, key)) in NUMBERS.zip(changes(kind)) {
        let peer = interface.peer(&public_key).unwrap();
        assert_eq!(peer.preshared_key.as_ref(), Some(&key));
        let kept = Some(format!("192.0.2.{n}:51820").parse().unwrap()).filter(|_| endpoint == EndpointRule::Keep);
        assert_eq!(peer.endpoint, kept);
        assert_eq!(peer.persistent_keepalive, n.is_multiple_of(2).then_some(25));
        let allowed_ips: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        assert_eq!(allowed_ips, [format!("10.0.{n}.0/24"), format!("fd00::{n}/128")]);
    }
}

#[test]
fn boringtun_keeps_every_peer_and_is_never_told_to_change_one() {
    with_daemon(Manner::Boringtun, |name| {
        set_preshared_key(name, &changes(10)).unwrap();
        expect(name, 10, EndpointRule::Keep);
        readd(name, &changes(20), EndpointRule::Keep).unwrap();
        expect(name, 20, EndpointRule::Keep);
        readd(name, &changes(30), EndpointRule::Drop).unwrap();
        expect(name, 30, EndpointRule::Drop);
    });
}

#[test]
fn a_peer_that_is_missing_after_the_change_is_added_again() {
    with_daemon(Manner::AddsFirst, |name| {
        readd(name, &changes(10), EndpointRule::Drop).unwrap();
        expect(name, 10, EndpointRule::Drop);
    });
}

#[test]
fn a_change_that_did_not_take_is_told_with_its_peers_and_without_keys() {
    with_daemon(Manner::Deaf, |name| {
        let asked = &changes(10)[..2];
        for outcome in [set_preshared_key(name, asked), readd(name, asked, EndpointRule::Keep)] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::NotTaken(..)));
            let expected = format!("{name}: the change did not take effect for: {}, {}", asked[0].0, asked[1].0);
            assert_eq!(error.to_string(), expected);
        }
        expect_unchanged(name);
    });
}

fn expect_unchanged(name: &InterfaceName) {
    let old = PresharedKey::from_bytes([9; 32]).unwrap();
    assert!(read(name).unwrap().peers.iter().all(|peer| peer.preshared_key.as_ref() == Some(&old)));
}
