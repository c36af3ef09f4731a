//! What wgmfa is compared with: OpenSSH's sshd with pam_unix (yescrypt) and pam_google_authenticator.
//!
//! It runs in a machine that has its own `/etc/passwd`, `/etc/shadow` and `/etc/pam.d` (ip-netns(8) mounts them for the
//! programs in it alone), so that the system's own people and PAM services are never touched.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::Pid;
use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::machine::{Machine, Wire};
use wgmfa_tests::program::run;
use wgmfa_tests::wait::{LONG, until};

use crate::client::{Account, Client};

/// Its name in the client's configuration.
pub const SERVER: &str = "sshd";

const PORT: u16 = 2200;
const USER: &str = "bench";

/// The lab's password under yescrypt at Debian's cost, from crypt(3).
const PASSWORD_HASH: &str = "$y$j9T$wgmfabenches1234567890$Tm5aKvIakuF.jxRqlac4lVJLzuT.4TcGQykbUHqQ.o7";

/// 160 bits in base32.
const SECRET: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n\
                      bench:x:64998:64998::/:/bin/sh\n";

const PAM: &str = "auth required pam_unix.so\n\
                   auth required pam_google_authenticator.so user=root secret=@SECRET@\n\
                   account required pam_unix.so\n\
                   session required pam_unix.so\n";

/// A running sshd.
#[derive(Debug)]
pub struct Sshd {
    _daemon: Daemon,
    authenticator: Authenticator,
    machine: Arc<Machine>,
}

impl Sshd {
    /// Starts one, and makes the client know it.
    ///
    /// # Panics
    /// OpenSSH's server or pam_google_authenticator is not installed.
    pub fn start(name: &str, wire: &mut Wire, client: &Client) -> Self {
        let mut machine = Machine::new(name);
        let address = wire.plug(&machine);
        let pam = machine.own_etc("pam.d");
        let etc = pam.parent().expect("it lies in /etc/netns/NAME").to_owned();
        let machine = Arc::new(machine);
        write(&etc.join("passwd"), PASSWD);
        write(&etc.join("shadow"), &format!("root:*:19000:0:99999:7:::\n{USER}:{PASSWORD_HASH}:19000:0:99999:7:::\n"));
        write(&pam.join("sshd"), &PAM.replace("@SECRET@", &machine.path("secret").to_string_lossy()));
        let host_key = machine.path("host_key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key), b"").ok();
        let config = format!(
            "ListenAddress {address}:{PORT}\nHostKey {}\nPidFile none\nUsePAM yes\nPasswordAuthentication no\n\
             PubkeyAuthentication no\nKbdInteractiveAuthentication yes\nPrintMotd no\nPrintLastLog no\n",
            host_key.display(),
        );
        let config = machine.write("sshd_config", &config);
        // a /run of its own, since sshd insists on /run/sshd
        let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$1\"";
        let daemon = Daemon::start(machine.command("sh").args(["-c", script, "sh"]).arg(&config));
        daemon.await_line("Server listening");
        let public_key = std::fs::read_to_string(host_key.with_extension("pub")).expect("ssh-keygen made it");
        client.knows(SERVER, &address, PORT, &format!("[{address}]:{PORT} {public_key}"));
        let authenticator = Authenticator::from_url(&format!("otpauth://totp/{USER}?secret={SECRET}"));
        Self { _daemon: daemon, authenticator, machine }
    }

    /// Does something with an account of it whose code was never used: it writes used codes down, and here it is made to
    /// forget them, because a bench cannot wait for the next one.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn with_account<T>(&self, act: impl FnOnce(&Account<'_>) -> T) -> T {
        let options = "\" RATE_LIMIT 3 30\n\" WINDOW_SIZE 3\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n";
        self.machine.write("secret", &format!("{SECRET}\n{options}"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let code = self.authenticator.code_of(now.as_secs() / 30);
        act(&Account { server: SERVER, user: USER, password: PASSWORD, code: &code })
    }

    /// Its processes, once there are as many as this many connections need: one that listens, and two for each.
    ///
    /// # Panics
    /// There are more, or fewer for too long.
    pub fn processes(&self, connections: usize) -> Vec<Pid> {
        until("sshd's processes", LONG, || Some(self.machine.pids()).filter(|pids| pids.len() == 1 + 2 * connections))
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
