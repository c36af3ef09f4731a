//! An invitation counts until a person has set what they log in with, and from then on never again: whatever is killed, and
//! however it is guessed.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::machine::write_private;
use wgmfa_tests::wait::{LONG, until};

use super::conversation::Conversation;
use super::site::{Person, REFUSAL, Site};

const NEW: &str = "a password of her own";

fn invite(site: &Site, words: &[&str]) -> String {
    let said = site.bastion.admin(&[&["--json", "user", "reset", "dana"], words].concat()).ok().json();
    said["invitation"].as_str().expect("an invitation").to_owned()
}

/// Comes in with these answers, and sets a password where one is asked for; gives the new app, not yet proved.
#[track_caller]
fn begin(dana: &Person, (password, code): (&str, &str), asks_password: bool) -> (Conversation, Authenticator) {
    dana.laptop.set_password(password);
    dana.laptop.set_code(code);
    let mut ssh = dana.laptop.command("ssh");
    ssh.arg("-F").arg(dana.laptop.ssh_config()).args(["bastion", "wgmfa-enrol", "--json"]);
    let mut enrolment = Conversation::start(&mut ssh);
    if asks_password {
        assert!(enrolment.say(format!("{NEW}\n{NEW}\n").as_bytes()));
    }
    let shown = enrolment.hear_json();
    let app = Authenticator::from_url(shown["otpauth_url"].as_str().expect("a URL"));
    (enrolment, app)
}

/// Proves the app, while the keeper is about to be killed.
fn killed(site: &mut Site, point: &str, dana: &mut Person, invitation: &str) {
    site.bastion.stop();
    site.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
    let (mut enrolment, mut app) = begin(dana, (invitation, ""), true);
    assert!(enrolment.say(format!("{}\n", app.next_code()).as_bytes()));
    let mut serve = site.bastion.serve.take().expect("it was started");
    assert_eq!(serve.await_end().signal(), Some(9), "{}", serve.said());
    assert_eq!(enrolment.hear(), None, "no recovery code was shown");
    until("the end of front and workers", LONG, || site.bastion.machine.pids().is_empty().then_some(()));
    site.bastion.start();
    dana.laptop.authenticator = app;
}

#[test]
fn killed_before_it_is_on_disk_nothing_counts_and_the_invitation_is_good_again() {
    let mut site = Site::new();
    let mut dana = site.person("dana");
    let invitation = invite(&site, &[]);
    killed(&mut site, "enrolling", &mut dana, &invitation);
    dana.laptop.set_password(NEW);
    assert!(dana.laptop.ssh(&["wgmfa-status"]).expect(255).said().contains(REFUSAL));
    assert_eq!(site.count("enrolled"), 0);
    let (mut enrolment, mut app) = begin(&dana, (&invitation, ""), true);
    assert!(enrolment.say(format!("{}\n", app.next_code()).as_bytes()));
    assert_eq!(enrolment.hear_json()["recovery_codes"].as_array().map(Vec::len), Some(10));
    assert!(enrolment.end().0.success());
    assert_eq!(site.count("enrolled"), 1);
}

#[test]
fn killed_with_it_on_disk_all_of_it_counts_and_the_invitation_is_used_up() {
    let mut site = Site::new();
    let mut dana = site.person("dana");
    let invitation = invite(&site, &[]);
    killed(&mut site, "enrolled", &mut dana, &invitation);
    assert_eq!(site.count("enrolled"), 1);
    dana.laptop.set_password(&invitation);
    dana.laptop.set_code("");
    assert!(dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(255).said().contains(REFUSAL));
    dana.laptop.set_password(NEW);
    dana.laptop.ssh(&["wgmfa-status"]).ok();
    // she never saw the recovery codes, and gets others
    dana.laptop.ssh(&["wgmfa-codes"]).ok();
}

#[test]
fn a_wrong_invitation_is_a_guess_like_any_other() {
    let mut site = Site::new();
    let dana = site.person("dana");
    let invitation = invite(&site, &[]);
    let refused = |answer: &str| {
        dana.laptop.set_password(answer);
        dana.laptop.set_code("");
        assert!(dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(255).said().contains(REFUSAL));
    };
    for _ in 0..5 {
        refused("abcd-efgh-ijkl-mnop");
    }
    refused(&invitation);
    let log = site.bastion.log("login-refused");
    let reason = log.last().expect("a refusal")["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("locked from this source until "), "{reason}");
    let why = site.bastion.admin(&["why", "dana"]).ok().stdout;
    assert!(why.contains("wgmfa-bastion user unlock dana"), "{why}");
    site.bastion.admin(&["user", "unlock", "dana"]).ok();
    let (mut enrolment, mut app) = begin(&dana, (&invitation, ""), true);
    assert!(enrolment.say(format!("{}\n", app.next_code()).as_bytes()));
    assert_eq!(enrolment.hear_json()["recovery_codes"].as_array().map(Vec::len), Some(10));
    assert!(enrolment.end().0.success());
}

#[test]
fn where_another_module_keeps_the_password_only_the_code_is_set() {
    let mut site = Site::with(
        |_| {},
        |bastion| {
            // stands for any module that knows people's passwords
            let knows =
                bastion.machine.write("knows", &format!("#!/bin/sh\n[ \"$(cat | tr -d '\\0')\" = '{PASSWORD}' ]\n"));
            let service = bastion.folder().join("pam.d/wgmfa");
            let made = std::fs::read_to_string(&service).expect("init makes it");
            let exec = format!("auth required pam_exec.so quiet expose_authtok /bin/sh {}\n", knows.display());
            let auth = made.lines().find(|line| line.starts_with("auth")).expect("init wrote it");
            write_private(&service, &made.replace(auth, &format!("{exec}{auth} otp")));
        },
    );
    let mut dana = site.person("dana");
    site.bastion.admin(&["user", "reset", "dana", "--system-password"]).ok();
    let invitation = invite(&site, &[]);
    // the wrong password lets nobody enrol, whatever the invitation
    dana.laptop.set_password("wrong");
    dana.laptop.set_code(&invitation);
    dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(255);
    let (mut enrolment, mut app) = begin(&dana, (PASSWORD, &invitation), false);
    assert!(enrolment.say(format!("{}\n", app.next_code()).as_bytes()));
    assert_eq!(enrolment.hear_json()["recovery_codes"].as_array().map(Vec::len), Some(10));
    assert!(enrolment.end().0.success());
    dana.laptop.authenticator = app;
    dana.laptop.ssh(&["wgmfa-status"]).ok();
    let shown = site.bastion.admin(&["--json", "user", "show", "dana"]).ok().json();
    assert_eq!(shown["users"][0]["password"], "system");
    assert!(dana.laptop.ssh(&["wgmfa-passwd"]).code() != 0, "its password is not kept here");
}
