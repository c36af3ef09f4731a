//! A person's machine: stock `ssh` that answers the prompts from files, and `wgmfa`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::bastion::{Bastion, PASSWORD, PORT};
use crate::code::Authenticator;
use crate::machine::{Machine, write_private};
use crate::program::{Ended, ours, run};
use crate::tunnel::Tunnel;

/// What `ssh` calls instead of asking on a terminal; the prompt is its argument.
const ASKPASS: &str = "#!/bin/sh
folder=$(dirname \"$0\")
printf '%s\\n' \"$1\" >>\"$folder/asked\"
case $1 in
    *assword*) cat \"$folder/password\" ;;
    *code*) cat \"$folder/code\" ;;
    *) exit 1 ;;
esac
";

/// A laptop.
#[derive(Debug)]
pub struct Laptop {
    /// Its interface towards the gateway.
    pub tunnel: Tunnel,
    /// The person who uses it.
    pub user: String,
    /// The person's authenticator.
    pub authenticator: Authenticator,
    /// Its machine.
    pub machine: Arc<Machine>,
}

impl Laptop {
    /// Gives a machine with a tunnel to a person whom the bastion knows.
    pub fn of(
        machine: &Arc<Machine>,
        tunnel: Tunnel,
        user: &str,
        authenticator: Authenticator,
        bastion: &Bastion,
    ) -> Self {
        let laptop = Self { tunnel, user: user.to_owned(), authenticator, machine: Arc::clone(machine) };
        let askpass = machine.write("askpass", ASKPASS);
        std::fs::set_permissions(&askpass, PermissionsExt::from_mode(0o700)).expect("it is ours");
        machine.write("password", PASSWORD);
        machine.write("known_hosts", &bastion.known_hosts());
        let config = format!(
            "Host bastion\n  HostName {}\n  Port {PORT}\n  User {user}\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n  NumberOfPasswordPrompts 1\n  IdentityFile none\n",
            bastion.address,
            machine.path("known_hosts").display(),
        );
        machine.write("ssh_config", &config);
        laptop
    }

    /// The answer to the next `Password: `.
    pub fn set_password(&self, password: &str) {
        write_private(&self.machine.path("password"), password);
    }

    /// The answer to the next `One-time code: `.
    pub fn set_code(&self, code: &str) {
        write_private(&self.machine.path("code"), code);
    }

    /// Every prompt that was answered so far.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.machine.path("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    /// Where `ssh` finds the bastion.
    pub fn ssh_config(&self) -> PathBuf {
        self.machine.path("ssh_config")
    }

    /// A program with which the person's answers are given when `ssh` asks.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.machine.command(program);
        command.env("SSH_ASKPASS", self.machine.path("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command.env_remove("SUDO_UID").env("HOME", self.machine.folder());
        command
    }

    /// Stock `ssh` to the bastion, with a code that was never used.
    #[track_caller]
    pub fn ssh(&mut self, words: &[&str]) -> Ended {
        let code = self.authenticator.next_code();
        self.set_code(&code);
        self.ssh_as_set(words)
    }

    /// The same with whatever password and code were set.
    #[track_caller]
    pub fn ssh_as_set(&self, words: &[&str]) -> Ended {
        run(self.command("ssh").arg("-F").arg(self.ssh_config()).arg("bastion").args(words), b"")
    }

    /// `wgmfa sync bastion`, with a code that was never used.
    #[track_caller]
    pub fn sync(&mut self, options: &[&str]) -> Ended {
        let code = self.authenticator.next_code();
        self.set_code(&code);
        self.sync_as_set(options)
    }

    /// The same with whatever password and code were set.
    #[track_caller]
    pub fn sync_as_set(&self, options: &[&str]) -> Ended {
        let mut command = self.command(ours("wgmfa"));
        command.args(["sync", "bastion", "--interface", &self.tunnel.name]).args(options);
        run(command.args(["--", "-F"]).arg(self.ssh_config()), b"")
    }

    /// What `wgmfa status --json` says.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        run(self.command(ours("wgmfa")).args(["status", "--json"]), b"").json()
    }

    /// The preshared key of a peer.
    #[track_caller]
    pub fn preshared_key(&self, peer: &str) -> Option<String> {
        self.tunnel.preshared_key(&self.machine, peer)
    }
}
