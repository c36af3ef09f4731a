//! A network namespace with a real userspace WireGuard interface in it, an agent's folder, and a scripted bastion.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wgmfa_core::key::PublicKey;
use wgmfa_core::message::agent::PeerRef;

use crate::bastion::Bastion;

/// How long a condition may take to come true. Only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(40);

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Waits for a condition.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything one test needs; gone when dropped.
pub struct Bed {
    pub interface: String,
    pub folder: tempfile::TempDir,
    pub bastion: Bastion,
    pub peers: Vec<PeerRef>,
    /// The preshared key that the file gives to every peer before wgmfa comes.
    pub configured: String,
    namespace: String,
    daemons: Vec<Child>,
    /// Interfaces that were ever made: a daemon that is killed leaves its socket behind.
    made: Vec<String>,
}

impl Bed {
    /// An interface with so many peers, its file, an agent that was never started, and a bastion that knows it.
    pub fn new(peers: usize) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("a{}x{number}", std::process::id());
        let interface = namespace.clone();
        let folder = tempfile::tempdir().unwrap();
        run("ip", &["netns", "add", &namespace]);
        run("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let bastion = Bastion::start(&namespace, &interface);
        let configured = wg_key(&["genpsk"], None);
        let mut bed = Self {
            interface,
            folder,
            bastion,
            peers: Vec::new(),
            configured,
            namespace,
            daemons: Vec::new(),
            made: Vec::new(),
        };
        bed.add_interface(&bed.interface.clone());
        let mut text =
            format!("# the office\n[Interface]\nPrivateKey = {}\nListenPort = 51820\n", wg_key(&["genkey"], None));
        for number in 0..peers {
            let public_key = PublicKey::from_bytes(rand::random());
            text.push_str(&format!(
                "\n[Peer]\nPublicKey = {public_key}\nPresharedKey = {}\nAllowedIPs = 10.7.{}.{}/32\n",
                bed.configured,
                number / 200,
                number % 200 + 1
            ));
            bed.peers.push(PeerRef { interface: bed.interface.parse().unwrap(), public_key });
        }
        std::fs::create_dir(bed.path("wireguard")).unwrap();
        std::fs::write(bed.file(), text).unwrap();
        std::fs::set_permissions(bed.file(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        bed.set_from_file();
        let port = bed.bastion.port();
        let known = bed.bastion.known_host("x");
        let bastion = format!("127.0.0.1:{port}");
        let made =
            bed.agent(&["init", "--bastion", &bastion, "--host", "app-gw", "--known-host", &known, "--print-key"]);
        assert!(made.status.success(), "{made:?}");
        bed.bastion.accept(String::from_utf8(made.stdout).unwrap().trim());
        bed.configure("");
        bed.bastion.cover(&bed.peers, 3600);
        bed
    }

    /// Starts another userspace interface in the same namespace.
    pub fn add_interface(&mut self, name: &str) {
        let log = std::fs::File::create(self.path("wireguard-go")).unwrap();
        let daemon = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "wireguard-go", "-f", name])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("wireguard-go is installed and this runs as root");
        self.daemons.push(daemon);
        self.made.push(name.to_owned());
        wait_until("the interface", || {
            let ended = self.daemons.last_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", std::fs::read_to_string(self.path("wireguard-go")).unwrap());
            // Not with wg: it removes a socket on which nobody listens yet.
            std::os::unix::net::UnixStream::connect(format!("/var/run/wireguard/{name}.sock")).is_ok()
        });
    }

