//! `user add NAME --invite`, then `ssh NAME@bastion wgmfa-enrol`: a person sets password and code secret, and nobody else
//! has ever seen them. The invitation is good once, and for this alone.

use wgmfa_tests::code::Authenticator;
use wgmfa_tests::program::run;

use super::conversation::Conversation;
use super::site::{Person, REFUSAL, Site};

const NEW: &str = "a password of her own";

/// Dana, whom an administrator has invited anew.
fn invited(site: &mut Site) -> (Person, String) {
    let dana = site.person("dana");
    let invitation = reset(site);
    dana.laptop.set_password(&invitation);
    dana.laptop.set_code("");
    (dana, invitation)
}

fn reset(site: &Site) -> String {
    let said = site.bastion.admin(&["--json", "user", "reset", "dana"]).ok().json();
    assert!(said["expires_at"].is_string() && said["command"].as_str().is_some_and(|it| it.contains("wgmfa-enrol")));
    said["invitation"].as_str().expect("an invitation").to_owned()
}

fn begin(dana: &Person, options: &[&str], command: &str) -> Conversation {
    let mut ssh = dana.laptop.command("ssh");
    Conversation::start(ssh.arg("-F").arg(dana.laptop.ssh_config()).args(options).args(["bastion", command]))
}

/// The otpauth URL, when it comes.
#[track_caller]
fn url(enrolment: &Conversation) -> Authenticator {
    loop {
        let line = enrolment.hear().expect("an otpauth URL");
        if line.starts_with("otpauth://") {
            return Authenticator::from_url(line.trim());
        }
    }
}

fn set_passwords(enrolment: &mut Conversation, password: &str) {
    assert!(enrolment.say(format!("{password}\n{password}\n").as_bytes()));
}

fn rest(enrolment: &Conversation) -> String {
    std::iter::from_fn(|| enrolment.hear()).collect::<Vec<_>>().join("\n")
}

#[test]
fn she_alone_knows_what_she_logs_in_with() {
    let mut site = Site::new();
    let (mut dana, invitation) = invited(&mut site);
    let listed = site.bastion.admin(&["user", "show", "dana"]).ok().stdout;
    assert!(listed.contains("invited until"), "{listed}");
    let why = site.bastion.admin(&["why", "dana"]).ok().stdout;
    assert!(why.contains("has not enrolled"), "{why}");

    let mut enrolment = begin(&dana, &[], "wgmfa-enrol");
    assert!(enrolment.say(b"short\n"));
    set_passwords(&mut enrolment, NEW);
    let mut app = url(&enrolment);
    assert!(enrolment.say(format!("{}\n", app.wrong_code()).as_bytes()));
    let proof = app.next_code();
    assert!(enrolment.say(format!("{proof}\n").as_bytes()));
    let said = rest(&enrolment);
    let codes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(codes.len(), 10, "{said}");
    let (status, stderr) = enrolment.end();
    assert!(status.success(), "{stderr}");
    for words in ["ssh -t hides", "a password has at least 8 characters", "2 tries left"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }

    // the invitation is used up
    assert!(dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(255).said().contains(REFUSAL));
    // the code that has proved the app is used up, the next one is good, and so is a recovery code
    dana.laptop.set_password(NEW);
    dana.laptop.set_code(&proof);
    dana.laptop.ssh_as_set(&["wgmfa-status"]).expect(255);
    dana.laptop.authenticator = app;
    dana.laptop.ssh(&["wgmfa-status"]).ok();
    dana.laptop.set_code(codes[0]);
    dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(1);
    dana.laptop.ssh_as_set(&["wgmfa-status"]).expect(255);

    assert_eq!(site.count("enrolled"), 1);
    let log = site.bastion.admin(&["--json", "log"]).ok().stdout;
    assert!(!log.contains(&invitation) && !log.contains(codes[1]) && !log.contains(NEW), "{log}");
}

