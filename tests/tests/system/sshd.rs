//! The site's own sshd on the bastion's machine, in place of the front: Debian's, with real Unix users, its own PAM service
//! and `wgmfa-sync` installed set-group-id, all seen in that machine alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use wgmfa_tests::bastion::{Bastion, PORT};
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::laptop::Laptop;
use wgmfa_tests::machine::{Machine, write_private};
use wgmfa_tests::program::{Ended, ours, run};
use wgmfa_tests::terminal::Terminal;
use wgmfa_tests::wait::{LONG, until};

use super::conversation::Conversation;
use super::site::{Person, Site};

/// The Unix users, their ids and shells.
const USERS: [(&str, u32, &str); 3] =
    [("justin", 4242, "/bin/sh"), ("alice", 4243, "/bin/sh"), ("carol", 4244, "/usr/local/bin/wgmfa-sync")];

/// The password of every Unix user, which pam_unix compares.
pub const PASSWORD: &str = "correct horse";
const HASH: &str =
    "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";

/// What a sysadmin writes into `/etc/pam.d/sshd`.
const STACK: &str = "auth required pam_unix.so nodelay
auth required % otp
account required pam_unix.so
account required %
session required %
";

/// sshd asks for password and code on this port.
pub const CODE: u16 = 22;
/// It wants a key before them on this one.
pub const KEY_AND_CODE: u16 = 23;
/// It lets a key or a code in on this one.
pub const KEY_OR_CODE: u16 = 24;
/// As [`CODE`], and whatever is asked for, it starts `wgmfa-sync`.
pub const FORCED: u16 = 25;

/// Mounts, seen by what this script starts alone, and the program in its place.
const SCRIPT: &str = "set -e
mount -t tmpfs none /run
mkdir -p /run/sshd /run/wgmfa /run/keys
install -d -m 1777 /run/everybody
mount --bind \"$1\" /run/wgmfa
mount -t tmpfs none /usr/local/bin
install -o root -g \"$4\" -m 2755 \"$2\" /usr/local/bin/wgmfa-sync
install -m 755 \"$2\" /usr/local/bin/a-copy
";

/// A running sshd.
pub struct Sshd {
    daemon: Daemon,
    machine: Arc<Machine>,
    address: String,
    known_host: String,
}

/// A site whose people come by sshd: `listen = []`.
#[track_caller]
pub fn site() -> (Site, Sshd) {
    let site = Site::with(own_people, by_sshd);
    site.justin.laptop.set_password(PASSWORD);
    let sshd = Sshd::start(&site.bastion);
    (site, sshd)
}

/// Gives a machine its own users and PAM services.
pub fn own_people(machine: &mut Machine) {
    let pam = machine.own_etc("pam.d");
    write_people(machine.namespace(), &pam);
}

/// The files of these users, for programs in a network namespace.
pub fn write_people(namespace: &str, pam: &Path) {
    let etc = Path::new("/etc/netns").join(namespace);
    let (mut passwd, mut shadow) = (read("/etc/passwd"), "root:*:20000::::::\n".to_owned());
    for (name, id, shell) in USERS {
        passwd.push_str(&format!("{name}:x:{id}:{id}::/:{shell}\n"));
        shadow.push_str(&format!("{name}:{HASH}:20000::::::\n"));
    }
    let others = |line: &&str| !line.starts_with("wgmfa-sync:");
    let groups: Vec<String> = read("/etc/group").lines().filter(others).map(|line| format!("{line}\n")).collect();
    std::fs::write(etc.join("passwd"), passwd).expect("a file under /etc/netns");
    std::fs::write(etc.join("group"), groups.concat() + "wgmfa-sync:x:4299:\n").expect("a file under /etc/netns");
    write_private(&etc.join("shadow"), &shadow);
    let stack = STACK.replace('%', &ours("libpam_wgmfa.so").to_string_lossy());
    std::fs::write(pam.join("sshd"), stack).expect("a file under /etc/netns");
}

/// Leaves people to sshd; agents come to the bastion's port.
pub fn by_sshd(bastion: &Bastion) {
    bastion.configure("listen", "[]");
    bastion.configure("agent-listen", &format!("[\"{}:{PORT}\"]", bastion.address));
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect("every machine has it")
}

impl Sshd {
    /// Starts one beside a bastion that runs.
    #[track_caller]
    pub fn start(bastion: &Bastion) -> Self {
        Self::start_with_group(bastion, "wgmfa-sync")
    }

    /// The same, where the program's group has another name.
    #[track_caller]
    pub fn start_with_group(bastion: &Bastion, group: &str) -> Self {
        let (machine, config, known_host) = Self::configure(bastion);
        let script = format!("{SCRIPT}exec /usr/sbin/sshd -D -e -f \"$3\"");
        let mut command = machine.command("sh");
        command
            .args(["-c", &script, "sh"])
            .arg(bastion.folder().join("run"))
            .arg(ours("wgmfa-sync"))
            .arg(&config)
            .arg(group);
        Self::running(Daemon::start(&mut command), bastion, known_host)
    }

