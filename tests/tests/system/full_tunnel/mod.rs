//! A laptop whose traffic runs into the tunnel, all of it, by the rules of `wg-quick` itself, and a bastion that it reaches
//! by its default route only.

mod a_dead_full_tunnel_is_unlocked;
mod a_jump_host_is_reached;
mod a_name_server_behind_the_tunnel_is_not_needed;
mod a_rule_goes_with_its_process;
mod a_rule_is_made_for_little;
mod stock_ssh_needs_one_line;
mod sudo_makes_the_rule;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::PORT;
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::lab::{GATEWAY, LAPTOP};
use wgmfa_tests::machine::{Machine, write_private};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{Ended, ours};
use wgmfa_tests::wait::{LONG, until};

/// Where the bastion is, beyond the laptop's default routes.
const BASTION: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];

/// The same for a jump host.
const JUMP: [&str; 2] = ["198.51.100.2", "2001:db8:1::2"];

/// How people call the bastion.
const NAME: &str = "bastion.example.net";

/// A program that people have in place of an answer: they think.
const THINKING: &str = "#!/bin/sh\nexec sleep 1000\n";

struct FullTunnel {
    lab: Lab,
}

impl FullTunnel {
    /// The tunnel is up, and dead: a key waits that the laptop does not have.
    #[track_caller]
    fn new() -> Self {
        Self::with("")
    }

    /// The same with more lines for the laptop's interface.
    #[track_caller]
    fn with(lines: &str) -> Self {
        let mut lab = Lab::new("1h");
        lab.bastion.stop();
        lab.bastion.configure("listen", &format!("[\"0.0.0.0:{PORT}\", \"[::]:{PORT}\"]"));
        let far = |machine: &Machine, address: &str| {
            let length = if address.contains(':') { 128 } else { 32 };
            machine.ip(&["addr", "add", &format!("{address}/{length}"), "dev", "lo"]);
        };
        BASTION.iter().chain(&JUMP).for_each(|address| far(&lab.bastion.machine, address));
        for (machine, address) in [(&lab.bastion.machine, "fd99::1/64"), (&lab.laptop.machine, "fd99::3/64")] {
            machine.ip(&["addr", "add", address, "dev", "eth0", "nodad"]);
        }
        lab.laptop.machine.ip(&["route", "add", "default", "via", "10.99.0.1"]);
        lab.laptop.machine.ip(&["-6", "route", "add", "default", "via", "fd99::1"]);
        lab.bastion.start();
        lab.gateway.start();
        lab.await_waiting_key();
        let full = Self { lab };
        full.knows(&full.lab.bastion.known_hosts(), NAME);
        full.config(&format!("Host bastion\n  HostName {}\n", BASTION[0]));
        full.wg_quick_up(lines);
        full
    }

