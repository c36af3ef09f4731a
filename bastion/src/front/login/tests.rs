//! What is taken from a client in which order, with a keeper that the test plays.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::Instant;
use wgmfa_core::message::front::ToFront;

use super::super::keeper;
use super::*;

/// A login, and a way to say what the keeper says.
fn login(admits: Admits) -> (Login, Keeper, UnixStream) {
    login_with(admits, false)
}

fn login_with(admits: Admits, keys_of_people: bool) -> (Login, Keeper, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let (keeper, _) = keeper::talk(near).unwrap();
    let lifetime = Lifetime::until(Instant::now() + Duration::from_secs(60));
    let (conversation, replies, _) = keeper.begin(&lifetime);
    let from = (IpAddr::from([192, 0, 2, 1]), admits);
    let login = Login::new((conversation, replies), keeper.clone(), lifetime, from, Limits::default(), keys_of_people);
    (login, keeper, far)
}

fn question(conversation: u64) -> ToFront {
    let prompts = vec![Prompt { text: "Password: ".into(), kind: PromptKind::Secret }];
    ToFront::Prompts { conversation, prompts }
}

#[tokio::test]
async fn nothing_else_may_come_while_a_login_is_unfinished() {
    for what in ["same name again", "another name", "another name answers", "a key", "none", "two answers"] {
        let (mut login, keeper, _far) = login(Admits::Everyone);
        keeper.deliver(question(login.conversation));
        assert!(matches!(login.begin("justin").await, Ok(Auth::Partial { .. })));
        let verdict = match what {
            "same name again" => login.begin("justin").await,
            "another name" => login.begin("dana").await,
            "another name answers" => login.answer("dana", ["x"].into_iter()).await,
            "a key" => login.key(AGENT, "ssh-ed25519 AAAA".into(), true).await,
            "none" => login.other_method("justin"),
            _ => login.answer("justin", ["x", "y"].into_iter()).await,
        };
        assert!(matches!(verdict, Err(Broken::Silently(_))), "{what}");
    }
}

#[tokio::test]
async fn three_attempts_and_no_more() {
    let (mut login, keeper, _far) = login(Admits::Everyone);
    let conversation = login.conversation;
    for _ in 0..MAX_ATTEMPTS {
        keeper.deliver(question(conversation));
        assert!(matches!(login.begin("justin").await, Ok(Auth::Partial { .. })));
        keeper.deliver(ToFront::Refused { conversation, text: "login refused".into() });
        let shown = login.answer("justin", ["x"].into_iter()).await;
        assert!(matches!(shown, Ok(Auth::Partial { instructions, .. }) if instructions == "login refused"));
        assert!(matches!(login.answer("justin", [""; 0].into_iter()).await, Ok(Auth::Reject { .. })));
    }
    // the keeper says nothing more, and is not waited for
    assert!(matches!(login.begin("justin").await, Ok(Auth::Reject { .. })));
}

#[tokio::test]
async fn only_a_verified_key_makes_a_host() {
    let (mut login, keeper, _far) = login(Admits::Agents);
    let conversation = login.conversation;
    keeper.deliver(ToFront::Host { conversation, known: true });
    assert!(matches!(login.key(AGENT, "ssh-ed25519 AAAA".into(), false).await, Ok(Auth::Accept)));
    assert!(!login.is_host());
    keeper.deliver(ToFront::Host { conversation, known: true });
    assert!(matches!(login.key(AGENT, "ssh-ed25519 AAAA".into(), true).await, Ok(Auth::Accept)));
    assert!(login.is_host());
}

#[tokio::test]
async fn names_and_doors_decide_which_method_may_be_tried() {
    for admits in [Admits::Everyone, Admits::People, Admits::Agents] {
        let (mut login, _, _far) = login(admits);
        assert!(matches!(login.begin(AGENT).await, Ok(Auth::Reject { .. })));
        assert!(matches!(login.key("justin", "ssh-ed25519 AAAA".into(), true).await, Ok(Auth::Reject { .. })));
    }
    assert!(matches!(login(Admits::Agents).0.begin("justin").await, Ok(Auth::Reject { .. })));
    let key = "ssh-ed25519 AAAA".to_owned();
    assert!(matches!(login(Admits::People).0.key(AGENT, key, true).await, Ok(Auth::Reject { .. })));
}

#[tokio::test]
async fn a_persons_key_is_half_a_login_of_that_person_alone() {
    let key = || "ssh-ed25519 AAAA".to_owned();
    for what in ["the same name", "another name", "another key", "agent"] {
        let (mut login, keeper, _far) = login_with(Admits::Everyone, true);
        let conversation = login.conversation;
        keeper.deliver(ToFront::PersonKey { conversation, known: true });
        assert!(matches!(login.key("justin", key(), false).await, Ok(Auth::Accept)));
        keeper.deliver(ToFront::PersonKey { conversation, known: true });
        let half = login.key("justin", key(), true).await;
        assert!(matches!(half, Ok(Auth::Reject { partial_success: true, .. })));
        keeper.deliver(question(conversation));
        let next = match what {
            "the same name" => login.begin("justin").await,
            "another name" => login.begin("dana").await,
            "another key" => login.key("dana", key(), true).await,
            _ => login.key(AGENT, key(), true).await,
        };
        assert_eq!(matches!(next, Ok(Auth::Partial { .. })), what == "the same name", "{what}");
        assert_eq!(matches!(next, Err(Broken::Silently(_))), what != "the same name", "{what}");
    }
}

#[test]
fn a_name_that_is_too_long_becomes_nobodys() {
    assert_eq!(cut("justin"), "justin");
    assert_eq!(cut(&"x".repeat(65)), "x".repeat(64));
    assert_eq!(cut(&format!("{}\u{e4}", "x".repeat(63))), format!("{}?", "x".repeat(63)));
}

#[test]
fn texts_stand_above_questions() {
    let prompt = |text: &str, kind| Prompt { text: text.into(), kind };
    let (texts, questions) = sort(vec![
        prompt("hello", PromptKind::Info),
        prompt("Password: ", PromptKind::Secret),
        prompt("beware", PromptKind::Error),
        prompt("Name: ", PromptKind::Visible),
    ]);
    assert_eq!(texts, "hello\nbeware");
    assert_eq!(questions, [("Password: ".into(), false), ("Name: ".into(), true)]);
}
