//! With a jump host, it is the jump host to which the way has to go.

use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::program::run;

use super::{BASTION, FullTunnel, JUMP, NAME};

/// Stock sshd on the bastion's machine, at addresses of its own; gives the line for known_hosts without its names.
fn jump_host(full: &FullTunnel) -> (Daemon, String) {
    let (jump, laptop) = (&full.lab.bastion.machine, &full.lab.laptop.machine);
    for (machine, name) in [(jump, "jump_key"), (laptop, "id_jump")] {
        let mut keygen = machine.command("ssh-keygen");
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(machine.path(name)), b"").ok();
    }
    let person = std::fs::read_to_string(laptop.path("id_jump.pub")).expect("ssh-keygen makes it");
    let config = format!(
        "ListenAddress {}:2200\nListenAddress [{}]:2200\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nAuthorizedKeysFile {}\n",
        JUMP[0],
        JUMP[1],
        jump.path("jump_key").display(),
        jump.write("authorized", &person).display(),
    );
    let config = jump.write("jump_config", &config);
    // a /run of its own, since sshd insists on /run/sshd
    let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$1\"";
    let daemon = Daemon::start(jump.command("sh").args(["-c", script, "sh"]).arg(&config));
    daemon.await_line("Server listening on 198");
    let key = std::fs::read_to_string(jump.path("jump_key.pub")).expect("ssh-keygen makes it");
    (daemon, key)
}

/// The person's configuration with a jump host that is found at `host`.
fn jumps_over(full: &FullTunnel, host: &str) {
    let identity = full.lab.laptop.machine.path("id_jump");
    full.config(&format!(
        "Host bastion\n  HostName {}\n  ProxyJump jump\nHost jump\n  HostName {host}\n  Port 2200\n  User root\n  \
         IdentityFile {}\n",
        BASTION[0],
        identity.display()
    ));
}

fn knows_jump(full: &FullTunnel, names: &[&str], key: &str) {
    let path = full.lab.laptop.machine.path("known_hosts");
    let known = std::fs::read_to_string(&path).expect("it is there");
    let lines: String = names.iter().map(|name| format!("[{name}]:2200 {key}")).collect();
    std::fs::write(path, format!("{known}{lines}")).expect("it can be written");
}

#[test]
fn and_the_bastion_through_it() {
    let mut full = FullTunnel::new();
    let (_sshd, key) = jump_host(&full);
    knows_jump(&full, &[JUMP[0]], &key);
    jumps_over(&full, JUMP[0]);
    let login = full.start();
    let rules = full.our_rules();
    assert!(rules.len() == 1 && rules[0].contains(JUMP[0]) && rules[0].contains("dport 2200"), "{rules:?}");
    drop(login);
    full.await_rules(0);
    full.sync().ok();
    full.await_tunnel();
}

#[test]
fn also_when_its_name_cannot_be_looked_up_any_more() {
    let mut full = FullTunnel::new();
    let (_sshd, key) = jump_host(&full);
    knows_jump(&full, &["jump.example.net"], &key);
    jumps_over(&full, "jump.example.net");
    full.own_etc("resolv.conf", "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n");
    full.own_etc("hosts", &format!("127.0.0.1 localhost\n{} jump.example.net\n{} {NAME}\n", JUMP[0], BASTION[0]));
    full.sync().ok();
    full.own_etc("hosts", "127.0.0.1 localhost\n");
    full.sync().ok();
    full.await_tunnel();
}
