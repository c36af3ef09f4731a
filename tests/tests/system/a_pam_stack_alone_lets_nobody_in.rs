//! The keeper lets nobody in whose code it has not accepted itself in this login, whatever the PAM stack says.

use std::path::Path;

use wgmfa_tests::bastion::{Bastion, PASSWORD};
use wgmfa_tests::machine::write_private;

use super::site::{Person, REFUSAL, Site};

/// Replaces the bastion's PAM service: `%` stands for our module with its options so far.
fn stack(bastion: &Bastion, lines: &str) {
    let service = bastion.folder().join("pam.d/wgmfa");
    let ours = std::fs::read_to_string(bastion.folder().join("pam.d/as-made")).unwrap();
    let module = ours.lines().next().unwrap().split_once("required").unwrap().1.trim();
    write_private(&service, &format!("{}\n", lines.replace('%', module)));
}

/// A bastion whose service file can be replaced while it runs: it is read in every login.
fn site() -> Site {
    Site::with(|_| {}, |bastion| keep(&bastion.folder().join("pam.d")))
}

fn keep(folder: &Path) {
    std::fs::copy(folder.join("wgmfa"), folder.join("as-made")).unwrap();
}

/// Nothing comes out of this login, and the refusal is the one for everything.
#[track_caller]
fn refused(person: &mut Person) {
    let ended = person.ssh(&["wgmfa-sync"]).expect(255);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains(REFUSAL), "{ended:?}");
}

#[test]
fn one_that_lets_everyone_in_does_not() {
    let mut site = site();
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let asked = site.justin.laptop.asked().len();
    stack(&site.bastion, "auth required pam_permit.so\naccount required pam_permit.so");
    refused(&mut site.justin);
    assert_eq!(site.justin.laptop.asked().len(), asked, "it asked nothing");
    stack(&site.bastion, "auth sufficient pam_permit.so\nauth required %\naccount required %");
    refused(&mut site.justin);
    // our module says no, and the stack does not care
    stack(&site.bastion, "auth optional %\nauth required pam_permit.so\naccount required pam_permit.so");
    site.justin.laptop.set_password("wrong");
    refused(&mut site.justin);
    site.justin.laptop.set_password(PASSWORD);
    // nor does our module's word for the account stand in for its word for the code
    stack(&site.bastion, "auth required pam_permit.so\naccount required %");
    refused(&mut site.justin);
    let reasons = site.bastion.log("login-refused");
    let no_code = reasons.iter().filter(|line| line["reason"] == "no one-time code was accepted in this login");
    assert_eq!(no_code.count(), 4, "{reasons:#?}");
    assert_eq!((site.count("login-accepted"), site.count("released")), (0, 0));
    assert!(!site.bastion.admin(&["check"]).stdout.is_empty());

    // a right code behind it is a right code: `optional` alone does no harm
    stack(&site.bastion, "auth optional %\nauth required pam_permit.so\naccount required %");
    site.justin.ssh(&["wgmfa-sync"]).ok();
}

#[test]
fn one_that_cannot_be_carried_out_does_not() {
    let mut site = site();
    stack(&site.bastion, "auth required %\nauth required pam_that_is_missing.so\naccount required %");
    refused(&mut site.justin);
    stack(&site.bastion, "auth required pam_deny.so\naccount required %");
    refused(&mut site.justin);
    stack(&site.bastion, "auth required %\naccount required pam_deny.so");
    refused(&mut site.justin);
    stack(&site.bastion, "this is no stack");
    refused(&mut site.justin);
    // the service 'other', to which PAM falls back, lets nobody in either
    write_private(
        &site.bastion.folder().join("pam.d/other"),
        "auth required pam_permit.so\naccount required pam_permit.so\n",
    );
    std::fs::remove_file(site.bastion.folder().join("pam.d/wgmfa")).unwrap();
    refused(&mut site.justin);
    assert_eq!(site.count("login-accepted"), 0);
    site.bastion.stop();
    let mut serve = site.bastion.command();
    serve.arg("--config").arg(site.bastion.folder().join("bastion.toml")).arg("serve");
    let ended = wgmfa_tests::program::run(&mut serve, b"").expect(2);
    assert!(ended.stderr.contains("pam.d/wgmfa: no such PAM service file"), "{ended:?}");
}

/// crypt(3) of the lab's password would do; so does any other, as it is pam_unix that compares it.
const PASSWORD_OF_THE_SYSTEM: &str = "correct horse";
const HASH: &str =
    "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";

#[test]
fn one_with_pam_unix_for_the_password_and_ours_for_the_code_lets_in_who_has_both() {
    let mut site = Site::with(
        |machine| {
            machine.own_etc("wgmfa");
            let etc = Path::new("/etc/netns").join(machine.namespace());
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
            std::fs::write(etc.join("passwd"), format!("{passwd}justin:x:4242:4242::/:/bin/sh\n")).unwrap();
            write_private(&etc.join("shadow"), &format!("root:*:20000::::::\njustin:{HASH}:20000::::::\n"));
        },
        |bastion| {
            keep(&bastion.folder().join("pam.d"));
            stack(
                bastion,
                "auth required pam_unix.so nodelay\nauth required % otp\naccount required pam_unix.so\naccount required %",
            );
        },
    );
    site.justin.laptop.set_password(PASSWORD_OF_THE_SYSTEM);
    site.justin.ssh(&["wgmfa-status"]).ok();
    site.justin.laptop.set_password(PASSWORD); // the bastion's own, which nobody asks for here
    refused(&mut site.justin);
    site.justin.laptop.set_password(PASSWORD_OF_THE_SYSTEM);
    site.justin.laptop.set_code("000000");
    site.justin.laptop.ssh_as_set(&["wgmfa-status"]).expect(255);
    assert_eq!(site.count("login-accepted"), 1);
}

#[test]
fn one_whose_second_factor_is_a_foreign_module_does_only_when_the_configuration_says_so() {
    let mut site = Site::with(
        |_| {},
        |bastion| {
            keep(&bastion.folder().join("pam.d"));
            bastion.configure("require-code", "false");
            stack(bastion, "auth required pam_permit.so\naccount required %");
        },
    );
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    assert_eq!(site.justin.ssh(&["wgmfa-sync"]).ok().stdout.lines().count(), 1);
    let accepted = site.bastion.log("login-accepted");
    assert_eq!((accepted.len(), &accepted[0]["user"]), (1, &"justin".into()));
    assert!(accepted[0]["from"].as_str().is_some_and(|from| from.starts_with("10.99.0.")), "{accepted:?}");
    assert_eq!((site.count("code-accepted"), site.count("released")), (0, 1));
    let checked = site.bastion.admin(&["check"]);
    assert!(checked.said().contains("require-code"), "check warns of it: {checked:?}");
    // and still only people whom the bastion knows
    site.justin.laptop.ssh_as_set(&["-l", "nobody-here", "wgmfa-sync"]).expect(255);
    site.bastion.admin(&["user", "disable", "justin"]).expect(6); // the host is not there to confirm
    refused(&mut site.justin);
}