    /// Starts both with process ids of their own: the bastion must not run yet.
    #[track_caller]
    pub fn start_with_bastion(bastion: &Bastion) -> Self {
        let (machine, config, known_host) = Self::configure(bastion);
        let script = format!(
            "mkdir -p \"$1\"\n{SCRIPT}\"$5\" --config \"$6\" serve &\nwhile [ ! -S /run/wgmfa/people.sock ]; do sleep 0.02; \
             done\n/usr/sbin/sshd -D -e -f \"$3\" &\nwait"
        );
        let mut command = machine.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script, "sh"]);
        command.arg(bastion.folder().join("run")).arg(ours("wgmfa-sync")).arg(&config).arg("wgmfa-sync");
        command.arg(ours("wgmfa-bastion")).arg(bastion.folder().join("bastion.toml"));
        Self::running(Daemon::start(&mut command), bastion, known_host)
    }

    fn running(daemon: Daemon, bastion: &Bastion, known_host: String) -> Self {
        for port in [CODE, KEY_AND_CODE, KEY_OR_CODE, FORCED] {
            daemon.await_line(&format!("Server listening on {} port {port}.", bastion.address));
        }
        Self { daemon, machine: Arc::clone(&bastion.machine), address: bastion.address.clone(), known_host }
    }

    fn configure(bastion: &Bastion) -> (Arc<Machine>, PathBuf, String) {
        let (machine, address) = (Arc::clone(&bastion.machine), &bastion.address);
        let host_key = machine.path("sshd_host_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key), b"").ok();
        let mut config: String =
            [FORCED, KEY_OR_CODE, KEY_AND_CODE, CODE].map(|port| format!("ListenAddress {address}:{port}\n")).concat();
        config.push_str(&format!(
            "HostKey {}\nPidFile none\nUsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\n\
             AuthenticationMethods keyboard-interactive\nAuthorizedKeysFile /run/keys/%u\nStrictModes no\nPrintMotd no\n\
             PrintLastLog no\nMaxStartups 100\nSubsystem wgmfa-sync /usr/local/bin/wgmfa-sync\n\
             Match LocalPort {KEY_AND_CODE}\n  AuthenticationMethods publickey,keyboard-interactive\n\
             Match LocalPort {KEY_OR_CODE}\n  AuthenticationMethods publickey keyboard-interactive\n\
             Match LocalPort {FORCED}\n  ForceCommand /usr/local/bin/wgmfa-sync\n",
            host_key.display(),
        ));
        let config = machine.write("sshd_config", &config);
        let known_host = std::fs::read_to_string(host_key.with_extension("pub")).expect("ssh-keygen makes it");
        (machine, config, known_host)
    }

    /// Where a laptop's `ssh` finds it, on a port.
    pub fn ssh_config(&self, laptop: &Laptop, port: u16) -> PathBuf {
        let known = laptop.machine.write("sshd_known_hosts", &format!("* {}", self.known_host));
        let config = format!(
            "Host bastion\n  HostName {}\n  Port {port}\n  User {}\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  \
             NumberOfPasswordPrompts 1\n  IdentityFile {}\n  IdentitiesOnly yes\n",
            self.address,
            laptop.user,
            known.display(),
            laptop.machine.path("id_ed25519").display(),
        );
        laptop.machine.write(&format!("ssh_config_{port}"), &config)
    }

    /// `ssh` to a port; the answers are what was set.
    fn command(&self, laptop: &Laptop, port: u16) -> Command {
        let mut ssh = laptop.command("timeout");
        ssh.args(["30", "ssh", "-F"]).arg(self.ssh_config(laptop, port));
        ssh
    }

    /// `ssh` on a port, with a code that was not used yet.
    #[track_caller]
    pub fn ssh(&self, person: &mut Person, port: u16, words: &[&str]) -> Ended {
        let code = person.fresh_code();
        person.laptop.set_code(&code);
        self.ssh_as_set(&person.laptop, port, words)
    }

    /// The same with whatever was set.
    #[track_caller]
    pub fn ssh_as_set(&self, laptop: &Laptop, port: u16, words: &[&str]) -> Ended {
        run(self.command(laptop, port).args(words), b"")
    }

    /// A command on a terminal, with a code that was not used yet.
    #[track_caller]
    pub fn on_terminal(&self, person: &mut Person, port: u16, words: &[&str]) -> Terminal {
        let code = person.fresh_code();
        person.laptop.set_code(&code);
        let mut ssh = person.laptop.command("ssh");
        Terminal::start(ssh.arg("-F").arg(self.ssh_config(&person.laptop, port)).args(["-tt", "bastion"]).args(words))
    }

    /// A command that goes on, with a code that was not used yet.
    pub fn converse(&self, person: &mut Person, port: u16, words: &[&str]) -> Conversation {
        let code = person.fresh_code();
        person.laptop.set_code(&code);
        Conversation::start(self.command(&person.laptop, port).args(words))
    }

    /// Gives a person an SSH key that this sshd knows.
    #[track_caller]
    pub fn add_key(&self, laptop: &Laptop) {
        let key = laptop.machine.path("id_ed25519");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key), b"").ok();
        let line = std::fs::read(key.with_extension("pub")).expect("ssh-keygen makes it");
        let put = format!("cat > /run/keys/{}", laptop.user);
        run(self.inside().args(["sh", "-c", &put]), &line).ok();
    }

    /// A login by a key alone.
    #[track_caller]
    pub fn ssh_by_key(&self, laptop: &Laptop, words: &[&str]) -> Ended {
        let options = ["-o", "PreferredAuthentications=publickey", "bastion"];
        self.ssh_as_set(laptop, KEY_OR_CODE, &[&options, words].concat())
    }

    /// A login with a code that was not used yet, in which commands are run one after the other.
    #[track_caller]
    pub fn master(&self, person: &mut Person) -> Master<'_> {
        let code = person.fresh_code();
        person.laptop.set_code(&code);
        let socket = person.laptop.machine.path("sshd_master").to_string_lossy().into_owned();
        let mut ssh = person.laptop.command("ssh");
        ssh.arg("-F")
            .arg(self.ssh_config(&person.laptop, CODE))
            .args(["-M", "-S", &socket, "-f", "-N", "-n", "bastion"]);
        ssh.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        assert!(ssh.status().is_ok_and(|status| status.success()), "the login of a connection to share");
        Master { sshd: self, machine: Arc::clone(&person.laptop.machine), socket }
    }

    /// A command on the bastion's machine as sshd sees it, as root; not below sshd.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--target", &self.seen_as().to_string(), "--"]);
        command
    }

    /// The same by number of process ids too.
    pub fn inside_its_processes(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--pid", "--target", &self.seen_as().to_string(), "--"]);
        command
    }

    /// A process that sees what sshd sees: itself, or the first one below `unshare`.
    fn seen_as(&self) -> i32 {
        let pid = self.daemon.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let first = children.split_whitespace().next().and_then(|child| child.parse().ok());
        if name.trim_end() == "unshare" { first.expect("its child") } else { pid.as_raw() }
    }

    /// A command as a Unix user whom nobody has logged in, as cron would start it.
    pub fn as_user(&self, user: &str) -> Command {
        let mut command = self.inside();
        command.args(["setsid", "--wait", "setpriv", "--clear-groups"]).args(becoming(user));
        command
    }

    /// The processes of the machine with this name.
    pub fn processes(&self, name: &str) -> Vec<i32> {
        let named =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.trim_end() == name);
        self.machine.pids().into_iter().map(nix::unistd::Pid::as_raw).filter(named).collect()
    }
}

