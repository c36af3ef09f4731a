//! Who comes in through the front, as the keeper decides: people by questions, hosts by their key, nobody else.

mod front;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use front::{Front, REFUSED, keygen, public, run};
use russh::client;
use russh::client::KeyboardInteractiveAuthResponse as Asked;
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
use wgmfa_core::message::front::Limits;

fn start() -> Front {
    Front::start(Limits::default(), &[])
}

#[test]
fn a_refused_person_reads_why_and_ssh_says_permission_denied() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().env("CODE", "000000").args(["justin@127.0.0.1", "hello"]));
    assert_eq!((stdout.as_str(), status), ("", 255));
    assert_eq!(stderr.matches(REFUSED).count(), 3, "{stderr}");
    assert!(stderr.contains("Permission denied (keyboard-interactive)."), "{stderr}");
    assert_eq!(front.told.count("\"login\""), 3);
    front.told.wait_for(&["\"gone\""]);
    assert_eq!(front.told.count("\"gone\""), 1);
}

#[test]
fn a_person_has_three_attempts_in_one_connection() {
    let front = start();
    let mut ssh = front.ssh();
    ssh.env("PASSWORD", "wrong").args(["-T", "-o", "NumberOfPasswordPrompts=9", "justin@127.0.0.1", "hello"]);
    let (_, stderr, status) = run(&mut ssh);
    assert_eq!(status, 255);
    assert!(stderr.contains("Permission denied (keyboard-interactive)."), "{stderr}");
    assert_eq!(front.told.count("\"login\""), 3);
}

#[test]
fn texts_of_the_login_are_shown_between_its_questions() {
    let front = start();
    let (stdout, stderr, status) = run(front.ssh().args(["chatty@127.0.0.1", "hello"]));
    assert_eq!((stdout.as_str(), status), ("hello\nworld\n", 0), "{stderr}");
    let welcome = stderr.find("welcome to the bastion").expect("the text is shown");
    assert!(welcome < stderr.find("your code changes soon").expect("so is the other"), "{stderr}");
}

#[test]
fn other_methods_and_other_listeners_ask_nobody() {
    let front = start();
    let key = keygen(front.path(), "somebody", "ed25519");
    let agents = format!("Port={}", front.agents_port);
    let key = format!("IdentityFile={}", key.display());
    for (options, user) in [
        (vec!["-o", "PreferredAuthentications=password"], "justin"),
        (vec!["-o", "PreferredAuthentications=keyboard-interactive"], "agent"),
        (vec!["-o", &agents], "justin"),
        (vec!["-o", "PubkeyAuthentication=yes", "-o", "PreferredAuthentications=publickey", "-o", &key], "justin"),
    ] {
        let (_, stderr, status) = run(front.ssh_with(&options).args(["-l", user, "127.0.0.1", "hello"]));
        assert_eq!(status, 255, "{options:?}");
        assert!(stderr.contains("Permission denied ("), "{options:?}: {stderr}");
    }
    assert_eq!(front.told.all(), Vec::<String>::new());
}

#[test]
fn a_host_comes_in_by_its_key_and_an_unknown_key_does_not() {
    let keys = tempfile::tempdir().unwrap();
    let known = [keygen(keys.path(), "a", "ed25519"), keygen(keys.path(), "b", "ecdsa")];
    let unknown = keygen(keys.path(), "c", "ed25519");
    let front = Front::start(Limits::default(), &known.each_ref().map(|key| public(key)));
    let ssh = |key: &std::path::Path, port: u16| {
        let (key, port) = (format!("IdentityFile={}", key.display()), format!("Port={port}"));
        let first = ["-o", "PubkeyAuthentication=yes", "-o", "IdentitiesOnly=yes", "-o", &key, "-o", &port];
        run(front.ssh_with(&first).args(["agent@127.0.0.1", "hello"]))
    };
    for key in &known {
        for port in [front.port, front.agents_port] {
            let (stdout, stderr, status) = ssh(key, port);
            assert_eq!((stdout.as_str(), status), ("hello\nworld\n", 0), "{stderr}");
        }
    }
    front.told.wait_for(&["host-key", "\"verified\":true"]);
    let before = front.told.count("\"verified\":true");
    let (_, stderr, status) = ssh(&unknown, front.port);
    assert_eq!(status, 255);
    assert!(stderr.contains("Permission denied (publickey)."), "{stderr}");
    assert_eq!(front.told.count("\"verified\":true"), before);
    let (_, stderr, status) = ssh(&keygen(keys.path(), "d", "rsa"), front.port);
    assert_eq!(status, 255);
    assert!(stderr.contains("Permission denied (publickey)."), "{stderr}");
}

