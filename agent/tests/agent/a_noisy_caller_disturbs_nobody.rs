//! Whatever somebody sends, the listener stays up, bounded, and serves others.

use crate::a_code_opens_the_gate::{held_back, untimed};
use crate::bed::Bed;
use crate::gates::CODE;

#[test]
fn garbage_half_lines_and_floods_disturb_nobody() {
    let bed = Bed::with_gate(0);
    let (noisy, quiet) = (held_back(&bed, 1, "noisy"), held_back(&bed, 2, "quiet"));
    let resident = bed.resident();
    drop(noisy.talk_to_when_open());
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", resident.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory();

    for (sent, said) in [
        (&b"\x00\xff\xfe\n"[..], "error: a line is printable text"),
        (b"\x1b]0;x\x07\n", "error: a line is printable text"),
        (b"GET / HTTP/1.1\r\n", "error: write the code, status, logout or tier NAME"),
    ] {
        let mut talk = noisy.talk();
        talk.hears();
        talk.says(sent);
        assert_eq!(talk.hears(), said);
    }
    let mut half = noisy.talk();
    half.hears();
    half.says(b"123");
    let mut endless = noisy.talk();
    endless.hears();
    (0..1024).for_each(|_| endless.says(&[b'1'; 1024]));
    assert!(["error: a line is at most 64 bytes", ""].contains(&endless.hears().as_str()));
    drop(endless);

    let mut many: Vec<_> = (0..1000).map(|_| noisy.talk_to(crate::person::GATEWAY, 7777)).collect();
    let heard: Vec<_> = many.iter_mut().flatten().map(|talk| talk.hears()).collect();
    let refused = heard.iter().filter(|line| line.starts_with("error: too many conversations at once")).count();
    let begun = heard.iter().filter(|line| line.starts_with("wgmfa app-gw: one-time code for noisy:")).count();
    assert!(refused > begun && begun >= 4, "{refused} refused, {begun} begun");
    let mut talk = quiet.talk();
    assert_eq!(talk.hears(), "wgmfa app-gw: one-time code for quiet:");
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
    drop(many);
    assert!(memory() < before + 32 * 1024, "{before} kB before, {} kB after", memory());
    assert!(bed.bastion.gates(|gates| gates.asked.iter().all(|(peer, _)| *peer == quiet.peer)), "none of it was a try");
}
