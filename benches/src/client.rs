//! The stock `ssh`, whose questions a shell built-in answers, so that the client's own cost stays small.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::machine::Machine;
use wgmfa_tests::program::run;

const ASKPASS: &str = "#!/bin/sh
case $1 in *assword*) echo \"$BENCH_PASSWORD\" ;; *) echo \"$BENCH_CODE\" ;; esac
";

/// A machine from which people log in.
#[derive(Debug)]
pub struct Client {
    machine: Arc<Machine>,
}

/// Where to log in, and what is answered there.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// The server's name in the client's configuration.
    pub server: &'a str,
    /// The user name.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The one-time code.
    pub code: &'a str,
}

impl Client {
    /// Makes a machine a client.
    ///
    /// # Panics
    /// Its folder cannot be written.
    pub fn of(machine: &Arc<Machine>) -> Self {
        let askpass = machine.write("askpass", ASKPASS);
        std::fs::set_permissions(&askpass, PermissionsExt::from_mode(0o700)).expect("it is ours");
        machine.write("ssh_config", "");
        machine.write("known_hosts", "");
        Self { machine: Arc::clone(machine) }
    }

    /// Makes a server known by name, with the lines of its host keys.
    ///
    /// # Panics
    /// The configuration cannot be written.
    pub fn knows(&self, server: &str, address: &str, port: u16, known_hosts: &str) {
        let read = |name: &str| std::fs::read_to_string(self.machine.path(name)).expect("it was made");
        let config = format!(
            "{}Host {server}\n  HostName {address}\n  Port {port}\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n  NumberOfPasswordPrompts 1\n  PubkeyAuthentication no\n",
            read("ssh_config"),
            self.machine.path("known_hosts").display(),
        );
        let known_hosts = read("known_hosts") + known_hosts;
        self.machine.write("ssh_config", &config);
        self.machine.write("known_hosts", &known_hosts);
    }

    /// Logs in, runs a command there, and takes the time from the start of `ssh` to its end.
    ///
    /// # Panics
    /// The command does not end well, or says nothing where `says_something`.
    #[track_caller]
    pub fn time(&self, account: &Account<'_>, words: &str, says_something: bool) -> Duration {
        self.machine.within(|| {
            let since = Instant::now();
            let ended = run(self.ssh(account).arg(account.server).arg(words), b"").ok();
            let took = since.elapsed();
            assert_eq!(!ended.stdout.is_empty(), says_something, "{ended:#?}");
            took
        })
    }

    /// Logs in and stays there idle.
    ///
    /// # Panics
    /// The login fails.
    #[track_caller]
    pub fn stay(&self, account: &Account<'_>) -> Daemon {
        self.machine.within(|| {
            let mut command = self.ssh(account);
            command.args(["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo logged in", "-N", account.server]);
            let daemon = Daemon::start(&mut command);
            daemon.await_line("logged in");
            daemon
        })
    }

    /// The calling thread must be in this machine: `ip netns exec` would add to the time.
    fn ssh(&self, account: &Account<'_>) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.machine.path("ssh_config")).args(["-l", account.user]).stdin(Stdio::null());
        command.env("SSH_ASKPASS", self.machine.path("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command.env("BENCH_PASSWORD", account.password).env("BENCH_CODE", account.code);
        command
    }
}
