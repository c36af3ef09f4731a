//! The person and the keeper follow a script. The keeper's socket is a real one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::*;

/// One line of a person's script.
enum Person {
    Hidden(&'static str, Option<&'static str>),
    Shown(&'static str, Option<&'static str>),
    Sees(&'static str),
    Kept(&'static str),
}
use Person::{Hidden, Kept, Sees, Shown};

/// Follows a script, and panics at anything else or when a part of it was not used.
struct Script {
    lines: std::collections::VecDeque<Person>,
    earlier: Option<&'static str>,
}

impl Script {
    fn new(lines: impl IntoIterator<Item = Person>) -> Self {
        Self { lines: lines.into_iter().collect(), earlier: None }
    }

    fn next(&mut self, what: &str) -> Person {
        self.lines.pop_front().unwrap_or_else(|| panic!("not in the script: {what}"))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.lines.is_empty(), "{} lines of the script not used", self.lines.len());
    }
}

fn answer(text: Option<&str>) -> Result<SecretText, ConversationFailed> {
    text.map(|text| SecretText::new(text.to_owned())).ok_or(ConversationFailed)
}

impl Conversation for Script {
    fn ask_hidden(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed> {
        let Hidden(expected, text) = self.next(prompt) else { panic!("{prompt:?} is hidden") };
        assert_eq!(prompt, expected);
        answer(text)
    }

    fn ask_shown(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed> {
        let Shown(expected, text) = self.next(prompt) else { panic!("{prompt:?} is shown") };
        assert_eq!(prompt, expected);
        answer(text)
    }

    fn complain(&mut self, text: &str) {
        let Sees(expected) = self.next(text) else { panic!("{text:?} is a complaint") };
        assert_eq!(text, expected);
    }

    fn earlier_password(&self) -> Option<SecretText> {
        self.earlier.map(|text| SecretText::new(text.to_owned()))
    }

    fn keep_password(&mut self, password: &SecretText) {
        let Kept(expected) = self.next("a password is kept") else { panic!("a password is kept") };
        assert_eq!(password.expose(), expected);
    }
}

/// A keeper for one connection: for each line that it expects, the bytes that it sends.
struct Keeper {
    _folder: tempfile::TempDir,
    path: PathBuf,
    thread: JoinHandle<()>,
}

impl Keeper {
    fn new(script: Vec<(&'static str, Vec<u8>)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            for (expected, reply) in script {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                assert_eq!(line.trim_end(), expected);
                // A module that has seen enough hangs up in the middle of a reply.
                let _ = stream.write_all(&reply);
            }
        });
        Self { _folder: folder, path, thread }
    }

    fn options(&self, words: &[&str]) -> Options {
        let socket = format!("socket={}", self.path.display());
        Options::parse(words.iter().copied().chain([socket.as_str()]).map(str::as_bytes)).unwrap()
    }

    fn end(self) {
        self.thread.join().expect("the keeper's script was followed");
    }
}

fn ada() -> Login {
    Login { user: "ada".into(), rhost: Some("192.0.2.7".into()), service: Some("wgmfa".into()) }
}

const BEGIN: &str =
    r#"{"type":"begin","version":1,"user":"ada","rhost":"192.0.2.7","service":"wgmfa","password":true,"otp":true}"#;
const BOTH: &str = r#"{"type":"questions","password":true,"code":true}"#;
const ACCEPT: &str = r#"{"type":"outcome","verdict":"accept"}"#;
const REFUSE: &str = r#"{"type":"outcome","verdict":"refuse","text":"login refused: try again"}"#;
const ANSWERS: &str = r#"{"type":"answers","password":"correct horse","code":"123456"}"#;

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

fn both_answers() -> [Person; 3] {
    [Hidden("Password: ", Some("correct horse")), Kept("correct horse"), Shown("One-time code: ", Some("123456"))]
}

fn run(keeper: Keeper, words: &[&str], mut person: Script) -> Decision {
    let decision = authenticate(&keeper.options(words), &ada(), &mut person);
    keeper.end();
    assert!(!decision.reason.contains("correct horse") && !decision.reason.contains("123456"));
    decision
}

#[test]
fn both_questions_are_asked_and_the_keepers_verdict_returned() {
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(ACCEPT))]);
    assert_eq!(run(keeper, &[], Script::new(both_answers())).verdict, Verdict::Accept);
}

#[test]
fn after_a_refusal_the_person_sees_the_keepers_text() {
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(REFUSE))]);
    let script = both_answers().into_iter().chain([Sees("login refused: try again")]);
    assert_eq!(run(keeper, &[], Script::new(script)).verdict, Verdict::Refuse);
}

#[test]
fn the_code_alone_is_asked_behind_another_module() {
    let keeper = Keeper::new(vec![
        (
            r#"{"type":"begin","version":1,"user":"ada","rhost":"192.0.2.7","service":"wgmfa","password":false,"otp":true}"#,
            line(r#"{"type":"questions","password":false,"code":true}"#),
        ),
        (r#"{"type":"answers","password":null,"code":"123456"}"#, line(ACCEPT)),
    ]);
    let person = Script::new([Shown("Code of your phone: ", Some("123456"))]);
    assert_eq!(run(keeper, &["otp", "prompt=Code of your phone: "], person).verdict, Verdict::Accept);
}

#[test]
fn an_earlier_password_is_taken_when_the_options_say_so() {
    for words in [["try_first_pass"], ["use_first_pass"]] {
        let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(ACCEPT))]);
        let mut person = Script::new([Shown("One-time code: ", Some("123456"))]);
        person.earlier = Some("correct horse");
        assert_eq!(run(keeper, &words, person).verdict, Verdict::Accept);
    }
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(ACCEPT))]);
    assert_eq!(run(keeper, &["try_first_pass"], Script::new(both_answers())).verdict, Verdict::Accept);
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(ACCEPT))]);
    let mut person = Script::new(both_answers());
    person.earlier = Some("of another module");
    assert_eq!(run(keeper, &[], person).verdict, Verdict::Accept);
}

