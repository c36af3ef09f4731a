//! A laptop with a tunnel to a gateway, and a gateway that says what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wgmfa_tests::machine::{Machine, Wire, unique};
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::terminal::Terminal;
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel};
use wgmfa_tests::wait::{LONG, until};

/// What a gateway asks first.
pub const QUESTION: &str = "wgmfa app-gw: one-time code for justins-laptop:";
/// What it says to a good code.
pub const OK: &str = "ok: prod until 15:55 (60 min)";
/// The good code.
pub const CODE: &str = "123456";

/// A laptop and a gateway. The gateway is 10.77.0.1 and fd77::1 in the tunnel and 10.99.0.1 outside of it.
pub struct Inside {
    /// None: the laptop has no interface yet.
    pub tunnel: Option<Tunnel>,
    pub keys: Keys,
    pub laptop: Machine,
    pub gateway: Machine,
    pub gateway_key: String,
    _gateway_tunnel: Tunnel,
    _wire: Wire,
}

impl Inside {
    pub fn new() -> Self {
        let mut inside = Self::without_interface();
        let peer = PeerConfig {
            public_key: inside.gateway_key.clone(),
            preshared_key: None,
            endpoint: Some("10.99.0.1:51820".to_owned()),
            allowed_ips: "10.77.0.1/32, fd77::1/128, 10.78.0.0/16".to_owned(),
        };
        let (laptop, name) = (&inside.laptop, format!("{}0", inside.laptop.namespace()));
        let tunnel = Tunnel::up(laptop, &name, inside.keys.clone(), "10.77.0.2/24", 0, &[peer]);
        laptop.ip(&["addr", "add", "fd77::2/64", "dev", &name, "nodad"]);
        inside.tunnel = Some(tunnel);
        inside
    }

    /// The laptop's interface is still to be made.
    pub fn without_interface() -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let (gateway, laptop) = (Machine::new(&format!("{name}g")), Machine::new(&format!("{name}l")));
        let addresses = [wire.plug(&gateway), wire.plug(&laptop)];
        assert_eq!(addresses, ["10.99.0.1", "10.99.0.2"]);
        let (keys, gateway_keys) = (Keys::generate(), Keys::generate());
        let peer = PeerConfig {
            public_key: keys.public.clone(),
            preshared_key: None,
            endpoint: None,
            allowed_ips: "10.77.0.2/32, fd77::2/128".to_owned(),
        };
        let gateway_key = gateway_keys.public.clone();
        let interface = format!("{}0", gateway.namespace());
        let gateway_tunnel = Tunnel::up(&gateway, &interface, gateway_keys, "10.77.0.1/24", 51820, &[peer]);
        gateway.ip(&["addr", "add", "fd77::1/64", "dev", &interface, "nodad"]);
        std::fs::create_dir(laptop.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wgmfa"), laptop.path("bin/wgmfa")).unwrap();
        Self { tunnel: None, keys, laptop, gateway, gateway_key, _gateway_tunnel: gateway_tunnel, _wire: wire }
    }

    /// The laptop's interface.
    pub fn interface(&self) -> &str {
        &self.tunnel.as_ref().unwrap().name
    }

    /// A program that stands in front of those of the system on the laptop.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.laptop.write(&format!("bin/{name}"), script);
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A command on the laptop. systemd-ask-password, which the system may have, is not there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = self.laptop.path("path");
        if !path.exists() {
            std::fs::create_dir(&path).unwrap();
            for folder in ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
                for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                    let _ = std::os::unix::fs::symlink(entry.path(), path.join(entry.file_name()));
                }
            }
            std::fs::remove_file(path.join("systemd-ask-password")).unwrap_or_default();
        }
        let mut command = self.laptop.command(program);
        let path = format!("{}:{}", self.laptop.path("bin").display(), path.display());
        command.env("PATH", path).env("HOME", self.laptop.folder()).env_remove("SUDO_UID");
        command
    }

    /// `wgmfa code` with these words.
    pub fn code(&self, words: &[&str]) -> Command {
        let mut command = self.command(self.laptop.path("bin/wgmfa"));
        command.arg("code").args(words);
        command
    }

    /// The same on a terminal.
    pub fn on_a_terminal(&self, words: &[&str]) -> Terminal {
        Terminal::start(&self.code(words))
    }

    /// The same without any terminal, with this on standard input.
    #[track_caller]
    pub fn without_terminal(&self, words: &[&str], stdin: &str) -> Ended {
        run(&mut without_terminal(&self.code(words)), stdin.as_bytes())
    }
}

