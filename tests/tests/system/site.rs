//! A bastion, people, and hosts that the test plays itself with stock tools: for what is decided before a packet flows.
//! No tunnel is made. Recovery codes stand in for one-time codes where any code will do: nobody has to wait for the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wgmfa_tests::bastion::{Bastion, PASSWORD};
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::lab::{USER, policy};
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, Wire, unique, write_private};
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::tunnel::{Keys, Tunnel, genkey};

use super::conversation::Conversation;

/// The interface of every host here.
pub const INTERFACE: &str = "wg0";

/// The name by which a person's device is known.
pub fn device_of(user: &str) -> String {
    format!("{user}s-laptop")
}

/// A person at a machine of their own.
pub struct Person {
    pub laptop: Laptop,
    /// Codes that are good for one login each.
    recovery: Vec<String>,
}

impl Person {
    /// A code that was not used yet.
    pub fn fresh_code(&mut self) -> String {
        self.recovery.pop().expect("a person has ten recovery codes")
    }

    /// Stock `ssh` with a code that was not used yet.
    #[track_caller]
    pub fn ssh(&mut self, words: &[&str]) -> Ended {
        let code = self.fresh_code();
        self.laptop.set_code(&code);
        self.laptop.ssh_as_set(words)
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn ssh_with(&mut self, words: &[&str], stdin: &[u8]) -> Ended {
        let code = self.fresh_code();
        self.laptop.set_code(&code);
        run(self.laptop.command("ssh").arg("-F").arg(self.laptop.ssh_config()).arg("bastion").args(words), stdin)
    }

    /// A command that goes on, on a new connection, with a code that was not used yet.
    pub fn start(&mut self, words: &[&str]) -> Conversation {
        let code = self.fresh_code();
        self.laptop.set_code(&code);
        let mut ssh = self.laptop.command("ssh");
        Conversation::start(ssh.arg("-F").arg(self.laptop.ssh_config()).args(words))
    }

    /// A subsystem, on a new connection, with a code that was not used yet.
    pub fn subsystem(&mut self, name: &str) -> Conversation {
        self.start(&["-s", "bastion", name])
    }

    /// The public key of the device.
    pub fn public_key(&self) -> &str {
        &self.laptop.tunnel.keys.public
    }

    /// A connection that several commands share, as `ControlMaster` keeps it. One login.
    #[track_caller]
    pub fn master(&mut self) -> Master<'_> {
        let code = self.fresh_code();
        self.laptop.set_code(&code);
        let path = self.laptop.machine.path("master");
        let socket = path.to_string_lossy().into_owned();
        // stays with the machine, in whose network namespace it is ended
        let mut ssh = self.laptop.command("ssh");
        ssh.arg("-F").arg(self.laptop.ssh_config()).args(["-M", "-S", &socket, "-f", "-N", "-n", "bastion"]);
        ssh.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        assert!(ssh.status().is_ok_and(|status| status.success()), "the login of a connection to share");
        Master { laptop: &self.laptop, socket }
    }
}

/// A connection that several commands share.
pub struct Master<'a> {
    laptop: &'a Laptop,
    socket: String,
}

impl Master<'_> {
    /// `ssh` over this connection; it is ended when it hangs.
    #[track_caller]
    pub fn ssh(&self, words: &[&str]) -> Ended {
        self.run("ssh", words)
    }

    /// A command that goes on, over this connection.
    pub fn start(&self, words: &[&str]) -> Conversation {
        let mut ssh = self.laptop.command("ssh");
        ssh.arg("-F").arg(self.laptop.ssh_config()).args(["-o", &format!("ControlPath={}", self.socket)]);
        Conversation::start(ssh.args(words))
    }

    /// `ssh`, `scp` or `sftp` over this connection.
    #[track_caller]
    pub fn run(&self, program: &str, words: &[&str]) -> Ended {
        let mut command = self.laptop.command("timeout");
        command.args(["20", program, "-F"]).arg(self.laptop.ssh_config());
        run(command.args(["-o", &format!("ControlPath={}", self.socket)]).args(words), b"")
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        let mut ssh = self.laptop.command("ssh");
        let _ =
            ssh.arg("-F").arg(self.laptop.ssh_config()).args(["-S", &self.socket, "-O", "exit", "bastion"]).output();
    }
}

/// A bastion and the people it knows.
pub struct Site {
    pub justin: Person,
    pub bastion: Bastion,
    pub wire: Wire,
    /// The machine of all hosts.
    hosts: Arc<Machine>,
}

