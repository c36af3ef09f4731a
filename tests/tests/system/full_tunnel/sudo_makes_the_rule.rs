//! Somebody without rights on the laptop: sudo with `wgmfa apply` and `wgmfa interfaces` is enough for a full tunnel too.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use wgmfa_tests::program::{Ended, install, ours, run};

use super::FullTunnel;

/// `nobody`, as Debian has it.
const NOBODY: &str = "65534";

/// `wgmfa sync` as somebody without rights, who owns what ssh needs.
fn sync_as_nobody(full: &mut FullTunnel) -> Ended {
    let laptop = &mut full.lab.laptop;
    let code = laptop.authenticator.next_code();
    laptop.set_code(&code);
    let program = laptop.machine.path("wgmfa");
    install(ours("wgmfa"), &program);
    run(laptop.machine.command("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(laptop.machine.folder()), b"")
        .ok();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it was just put there");
    let mut command = laptop.command("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(&program);
    command.args(["sync", "bastion", "--interface", &laptop.tunnel.name, "--", "-F"]).arg(laptop.ssh_config());
    run(&mut command, b"")
}

/// Real sudo, which reads what this machine has as `/etc/sudoers.d`.
fn allow(full: &mut FullTunnel, words: &[&str]) {
    let program = full.lab.laptop.machine.path("wgmfa");
    let allowed: Vec<_> = words.iter().map(|word| format!("{} {word}", program.display())).collect();
    let machine = Arc::get_mut(&mut full.lab.laptop.machine).expect("nobody else has the laptop");
    let path = machine.own_etc("sudoers.d").join("wgmfa");
    std::fs::write(&path, format!("#{NOBODY} ALL = (root) NOPASSWD: {}\n", allowed.join(", "))).expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).expect("it was just put there");
}

#[test]
fn with_two_words_and_no_more() {
    let mut full = FullTunnel::new();
    allow(&mut full, &["apply", "interfaces"]);
    let before = full.routing();
    let ended = sync_as_nobody(&mut full).ok();
    assert_eq!(full.routing(), before, "{ended:?}");
    full.await_tunnel();
}

#[test]
fn and_without_them_says_what_to_do() {
    let mut full = FullTunnel::new();
    allow(&mut full, &["interfaces"]);
    let ended = sync_as_nobody(&mut full).expect(5);
    let error = "the way to 198.51.100.1 runs into the tunnel: wgmfa apply makes no rule\n";
    let hint = ": ip rule add to 198.51.100.1 lookup main\n";
    assert!(ended.stderr.contains(error) && ended.stderr.ends_with(hint), "{ended:?}");
}