/// A command in a session of its own, which has no terminal.
pub fn without_terminal(command: &Command) -> Command {
    let mut session = Command::new("setsid");
    session.arg("--wait").arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => session.env(key, value),
            None => session.env_remove(key),
        };
    }
    session
}

/// A gateway that plays a script with each who calls. Dropped, nobody listens any more.
pub struct Listener {
    socket: Arc<TcpListener>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// What one caller has said.
#[derive(Debug, Clone)]
pub struct Call {
    pub from: IpAddr,
    pub said: Vec<String>,
}

/// The caller, as the script sees it.
pub struct Caller {
    lines: BufReader<TcpStream>,
    calls: Arc<Mutex<Vec<Call>>>,
    number: usize,
}

impl Caller {
    /// Says a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends bytes; false: nobody takes them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.lines.get_mut().write_all(bytes).is_ok()
    }

    /// The next line; none: the caller has hung up.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let heard = self.lines.read_line(&mut line).is_ok_and(|length| length > 0);
        let line = heard.then(|| line.trim_end_matches('\n').to_owned())?;
        self.calls.lock().unwrap()[self.number].said.push(line.clone());
        Some(line)
    }

    /// Waits until the caller has hung up.
    pub fn hear_out(&mut self) {
        while self.hear().is_some() {}
    }
}

impl Listener {
    /// Listens on a port of the gateway, on all its addresses.
    pub fn on(gateway: &Machine, port: u16, script: impl Fn(&mut Caller) + Clone + Send + 'static) -> Self {
        let anywhere: SocketAddr = format!("[::]:{port}").parse().unwrap();
        let socket = Arc::new(gateway.within(|| TcpListener::bind(anywhere).unwrap()));
        let listener = Self { socket: Arc::clone(&socket), calls: Arc::default() };
        let calls = Arc::clone(&listener.calls);
        std::thread::spawn(move || {
            while let Ok((stream, from)) = socket.accept() {
                stream.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
                let number = {
                    let mut calls = calls.lock().unwrap();
                    calls.push(Call { from: from.ip().to_canonical(), said: Vec::new() });
                    calls.len() - 1
                };
                let mut caller = Caller { lines: BufReader::new(stream), calls: Arc::clone(&calls), number };
                let script = script.clone();
                std::thread::spawn(move || script(&mut caller));
            }
        });
        listener
    }

    /// A gateway as it should be: it takes [`CODE`], and counts down four tries.
    pub fn good(gateway: &Machine) -> Self {
        Self::on(gateway, 7777, |caller| {
            caller.say(QUESTION);
            let mut tries_left = 5;
            while let Some(line) = caller.hear() {
                match line.as_str() {
                    CODE => caller.say(OK),
                    "tier admin" => caller.say("wgmfa app-gw: one-time code for justins-laptop, tier admin:"),
                    "tier nosuch" => caller.say("no such tier"),
                    _ if tries_left == 1 => caller.say("locked for 30 s"),
                    _ => {
                        tries_left -= 1;
                        caller.say(&format!("wrong code, {tries_left} tries left"));
                    }
                }
            }
        })
    }

    /// Everyone who has called so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// What the only caller has said, once it is so many lines.
    #[track_caller]
    pub fn said(&self, lines: usize) -> Vec<String> {
        until("what the caller says", LONG, || {
            let calls = self.calls();
            assert!(calls.len() <= 1, "{calls:?}");
            calls.first().map(|call| call.said.clone()).filter(|said| said.len() >= lines)
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // who waits for the next caller is woken by that
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    }
}