    /// Puts the laptop's interface up with `wg-quick`, for all addresses there are.
    fn wg_quick_up(&self, lines: &str) {
        let (laptop, gateway) = (&self.lab.laptop, &self.lab.gateway);
        laptop.tunnel.down(&laptop.machine);
        let endpoint = "10.99.0.2:51820";
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = {LAPTOP}/32, fd77::2/128\n{lines}\n[Peer]\nPublicKey = {}\n\
             AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {endpoint}\n",
            laptop.tunnel.keys.private, gateway.tunnel.keys.public
        );
        let file = self.configuration();
        write_private(&file, &text);
        // what goes on in the background keeps the outputs that it was given
        let mut up = laptop.machine.command("wg-quick");
        up.arg("up").arg(&file).env("WG_QUICK_USERSPACE_IMPLEMENTATION", "wireguard-go");
        let ended = up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(ended.expect("wg-quick is installed").success());
        assert!(!is_answered(&laptop.machine, GATEWAY), "the tunnel is dead");
        let device = format!("dev {}", laptop.tunnel.name);
        for address in BASTION.iter().filter(|_| lines.is_empty()) {
            let route = laptop.machine.run("ip", &["route", "get", address]).ok().stdout;
            assert!(route.contains(&device), "all traffic runs into the tunnel: {route}");
        }
    }

    fn configuration(&self) -> PathBuf {
        self.lab.laptop.machine.path(&format!("{}.conf", self.lab.laptop.tunnel.name))
    }

    /// ssh knows the bastion's keys under all its addresses, and under a name.
    fn knows(&self, known_hosts: &str, name: &str) {
        let mut text = String::new();
        for line in known_hosts.lines() {
            let (_, key) = line.split_once(' ').expect("a line of known_hosts");
            text.extend(BASTION.iter().chain([&name]).map(|host| format!("[{host}]:{PORT} {key}\n")));
        }
        self.lab.laptop.machine.write("known_hosts", &text);
    }

    /// What stands in the person's configuration of ssh beside the usual.
    fn config(&self, text: &str) {
        let laptop = &self.lab.laptop;
        let usual = format!(
            "Host bastion\n  Port {PORT}\n  User {}\nHost *\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  \
             NumberOfPasswordPrompts 1\n  IdentityFile none\n",
            laptop.user,
            laptop.machine.path("known_hosts").display()
        );
        laptop.machine.write("ssh_config", &format!("{text}{usual}"));
    }

    /// Whether a packet comes through the tunnel.
    #[track_caller]
    fn await_tunnel(&self) {
        until("an answer through the tunnel", LONG, || is_answered(&self.lab.laptop.machine, GATEWAY).then_some(()));
    }

    /// Every rule and route of the laptop.
    #[track_caller]
    fn routing(&self) -> String {
        let ip = |words: &[&str]| self.lab.laptop.machine.run("ip", words).ok().stdout;
        [
            ip(&["rule"]),
            ip(&["-6", "rule"]),
            ip(&["route", "show", "table", "all"]),
            ip(&["-6", "route", "show", "table", "all"]),
        ]
        .concat()
    }

    /// The rules that wgmfa has made.
    #[track_caller]
    fn our_rules(&self) -> Vec<String> {
        let is_ours = |line: &&str| line.trim_end().ends_with("proto 120");
        self.routing().lines().filter(is_ours).map(str::to_owned).collect()
    }

    /// Logs in, which leaves routing as it was.
    #[track_caller]
    fn sync(&mut self) -> Ended {
        let before = self.routing();
        let ended = self.lab.laptop.sync(&[]);
        assert_eq!(self.routing(), before, "{ended:?}");
        ended
    }

    /// A login of somebody who is still thinking; their rule stands.
    #[track_caller]
    fn start(&self) -> Daemon {
        let laptop = &self.lab.laptop;
        let there = self.our_rules().len();
        let thinking = laptop.machine.write("thinking", THINKING);
        std::fs::set_permissions(&thinking, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("it is ours");
        let mut command = laptop.command(ours("wgmfa"));
        command.args(["sync", "bastion", "--interface", &laptop.tunnel.name, "--", "-F"]).arg(laptop.ssh_config());
        let login = Daemon::start(command.env("SSH_ASKPASS", thinking));
        until("the rule of a login", LONG, || (self.our_rules().len() > there).then_some(()));
        login
    }

    /// Waits until so many of our rules stand.
    #[track_caller]
    fn await_rules(&self, number: usize) {
        until(&format!("{number} rules"), LONG, || (self.our_rules().len() == number).then_some(()));
    }

    /// The processes that hold a way open.
    fn holders(&self) -> Vec<nix::unistd::Pid> {
        let holds = |pid: &nix::unistd::Pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.ends_with(b"\0apply\0")
        };
        self.lab.laptop.machine.pids().into_iter().filter(holds).collect()
    }

    /// A file that programs on the laptop see as `/etc/NAME`.
    fn own_etc(&mut self, name: &str, text: &str) {
        let machine = Arc::get_mut(&mut self.lab.laptop.machine).expect("nobody else has the laptop");
        let folder = machine.own_etc("wireguard"); // beside it
        std::fs::write(folder.with_file_name(name), text).expect("it can be written");
    }

    /// `ssh` on the laptop with the person's answers.
    fn ssh(&self) -> Command {
        let mut ssh = self.lab.laptop.command("ssh");
        ssh.arg("-F").arg(self.lab.laptop.ssh_config());
        ssh
    }
}
