//! `doc/pam.md`: each stack, as it stands there, lets in who has both factors and nobody who has one, with the real modules
//! as far as Debian has them and they need no directory server; of the others `check` has nothing to say.

use std::path::Path;
use std::process::Command;

use wgmfa_tests::bastion::{Bastion, PASSWORD};
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::machine::{Machine, write_private};
use wgmfa_tests::program::{Ended, run};

use super::documents::steps::{Step, steps};
use super::documents::{code_blocks, section};
use super::radius::{Radius, SECRET};
use super::site::{REFUSAL, Site};

const SYSTEM: &str = "The system's password";
const RADIUS: &str = "RADIUS";
const FOREIGN: &str = "Another module is the second factor";

/// Puts a stack of a section in the place of the bastion's; its paths are changed to those of the test.
fn put(bastion: &Bastion, title: &str, number: usize, paths: &[(&str, &Path)]) {
    let folder = bastion.folder().join("pam.d");
    let made = std::fs::read_to_string(folder.join("wgmfa")).unwrap();
    let module = made.lines().next().unwrap().split_once("required").unwrap().1.trim();
    let mut stack = code_blocks(&section("doc/pam.md", title), "pam")[number].replace("pam_wgmfa.so", module);
    for (written, path) in paths {
        assert!(stack.contains(written), "{written}\n{stack}");
        stack = stack.replace(written, &path.to_string_lossy());
    }
    write_private(&folder.join("wgmfa"), &stack);
}

/// Gives justin an account on the bastion's machine with this password, as crypt(3) has it.
fn system_account(machine: &mut Machine, hash: &str) {
    machine.own_etc("wgmfa");
    let etc = Path::new("/etc/netns").join(machine.namespace());
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    std::fs::write(etc.join("passwd"), format!("{passwd}justin:x:4242:4242::/:/bin/sh\n")).unwrap();
    write_private(&etc.join("shadow"), &format!("root:*:20000::::::\njustin:{hash}:20000::::::\n"));
}

/// Logs in with these answers.
#[track_caller]
fn log_in(site: &mut Site, password: &str, code: &str) -> Ended {
    site.justin.laptop.set_password(password);
    site.justin.laptop.set_code(code);
    site.justin.laptop.ssh_as_set(&["wgmfa-status"])
}

#[track_caller]
fn refused(ended: &Ended) {
    assert_eq!(ended.code(), 255, "{ended:?}");
    assert!(ended.stderr.contains(REFUSAL), "{ended:?}");
}

/// Whoever has both factors gets in, whoever has one does not. Both wrong answers are given before the right ones: no code
/// is used up by them.
#[track_caller]
fn both_are_needed(site: &mut Site, password: &str, code: impl FnOnce(&mut Site) -> String) {
    refused(&log_in(site, "wrong", "000000"));
    refused(&log_in(site, password, "000000"));
    let right = code(site); // only now: one that is read off an app does not stay good for long
    log_in(site, password, &right).ok();
    let checked = site.bastion.admin(&["check"]);
    assert!(!checked.stdout.contains("single factor") && !checked.stdout.contains("refused"), "{checked:?}");
    assert_eq!(site.count("login-accepted"), 1);
}

#[test]
fn the_bastions_own_password() {
    let mut site = Site::with(|_| {}, |bastion| put(bastion, "The bastion's own password", 0, &[]));
    both_are_needed(&mut site, PASSWORD, |site| site.justin.fresh_code());
}

#[test]
fn the_systems_password() {
    // crypt(3) of the password below
    let hash = "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";
    let mut site = Site::with(|machine| system_account(machine, hash), |bastion| put(bastion, SYSTEM, 0, &[]));
    both_are_needed(&mut site, "correct horse", |site| site.justin.fresh_code());
}

#[test]
fn a_radius_server() {
    let mut server = None;
    let mut site = Site::with(
        |machine| {
            server = Some(Radius::start(machine, "justin", "the word of RADIUS"));
            machine.own_etc("wgmfa");
            let file = Path::new("/etc/netns").join(machine.namespace()).join("pam_radius_auth.conf");
            write_private(&file, &format!("127.0.0.1:1812 {} 3\n", SECRET));
        },
        |bastion| put(bastion, RADIUS, 0, &[]),
    );
    both_are_needed(&mut site, "the word of RADIUS", |site| site.justin.fresh_code());
    assert_eq!(server.expect("it runs").answers(), [false, true, true]);
}

#[test]
fn a_code_of_google_authenticator() {
    let mut site = Site::with(
        |_| {},
        |bastion| {
            bastion.configure("require-code", "false");
            let secrets = bastion.machine.path("google-authenticator");
            std::fs::create_dir(&secrets).unwrap();
            put(bastion, FOREIGN, 0, &[("/var/lib/google-authenticator", &secrets)]);
            let Some(Step::Run { text, .. }) = steps(&section("doc/pam.md", FOREIGN)).pop() else {
                panic!("a command")
            };
            let text = text.replace("/var/lib/google-authenticator", &secrets.to_string_lossy());
            run(bastion.machine.command("bash").args(["-ec", &text]), b"").ok();
        },
    );
    let file = site.bastion.machine.path("google-authenticator/justin");
    let text = std::fs::read_to_string(file).unwrap();
    let secret = text.lines().next().unwrap();
    let mut app = Authenticator::from_url(&format!("otpauth://totp/justin?secret={secret}"));
    both_are_needed(&mut site, PASSWORD, |_| app.next_code());
    refused(&log_in(&mut site, PASSWORD, &app.used_code()));
}

#[test]
fn a_code_of_pam_oath() {
    let secret = "3132333435363738393031323334353637383930";
    let mut site = Site::with(
        |_| {},
        |bastion| {
            bastion.configure("require-code", "false");
            let users = bastion.machine.write("users.oath", &format!("HOTP/T30/6  justin  -  {secret}\n"));
            put(bastion, FOREIGN, 1, &[("/etc/security/users.oath", &users)]);
        },
    );
    // its prompt has the word for the other question in it: `One-time password (OATH) for 'justin': `
    let askpass = site.justin.laptop.machine.path("askpass");
    let text = std::fs::read_to_string(&askpass)
        .unwrap()
        .replace("    *assword*", "    *OATH*) cat \"$folder/code\" ;;\n    *assword*");
    std::fs::write(&askpass, text).unwrap();
    both_are_needed(&mut site, PASSWORD, |_| {
        let code = run(Command::new("oathtool").args(["--totp", "-"]), secret.as_bytes()).ok().stdout;
        code.trim_end().to_owned()
    });
    let code = std::fs::read_to_string(site.justin.laptop.machine.path("code")).unwrap();
    refused(&log_in(&mut site, PASSWORD, &code));
}

#[test]
fn the_other_stacks_have_no_fault() {
    for title in ["SSSD: Active Directory, FreeIPA, LDAP", "LDAP without SSSD"] {
        let site = Site::with(|_| {}, |bastion| put(bastion, title, 0, &[]));
        let checked = site.bastion.admin(&["check"]);
        assert!(!checked.stdout.contains("pam.d/wgmfa"), "{title}: {checked:?}");
    }
}
