use super::*;
use crate::document::Document;

fn tiers() -> Tiers {
    let text = "[tier.prod]\nallow = []\n[tier.admin]\nallow = []\nfrom = \"prod\"\nlifetime = \"10m\"\n[tier.guests]\nallow = []\n";
    let mut document = Document::parse("agent.toml", text).unwrap();
    let tiers = Tiers::read(&mut document);
    document.finish().unwrap();
    tiers
}

fn at(seconds: u64) -> Boottime {
    Boottime::from_millis(seconds * 1000)
}

fn begin() -> Dialogue {
    let (host, base) = ("app-gw".parse().unwrap(), "prod".parse().unwrap());
    let (dialogue, acts) = Dialogue::begin(host, "justins-laptop".to_owned(), base, at(0));
    assert_eq!(shown(&acts), ["wgmfa app-gw: one-time code for justins-laptop:"]);
    dialogue
}

/// What is done, as text.
fn shown(acts: &[Act]) -> Vec<String> {
    let show = |act: &Act| match act {
        Act::Say(line) => line.clone(),
        Act::Ask { tier, code } => format!("<ask {tier} {}>", code.expose()),
        Act::Look => "<look>".to_owned(),
        Act::LogOut => "<log out>".to_owned(),
        Act::HangUp => "<hang up>".to_owned(),
    };
    acts.iter().map(show).collect()
}

fn hear(dialogue: &mut Dialogue, line: &str) -> Vec<String> {
    shown(&dialogue.hear(line.as_bytes(), &tiers()))
}