#[test]
fn an_invitation_opens_nothing_else_and_survives_what_is_broken_off() {
    let mut site = Site::new();
    let (dana, _) = invited(&mut site);
    for words in [&["wgmfa-sync"][..], &["wgmfa-status"], &["wgmfa-codes"], &["wgmfa-bastion", "key", "list"], &[]] {
        let refused = dana.laptop.ssh_as_set(words).expect(1);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("you are invited"), "{refused:?}");
    }
    // left off before and after the secret was shown
    let mut enrolment = begin(&dana, &[], "wgmfa-enrol");
    enrolment.say(b"a password of her own\n");
    assert_eq!(enrolment.end().0.code(), Some(1));
    let mut enrolment = begin(&dana, &[], "wgmfa-enrol");
    set_passwords(&mut enrolment, NEW);
    let mut lost = url(&enrolment);
    let (status, stderr) = enrolment.end();
    assert!(status.code() == Some(1) && stderr.contains("nothing was changed"), "{stderr}");
    dana.laptop.set_password(NEW);
    dana.laptop.set_code(&lost.next_code());
    dana.laptop.ssh_as_set(&["wgmfa-status"]).expect(255);
    assert_eq!(site.count("enrolled"), 0);

    // two at once: one wins
    let invitation = reset(&site);
    dana.laptop.set_password(&invitation);
    let mut both = [begin(&dana, &[], "wgmfa-enrol --json"), begin(&dana, &[], "wgmfa-enrol --json")];
    let proofs: Vec<String> = both
        .iter_mut()
        .map(|enrolment| {
            set_passwords(enrolment, NEW);
            let shown = enrolment.hear_json();
            Authenticator::from_url(shown["otpauth_url"].as_str().expect("a URL")).next_code()
        })
        .collect();
    for (enrolment, proof) in both.iter_mut().zip(proofs) {
        assert!(enrolment.say(format!("{proof}\n").as_bytes()));
    }
    let codes: Vec<_> = both.iter_mut().map(|enrolment| enrolment.end().0.code()).collect();
    assert!(codes == [Some(0), Some(1)] || codes == [Some(1), Some(0)], "{codes:?}");
    assert_eq!(site.count("enrolled"), 1);
}

#[test]
fn an_invitation_ends_with_its_time_with_a_new_one_and_with_its_person() {
    let mut site = Site::new();
    let (dana, first) = invited(&mut site);
    let second = reset(&site);
    let refused = |invitation: &str| {
        dana.laptop.set_password(invitation);
        assert!(dana.laptop.ssh_as_set(&["wgmfa-enrol"]).expect(255).said().contains(REFUSAL));
    };
    refused(&first);
    site.bastion.admin(&["user", "disable", "dana"]).ok();
    site.bastion.admin(&["user", "enable", "dana"]).ok();
    refused(&second);
    let short = site.bastion.admin(&["--json", "user", "reset", "dana", "--for", "1s"]).ok().json();
    wgmfa_tests::wait::until("the end of an invitation", wgmfa_tests::wait::LONG, || {
        let why = site.bastion.admin(&["why", "dana"]).ok().stdout;
        why.contains("expired").then_some(())
    });
    refused(short["invitation"].as_str().expect("an invitation"));
    // the words that invite may be repeated
    let again = |words: &[&str]| site.bastion.admin(&[&["--json", "user", "add"], words].concat());
    assert!(again(&["eve", "--invite", "--for", "2h"]).ok().json()["invitation"].is_string());
    assert_eq!(again(&["eve", "--invite"]).ok().json()["changed"], false);
    again(&["eve", "--invite", "--admin"]).expect(1);
}

#[test]
fn a_terminal_shows_the_code_and_hides_the_password() {
    let mut site = Site::new();
    let (dana, _) = invited(&mut site);
    let mut enrolment = begin(&dana, &["-tt"], "wgmfa-enrol");
    assert!(enrolment.say(format!("{NEW}\r{NEW}\r").as_bytes()));
    let mut app = url(&enrolment);
    let proof = app.next_code();
    // wait for the prompt, after which what is typed is shown
    wgmfa_tests::wait::until("the picture", wgmfa_tests::wait::LONG, || {
        enrolment.hear().filter(|line| line.trim().is_empty() || line.contains('▀'))
    });
    assert!(enrolment.say(format!("99\x7f\x7f{proof}\r").as_bytes()));
    let said = rest(&enrolment);
    let (status, stderr) = enrolment.end();
    let all = format!("{said}{stderr}");
    assert!(status.success() && all.contains("Recovery codes"), "{all}");
    assert!(!all.contains(NEW) && !all.contains("ssh -t hides"), "{all}");
    // Ctrl-C leaves off
    let invitation = reset(&site);
    dana.laptop.set_password(&invitation);
    let mut ssh = dana.laptop.command("ssh");
    let left = run(ssh.arg("-F").arg(dana.laptop.ssh_config()).args(["-tt", "bastion", "wgmfa-enrol"]), b"\x03");
    assert_eq!(left.code(), 130, "{left:?}");
}
