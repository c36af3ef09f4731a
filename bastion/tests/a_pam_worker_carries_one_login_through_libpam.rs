//! The PAM worker with real libpam and the built `pam_wgmfa.so`: what is asked, and what the keeper is told.

mod worker;

use wgmfa_core::message::worker::PromptKind;
use worker::{ACCEPT, ASK_CODE, REFUSE, Script, Site, account, answers, begin, both, says};

const ACCEPTED: (bool, &str) = (true, "libpam accepted");

fn told((success, reason): &(bool, String)) -> (bool, &str) {
    (*success, reason)
}

#[test]
fn password_and_code_are_asked_and_an_accepted_login_is_a_success() {
    let site = Site::new();
    site.stack_as_init_writes_it();
    let keeper = site.keeper(vec![both("ada", "wgmfa", ACCEPT), vec![says(account("ada"), ACCEPT)]]);
    let mut worker = site.login("ada");
    let pid = worker.pid();
    worker.answer_both();
    assert_eq!(told(&worker.ended()), ACCEPTED);
    assert_eq!(keeper.visitors(), [pid, pid], "the keeper knows the login by the process that asks");
}

#[test]
fn a_refused_login_is_a_failure_and_account_is_not_asked() {
    let site = Site::new();
    site.stack_as_init_writes_it();
    let keeper = site.keeper(vec![both("ada", "wgmfa", REFUSE)]);
    let mut worker = site.login("ada");
    worker.answer_both();
    assert_eq!(told(&worker.ended()), (false, "pam_authenticate: Authentication failure"));
    keeper.visitors();
}

#[test]
fn a_refused_account_is_a_failure_after_both_answers_were_right() {
    let site = Site::new();
    site.stack_as_init_writes_it();
    let keeper = site.keeper(vec![both("ada", "wgmfa", ACCEPT), vec![says(account("ada"), REFUSE)]]);
    let mut worker = site.login("ada");
    worker.answer_both();
    assert_eq!(told(&worker.ended()), (false, "pam_acct_mgmt: Authentication failure"));
    keeper.visitors();
}

#[test]
fn nothing_is_asked_when_the_module_cannot_reach_the_keeper() {
    let site = Site::new();
    site.stack_as_init_writes_it();
    let unavailable = "pam_authenticate: Authentication service cannot retrieve authentication info";
    assert_eq!(told(&site.login("ada").ended()), (false, unavailable));
}

#[test]
fn nothing_is_asked_when_the_modules_options_are_wrong() {
    let site = Site::new();
    site.stack(&[site.wgmfa("nullok")], &[]);
    let unavailable = "pam_authenticate: Authentication service cannot retrieve authentication info";
    assert_eq!(told(&site.login("ada").ended()), (false, unavailable));
}

#[test]
fn a_stack_of_two_modules_asks_its_questions_one_after_another() {
    let site = Site::new();
    let check = site.folder.path().join("check");
    std::fs::write(&check, "#!/bin/sh\n[ \"$(tr -d '\\0')\" = 'correct horse' ]\n").unwrap();
    let exec = format!("pam_exec.so quiet expose_authtok /bin/sh {}", check.display());
    site.stack(&[exec, site.wgmfa("otp")], &[site.wgmfa("")]);
    let script: Script = vec![
        vec![says(begin("ada", false, "wgmfa"), ASK_CODE), says(answers(None, "123456"), ACCEPT)],
        vec![says(account("ada"), ACCEPT)],
    ];
    let keeper = site.keeper(script.clone());
    let mut worker = site.login("ada");
    worker.answer_both();
    assert_eq!(told(&worker.ended()), ACCEPTED);
    keeper.visitors();

    std::fs::remove_file(site.socket()).unwrap();
    let keeper = site.keeper(vec![script[0].clone()]);
    let mut worker = site.login("ada");
    worker.prompted(&[("Password: ", PromptKind::Secret)], &["wrong"]);
    worker.prompted(&[("One-time code: ", PromptKind::Visible)], &["123456"]);
    assert!(!worker.ended().0, "a right code does not make up for a wrong password");
    keeper.visitors();
}

