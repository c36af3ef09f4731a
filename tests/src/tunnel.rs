//! WireGuard interfaces: userspace, or the kernel's where it has any. Looked at through `wg`, from outside.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::{Machine, write_private};
use crate::program::run;

/// A pair of keys as `wg genkey` and `wg pubkey` make them.
#[derive(Clone)]
pub struct Keys {
    /// The private key.
    pub private: String,
    /// The public key.
    pub public: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.public)
    }
}

impl Keys {
    /// New ones.
    pub fn generate() -> Self {
        let private = genkey();
        let public = run(Command::new("wg").arg("pubkey"), private.as_bytes()).ok().stdout.trim_end().to_owned();
        Self { private, public }
    }
}

/// A random key.
pub fn genkey() -> String {
    run(Command::new("wg").arg("genkey"), b"").ok().stdout.trim_end().to_owned()
}

/// What a peer is like, as `[Peer]` has it.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Its public key.
    pub public_key: String,
    /// Its preshared key.
    pub preshared_key: Option<String>,
    /// Where it is.
    pub endpoint: Option<String>,
    /// What may come from it.
    pub allowed_ips: String,
}

/// A WireGuard interface in a machine. Dropped, it is gone with its daemon.
#[derive(Debug)]
pub struct Tunnel {
    /// Its name; userspace WireGuard needs one that no other machine has.
    pub name: String,
    /// Its keys.
    pub keys: Keys,
    /// Its own address with a prefix length.
    pub address: String,
}

impl Tunnel {
    /// Makes the interface, configures it and brings it up.
    ///
    /// # Panics
    /// There is no WireGuard at all.
    pub fn up(
        machine: &Machine,
        name: &str,
        keys: Keys,
        address: &str,
        listen_port: u16,
        peers: &[PeerConfig],
    ) -> Self {
        let tunnel = Self { name: name.to_owned(), keys, address: address.to_owned() };
        let mut text = format!("[Interface]\nPrivateKey = {}\nListenPort = {listen_port}\n", tunnel.keys.private);
        for peer in peers {
            text += &format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = {}\n", peer.public_key, peer.allowed_ips);
            text += &peer.preshared_key.iter().map(|key| format!("PresharedKey = {key}\n")).collect::<String>();
            text += &peer.endpoint.iter().map(|endpoint| format!("Endpoint = {endpoint}\n")).collect::<String>();
        }
        let file = machine.path(&format!("{name}.conf"));
        write_private(&file, &text);
        tunnel.make(machine, &file);
        tunnel
    }

    /// Makes the interface from a file for `wg setconf`: also after a reboot.
    pub fn make(&self, machine: &Machine, file: &Path) {
        self.forget();
        let kernel = machine.command("ip").args(["link", "add", &self.name, "type", "wireguard"]).output();
        if !kernel.is_ok_and(|output| output.status.success()) {
            // it goes on in the background with the outputs that it was given, so these must not be pipes
            let mut daemon = machine.command("wireguard-go");
            daemon.arg(&self.name).env("LOG_LEVEL", "error").stdout(Stdio::null()).stderr(Stdio::null());
            assert!(daemon.status().is_ok_and(|status| status.success()), "wireguard-go {} failed", self.name);
        }
        machine.run("wg", &["setconf", &self.name, &file.to_string_lossy()]).ok();
        machine.ip(&["addr", "add", &self.address, "dev", &self.name]);
        machine.ip(&["link", "set", &self.name, "mtu", "1420", "up"]);
    }

    /// Takes the interface away, as a reboot would.
    pub fn down(&self, machine: &Machine) {
        machine.ip(&["link", "del", &self.name]);
        self.forget();
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.name));
    }

    /// The preshared key of a peer, as it is now; none: none.
    ///
    /// # Panics
    /// The interface has no such peer.
    #[track_caller]
    pub fn preshared_key(&self, machine: &Machine, peer: &str) -> Option<String> {
        let key = self.show(machine, "preshared-keys", peer);
        (key != "(none)").then_some(key)
    }

    /// When the latest handshake was, in seconds since 1970; 0: never.
    ///
    /// # Panics
    /// The interface has no such peer.
    #[track_caller]
    pub fn latest_handshake(&self, machine: &Machine, peer: &str) -> u64 {
        self.show(machine, "latest-handshakes", peer).parse().expect("a number")
    }

    /// How many bytes have come from a peer.
    ///
    /// # Panics
    /// The interface has no such peer.
    #[track_caller]
    pub fn received(&self, machine: &Machine, peer: &str) -> u64 {
        let transfer = self.show(machine, "transfer", peer);
        transfer.split('\t').next().and_then(|received| received.parse().ok()).expect("a number")
    }

    /// Removes a peer and adds it again with this preshared key; what else is known of it stays. No session outlives that.
    ///
    /// # Panics
    /// The interface has no such peer, or does not take the key.
    #[track_caller]
    pub fn readd(&self, machine: &Machine, peer: &str, preshared_key: &str) {
        let (endpoint, allowed_ips) = (self.endpoint(machine, peer), self.allowed_ips(machine, peer).replace(' ', ","));
        machine.run("wg", &["set", &self.name, "peer", peer, "remove"]).ok();
        let mut command = machine.command("wg");
        command.args(["set", &self.name, "peer", peer, "allowed-ips", &allowed_ips, "preshared-key", "/dev/stdin"]);
        if endpoint != "(none)" {
            command.args(["endpoint", &endpoint]);
        }
        run(&mut command, preshared_key.as_bytes()).ok();
    }

    /// The allowed IPs of a peer, parted by spaces.
    ///
    /// # Panics
    /// The interface has no such peer.
    #[track_caller]
    pub fn allowed_ips(&self, machine: &Machine, peer: &str) -> String {
        self.show(machine, "allowed-ips", peer)
    }

    /// The endpoint of a peer.
    ///
    /// # Panics
    /// The interface has no such peer.
    #[track_caller]
    pub fn endpoint(&self, machine: &Machine, peer: &str) -> String {
        self.show(machine, "endpoints", peer)
    }

    /// The public keys of the peers.
    pub fn peers(&self, machine: &Machine) -> Vec<String> {
        let shown = machine.run("wg", &["show", &self.name, "peers"]).ok().stdout;
        shown.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn show(&self, machine: &Machine, what: &str, peer: &str) -> String {
        let shown = machine.run("wg", &["show", &self.name, what]).ok().stdout;
        let line = shown.lines().find_map(|line| line.strip_prefix(peer)?.strip_prefix('\t'));
        line.unwrap_or_else(|| panic!("{}: no peer {peer}: {shown}", self.name)).to_owned()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.forget();
        let _ = std::fs::remove_file(format!("/run/wgmfa-client/{}.json", self.name));
    }
}
