//! Somebody's machine at the other end of a real tunnel: a network namespace of its own, wired to the gateway's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wgmfa_core::message::agent::PeerRef;

use crate::bed::{Bed, run, text, wait_until, wg_key};

/// The gateway inside every tunnel.
pub const GATEWAY: &str = "10.7.255.1";
pub const GATEWAY6: &str = "fd07::1";

/// What only a tier opens: an address of the gateway with a port that answers, standing for the network behind it.
pub const PROTECTED: &str = "10.1.0.5";

/// What this test's tiers are.
pub const TIERS: &str = "[tier.prod]\nallow = [\"10.1.0.0/16\"]\n[tier.admin]\nallow = [\"10.2.0.0/16\"]\nfrom = \"prod\"\nlifetime = \"10m\"\n";

/// How long a line of the gateway may take. Only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Person {
    pub peer: PeerRef,
    pub address: String,
    pub address6: String,
    namespace: String,
    interface: String,
    daemon: Option<Child>,
}

impl Bed {
    /// Gives the gateway its addresses, its tiers, and something to protect.
    pub fn with_gate(peers: usize) -> Self {
        let bed = Self::new(peers);
        bed.bastion.uncover(&bed.peers);
        bed.configure(TIERS);
        bed.set_addresses();
        bed.ip(&["addr", "add", &format!("{PROTECTED}/32"), "dev", "lo"]);
        bed.ip(&["addr", "add", "10.2.0.5/32", "dev", "lo"]);
        bed
    }

    /// Gives the interface its addresses and routes.
    pub fn set_addresses(&self) {
        for words in [
            &["addr", "add", &format!("{GATEWAY}/32"), "dev", &self.interface][..],
            &["addr", "add", &format!("{GATEWAY6}/128"), "dev", &self.interface, "nodad"],
            &["link", "set", &self.interface, "up"],
            &["route", "add", "10.7.0.0/16", "dev", &self.interface],
            &["route", "add", "fd07::/64", "dev", &self.interface],
        ] {
            self.ip(words);
        }
    }

    /// A conversation that somebody on the gateway itself begins.
    pub fn talk_from_gateway(&self, address: &str) -> Talk {
        let to = SocketAddr::new(address.parse().unwrap(), 7777);
        Talk::new(inside(self.namespace(), || TcpStream::connect(to)).unwrap())
    }

    pub fn ip(&self, words: &[&str]) {
        run("ip", &[&["-n", self.namespace()], words].concat());
    }

