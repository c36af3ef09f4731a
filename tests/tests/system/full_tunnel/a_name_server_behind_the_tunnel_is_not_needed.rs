//! The addresses of the last good login are enough where no name can be looked up; the host key is checked by the name.

use wgmfa_tests::program::run;

use super::{BASTION, FullTunnel, NAME};

/// A name server that only the tunnel reaches, and what is known without it.
fn names(full: &mut FullTunnel, hosts: &str) {
    full.own_etc("resolv.conf", "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n");
    full.own_etc("hosts", &format!("127.0.0.1 localhost\n{hosts}"));
}

fn at_home() -> String {
    format!("{} {NAME}\n{} {NAME}\n", BASTION[0], BASTION[1])
}

#[test]
fn after_one_login() {
    let mut full = FullTunnel::new();
    full.config(&format!("Host bastion\n  HostName {NAME}\n"));
    names(&mut full, &at_home());
    full.sync().ok();
    let remembered = full.lab.laptop.machine.path(".local/state/wgmfa/addresses.json");
    let text = std::fs::read_to_string(&remembered).expect("the login has left it");
    assert!(BASTION.iter().all(|address| text.contains(address)), "{text}");

    names(&mut full, "");
    full.sync().ok();
    full.await_tunnel();
    // another key under that name: the address was not believed for its own sake
    let another = full.lab.laptop.machine.path("another");
    let mut keygen = full.lab.laptop.machine.command("ssh-keygen");
    run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&another), b"").ok();
    let another = std::fs::read_to_string(another.with_extension("pub")).expect("ssh-keygen makes it");
    full.knows(&format!("x {another}"), NAME);
    let refused = full.sync().expect(5);
    assert!(refused.stderr.contains("Host key verification failed"), "{refused:?}");
}

#[test]
fn and_before_that_it_is_said_clearly() {
    let mut full = FullTunnel::new();
    full.config(&format!("Host bastion\n  HostName {NAME}\n"));
    names(&mut full, "");
    let ended = full.sync().expect(5);
    let error = format!(
        "wgmfa: error: bastion could not be reached: {NAME} cannot be looked up (is the name server behind the \
         tunnel?), and no login from here has left its address\n"
    );
    assert!(ended.stderr.contains(&error), "{ended:?}");
    // the hint is good as it stands
    let hint = ended.stderr.split_once("wgmfa: hint: once: wgmfa sync bastion -- ").expect("a hint").1.trim_end();
    let options = hint.replace("ADDRESS", BASTION[0]);
    assert_eq!(options, format!("-o HostName={} -o HostKeyAlias=[{NAME}]:2222", BASTION[0]));
    let config = std::fs::read_to_string(full.lab.laptop.ssh_config()).expect("it is there");
    let alias = options.replace("-o ", "\n  ").replace('=', " ");
    full.lab.laptop.machine.write("ssh_config", &format!("Host bastion{alias}\n{config}"));
    full.sync().ok();
    full.await_tunnel();
}