#[test]
fn the_password_that_we_asked_for_is_there_for_the_modules_below() {
    let site = Site::new();
    let seen = site.folder.path().join("seen");
    let keep = site.folder.path().join("keep");
    std::fs::write(&keep, format!("#!/bin/sh\ntr -d '\\0' >{}\n", seen.display())).unwrap();
    let exec = format!("pam_exec.so quiet expose_authtok /bin/sh {}", keep.display());
    site.stack(&[site.wgmfa(""), exec], &["pam_permit.so".into()]);
    let keeper = site.keeper(vec![both("ada", "wgmfa", ACCEPT)]);
    let mut worker = site.login("ada");
    worker.answer_both();
    assert_eq!(told(&worker.ended()), ACCEPTED);
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "correct horse");
    keeper.visitors();
}

#[test]
fn the_password_of_a_module_above_is_taken_when_the_options_say_so() {
    let site = Site::new();
    let exec = "pam_exec.so quiet expose_authtok /bin/cat".to_owned();
    site.stack(&[exec, site.wgmfa("use_first_pass")], &["pam_permit.so".into()]);
    let keeper = site.keeper(vec![both("ada", "wgmfa", ACCEPT)]);
    let mut worker = site.login("ada");
    worker.answer_both();
    assert_eq!(told(&worker.ended()), ACCEPTED);
    keeper.visitors();
}

#[test]
fn pam_unix_checks_the_password_and_we_the_code() {
    if !nix::unistd::geteuid().is_root() {
        return; // pam_unix reads the shadow file
    }
    // crypt(3) of "correct horse", in files that only this worker sees
    const HASH: &str = "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";
    let site = Site::new();
    let (passwd, shadow) = (site.folder.path().join("passwd"), site.folder.path().join("shadow"));
    std::fs::write(&passwd, "root:x:0:0::/:/bin/sh\nada:x:4242:4242::/:/bin/sh\n").unwrap();
    std::fs::write(&shadow, format!("root:*:20000::::::\nada:{HASH}:20000::::::\n")).unwrap();
    let (passwd, shadow) = (passwd.display().to_string(), shadow.display().to_string());
    let covered = r#"mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/shadow && shift 2 && exec "$@""#;
    let before = ["unshare", "--mount", "sh", "-c", covered, "sh", &passwd, &shadow];
    site.stack(&["pam_unix.so nodelay".into(), site.wgmfa("otp")], &["pam_unix.so".into()]);
    let code: Script = vec![vec![says(begin("ada", false, "wgmfa"), ASK_CODE), says(answers(None, "123456"), ACCEPT)]];
    for (password, success) in [("correct horse", true), ("wrong", false)] {
        let keeper = site.keeper(code.clone());
        let mut worker = worker::Worker::start(&before, &site.begin("ada", Vec::new()));
        worker.prompted(&[("Password: ", PromptKind::Secret)], &[password]);
        worker.prompted(&[("One-time code: ", PromptKind::Visible)], &["123456"]);
        let (succeeded, reason) = worker.ended();
        assert_eq!(succeeded, success, "{reason}");
        keeper.visitors();
        std::fs::remove_file(site.socket()).unwrap();
    }
}

#[test]
fn a_stack_that_lets_everyone_in_and_one_that_lets_nobody_in_are_told_as_they_are() {
    let site = Site::new();
    site.stack(&["pam_permit.so".into()], &["pam_permit.so".into()]);
    assert_eq!(told(&site.login("ada").ended()), ACCEPTED);
    site.stack(&["pam_deny.so".into()], &["pam_permit.so".into()]);
    assert_eq!(told(&site.login("ada").ended()), (false, "pam_authenticate: Authentication failure"));
    site.stack(&["pam_permit.so".into()], &["pam_deny.so".into()]);
    assert_eq!(told(&site.login("ada").ended()), (false, "pam_acct_mgmt: Authentication failure"));
}

#[test]
fn without_its_service_file_nobody_comes_in() {
    let site = Site::new();
    let (success, _) = site.login("ada").ended();
    assert!(!success);
}