/// A client that can do what stock `ssh` does not.
struct Raw;

impl client::Handler for Raw {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

fn raw<F: Future>(front: &Front, act: impl FnOnce(client::Handle<Raw>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Arc::new(client::Config::default());
        act(client::connect(config, ("127.0.0.1", front.port), Raw).await.unwrap()).await
    })
}

#[test]
fn more_answers_than_questions_end_the_connection() {
    let front = start();
    raw(&front, async |mut client| {
        client.authenticate_keyboard_interactive_start("justin", None).await.unwrap();
        let answers = vec!["hunter2".to_owned(), "123456".to_owned()];
        assert!(client.authenticate_keyboard_interactive_respond(answers).await.is_err());
    });
    front.told.wait_for(&["\"gone\""]);
    assert_eq!(front.told.count("\"answers\""), 0);
}

#[test]
fn ten_keys_may_be_offered_before_the_questions() {
    let front = start();
    let keys: Vec<_> = (0..10).map(|index| keygen(front.path(), &format!("key{index}"), "ed25519")).collect();
    let accepted = AtomicUsize::new(0);
    raw(&front, async |mut client| {
        for key in &keys {
            let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(key, None).unwrap()), None);
            let tried = client.authenticate_publickey("justin", key).await.unwrap();
            accepted.fetch_add(usize::from(tried.success()), Ordering::Relaxed);
        }
        client.authenticate_keyboard_interactive_start("justin", None).await.unwrap();
        client.authenticate_keyboard_interactive_respond(vec!["hunter2".into()]).await.unwrap();
        let last = client.authenticate_keyboard_interactive_respond(vec!["123456".into()]).await.unwrap();
        assert!(matches!(last, Asked::Success));
    });
    assert_eq!(accepted.into_inner(), 0);
}

#[test]
fn an_answer_that_is_too_long_and_a_login_without_end_are_told_to_the_person() {
    let front = start();
    let (_, stderr, status) = run(front.ssh().env("PASSWORD", "x".repeat(600)).args(["justin@127.0.0.1", "hello"]));
    assert_eq!(status, 255);
    assert!(stderr.contains("an answer is longer than 512 bytes"), "{stderr}");
    let (_, stderr, status) = run(front.ssh().args(["many@127.0.0.1", "hello"]));
    assert_eq!(status, 255);
    assert!(stderr.contains("the login asks more than 8 questions"), "{stderr}");
}

#[test]
fn a_name_that_is_too_long_reaches_the_keeper_cut() {
    let front = start();
    let (_, _, status) = run(front.ssh().args(["-l", &"x".repeat(300), "127.0.0.1", "hello"]));
    assert_eq!(status, 255);
    front.told.wait_for(&["\"login\"", &format!("\"{}\"", "x".repeat(64))]);
}

#[test]
fn fifty_people_log_in_at_once() {
    let front = Front::start(Limits { connections_per_source: 100, ..Limits::default() }, &[]);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut ssh = front.ssh();
            ssh.args(["justin@127.0.0.1", "hello"]).stdout(std::process::Stdio::piped());
            ssh.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"hello\nworld\n");
    }
    for conversation in 1..=50 {
        front.told.wait_for(&["\"gone\"", &format!("\"conversation\":{conversation}}}")]);
    }
    assert_eq!(front.told.count("\"gone\""), 50);
}