    /// The machine goes down: the interface is gone, the files stay.
    pub fn remove_interface(&mut self) {
        let mut daemon = self.daemons.remove(0);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.interface));
    }

    /// What `wg-quick up` does with the keys of the file.
    pub fn set_from_file(&self) {
        let out = self.wg(&["setconf", &self.interface, self.file().to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
    }

    /// Writes the configuration anew, with more lines.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "bastion = \"127.0.0.1:{}\"\nhost = \"app-gw\"\nidentity = \"{}\"\nknown-hosts = \"{}\"\nstate-dir = \"{}\"\n\
             wireguard-dir = \"{}\"\n{more}\n",
            self.bastion.port(),
            self.path("agent_ed25519").display(),
            self.path("known_hosts").display(),
            self.path("state").display(),
            self.path("wireguard").display(),
        );
        std::fs::write(self.path("agent.toml"), text).unwrap();
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The interface's configuration file.
    pub fn file(&self) -> PathBuf {
        self.path("wireguard").join(format!("{}.conf", self.interface))
    }

    /// The preshared keys in that file, in order.
    pub fn keys_in_file(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file()).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("PresharedKey = ")).map(str::to_owned).collect()
    }

    /// The agent, with words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, env!("CARGO_BIN_EXE_wgmfa-agent")]);
        command.arg("--config").arg(self.path("agent.toml")).args(words);
        command
    }

    /// Runs the agent to its end.
    pub fn agent(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the agent with text on its standard input.
    pub fn agent_reads(&self, words: &[&str], input: &str) -> Output {
        let path = self.path("input");
        std::fs::write(&path, input).unwrap();
        self.command(words).stdin(std::fs::File::open(path).unwrap()).output().unwrap()
    }

    /// A round that must go well and say nothing.
    pub fn rotate(&self) {
        let out = self.agent(&["rotate"]);
        assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
    }

    /// A resident agent.
    pub fn resident(&self) -> Resident {
        self.resident_with(&[])
    }

    /// A resident agent with environment variables.
    pub fn resident_with(&self, variables: &[(&str, &str)]) -> Resident {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = self
            .command(&["run"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Resident(child)
    }

    pub fn wg(&self, words: &[&str]) -> Output {
        Command::new("wg").args(words).output().unwrap()
    }

    /// Puts a preshared key on a peer, as an administrator would.
    pub fn set_key(&self, peer: usize, key: &str) {
        let path = self.path("psk");
        std::fs::write(&path, key).unwrap();
        let peer = self.peers[peer].public_key.to_string();
        let out = self.wg(&["set", &self.interface, "peer", &peer, "preshared-key", path.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
    }

    /// The preshared key that stands on a peer now, as `wg` shows it.
    pub fn key_on(&self, peer: usize) -> String {
        preshared_keys(&self.interface)[&self.peers[peer].public_key].clone()
    }

    /// Whether the bastion waits with the key that stands on the peer.
    pub fn is_waiting(&self, peer: usize) -> bool {
        self.bastion.waiting_key(&self.peers[peer]).is_some_and(|key| key == self.key_on(peer))
    }

    pub fn state_text(&self) -> String {
        std::fs::read_to_string(self.path("state/state.json")).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.bastion.stop();
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        run("ip", &["netns", "del", &self.namespace]);
        for name in &self.made {
            let _ = std::fs::remove_file(format!("/var/run/wireguard/{name}.sock"));
        }
    }
}

/// A resident agent that ends with its test.
pub struct Resident(pub Child);

impl Resident {
    /// SIGTERM, then its exit status.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The preshared keys of an interface, as `wg` shows them.
pub fn preshared_keys(interface: &str) -> BTreeMap<PublicKey, String> {
    let out = Command::new("wg").args(["show", interface, "preshared-keys"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(peer, key)| (peer.parse().unwrap(), key.to_owned()))
        .collect()
}

/// What `wg genkey`, `wg genpsk` or `wg pubkey` prints.
pub fn wg_key(words: &[&str], input: Option<&str>) -> String {
    use std::io::Write as _;
    let mut child =
        Command::new("wg").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("wg is installed");
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

pub fn run(program: &str, words: &[&str]) {
    let out = Command::new(program).args(words).output().unwrap();
    assert!(out.status.success(), "{program} {words:?}: {out:?}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
