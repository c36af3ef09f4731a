//! Two network namespaces joined by a cable, a userspace WireGuard interface in each: a server and a client.
//!
//! Names are unique for each test process and lab; everything is gone when the lab is dropped. Needs root, `ip`, `wg` and
//! `wireguard-go`.
#![allow(dead_code)] // each test uses its part

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;

/// One side: a namespace with one WireGuard interface.
pub struct Side {
    pub namespace: Namespace,
    pub name: InterfaceName,
    pub public_key: PublicKey,
    pub address: &'static str,
}

pub struct Lab {
    pub server: Side,
    pub client: Side,
    pub preshared_key: PresharedKey,
}

static LABS: AtomicUsize = AtomicUsize::new(0);

impl Lab {
    /// The tunnel works. `WGMFA_TEST_WIREGUARD` chooses another implementation: `kernel`, or a daemon's path.
    pub fn up() -> Self {
        let implementation = std::env::var("WGMFA_TEST_WIREGUARD").unwrap_or_else(|_| "wireguard-go".to_owned());
        let prefix = prefix();
        let side = |letter: char, address| Side {
            namespace: Namespace::add(format!("{prefix}{letter}")),
            name: format!("{prefix}{letter}").parse().unwrap(),
            public_key: PublicKey::from_bytes([0; 32]),
            address,
        };
        let mut lab =
            Self { server: side('s', "10.77.0.1"), client: side('c', "10.77.0.2"), preshared_key: random_key() };
        let (s, c) = (lab.server.namespace.0.clone(), lab.client.namespace.0.clone());
        let (vs, vc) = (format!("v{s}"), format!("v{c}"));
        run(&["ip", "link", "add", &vs, "netns", &s, "type", "veth", "peer", "name", &vc, "netns", &c]);
        let (private_s, public_s) = pair();
        let (private_c, public_c) = pair();
        for (side, link, outer, private_key) in
            [(&mut lab.server, &vs, "10.99.0.1", private_s), (&mut lab.client, &vc, "10.99.0.2", private_c)]
        {
            let namespace = side.namespace.0.as_str();
            run(&["ip", "-n", namespace, "addr", "add", &format!("{outer}/24"), "dev", link]);
            run(&["ip", "-n", namespace, "link", "set", link, "up"]);
            if implementation == "kernel" {
                run(&["ip", "-n", namespace, "link", "add", side.name.as_str(), "type", "wireguard"]);
            } else {
                run(&["ip", "netns", "exec", namespace, &implementation, side.name.as_str()]);
            }
            run(&["ip", "-n", namespace, "addr", "add", &format!("{}/24", side.address), "dev", side.name.as_str()]);
            run(&["ip", "-n", namespace, "link", "set", side.name.as_str(), "up"]);
            side.wg(&["set", side.name.as_str(), "listen-port", "51820", "private-key", "/dev/stdin"], &private_key);
        }
        lab.server.public_key = public_s;
        lab.client.public_key = public_c;
        lab.server.add_peer(&public_c, &lab.preshared_key, "10.77.0.2/32,fd77::2/128", &[]);
        lab.client.add_peer(
            &public_s,
            &lab.preshared_key,
            "10.77.0.0/24,fd77::/64",
            &["endpoint", "10.99.0.1:51820", "persistent-keepalive", "25"],
        );
        lab
    }
}

/// A network namespace; its end is the end of every process in it.
pub struct Namespace(pub String);

impl Namespace {
    pub fn add(name: String) -> Self {
        run(&["ip", "netns", "add", &name]);
        run(&["ip", "-n", &name, "link", "set", "lo", "up"]);
        Self(name)
    }

    pub fn processes(&self) -> Vec<Pid> {
        let out = Command::new("ip").args(["netns", "pids", &self.0]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().filter_map(|line| line.parse().ok().map(Pid::from_raw)).collect()
    }

    /// Runs `act` on a thread in this namespace.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
        let _ = fs::remove_file(socket(&self.0));
    }
}

/// Where the daemon of a userspace interface listens.
pub fn socket(name: &str) -> String {
    format!("/var/run/wireguard/{name}.sock")
}

impl Side {
    pub fn add_peer(&self, peer: &PublicKey, key: &PresharedKey, allowed_ips: &str, more: &[&str]) {
        let peer = peer.to_string();
        let command =
            ["set", self.name.as_str(), "peer", &peer, "preshared-key", "/dev/stdin", "allowed-ips", allowed_ips];
        self.wg(&[&command[..], more].concat(), &key.expose_base64());
    }

    /// `wg` in this side's namespace.
    pub fn wg(&self, arguments: &[&str], input: &str) -> Output {
        run_with(&[&["ip", "netns", "exec", &self.namespace.0, "wg"], arguments].concat(), input)
    }

    /// Runs `act` on a thread in this side's namespace.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(act)
    }

    /// What `wg show NAME dump` says, line by line, split at tabs.
    pub fn dump(&self) -> Vec<Vec<String>> {
        let out = self.wg(&["show", self.name.as_str(), "dump"], "");
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// As a power cut does it: the socket stays behind.
    pub fn kill_daemon(&self) {
        self.namespace.processes().into_iter().for_each(|pid| kill(pid, Signal::SIGKILL).unwrap());
        await_that("the daemon is gone", || UnixStream::connect(socket(self.name.as_str())).is_err());
    }
}

/// Letters and digits, short enough that two more make an interface's name of at most 15 characters.
pub fn prefix() -> String {
    format!("w{}n{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed))
}

pub fn random_key() -> PresharedKey {
    let out = run(&["wg", "genpsk"]);
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}

pub fn pair() -> (String, PublicKey) {
    let private = String::from_utf8(run(&["wg", "genkey"]).stdout).unwrap();
    let public = String::from_utf8(run_with(&["wg", "pubkey"], &private).stdout).unwrap();
    (private, public.trim().parse().unwrap())
}

pub fn run(command: &[&str]) -> Output {
    run_with(command, "")
}

pub fn run_with(command: &[&str], input: &str) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .env("LOG_LEVEL", "silent") // wireguard-go
        .env("WG_SUDO", "1") // boringtun stays root
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}: {}", command.join(" "), out.status);
    out
}

/// Waits for what sends no event; gives up after a time in which it must have happened.
pub fn await_that(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Numbered datagrams through the tunnel and the numbers that come back.
pub struct Echo {
    socket: UdpSocket,
    to: SocketAddr,
    next: u64,
}

impl Echo {
    /// A server that sends back what it gets, until the process ends, and a client of it.
    pub fn between(client: &Side, server: &Side) -> Self {
        let to: SocketAddr = format!("{}:7", server.address).parse().unwrap();
        let socket = server.inside(|| UdpSocket::bind(to).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 8];
            while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..bytes], from);
            }
        });
        let socket = client.inside(|| UdpSocket::bind((client.address, 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self { socket, to, next: 0 }
    }

    /// Sends the next number and returns it.
    pub fn send(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        // refused while the tunnel has no key: as good as lost
        let _ = self.socket.send_to(&number.to_be_bytes(), self.to);
        number
    }

    /// A number that came back, if one comes within some milliseconds.
    pub fn receive(&self) -> Option<u64> {
        let mut buffer = [0; 8];
        self.socket.recv(&mut buffer).ok().map(|_| u64::from_be_bytes(buffer))
    }

    /// Sends until an answer comes to something sent from now on.
    pub fn await_answer(&mut self) {
        let first = self.next;
        await_that("an answer through the tunnel", || {
            self.send();
            self.receive().is_some_and(|number| number >= first)
        });
    }
}
