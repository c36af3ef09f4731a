//! A laptop with an interface, and a bastion that says what a test wants.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel, genkey};

/// Plays the bastion: takes the hello, gives the answer, takes what the client says.
const SSH: &str = "#!/bin/sh
[ \"$1\" = -G ] && exit 1
folder=$(dirname \"$0\")
printf '%s\\n' \"$@\" >\"$folder/arguments\"
id -u >\"$folder/uid\"
[ -e \"$folder/complaint\" ] && cat \"$folder/complaint\" >&2
case \"$*\" in *' -s -- '*) read -r hello && printf '%s\\n' \"$hello\" >\"$folder/hello\" ;; esac
[ -e \"$folder/answer\" ] && cat \"$folder/answer\"
[ -e \"$folder/hang\" ] && exec sleep 1000
# who has not said a whole line waits for no answer
[ -e \"$folder/answer\" ] && [ \"$(tail -c 1 \"$folder/answer\" | wc -l)\" = 1 ] && cat >\"$folder/said\"
exit \"$(cat \"$folder/status\")\"
";

/// A laptop whose interface has two peers.
pub struct Scene {
    pub tunnel: Tunnel,
    /// The public keys of the peers.
    pub peers: [String; 2],
    pub machine: Machine,
}

impl Scene {
    pub fn new() -> Self {
        let name = unique();
        let machine = Machine::new(&name);
        let peers = [Keys::generate().public, Keys::generate().public];
        let configs = [0, 1].map(|number: usize| PeerConfig {
            public_key: peers[number].clone(),
            preshared_key: Some(genkey()),
            endpoint: Some(format!("10.99.0.{}:51820", number + 1)),
            allowed_ips: format!("10.77.{number}.0/24, fd77:{number}::/64"),
        });
        let tunnel = Tunnel::up(&machine, &format!("{name}0"), Keys::generate(), "10.77.0.2/32", 0, &configs);
        let scene = Self { tunnel, peers, machine };
        std::fs::create_dir(scene.machine.path("bin")).unwrap();
        scene.machine.write("bin/ssh", SSH);
        std::fs::set_permissions(scene.machine.path("bin/ssh"), PermissionsExt::from_mode(0o755)).unwrap();
        scene.bastion_ends(0);
        scene
    }

    /// What the bastion (or `ssh`) ends with.
    pub fn bastion_ends(&self, status: i32) {
        self.machine.write("bin/status", &format!("{status}\n"));
    }

    /// What the bastion answers.
    pub fn bastion_answers(&self, answer: &str) {
        self.machine.write("bin/answer", answer);
    }

    /// A release of these keys, as the bastion writes it.
    pub fn release(&self, keys: &[Value]) -> Value {
        json!({"version": 1, "user": "justin", "device": "justins-laptop", "keys": keys, "refused": []})
    }

    /// A key for one of the peers, and its preshared key.
    pub fn key(&self, peer: usize, generation: u64) -> (Value, String) {
        let preshared_key = genkey();
        let key = json!({
            "connection": format!("gw{peer}/devices:justins-laptop"), "public_key": self.tunnel.keys.public,
            "peer_public_key": self.peers[peer], "preshared_key": preshared_key, "generation": generation,
            "state": "Match Pending", "policy": {"ordinal": 101, "description": "Prod User Devices", "mfa": true},
            "seconds_left": 3600, "deadline": "2026-11-21T15:55:00Z",
        });
        (key, preshared_key)
    }

    /// What the last bastion was told, a line each.
    pub fn said(&self) -> Vec<Value> {
        let said = std::fs::read_to_string(self.machine.path("bin/said")).unwrap_or_default();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.machine.path(name)).ok()
    }

    pub fn command(&self) -> Command {
        let mut command = self.machine.command(env!("CARGO_BIN_EXE_wgmfa"));
        command.env("PATH", self.path()).env("HOME", self.machine.folder()).env_remove("SUDO_UID");
        command
    }

    pub fn path(&self) -> String {
        format!("{}:{}", self.machine.path("bin").display(), std::env::var("PATH").unwrap())
    }

    #[track_caller]
    pub fn wgmfa(&self, words: &[&str], stdin: &str) -> Ended {
        run(self.command().args(words), stdin.as_bytes())
    }

    #[track_caller]
    pub fn sync(&self, options: &[&str]) -> Ended {
        self.wgmfa(&[&["sync", "bastion"], options].concat(), "")
    }

    /// The preshared keys of both peers.
    pub fn preshared_keys(&self) -> [String; 2] {
        [0, 1].map(|peer: usize| self.tunnel.preshared_key(&self.machine, &self.peers[peer]).unwrap())
    }

    pub fn status_file(&self) -> PathBuf {
        format!("/run/wgmfa-client/{}.json", self.tunnel.name).into()
    }
}