/// Twenty minutes to four, and an hour has sixty minutes.
fn clock(seconds: u64) -> String {
    let minutes = 15 * 60 + 40 + seconds / 60;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn answered(dialogue: &mut Dialogue, verdict: &CodeVerdict) -> Vec<String> {
    shown(&dialogue.answered(verdict, at(5), &clock))
}

fn left(tier: &str, seconds_left: u64) -> TierLeft {
    TierLeft { tier: tier.parse().unwrap(), seconds_left }
}

#[test]
fn a_good_code_is_told_with_what_it_opened() {
    let mut dialogue = begin();
    assert_eq!(hear(&mut dialogue, "123 456\r"), ["<ask prod 123456>"]);
    assert!(!dialogue.hears());
    let accept = CodeVerdict::Accept { grants: vec![left("prod", 3600)] };
    assert_eq!(answered(&mut dialogue, &accept), ["ok: prod until 16:40 (60 min)"]);
    assert!(dialogue.hears());
    assert_eq!(dialogue.over_at(), at(7), "two seconds for another line");
    assert_eq!(shown(&dialogue.overdue()), ["<hang up>"]);
}

#[test]
fn each_other_verdict_has_its_words() {
    for (verdict, words) in [
        (CodeVerdict::Wrong { tries_left: 4 }, &["wrong code, 4 tries left"][..]),
        (CodeVerdict::Wrong { tries_left: 1 }, &["wrong code, 1 try left"]),
        (CodeVerdict::Locked { seconds: 30 }, &["locked for 30 s"]),
        (CodeVerdict::Locked { seconds: 3600 }, &["locked for 60 min"]),
        (
            CodeVerdict::Refuse { reason: "device\u{1b}[2J disabled\nx".to_owned() },
            &["error: device?[2J disabled", "<hang up>"],
        ),
        (CodeVerdict::Accept { grants: Vec::new() }, &["ok: nothing more to open"]),
    ] {
        let mut dialogue = begin();
        hear(&mut dialogue, "123456");
        assert_eq!(answered(&mut dialogue, &verdict), words);
        if words.len() == 1 {
            assert_eq!(hear(&mut dialogue, "654321"), ["<ask prod 654321>"], "a person may try again");
        }
    }
}

#[test]
fn a_person_steps_up_by_a_code_of_its_own() {
    let mut dialogue = begin();
    for none in ["tier", "tier nothing", "tier guests", "tier 0", "tier admin prod", "tier ADMIN"] {
        assert_eq!(hear(&mut dialogue, none), ["no such tier"], "{none}");
    }
    assert_eq!(hear(&mut dialogue, "tier admin"), ["wgmfa app-gw: one-time code for justins-laptop, tier admin:"]);
    assert_eq!(hear(&mut dialogue, "123456"), ["<ask admin 123456>"]);
    assert_eq!(answered(&mut dialogue, &CodeVerdict::Wrong { tries_left: 4 }), ["wrong code, 4 tries left"]);
    assert_eq!(hear(&mut dialogue, "223456"), ["<ask admin 223456>"], "still the same tier");
    let accept = CodeVerdict::Accept { grants: vec![left("prod", 3600), left("admin", 600)] };
    assert_eq!(answered(&mut dialogue, &accept), ["ok: admin until 15:50 (10 min)"]);
    assert_eq!(hear(&mut dialogue, "status"), ["<look>"]);
    let open = [left("prod", 3600), left("admin", 90)];
    assert_eq!(
        shown(&dialogue.is_open(&open, &clock)),
        ["admin until 15:41 (90 s)", "prod until 16:40 (60 min)"],
        "the highest first"
    );
    assert_eq!(dialogue.over_at(), at(60), "somebody is at it again");
}

#[test]
fn status_and_logout_are_answered() {
    let mut dialogue = begin();
    assert_eq!(hear(&mut dialogue, "status"), ["<look>"]);
    assert_eq!(shown(&dialogue.is_open(&[], &clock)), ["closed: a one-time code is needed"]);
    assert_eq!(hear(&mut dialogue, "logout"), ["<log out>"]);
    assert_eq!(shown(&dialogue.logged_out(at(9))), ["ok: logged out"]);
    assert_eq!(dialogue.over_at(), at(11));
}

#[test]
fn what_is_no_code_is_no_try() {
    let mut dialogue = begin();
    for line in ["help", "Status", "GET / HTTP/1.1", "12345a", "-1"] {
        assert_eq!(hear(&mut dialogue, line), ["error: write the code, status, logout or tier NAME"], "{line}");
    }
    assert_eq!(hear(&mut dialogue, ""), Vec::<String>::new());
    assert_eq!(hear(&mut dialogue, "abcd-efgh-abcd-efgh"), ["<ask prod abcd-efgh-abcd-efgh>"], "a code from paper");
}

#[test]
fn whoever_does_not_speak_lines_is_hung_up_on() {
    let mut dialogue = begin();
    for line in [&b"\x1b[2J"[..], b"\xff\xfe", b"12\x0034"] {
        assert_eq!(shown(&dialogue.hear(line, &tiers())), ["error: a line is printable text", "<hang up>"]);
    }
    let long = "1".repeat(65);
    assert_eq!(hear(&mut dialogue, &long), ["error: a line is at most 64 bytes", "<hang up>"]);
    assert_eq!(hear(&mut dialogue, &long[1..]), [format!("<ask prod {}>", &long[1..])]);
    let mut dialogue = begin();
    (0..32).for_each(|_| drop(hear(&mut dialogue, "")));
    assert_eq!(hear(&mut dialogue, "123456"), ["error: too many lines", "<hang up>"]);
}

#[test]
fn it_ends_when_the_other_side_does_and_after_a_minute() {
    let mut dialogue = begin();
    assert_eq!(dialogue.over_at(), at(60));
    assert_eq!(shown(&dialogue.overdue()), ["error: that took too long, begin again", "<hang up>"]);
    assert_eq!(shown(&dialogue.ended()), ["<hang up>"]);
    let mut dialogue = begin();
    hear(&mut dialogue, "123456");
    assert_eq!(shown(&dialogue.ended()), Vec::<String>::new(), "the answer comes first");
    let accept = CodeVerdict::Accept { grants: vec![left("prod", 3600)] };
    assert_eq!(answered(&mut dialogue, &accept), ["ok: prod until 16:40 (60 min)", "<hang up>"]);
}

#[test]
fn a_code_asks_for_the_tier_of_the_policy_and_what_lies_between() {
    let (prod, admin) = ("prod".parse().unwrap(), "admin".parse().unwrap());
    let asked = |wanted| {
        wishes(&tiers(), &prod, wanted)
            .map(|wishes| wishes.into_iter().map(|wish| (wish.tier.to_string(), wish.lifetime)).collect::<Vec<_>>())
    };
    assert_eq!(asked(&prod), Some(vec![("prod".to_owned(), None)]));
    assert_eq!(asked(&admin), Some(vec![("prod".to_owned(), None), ("admin".to_owned(), Some(600))]));
    assert_eq!(asked(&"guests".parse().unwrap()), None);
}

#[test]
fn no_line_of_a_person_is_said_back() {
    let mut dialogue = begin();
    for line in ["hunter2", "tier hunter2", "\u{7}hunter2"] {
        assert!(!hear(&mut dialogue, line).concat().contains("hunter2"));
    }
    hear(&mut dialogue, "123456");
    assert!(!format!("{dialogue:?}").contains("123456"));
}
