//! With `listen = []`, pam_wgmfa.so in sshd's PAM service and `wgmfa-sync` on the machine, the site's own sshd does what the
//! front does: the same words, texts and exit statuses.

use std::path::Path;

use serde_json::json;
use wgmfa_tests::lab::{GATEWAY, Lab};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{Ended, ours, run, says_an_hour};
use wgmfa_tests::wait::{LONG, until};

use super::site::{Agent, Host, Site};
use super::sshd::{self, CODE, FORCED, KEY_AND_CODE, Sshd};

/// A gateway that holds a key for justin; gives the line that he is to get.
fn waiting<'a>(site: &Site, host: &'a Host, generation: u64) -> (Agent<'a>, String) {
    let mut agent = host.connect(false);
    let keys = agent.wait_with_keys(&[site.justin.public_key()], generation);
    (agent, format!("{}\t{}\n", host.keys.public, keys[0]))
}

/// The keys came, and were told as by the front.
#[track_caller]
fn released(ended: Ended, line: &str) {
    let ended = ended.ok();
    assert_eq!(ended.stdout, line, "{ended:?}");
    let opened = "app-gw/wg0: OK, ";
    let told = ended.stderr.lines().filter(|line| line.starts_with(opened) && says_an_hour(line, opened));
    assert_eq!(told.filter(|line| line.ends_with("), policy 101 Devices")).count(), 1, "{ended:?}");
}

