//! A WireGuard server with an agent.

use std::process::Command;
use std::sync::Arc;

use crate::bastion::{Bastion, PORT};
use crate::daemon::Daemon;
use crate::machine::{Machine, write_private};
use crate::program::{Ended, ours, run};
use crate::tunnel::Tunnel;

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The resident agent; none: it does not run.
    pub agent: Option<Daemon>,
    /// Its interface towards the devices.
    pub tunnel: Tunnel,
    /// Its name on the bastion.
    pub name: String,
    /// Its machine.
    pub machine: Arc<Machine>,
}

impl Gateway {
    /// Introduces a machine with a tunnel to the bastion.
    #[track_caller]
    pub fn enrol(machine: &Arc<Machine>, tunnel: Tunnel, name: &str, bastion: &Bastion) -> Self {
        let gateway = Self { agent: None, tunnel, name: name.to_owned(), machine: Arc::clone(machine) };
        let file = |name: &str| machine.path(name).to_string_lossy().into_owned();
        let config = format!(
            "bastion = \"{}:{PORT}\"\nhost = \"{name}\"\nidentity = \"{}\"\nknown-hosts = \"{}\"\n\
             interfaces = [\"{}\"]\nstate-dir = \"{}\"\nwireguard-dir = \"{}\"\n",
            bastion.address,
            file("agent_ed25519"),
            file("known_hosts"),
            gateway.tunnel.name,
            file("agent-state"),
            file("wireguard"),
        );
        write_private(&machine.path("agent.toml"), &config);
        write_private(&machine.path("known_hosts"), &bastion.known_hosts());
        std::fs::create_dir_all(machine.path("wireguard")).expect("a folder");
        let key = gateway.agent(&["init", "--print-key"]).ok().stdout;
        bastion.add_host(name, &key);
        gateway
    }

    /// `wgmfa-agent` in its machine.
    pub fn command(&self) -> Command {
        let mut command = self.machine.command(ours("wgmfa-agent"));
        command.arg("--config").arg(self.machine.path("agent.toml"));
        command
    }

    /// `wgmfa-agent` with these words, to its end.
    #[track_caller]
    pub fn agent(&self, words: &[&str]) -> Ended {
        run(self.command().args(words), b"")
    }

    /// Starts the resident agent.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with some environment, for crash points.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        self.agent = Some(Daemon::start(self.command().arg("run").envs(environment.iter().copied())));
    }

    /// Where `wg-quick` reads the interface's configuration.
    pub fn configuration(&self) -> std::path::PathBuf {
        self.machine.path("wireguard").join(format!("{}.conf", self.tunnel.name))
    }

    /// Writes the configuration with which the lab made the interface to where `wg-quick` reads it; gives its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write_configuration(&self) -> std::path::PathBuf {
        let made = self.machine.path(&format!("{}.conf", self.tunnel.name));
        let text = std::fs::read_to_string(made).expect("the interface was made from it");
        let interface = format!("[Interface]\nAddress = {}", self.tunnel.address);
        write_private(&self.configuration(), &text.replacen("[Interface]", &interface, 1));
        self.configuration()
    }

    /// The resident agent's own account of itself: `wgmfa-agent status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        self.agent(&["status", "--json"]).json()
    }

    /// Waits until the resident agent stands in contact with the bastion.
    #[track_caller]
    pub fn await_contact(&self, bastion: &Bastion) {
        crate::wait::until(&format!("{} in contact", self.name), crate::wait::LONG * 2, || {
            let hosts = bastion.admin(&["--json", "host", "list"]).ok().json();
            let here = hosts["hosts"].as_array()?.iter().find(|host| host["name"] == self.name.as_str())?;
            (here["connected"] == true).then_some(())
        });
    }

    /// The preshared key of a peer.
    #[track_caller]
    pub fn preshared_key(&self, peer: &str) -> Option<String> {
        self.tunnel.preshared_key(&self.machine, peer)
    }

    /// `HOST/INTERFACE`
    pub fn interface(&self) -> String {
        format!("{}/{}", self.name, self.tunnel.name)
    }
}