    /// Somebody with a tunnel to the gateway, known by one address of each kind.
    pub fn person(&self, number: u8) -> Person {
        let (namespace, interface) = (format!("{}p{number}", self.namespace()), format!("{}p{number}", self.interface));
        let secret = wg_key(&["genkey"], None);
        let public = wg_key(&["pubkey"], Some(&secret));
        let (address, address6) = (format!("10.7.9.{number}"), format!("fd07::9:{number}"));
        run("ip", &["netns", "add", &namespace]);
        let peer = PeerRef { interface: self.interface.parse().unwrap(), public_key: public.parse().unwrap() };
        let mut person = Person {
            peer,
            address,
            address6,
            namespace: namespace.clone(),
            interface: interface.clone(),
            daemon: None,
        };
        self.add_peer(&person);
        let wire = format!("v{number}");
        #[rustfmt::skip]
        run("ip", &["link", "add", &wire, "netns", self.namespace(), "type", "veth", "peer", "name", "wire", "netns", &namespace]);
        self.ip(&["addr", "add", &format!("10.99.{number}.1/24"), "dev", &wire]);
        self.ip(&["link", "set", &wire, "up"]);
        let inside = |words: &[&str]| run("ip", &[&["-n", namespace.as_str()], words].concat());
        inside(&["addr", "add", &format!("10.99.{number}.2/24"), "dev", "wire"]);
        inside(&["link", "set", "wire", "up"]);
        inside(&["link", "set", "lo", "up"]);
        let daemon = Command::new("ip")
            .args(["netns", "exec", &namespace, "wireguard-go", "-f", &interface])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        person.daemon = Some(daemon);
        wait_until("the interface", || {
            std::os::unix::net::UnixStream::connect(format!("/var/run/wireguard/{interface}.sock")).is_ok()
        });
        std::fs::write(self.path("secret"), &secret).unwrap();
        let out = self.wg(&["set", &interface, "private-key", self.path("secret").to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
        person.joins(self);
        inside(&["addr", "add", &format!("{}/32", person.address), "dev", &interface]);
        inside(&["addr", "add", &format!("{}/128", person.address6), "dev", &interface, "nodad"]);
        inside(&["link", "set", &interface, "up"]);
        inside(&["route", "add", "10.0.0.0/8", "dev", &interface]);
        inside(&["route", "add", "fd07::/64", "dev", &interface]);
        person
    }

    /// Makes somebody a peer of the interface.
    pub fn add_peer(&self, person: &Person) {
        let allowed = format!("{}/32,{}/128", person.address, person.address6);
        let key = person.peer.public_key.to_string();
        let out = self.wg(&["set", &self.interface, "peer", &key, "allowed-ips", &allowed]);
        assert!(out.status.success(), "{out:?}");
    }

    /// Something that answers on an address of the gateway as long as it lives.
    pub fn serve(&self, address: &str) -> TcpListener {
        let listener = inside(self.namespace(), || TcpListener::bind((address, 80)).unwrap());
        let answering = listener.try_clone().unwrap();
        std::thread::spawn(move || while answering.accept().is_ok() {});
        listener
    }
}

impl Person {
    /// Begins a conversation.
    pub fn talk(&self) -> Talk {
        self.talk_to(GATEWAY, 7777).expect("the gateway listens")
    }

    /// The same as soon as the agent listens.
    pub fn talk_to_when_open(&self) -> Talk {
        let mut talk = None;
        wait_until("the gateway to listen", || {
            let to = SocketAddr::new(GATEWAY.parse().unwrap(), 7777);
            let connected = inside(&self.namespace, || TcpStream::connect_timeout(&to, Duration::from_secs(1)));
            talk = connected.ok().map(Talk::new);
            talk.is_some()
        });
        talk.unwrap()
    }

    pub fn talk_to(&self, address: &str, port: u16) -> std::io::Result<Talk> {
        let to = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        inside(&self.namespace, || TcpStream::connect_timeout(&to, PATIENCE)).map(Talk::new)
    }

    /// Whether the gateway lets this machine reach an address now.
    pub fn reaches(&self, address: &str) -> bool {
        let to = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 80);
        // long enough for one answer, and for a packet that is sent again
        inside(&self.namespace, || TcpStream::connect_timeout(&to, Duration::from_millis(1500))).is_ok()
    }

    /// Waits until it does: one connection alone can be late on a slow machine.
    pub fn await_reach(&self, address: &str) {
        wait_until(&format!("{address} to be reached"), || self.reaches(address));
    }

    /// Makes the gateway its peer, with no session.
    pub fn joins(&self, bed: &Bed) {
        let server = text(&bed.wg(&["show", &bed.interface, "public-key"]).stdout);
        let endpoint = format!("10.99.{}.1:51820", self.address.rsplit_once('.').unwrap().1);
        bed.wg(&["set", &self.interface, "peer", server.trim(), "remove"]);
        let more = ["endpoint", &endpoint, "allowed-ips", "10.0.0.0/8,fd07::/64"];
        let out = bed.wg(&[&["set", &self.interface, "peer", server.trim()][..], &more].concat());
        assert!(out.status.success(), "{out:?}");
    }

    /// Puts a preshared key on the tunnel, as `wgmfa sync` does.
    pub fn set_key(&self, bed: &Bed, key: &str) {
        std::fs::write(bed.path("psk"), key).unwrap();
        let server = text(&bed.wg(&["show", &bed.interface, "public-key"]).stdout);
        let file = bed.path("psk");
        let words = ["set", &self.interface, "peer", server.trim(), "preshared-key", file.to_str().unwrap()];
        assert!(bed.wg(&words).status.success());
    }

    /// Sends what is for this address past the tunnel.
    pub fn goes_past_the_tunnel(&self, address: &str) {
        let via = self.address.rsplit_once('.').unwrap().1;
        let (to, via) = (format!("{address}/32"), format!("10.99.{via}.1"));
        run("ip", &["-n", &self.namespace, "route", "replace", &to, "via", &via, "dev", "wire"]);
    }

    /// Gives this machine another address too.
    pub fn add_address(&self, address: &str) {
        run("ip", &["-n", &self.namespace, "addr", "add", address, "dev", &self.interface]);
    }

    /// Connects from a chosen source address.
    pub fn connects_from(&self, source: &str) -> bool {
        let ended = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "timeout", "3", "ncat", "-s", source, "-w", "2", GATEWAY, "7777"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        !ended.stdout.is_empty()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        run("ip", &["netns", "del", &self.namespace]);
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.interface));
    }
}

/// Lines to and fro.
pub struct Talk {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// The next line of the gateway; empty: it has hung up.
    pub fn hears(&mut self) -> String {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(_) => line.trim_end().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("the gateway says nothing: {error}"),
        }
    }

    /// All that comes until the gateway hangs up.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.lines.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }

    pub fn says(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says a line, hears one.
    pub fn asks(&mut self, line: &str) -> String {
        self.says(format!("{line}\n").as_bytes());
        self.hears()
    }

    pub fn says_no_more(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// Does something in a network namespace.
fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    let there = || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(there).join().unwrap())
}
