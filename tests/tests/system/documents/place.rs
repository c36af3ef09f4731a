//! A machine of a text. It has its own name and its own files: what the commands write below /etc, /srv, /var, /run, the
//! home folder and the folder of PAM modules is written over the real files for this machine alone, and vanishes with it.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::machine::Machine;
use wgmfa_tests::program::{Ended, folder, ours, run};

/// The home folder of the person who follows the text.
pub const HOME: &str = "/root";

/// `$1` is the machine's name, `$2` an empty folder, `$3` its `/etc/hosts`, `$4` the folder of PAM modules.
const OWN_FILES: &str = r#"set -e
hostname "$1"
mount -t tmpfs own "$2"
for folder in /etc /root /srv /var "$4"; do
  mkdir -p "$2/over$folder" "$2/work$folder"
  mount -t overlay own -o "lowerdir=$folder,upperdir=$2/over$folder,workdir=$2/work$folder" "$folder"
done
mount -t tmpfs own /run
printf %s "$3" >/etc/hosts
echo ready
exec sleep infinity"#;

/// A machine of the text.
pub struct Place {
    pub name: String,
    pub machine: Machine,
    holder: Daemon,
    /// How many blocks were followed.
    blocks: Cell<u32>,
}

impl Place {
    /// A machine with its own files; `hosts` is what it knows of others.
    pub fn new(name: &str, machine: Machine, hosts: &str) -> Self {
        let own = machine.path("own");
        std::fs::create_dir(&own).unwrap();
        let mut command = machine.command("unshare");
        command.args(["--mount", "--uts", "--propagation", "private", "bash", "-c", OWN_FILES, "bash", name]);
        let holder = Daemon::start(command.arg(own).arg(hosts).arg(pam_folder()));
        holder.await_line("ready");
        Self { name: name.to_owned(), holder, machine, blocks: Cell::new(0) }
    }

    /// Puts the PAM module and the front's user there, as the packages do.
    pub fn install_bastion(&self) {
        let module = format!("{}/pam_wgmfa.so", pam_folder().display());
        self.run("cp", &[&ours("libpam_wgmfa.so").to_string_lossy(), &module]).ok();
        self.run("useradd", &["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "wgmfa"]).ok();
    }

    /// A command in this machine, among its files.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let path = format!("{}:{}", folder().display(), std::env::var("PATH").unwrap());
        command.args(["--target", &self.holder.pid().to_string(), "--mount", "--uts", "--net", "--root"]);
        command.args(["env", "--chdir", HOME, program]).env("PATH", path).env("HOME", HOME);
        command.env("LC_ALL", "C.UTF-8").env_remove("SUDO_UID");
        // a bastion gives an agent on a slow machine more than a moment to confirm something
        command.env("WGMFA_CONFIRM_WITHIN", "8");
        command.env("SSH_ASKPASS", self.machine.path("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command
    }

    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        run(self.command(program).args(arguments), b"")
    }

    /// A command that runs a block by bash, as somebody who stops at the first failure.
    pub fn block(&self, text: &str) -> Command {
        let script = self.machine.write("block", text);
        let mut command = self.command("timeout");
        command.args(["60", "bash", "-e", "-o", "pipefail"]).arg(script);
        command
    }

    /// Runs a block to its end; what goes on in the background goes on. Gives what it printed.
    #[track_caller]
    pub fn follow(&self, text: &str) -> String {
        // what goes on in the background writes on into its own
        self.blocks.set(self.blocks.get() + 1);
        let said = self.machine.path(&format!("said-{}", self.blocks.get()));
        let output = File::create(&said).unwrap();
        let mut command = self.block(text);
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let status = command.status().unwrap();
        let said = std::fs::read_to_string(said).unwrap();
        assert!(status.success(), "on {}: {status}\n{text}\n{said}", self.name);
        said
    }

    /// A file in the home folder, as this machine sees it.
    pub fn file(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root{HOME}", self.holder.pid())).join(name)
    }

    /// The person at this machine has this password, and an app that shows this code.
    pub fn set_answers(&self, password: &str, code: &str) {
        let askpass = format!(
            "#!/bin/sh\ncase $1 in *'Password: ') echo '{password}' ;; *'One-time code: ') echo '{code}' ;; *) exit 1 ;; esac\n"
        );
        let path = self.machine.write("askpass", &askpass);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }

    /// Brings an interface up from a file in `/etc/wireguard`, in the kernel where it has any.
    pub fn wg_quick(&self, interface: &str, text: &str) {
        // the daemon goes on with the outputs that it was given, so these must not be pipes
        let script = "mkdir -p /etc/wireguard; umask 077; printf %s \"$2\" >\"/etc/wireguard/$1.conf\"; \
                      wg-quick up \"$1\" >\"$3\" 2>&1 </dev/null || { cat \"$3\"; exit 1; }";
        let said = self.machine.path("wg-quick");
        self.run("bash", &["-ec", script, "bash", interface, text, &said.to_string_lossy()]).ok();
    }
}

/// Where this system keeps PAM modules: the folder of `pam_unix.so`.
fn pam_folder() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = folders.map(|entry| entry.path().join("security")).chain(["/usr/lib/security".into()]);
    folders.into_iter().find(|folder| folder.join("pam_unix.so").exists()).expect("PAM has a folder of modules")
}
