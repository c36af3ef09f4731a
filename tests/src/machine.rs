//! A machine: a network namespace with a folder of its own. Dropped, everything in it ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::{Ended, run};
use crate::wait::{LONG, until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A short name that no other test has at this time: from the process and a count, 8 characters at most.
pub fn unique() -> String {
    let mut number = u64::from(std::process::id()) * 1024 + u64::from(NEXT.fetch_add(1, Ordering::Relaxed) % 1024);
    let mut name = String::from("w");
    while number > 0 {
        name.push(char::from_digit((number % 36) as u32, 36).expect("a digit of base 36"));
        number /= 36;
    }
    name
}

/// A network namespace and a folder.
#[derive(Debug)]
pub struct Machine {
    namespace: String,
    folder: tempfile::TempDir,
    /// Overlays of `/etc/NAME` for programs in this machine, to be removed.
    own_etc: bool,
    /// Where userspace WireGuard keeps its sockets, if other machines may have interfaces of the same names.
    own_sockets: Option<PathBuf>,
}

impl Machine {
    /// A machine with nothing but a loopback; `name` must be unique.
    ///
    /// # Panics
    /// There are no rights to make one.
    pub fn new(name: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "root is needed: the tests make network namespaces");
        ip(&["netns", "add", name]);
        let folder = tempfile::Builder::new().prefix(name).tempdir().expect("a temporary folder");
        let machine = Self { namespace: name.to_owned(), folder, own_etc: false, own_sockets: None };
        machine.ip(&["link", "set", "lo", "up"]);
        machine
    }

    /// A machine whose interfaces may be called like those of other machines, also where WireGuard is userspace.
    ///
    /// # Panics
    /// There are no rights to make one.
    pub fn with_own_interface_names(name: &str) -> Self {
        let mut machine = Self::new(name);
        let sockets = machine.path("sockets");
        for folder in [&sockets, Path::new("/var/run/wireguard")] {
            std::fs::create_dir_all(folder).expect("a folder for sockets");
        }
        machine.own_sockets = Some(sockets);
        machine
    }

    /// Its namespace, as `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file that only root may read, and gives its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        write_private(&path, content);
        path
    }

    /// A folder that programs in this machine see as `/etc/NAME`, which must exist on the system.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn own_etc(&mut self, name: &str) -> PathBuf {
        self.own_etc = true;
        let path = Path::new("/etc/netns").join(&self.namespace).join(name);
        std::fs::create_dir_all(&path).expect("a folder under /etc/netns");
        path
    }

    /// A command in this machine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        if let Some(sockets) = &self.own_sockets {
            // `ip netns exec` gives each program a mount namespace of its own
            let mount = "mount --bind \"$0\" /var/run/wireguard && exec \"$@\"";
            command.args(["sh", "-c", mount]).arg(sockets);
        }
        command.arg(program).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }

    /// Runs a program in this machine to its end.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        run(self.command(program).args(arguments), b"")
    }

    /// `ip` in this machine.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.namespace], arguments].concat());
    }

    /// Does something in this machine's network, on a thread of its own.
    ///
    /// # Panics
    /// When `act` does.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.namespace);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = File::open(path).expect("the namespace is there");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The processes in it.
    pub fn pids(&self) -> Vec<Pid> {
        let listed = Command::new("ip").args(["netns", "pids", &self.namespace]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut left = self.pids();
        for _ in 0..200 {
            left.iter().for_each(|pid| end(*pid));
            left = self.pids();
            if left.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).output();
        if self.own_etc {
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(&self.namespace));
            let _ = std::fs::remove_dir("/etc/netns"); // only when it is empty
        }
    }
}

/// Ends a process as a power cut would; it may have ended already.
pub fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
}

/// Writes a file that only root may read.
///
/// # Panics
/// It cannot be written.
pub fn write_private(path: &Path, content: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Waits until something accepts connections at a path.
///
/// # Panics
/// Nothing does.
pub fn await_socket(path: &Path) {
    until(&format!("a listener at {}", path.display()), LONG, || std::os::unix::net::UnixStream::connect(path).ok());
}

/// Machines on one Ethernet, with addresses 10.99.0.1, .2, .3 … in the order in which they are plugged in.
#[derive(Debug)]
pub struct Wire {
    switch: Machine,
    plugged: u8,
}

impl Wire {
    /// A wire with nothing plugged in.
    pub fn new(name: &str) -> Self {
        let switch = Machine::new(name);
        switch.ip(&["link", "add", "br0", "type", "bridge"]);
        switch.ip(&["link", "set", "br0", "up"]);
        Self { switch, plugged: 0 }
    }

    /// Plugs a machine in as `eth0`; gives its address.
    pub fn plug(&mut self, machine: &Machine) -> String {
        self.plugged += 1;
        let (port, address) = (format!("port{}", self.plugged), format!("10.99.0.{}", self.plugged));
        let (here, there) = (self.switch.namespace(), machine.namespace());
        ip(&["link", "add", &port, "netns", here, "type", "veth", "peer", "name", "eth0", "netns", there]);
        self.switch.ip(&["link", "set", &port, "master", "br0", "up"]);
        machine.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        machine.ip(&["link", "set", "eth0", "up"]);
        address
    }

    /// Pulls the plug of the machine that came at this place (from 1), or puts it in again.
    pub fn set_plugged(&self, place: u8, plugged: bool) {
        self.switch.ip(&["link", "set", &format!("port{place}"), if plugged { "up" } else { "down" }]);
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments), b"").ok();
}
