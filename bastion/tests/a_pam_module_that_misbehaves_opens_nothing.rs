//! Whatever a PAM module does, the worker ends its one login as a failure, and the next one is not touched.

mod worker;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use wgmfa_core::message::worker::{FromWorker, PromptKind};
use worker::{Site, Worker, misbehave};

/// A site whose authentication misbehaves so, and whose account management permits.
fn site(how: &str) -> Site {
    let site = Site::new();
    site.stack(&[format!("{} {how}", misbehave().display())], &["pam_permit.so".into()]);
    site
}

fn outcome(how: &str) -> (bool, String) {
    site(how).login("ada").ended()
}

#[test]
fn a_module_that_aborts_ends_its_worker_without_a_word() {
    let status = site("abort").login("ada").gone();
    assert_eq!(status.signal(), Some(nix::libc::SIGABRT));
    let status = site("exit").login("ada").gone();
    assert!(status.success(), "also when it looks like a good end: nothing was told to the keeper");
}

#[test]
fn a_module_that_changes_the_user_name_is_refused() {
    let changed = (false, "pam_authenticate: a PAM module has changed the user name".to_owned());
    assert_eq!(outcome("rename"), changed);
    let site = Site::new();
    site.stack(&["pam_permit.so".into()], &[format!("{} rename", misbehave().display())]);
    let changed = (false, "pam_acct_mgmt: a PAM module has changed the user name".to_owned());
    assert_eq!(site.login("ada").ended(), changed);
}

#[test]
fn a_password_that_must_be_changed_is_a_failure() {
    let site = Site::new();
    site.stack(&["pam_permit.so".into()], &[format!("{} expired", misbehave().display())]);
    let (success, reason) = site.login("ada").ended();
    assert!(!success);
    assert_eq!(reason, "pam_acct_mgmt: Authentication token is no longer valid; new one required");
}

#[test]
fn many_messages_in_one_call_are_answered_in_order() {
    let site = site("ask");
    let messages = [
        ("welcome", PromptKind::Info),
        ("first: ", PromptKind::Secret),
        ("second: ", PromptKind::Visible),
        ("that is all", PromptKind::Error),
    ];
    for (replies, success) in [(["one", "two"], true), (["two", "one"], false)] {
        let mut worker = site.login("ada");
        worker.prompted(&messages, &replies);
        assert_eq!(worker.ended().0, success);
    }
}

#[test]
fn a_module_that_asks_without_end_is_cut_off() {
    let site = site("endless");
    let mut worker = site.login("ada");
    for _ in 0..32 {
        worker.prompted(&[("again: ", PromptKind::Visible)], &["x"]);
    }
    let reason = "pam_authenticate: Conversation error: a PAM module asks without end";
    assert_eq!(worker.ended(), (false, reason.to_owned()));
}

#[test]
fn a_kind_of_question_that_nobody_can_answer_is_a_failure() {
    assert_eq!(outcome("radio"), (false, "pam_authenticate: Conversation error".to_owned()));
}

#[test]
fn programs_that_a_module_starts_cannot_reach_the_keeper() {
    assert_eq!(outcome("descriptor"), (true, "libpam accepted".to_owned()));
}

#[test]
fn a_keeper_that_hangs_up_or_talks_nonsense_ends_the_login() {
    let site = site("ask");
    let mut worker = site.login("ada");
    assert!(matches!(worker.receive(), Some(FromWorker::Prompts { .. })));
    assert_eq!(worker.hang_up().code(), Some(1));

    let mut worker = site.login("ada");
    assert!(matches!(worker.receive(), Some(FromWorker::Prompts { .. })));
    worker.send(&site.begin("ada", Vec::new()));
    let reason = "pam_authenticate: Conversation error: the keeper sent a message out of turn";
    assert_eq!(worker.ended(), (false, reason.to_owned()));
}

#[test]
fn a_name_with_a_nul_byte_never_reaches_libpam() {
    let (success, reason) = site("ask").login("ada\0root").ended();
    assert_eq!((success, reason.as_str()), (false, "a NUL byte in the user name"));
}

#[test]
fn the_keepers_files_are_covered_for_modules_and_for_nobody_else() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can cover
    }
    let site = Site::new();
    let state = site.folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let (store, key) = (state.join("store.db"), site.folder.path().join("sealing.key"));
    for file in [&store, &key] {
        std::fs::write(file, "secret").unwrap();
        site.stack(&[format!("{} read={}", misbehave().display(), file.display())], &["pam_permit.so".into()]);
        assert!(site.login("ada").ended().0, "without a cover it can be read");
        let cover = [&state, &key].map(|path| path.display().to_string()).to_vec();
        let worker = Worker::start(&[], &site.begin("ada", cover));
        assert!(!worker.ended().0, "{} was read", file.display());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "secret");
    }
    let missing = site.folder.path().join("missing").display().to_string();
    let worker = Worker::start(&[], &site.begin("ada", vec![missing.clone()]));
    let reason = format!("{missing} cannot be covered: No such file or directory (os error 2)");
    assert_eq!(worker.ended(), (false, reason));
}

#[test]
fn a_worker_that_blocks_dies_with_the_keeper() {
    let site = Site::new();
    let block = format!("{} block", misbehave().display());
    site.stack(&[format!("{} ask", misbehave().display()), block], &[]);
    // a shell stands for the keeper: its child is the worker
    let mut worker = Worker::start(&["sh", "-c", r#""$@" & wait"#, "sh"], &site.begin("ada", Vec::new()));
    assert!(matches!(worker.receive(), Some(FromWorker::Prompts { .. })));
    worker.child.kill().unwrap();
    assert!(worker.receive().is_none(), "nobody holds the other end any more");
}

#[test]
fn the_worker_is_started_by_the_keeper_only() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_wgmfa-bastion")).arg("pam-worker").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "wgmfa-bastion: error: pam-worker: descriptor 3 is not open\n\
         wgmfa-bastion: hint: the keeper starts this program; run `wgmfa-bastion serve`\n"
    );
}