#[test]
fn stock_ssh_gets_the_keys() {
    let (mut site, sshd) = sshd::site();
    let host = site.host("app-gw");
    let (_agent, line) = waiting(&site, &host, 1);
    released(sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync"]), &line);
    let log = site.bastion.log("released");
    assert_eq!((log.len(), &log[0]["user"], &log[0]["device"]), (1, &json!("justin"), &json!("justins-laptop")));
    assert!(log[0]["from"].as_str().is_some_and(|from| from.starts_with("10.99.0.")), "{log:?}");
    let asked = site.justin.laptop.asked();
    assert!(asked[0].contains("Password: ") && asked[1].contains("One-time code: "), "{asked:?}");

    // options and failures are the front's
    let json = sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync", "--format", "json"]).ok().json();
    assert_eq!((&json["user"], &json["keys"][0]["generation"]), (&json!("justin"), &json!(1)));
    let wrong = sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync", "--nonsense"]).expect(2);
    assert!(
        wrong.stderr.contains("wgmfa-sync: error: ") && wrong.stderr.contains("hint: ssh bastion wgmfa-sync --help")
    );
    let help = sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync", "--help"]).ok();
    assert!(help.stdout.contains("ssh bastion wgmfa-sync --device justins-laptop"), "{help:?}");
}

#[test]
fn a_key_may_be_wanted_before_the_code() {
    let (mut site, sshd) = sshd::site();
    let host = site.host("app-gw");
    let (_agent, line) = waiting(&site, &host, 1);
    let without_key = sshd.ssh(&mut site.justin, KEY_AND_CODE, &["bastion", "wgmfa-sync"]).expect(255);
    assert_eq!(without_key.stdout, "");
    sshd.add_key(&site.justin.laptop);
    released(sshd.ssh(&mut site.justin, KEY_AND_CODE, &["bastion", "wgmfa-sync"]), &line);
}

#[test]
fn a_forced_command_leaves_no_shell() {
    let (mut site, sshd) = sshd::site();
    let host = site.host("app-gw");
    let (_agent, line) = waiting(&site, &host, 1);
    let shell = sshd.ssh(&mut site.justin, FORCED, &["bastion", "id; wgmfa-sync"]).expect(1);
    assert_eq!(shell.stdout, "");
    assert!(shell.stderr.contains("wgmfa: error: only these can be asked for here: wgmfa-sync, "), "{shell:?}");
    let status = sshd.ssh(&mut site.justin, FORCED, &["bastion", "wgmfa-status"]).ok();
    assert!(status.stdout.contains("a login is needed"), "{status:?}");
    let options = ["bastion", "wgmfa-sync", "--device", "justins-laptop"];
    released(sshd.ssh(&mut site.justin, FORCED, &options), &line);
    let mut subsystem = sshd.converse(&mut site.justin, FORCED, &["-s", "bastion", "wgmfa-sync"]);
    subsystem.say_json(&json!({"version": 1, "public_keys": [site.justin.public_key()]}));
    assert_eq!(subsystem.hear_json()["keys"][0]["generation"], 1);
    subsystem.hush();
    subsystem.end();
    let terminal = sshd.ssh(&mut site.justin, FORCED, &["-tt", "bastion"]).ok();
    assert!(terminal.stdout.contains("Ask for one of these: wgmfa-sync, "), "{terminal:?}");
}

#[test]
fn both_ways_stand_side_by_side() {
    let mut site = Site::with(sshd::own_people, |_| {});
    let sshd = Sshd::start(&site.bastion);
    let host = site.host("app-gw");
    let (_agent, line) = waiting(&site, &host, 1);
    let by_front = site.justin.ssh(&["wgmfa-sync"]);
    site.justin.laptop.set_password(sshd::PASSWORD);
    let by_sshd = sshd.ssh(&mut site.justin, CODE, &["bastion", "wgmfa-sync"]);
    for ended in [by_front, by_sshd] {
        released(ended, &line);
    }
    assert_eq!((site.count("released"), site.count("renewed")), (1, 1));
}

#[test]
fn the_program_can_be_somebodys_shell() {
    let (mut site, sshd) = sshd::site();
    let mut carol = site.person("carol");
    carol.laptop.set_password(sshd::PASSWORD);
    let host = site.host("app-gw");
    let keys = host.connect(false).wait_with_keys(&[carol.public_key()], 1);
    let shell = sshd.ssh(&mut carol, CODE, &["bastion", "id"]).expect(1);
    assert!(shell.stdout.is_empty() && shell.stderr.contains("only these can be asked for here: "), "{shell:?}");
    let line = format!("{}\t{}\n", host.keys.public, keys[0]);
    released(sshd.ssh(&mut carol, CODE, &["bastion", "wgmfa-sync"]), &line);
    let mut subsystem = sshd.converse(&mut carol, CODE, &["-s", "bastion", "wgmfa-sync"]);
    subsystem.say_json(&json!({"version": 1, "public_keys": [carol.public_key()]}));
    assert_eq!(subsystem.hear_json()["keys"][0]["generation"], 1);
    subsystem.hush();
    subsystem.end();
    let table = sshd.ssh(&mut carol, CODE, &["-tt", "bastion"]).ok();
    assert!(table.stdout.contains("Ask for one of these: wgmfa-sync, "), "{table:?}");
}

#[test]
fn a_terminal_hides_a_new_password() {
    let (mut site, sshd) = sshd::site();
    let mut terminal = sshd.on_terminal(&mut site.justin, FORCED, &["wgmfa-passwd"]);
    for question in ["New password: ", "The same again: "] {
        terminal.await_text(question);
        terminal.type_line("another long one");
    }
    let (status, said) = terminal.end();
    assert!(status == 0 && said.contains("the password is changed"), "{status} {said}");
    assert!(!said.contains("another long one"), "{said}");
    assert_eq!(site.count("password-changed"), 1);
    // Ctrl-C leaves off; Debian's shell, which sshd has started in between, ends by it too
    let mut terminal = sshd.on_terminal(&mut site.justin, FORCED, &["wgmfa-passwd"]);
    terminal.await_text("New password: ");
    terminal.type_line("\u{3}");
    let (status, said) = terminal.end();
    assert!(status != 0 && !said.contains("changed"), "{status} {said}");
}

#[test]
fn an_administrator_gives_commands_there() {
    let (mut site, sshd) = sshd::site();
    let mut alice = site.administrator("alice");
    alice.laptop.set_password(sshd::PASSWORD);
    let listed = sshd.ssh(&mut alice, FORCED, &["bastion", "wgmfa-bastion user list"]).ok();
    assert!(listed.stdout.contains("justin"), "{listed:?}");
    let refused = sshd.ssh(&mut site.justin, FORCED, &["bastion", "wgmfa-bastion user list"]).expect(1);
    assert!(refused.stderr.contains("only an administrator may ask for this"), "{refused:?}");
    // what lets somebody in costs the code of the login, which then releases nothing
    let words = "wgmfa-bastion user code justin --reason 'no telephone'";
    sshd.ssh(&mut alice, FORCED, &["bastion", words]).ok();
    let acts = site.bastion.log("act-allowed");
    assert_eq!((acts.len(), &acts[0]["actor"]), (1, &json!("alice")), "{acts:#?}");
    assert!(acts[0]["from"].as_str().is_some_and(|from| from.starts_with("10.99.0.")), "{acts:#?}");
}

#[test]
fn the_small_client_opens_its_tunnel() {
    let mut lab = Lab::new("1h");
    lab.bastion.stop();
    let etc = Etc::of(lab.bastion.machine.namespace());
    sshd::write_people(lab.bastion.machine.namespace(), &etc.pam());
    sshd::by_sshd(&lab.bastion);
    lab.bastion.start();
    let sshd = Sshd::start(&lab.bastion);
    lab.gateway.start();
    lab.await_waiting_key();
    lab.laptop.set_password(sshd::PASSWORD);
    let code = lab.laptop.authenticator.next_code();
    lab.laptop.set_code(&code);
    let mut wgmfa = lab.laptop.command(ours("wgmfa"));
    wgmfa.args(["sync", "bastion", "--interface", &lab.laptop.tunnel.name, "--", "-F"]);
    run(wgmfa.arg(sshd.ssh_config(&lab.laptop, CODE)), b"").ok();
    until("an answered ping", LONG, || is_answered(&lab.laptop.machine, GATEWAY).then_some(()));
    let noted = lab.bastion.log("noted");
    let applied = |line: &&serde_json::Value| {
        line["reason"].as_str().is_some_and(|it| it.ends_with("the client has put the key into its interface"))
    };
    assert_eq!(noted.iter().filter(applied).count(), 1, "{noted:#?}");
}

/// Overlays of a machine's `/etc` that are gone with the test.
struct Etc(std::path::PathBuf);

impl Etc {
    fn of(namespace: &str) -> Self {
        let etc = Self(Path::new("/etc/netns").join(namespace));
        std::fs::create_dir_all(etc.pam()).unwrap();
        etc
    }

    fn pam(&self) -> std::path::PathBuf {
        self.0.join("pam.d")
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = std::fs::remove_dir("/etc/netns"); // only when it is empty
    }
}
