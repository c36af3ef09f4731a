//! A bastion in a machine: made by its own `init`, run by its own `serve`, administered by its own commands.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::code::Authenticator;
use crate::daemon::Daemon;
use crate::machine::{Machine, await_socket, end};
use crate::program::{Ended, ours, run};

/// The port on which it listens.
pub const PORT: u16 = 2222;

/// The password of every person in the lab.
pub const PASSWORD: &str = "correct horse battery staple";

/// A bastion.
#[derive(Debug)]
pub struct Bastion {
    /// The running `serve`; none: it is stopped.
    pub serve: Option<Daemon>,
    /// Its machine's address.
    pub address: String,
    /// Its machine.
    pub machine: Arc<Machine>,
}

impl Bastion {
    /// Makes one that does not run yet.
    pub fn init(machine: &Arc<Machine>, address: &str) -> Self {
        let bastion = Self { serve: None, address: address.to_owned(), machine: Arc::clone(machine) };
        let folder = bastion.folder().to_string_lossy().into_owned();
        run(bastion.command().args(["init", "--dir", &folder]), b"").ok();
        bastion.configure("listen", &format!("[\"{address}:{PORT}\"]"));
        for sample in std::fs::read_dir(bastion.folder().join("policy.d")).expect("init makes it").flatten() {
            std::fs::remove_file(sample.path()).expect("a sample can be removed");
        }
        bastion
    }

    /// The folder in which it lives.
    pub fn folder(&self) -> PathBuf {
        self.machine.path("bastion")
    }

    /// `wgmfa-bastion` in its machine.
    pub fn command(&self) -> Command {
        self.machine.command(ours("wgmfa-bastion"))
    }

    /// Sets a key of its configuration.
    ///
    /// # Panics
    /// There is no configuration.
    pub fn configure(&self, key: &str, value: &str) {
        let path = self.folder().join("bastion.toml");
        let text = std::fs::read_to_string(&path).expect("init makes it");
        let is_it = |line: &&str| line.split('=').next().is_some_and(|name| name.trim() == key);
        let others: Vec<&str> = text.lines().filter(|line| !is_it(line)).collect();
        std::fs::write(&path, format!("{key} = {value}\n{}\n", others.join("\n"))).expect("it can be written");
    }

    /// Writes a policy file.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn policy(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join("policy.d").join(name), text).expect("it can be written");
    }

    /// Starts `serve` and waits until it answers.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with some environment, for crash points.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = self.command();
        command.arg("--config").arg(self.folder().join("bastion.toml")).arg("serve");
        // an agent on a slow machine has more than a moment to confirm something
        command.env("WGMFA_CONFIRM_WITHIN", "8").envs(environment.iter().copied());
        let serve = Daemon::start(&mut command);
        await_socket(&self.folder().join("run/admin.sock"));
        self.serve = Some(serve);
        let address = format!("{}:{PORT}", self.address);
        self.machine.within(|| {
            crate::wait::until("the bastion's port", crate::wait::LONG, || std::net::TcpStream::connect(&address).ok());
        });
    }

    /// Ends `serve` as an administrator does.
    ///
    /// # Panics
    /// It does not run.
    pub fn stop(&mut self) {
        self.serve.take().expect("it runs").stop();
    }

    /// Ends every process of it as a power cut would.
    pub fn kill(&mut self) {
        drop(self.serve.take());
        let left = || self.machine.pids();
        crate::wait::until("the end of the bastion's processes", crate::wait::LONG, || {
            left().iter().for_each(|pid| end(*pid));
            left().is_empty().then_some(())
        });
    }

    /// An administrator's command on the bastion.
    #[track_caller]
    pub fn admin(&self, words: &[&str]) -> Ended {
        self.admin_with(words, b"")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn admin_with(&self, words: &[&str], stdin: &[u8]) -> Ended {
        run(self.command().arg("--config").arg(self.folder().join("bastion.toml")).args(words), stdin)
    }

    /// Adds a person with the lab's password.
    #[track_caller]
    pub fn add_user(&self, name: &str) -> Authenticator {
        let words = ["--json", "user", "add", name, "--password-stdin"];
        let answer = self.admin_with(&words, format!("{PASSWORD}\n").as_bytes()).ok().json();
        let url = first_text(&answer, &|text| text.starts_with("otpauth://"));
        Authenticator::from_url(&url.expect("user add answers with an otpauth URL"))
    }

    /// Adds a host by the line that its agent's `init` printed.
    #[track_caller]
    pub fn add_host(&self, name: &str, key: &str) {
        self.admin_with(&["host", "add", name, "--key", "-"], key.as_bytes()).ok();
    }

    /// Adds a device.
    #[track_caller]
    pub fn add_device(&self, name: &str, owner: &str, public_key: &str) {
        self.admin(&["device", "add", name, "--owner", owner, "--public-key", public_key]).ok();
    }

    /// Its host keys for `known_hosts`, under its address and port.
    #[track_caller]
    pub fn known_hosts(&self) -> String {
        let listed = self.admin(&["host-key"]).ok().stdout;
        let keys = listed.lines().filter_map(|line| line.split_once(' ').map(|(_, key)| key.to_owned()));
        keys.map(|key| format!("[{}]:{PORT} {key}\n", self.address)).collect()
    }

    /// The rows of `key list`.
    #[track_caller]
    pub fn keys(&self) -> Vec<Value> {
        let answer = self.admin(&["--json", "key", "list"]).ok().json();
        answer["keys"].as_array().or(answer["connections"].as_array()).expect("a list of keys").clone()
    }

    /// The row of the connection whose name contains this.
    #[track_caller]
    pub fn key(&self, part: &str) -> Value {
        let keys = self.keys();
        let found = keys.iter().find(|row| row["connection"].as_str().is_some_and(|name| name.contains(part)));
        found.unwrap_or_else(|| panic!("no connection {part}: {keys:#?}")).clone()
    }

    /// Waits until a connection is in this state.
    #[track_caller]
    pub fn await_state(&self, part: &str, state: &str) -> Value {
        crate::wait::until(&format!("{part}: {state}"), crate::wait::LONG * 2, || {
            Some(self.key(part)).filter(|row| row["state"] == state)
        })
    }

    /// Waits until the server side of a connection accepts this generation.
    #[track_caller]
    pub fn await_generation(&self, part: &str, generation: u64) -> Value {
        crate::wait::until(&format!("{part}: generation {generation}"), crate::wait::LONG * 2, || {
            Some(self.key(part)).filter(|row| row["generation"] == generation)
        })
    }

    /// The lines of the audit log with this event.
    #[track_caller]
    pub fn log(&self, event: &str) -> Vec<Value> {
        let answer = self.admin(&["--json", "log", "--event", event]).ok().json();
        answer["log"].as_array().or(answer["lines"].as_array()).expect("a list of lines").clone()
    }
}

/// The first text in a JSON value that satisfies `wanted`.
fn first_text(value: &Value, wanted: &dyn Fn(&str) -> bool) -> Option<String> {
    match value {
        Value::String(text) => wanted(text).then(|| text.clone()),
        Value::Array(values) => values.iter().find_map(|value| first_text(value, wanted)),
        Value::Object(fields) => fields.values().find_map(|value| first_text(value, wanted)),
        _ => None,
    }
}
