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
    lab.await_waiting_key_above(generation);
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

/// The gateway's interface with its file, and a session that runs; gives the key of before wgmfa and the session's.
fn with_session() -> (Lab, [String; 2]) {
    let mut lab = Lab::new("1h");
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    lab.gateway.write_configuration();
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
    (lab, [configured, released])
}

/// What `wg` takes of the interface's file.
fn stripped(lab: &Lab, text: &str) -> String {
    let name = format!("strip/{}.conf", lab.gateway.tunnel.name);
    std::fs::create_dir_all(lab.gateway.machine.path("strip")).expect("a folder");
    let file = lab.gateway.machine.write(&name, text);
    let stripped = lab.gateway.machine.run("wg-quick", &["strip", &file.to_string_lossy()]).ok().stdout;
    lab.gateway.machine.write("stripped.conf", &stripped).to_string_lossy().into_owned()
}

fn in_file(lab: &Lab) -> String {
    std::fs::read_to_string(lab.gateway.configuration()).expect("it is there")
}

#[test]
fn by_wg_setconf_with_a_file_without_the_keys_line() {
    let (mut lab, [_, released]) = with_session();
    let without: String = in_file(&lab)
        .lines()
        .filter(|line| !line.starts_with("PresharedKey"))
        .map(|line| format!("{line}\n"))
        .collect();
    let none = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    is_locked_after(&mut lab, none, |lab| {
        let file = stripped(lab, &without);
        lab.gateway.machine.run("wg", &["setconf", &lab.gateway.tunnel.name, &file]).ok();
    });
    assert!(!lab.accepts(&released));
    lab.log_in();
}

#[test]
fn by_a_backup_of_the_configuration_that_is_restored_and_reloaded() {
    let mut lab = Lab::new("1h");
    let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
    lab.gateway.write_configuration();
    let backup = in_file(&lab);
    lab.gateway.start();
    lab.await_waiting_key();
    lab.log_in();
    is_locked_after(&mut lab, &configured, |lab| {
        std::fs::write(lab.gateway.configuration(), &backup).expect("it can be written");
        let file = stripped(lab, &backup);
        lab.gateway.machine.run("wg", &["syncconf", &lab.gateway.tunnel.name, &file]).ok();
    });
    assert!(!in_file(&lab).contains(&configured), "the file has a lock key again");
    lab.log_in();
}

/// What an administrator does to the interface with its own file: the session goes on, and nothing is alarming.
#[track_caller]
fn goes_on_after(act: impl FnOnce(&Lab)) {
    let (mut lab, [configured, released]) = with_session();
    let agent = lab.gateway.agent.as_ref().expect("it runs");
    let said = agent.lines().len();
    act(&lab);
    let is_restored = |line: &wgmfa_tests::daemon::Line| line.text.contains(": restored: generation ");
    agent.await_line_from(said, "the session", wgmfa_tests::wait::LONG, is_restored);
    lab.await_accepted(&released); // the session goes on
    assert_eq!(lab.bastion.log("changed-outside").len(), 0);
    assert_eq!(lab.bastion.log("handed-back").len(), 1);
    assert!(!lab.accepts(&configured));
    lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]).ok();
    lab.await_waiting_key();
    assert!(!lab.accepts(&released));
    lab.log_in();
}

#[test]
fn but_a_reload_of_its_own_file_ends_no_session() {
    goes_on_after(|lab| {
        let file = stripped(lab, &in_file(lab));
        lab.gateway.machine.run("wg", &["syncconf", &lab.gateway.tunnel.name, &file]).ok();
    });
}

#[test]
fn nor_does_an_interface_that_is_deleted_and_made_again() {
    goes_on_after(|lab| {
        let (machine, tunnel) = (&lab.gateway.machine, &lab.gateway.tunnel);
        let file = stripped(lab, &in_file(lab));
        tunnel.down(machine);
        wgmfa_tests::wait::until("the end of the interface", wgmfa_tests::wait::LONG, || {
            (machine.run("ip", &["link", "show", &tunnel.name]).code() != 0).then_some(())
        });
        tunnel.make(machine, std::path::Path::new(&file));
    });
}