impl Site {
    /// A bastion as `init` makes it, with one policy; justin and his laptop.
    #[track_caller]
    pub fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    /// The same; the machine and the bastion on it are changed before it starts.
    #[track_caller]
    pub fn with(machine_is: impl FnOnce(&mut Machine), bastion_is: impl FnOnce(&Bastion)) -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let mut machine = Machine::new(&format!("{name}b"));
        machine_is(&mut machine);
        let hosts = Arc::new(Machine::new(&format!("{name}g")));
        let address = wire.plug(&machine);
        wire.plug(&hosts);
        let mut bastion = Bastion::init(&Arc::new(machine), &address);
        bastion.policy("101-devices.toml", &policy("1h", &format!("*/{INTERFACE}")));
        bastion_is(&bastion);
        bastion.start();
        let justin = person(&mut wire, &bastion, USER, &[]);
        Self { justin, bastion, wire, hosts }
    }

    /// Another person with a machine and a device.
    #[track_caller]
    pub fn person(&mut self, user: &str) -> Person {
        person(&mut self.wire, &self.bastion, user, &[])
    }

    /// An administrator with a machine and a device.
    #[track_caller]
    pub fn administrator(&mut self, user: &str) -> Person {
        person(&mut self.wire, &self.bastion, user, &["--admin"])
    }

    /// A further device; gives its public key.
    #[track_caller]
    pub fn device(&self, name: &str, owner: &str) -> String {
        let public_key = Keys::generate().public;
        self.bastion.add_device(name, owner, &public_key);
        public_key
    }

    /// A host that the bastion knows, and that the test plays.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        let identity = self.hosts.path(&format!("{name}_ed25519"));
        let mut keygen = self.hosts.command("ssh-keygen");
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&identity), b"").ok();
        let line = std::fs::read_to_string(identity.with_extension("pub")).expect("ssh-keygen makes it");
        self.bastion.add_host(name, &line);
        self.hosts.write("known_hosts", &self.bastion.known_hosts());
        Host {
            name: name.to_owned(),
            keys: Keys::generate(),
            identity,
            address: self.bastion.address.clone(),
            machine: Arc::clone(&self.hosts),
        }
    }

    /// Events of this kind in the audit log.
    #[track_caller]
    pub fn count(&self, event: &str) -> usize {
        self.bastion.log(event).len()
    }
}

fn person(wire: &mut Wire, bastion: &Bastion, user: &str, role: &[&str]) -> Person {
    let machine = Arc::new(Machine::new(&format!("{}l", unique())));
    wire.plug(&machine);
    let words = [&["--json", "user", "add", user, "--password-stdin"], role].concat();
    let added = bastion.admin_with(&words, format!("{PASSWORD}\n").as_bytes()).ok().json();
    let codes = added["recovery_codes"].as_array().expect("recovery codes").iter();
    let recovery = codes.map(|code| code.as_str().expect("a text").to_owned()).collect();
    let authenticator = Authenticator::from_url(added["otpauth_url"].as_str().expect("an otpauth URL"));
    let (name, keys) = (machine.namespace().to_owned(), Keys::generate());
    bastion.add_device(&device_of(user), user, &keys.public);
    let tunnel = Tunnel { name, keys, address: String::new() };
    Person { laptop: Laptop::of(&machine, tunnel, user, authenticator, bastion), recovery }
}

/// A host, played with `ssh` and `ssh-keygen`.
pub struct Host {
    pub name: String,
    /// Of its interface.
    pub keys: Keys,
    pub identity: PathBuf,
    address: String,
    machine: Arc<Machine>,
}