#[test]
fn use_first_pass_without_an_earlier_password_asks_nothing_and_refuses() {
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH))]);
    assert_eq!(run(keeper, &["use_first_pass"], Script::new([Sees(REFUSED)])).verdict, Verdict::Refuse);
}

#[test]
fn a_person_who_has_gone_is_refused() {
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH))]);
    assert_eq!(run(keeper, &[], Script::new([Hidden("Password: ", None)])).verdict, Verdict::Refuse);
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH))]);
    let person = [Hidden("Password: ", Some("x")), Kept("x"), Shown("One-time code: ", None)];
    assert_eq!(run(keeper, &[], Script::new(person)).verdict, Verdict::Refuse);
}

#[test]
fn a_keeper_that_cannot_decide_is_unavailable_before_and_after_the_questions() {
    const UNAVAILABLE: &str = r#"{"type":"outcome","verdict":"unavailable","text":"later"}"#;
    let keeper = Keeper::new(vec![(BEGIN, line(UNAVAILABLE))]);
    assert_eq!(run(keeper, &[], Script::new([Sees("later")])).verdict, Verdict::Unavailable);
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(UNAVAILABLE))]);
    let script = both_answers().into_iter().chain([Sees("later")]);
    assert_eq!(run(keeper, &[], Script::new(script)).verdict, Verdict::Unavailable);
}

#[test]
fn a_keeper_that_accepts_before_it_has_asked_is_not_believed() {
    let keeper = Keeper::new(vec![(BEGIN, line(ACCEPT))]);
    assert_eq!(run(keeper, &[], Script::new([])).verdict, Verdict::Unavailable);
}

#[test]
fn whatever_is_no_message_is_unavailable() {
    for garbage in [
        Vec::new(),
        line("SSH-2.0-OpenSSH"),
        line("{}"),
        line(r#"{"type":"outcome"}"#),
        line(r#"{"type":"outcome","verdict":"yes"}"#),
        line("\u{0}"),
        b"\xff\xff\n".to_vec(),
        vec![b'a'; 200_000],
        line(&format!("{{\"type\":\"outcome\",\"verdict\":\"accept\",\"text\":\"{}\"}}", "a".repeat(70_000))),
        ACCEPT.as_bytes().to_vec(), // without its newline
    ] {
        let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, garbage)]);
        assert_eq!(run(keeper, &[], Script::new(both_answers())).verdict, Verdict::Unavailable);
    }
    let keeper = Keeper::new(vec![(BEGIN, line(BOTH)), (ANSWERS, line(BOTH))]);
    assert_eq!(run(keeper, &[], Script::new(both_answers())).verdict, Verdict::Unavailable);
}

#[test]
fn a_keeper_that_is_away_is_unavailable_and_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let socket = format!("socket={}", folder.path().join(name).display());
        authenticate(&Options::parse([socket.as_bytes()]).unwrap(), &ada(), &mut Script::new([]))
    };
    assert_eq!(at("missing").reason, "cannot connect to the keeper: No such file or directory (os error 2)");
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(at("file").reason, "the keeper's socket is no socket");
    drop(UnixListener::bind(folder.path().join("dead")).unwrap());
    assert_eq!(at("dead").reason, "cannot connect to the keeper: Connection refused (os error 111)");
    std::os::unix::fs::symlink("dead", folder.path().join("link")).unwrap();
    assert_eq!(at("link").reason, "the keeper's socket is no socket");
    for name in ["missing", "file", "dead", "link"] {
        assert_eq!(at(name).verdict, Verdict::Unavailable, "{name}");
    }
}

#[test]
fn a_socket_of_another_user_is_not_ours() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give a file away
    }
    let keeper = Keeper::new(Vec::new());
    std::os::unix::fs::chown(&keeper.path, Some(65534), None).unwrap();
    let decision = authenticate(&keeper.options(&[]), &ada(), &mut Script::new([]));
    assert_eq!(decision.reason, "the keeper's socket belongs to user id 65534, not to root");
    assert_eq!(decision.verdict, Verdict::Unavailable);
    drop(std::os::unix::net::UnixStream::connect(&keeper.path));
    keeper.end();
}

#[test]
fn account_and_session_ask_one_question_each() {
    let account_line = r#"{"type":"account","version":1,"user":"ada"}"#;
    let session_line = r#"{"type":"session","version":1,"user":"ada","service":"wgmfa","open":true}"#;
    for (reply, verdict) in [(ACCEPT, Verdict::Accept), (REFUSE, Verdict::Refuse), (BOTH, Verdict::Unavailable)] {
        let keeper = Keeper::new(vec![(account_line, line(reply))]);
        assert_eq!(account(&keeper.options(&[]), &ada()).verdict, verdict);
        keeper.end();
        let keeper = Keeper::new(vec![(session_line, line(reply))]);
        assert_eq!(session(&keeper.options(&[]), &ada(), true).verdict, verdict);
        keeper.end();
    }
}
