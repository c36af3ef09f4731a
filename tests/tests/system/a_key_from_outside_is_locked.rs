//! Whatever puts an old key on the gateway's interface behind the agent's back: it is locked at the next look.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::program::run;

/// Something puts the key on the gateway's interface; the agent locks the peer, and a key waits.
fn is_locked_after(lab: &mut Lab, key: &str, put: impl FnOnce(&Lab)) {
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let said = agent.lines().len();
    let generation = lab.bastion.key(DEVICE)["generation"].as_u64();
    put(lab);
    agent.await_line_from(said, "the lock", wgmfa_tests::wait::LONG, |line| {
        line.text.contains(": locked: the key on the interface was changed from outside")
    });
    lab.await_waiting_key();
    assert!(!lab.accepts(key));
    assert!(lab.bastion.key(DEVICE)["generation"].as_u64() > generation, "generations go up");
}

#[test]
fn by_wg_set_with_the_key_of_the_last_session() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    let [expired, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]).ok();
    lab.await_waiting_key();
    assert!(!lab.accepts(&expired));
    is_locked_after(&mut lab, &expired, |lab| {
        let (gateway, laptop) = (&lab.gateway, &lab.laptop.tunnel.keys.public);
        let mut command = gateway.machine.command("wg");
        command.args(["set", &gateway.tunnel.name, "peer", laptop, "preshared-key", "/dev/stdin"]);
        run(&mut command, expired.as_bytes()).ok();
    });
    let noted = lab.bastion.log("changed-outside");
    assert_eq!(noted.len(), 1, "{noted:#?}");
    assert!(noted[0]["reason"].as_str().is_some_and(|reason| reason.starts_with("another preshared key was set")));
    lab.log_in();
}

#[test]
fn by_wg_syncconf_with_a_file_from_before_wgmfa() {
    let mut lab = Lab::new("1h");
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    let old = lab.gateway.machine.path(&format!("{}.conf", lab.gateway.tunnel.name));
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    is_locked_after(&mut lab, &configured, |lab| {
        let gateway = &lab.gateway;
        gateway.machine.run("wg", &["syncconf", &gateway.tunnel.name, &old.to_string_lossy()]).ok();
    });
    lab.log_in();
}

#[test]
fn by_taking_the_preshared_key_out() {
    let mut lab = Lab::with_resident_agent("1h");
    // no preshared key at all is 32 zero bytes to WireGuard
    let none = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    is_locked_after(&mut lab, none, |lab| {
        let (gateway, laptop) = (&lab.gateway, &lab.laptop.tunnel.keys.public);
        let words = ["set", &gateway.tunnel.name, "peer", laptop, "preshared-key", "/dev/null"];
        gateway.machine.run("wg", &words).ok();
    });
    assert_eq!(lab.bastion.log("changed-outside").len(), 1);
    lab.log_in();
}