/// The options of setpriv(1) for a Unix user.
pub fn becoming(user: &str) -> [String; 2] {
    let id = USERS.iter().find(|(name, ..)| *name == user).expect("a user of these tests").1;
    [format!("--reuid={id}"), format!("--regid={id}")]
}

/// A connection that several commands share.
pub struct Master<'a> {
    sshd: &'a Sshd,
    machine: Arc<Machine>,
    socket: String,
}

impl Master<'_> {
    fn command(&self) -> Command {
        let mut ssh = self.machine.command("timeout");
        ssh.args(["30", "ssh", "-F"]).arg(self.machine.path(&format!("ssh_config_{CODE}")));
        ssh.args(["-o", &format!("ControlPath={}", self.socket)]);
        ssh
    }

    /// `ssh` over this connection.
    #[track_caller]
    pub fn ssh(&self, words: &[&str]) -> Ended {
        run(self.command().args(words), b"")
    }

    /// A command that goes on, over this connection.
    pub fn converse(&self, words: &[&str]) -> Conversation {
        Conversation::start(self.command().args(words))
    }

    /// The process of sshd that has opened its session.
    pub fn session(&self) -> i32 {
        // the listener is `sshd` too; "sshd: justin [priv]" has opened the session
        let is_it = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(" [priv]"))
        };
        // the one that it starts for the person bears its name for a moment
        until("the one process of the session", LONG, || {
            let found: Vec<i32> = self.sshd.processes("sshd").into_iter().filter(is_it).collect();
            <[i32; 1]>::try_from(found).ok().map(|[session]| session)
        })
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        let _ = self.command().args(["-O", "exit", "bastion"]).output();
    }
}