impl Host {
    /// `ssh` to the bastion with this host's key.
    pub fn ssh(&self, user: &str, words: &[&str]) -> std::process::Command {
        let mut command = self.machine.command("timeout");
        command.args(["180", "ssh", "-F", "none", "-p", &wgmfa_tests::bastion::PORT.to_string(), "-l", user]);
        command.args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.machine.path("known_hosts").display()));
        command.arg("-i").arg(&self.identity).args(words);
        command
    }

    /// A connection that has been challenged; gives the nonce too.
    #[track_caller]
    pub fn challenged(&self) -> (Conversation, String) {
        let agent = Conversation::start(&mut self.ssh("agent", &["-s", &self.address, "wgmfa-agent"]));
        let challenge = agent.hear_json();
        assert_eq!(challenge["type"], "challenge");
        let nonce = challenge["nonce"].as_str().expect("a nonce").to_owned();
        (agent, nonce)
    }

    /// Where the bastion is.
    pub fn bastion(&self) -> &str {
        &self.address
    }

    /// The first line of an agent that comes under a name, with a signature over a nonce.
    pub fn hello(&self, name: &str, nonce: &str, resident: bool) -> Value {
        let text = format!("wgmfa-agent-v1 {name} {nonce}");
        let mut sign = self.machine.command("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", "wgmfa-agent-v1", "-f"]).arg(&self.identity);
        let signature = run(&mut sign, text.as_bytes()).ok().stdout;
        json!({"type": "hello", "version": 1, "host": name, "signature": signature, "resident": resident})
    }

    /// A connection that has proved itself.
    #[track_caller]
    pub fn connect(&self, resident: bool) -> Agent<'_> {
        let (mut conversation, nonce) = self.challenged();
        conversation.say_json(&self.hello(&self.name, &nonce, resident));
        assert_eq!(conversation.hear_json()["type"], "welcome");
        Agent { host: self, conversation }
    }
}

/// The agent of a host, played.
pub struct Agent<'a> {
    host: &'a Host,
    pub conversation: Conversation,
}

impl Agent<'_> {
    /// Reports these peers; gives the assignments.
    #[track_caller]
    pub fn report(&mut self, peers: &[&str], next_in_seconds: Option<u64>) -> Value {
        let peers: Vec<Value> =
            peers.iter().map(|peer| json!({"public_key": peer, "has_preshared_key": true})).collect();
        let interface = json!({"name": INTERFACE, "public_key": self.host.keys.public, "peers": peers});
        let report = json!({"type": "report", "interfaces": [interface], "next_in_seconds": next_in_seconds});
        self.conversation.say_json(&report);
        let answer = self.conversation.hear_json();
        assert_eq!(answer["type"], "assignments", "{answer}");
        answer
    }

    /// Deposits a generation for each of these peers; gives the keys.
    #[track_caller]
    pub fn deposit(&mut self, peers: &[&str], generation: u64) -> Vec<String> {
        let keys: Vec<String> = peers.iter().map(|_| genkey()).collect();
        let deposits: Vec<Value> = peers
            .iter()
            .zip(&keys)
            .map(|(peer, key)| {
                json!({"interface": INTERFACE, "public_key": peer, "generation": generation, "preshared_key": key})
            })
            .collect();
        self.conversation.say_json(&json!({"type": "deposit", "deposits": deposits}));
        let stored = self.conversation.hear_json();
        assert_eq!(stored["deposits"].as_array().map(Vec::len), Some(peers.len()), "{stored}");
        keys
    }

    /// Says that the server side accepts these generations.
    #[track_caller]
    pub fn applied(&mut self, peers: &[&str], generation: u64) {
        let applied: Vec<Value> = peers
            .iter()
            .map(|peer| json!({"interface": INTERFACE, "public_key": peer, "generation": generation}))
            .collect();
        self.conversation.say_json(&json!({"type": "applied", "applied": applied}));
        let noted = self.conversation.hear_json();
        assert_eq!(noted["applied"].as_array().map(Vec::len), Some(peers.len()), "{noted}");
    }

    /// A whole round after which a key waits for each of these peers; gives the keys.
    #[track_caller]
    pub fn wait_with_keys(&mut self, peers: &[&str], generation: u64) -> Vec<String> {
        self.report(peers, Some(3600));
        let keys = self.deposit(peers, generation);
        self.applied(peers, generation);
        keys
    }
}

/// Puts a PAM module behind ours that lets nobody go on while there is a file `closed` in the bastion's machine.
pub fn gate(bastion: &Bastion) {
    let wait = "#!/bin/sh\nwhile [ -e \"$(dirname \"$0\")/closed\" ]; do sleep 0.05; done\n";
    let path = bastion.machine.write("gate", wait);
    let service = bastion.folder().join("pam.d/wgmfa");
    let stack = std::fs::read_to_string(&service).expect("init makes it");
    write_private(&service, &format!("{stack}auth required pam_exec.so quiet /bin/sh {}\n", path.display()));
}

/// The time step of RFC 6238 that is now.
pub fn step_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 30
}

/// The words for every refused login.
pub const REFUSAL: &str =
    "login refused: password or code wrong, code already used, or too many tries; wait for the next code";

/// A refusal comes no sooner than this after the last answer, whatever its reason.
pub const REFUSAL_AFTER: Duration = Duration::from_millis(700);
