use crate::inside::{CODE, Inside, Listener, QUESTION};

#[test]
fn who_does_not_speak_like_a_gateway_gets_no_code() {
    let inside = Inside::new();
    for (banner, expected) in [
        (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], "it does not speak like a gateway"),
        (b"\0\xff\xfe\n", "it does not speak like a gateway"),
        (b"wgmfa half a line", "it hung up"),
        (b"", "it hung up"),
        (&b"x".repeat(500), "it does not speak like a gateway: a line is longer than 400 bytes"),
    ] {
        let banner = banner.to_vec();
        let gateway = Listener::on(&inside.gateway, 7777, move |caller| {
            caller.send(&banner);
        });
        let ended = inside.without_terminal(&["10.77.0.1"], CODE).expect(5);
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
        assert!(gateway.calls().iter().all(|call| call.said.is_empty()));
    }
}

#[test]
fn megabytes_are_not_read() {
    let inside = Inside::new();
    for (before, line) in [("", "x"), ("", "\n"), (QUESTION, "x"), (QUESTION, "wgmfa\n"), (QUESTION, "wgmfa x\n")] {
        let line = line.repeat(64 * 1024);
        let _gateway = Listener::on(&inside.gateway, 7777, move |caller| {
            if !before.is_empty() {
                caller.say(before);
                caller.hear();
            }
            for _ in 0..1024 {
                if !caller.send(line.as_bytes()) {
                    return;
                }
            }
        });
        let ended = inside.without_terminal(&["10.77.0.1"], CODE);
        assert!([1, 5].contains(&ended.code()), "{ended:?}");
        assert!(ended.stderr.contains("it does not speak like a gateway"), "{ended:?}");
    }
}

#[test]
fn its_words_cannot_steer_the_terminal_or_pass_for_ours() {
    let inside = Inside::new();
    let _gateway = Listener::on(&inside.gateway, 7777, |caller| {
        caller.say("wgmfa \u{1b}]0;x\u{7}gw: code\u{202e}:");
        caller.hear();
        caller.say("ok: \u{1b}[2J prod\rroot");
        caller.hear_out();
    });
    let mut terminal = inside.on_a_terminal(&[]);
    terminal.await_text("wgmfa ?]0;x?gw: code?: ");
    terminal.type_hidden(CODE);
    let (status, said) = terminal.end();
    assert_eq!(status, 0, "{said}");
    assert!(said.ends_with("\nok: ?[2J prod?root\n"), "{said:?}");
}

#[test]
fn silence_ends_in_time() {
    let inside = Inside::new();
    let silent = Listener::on(&inside.gateway, 7777, |caller| caller.hear_out());
    let ended = inside.without_terminal(&["10.77.0.1", "--limit", "4s"], CODE).expect(5);
    assert!(ended.stderr.contains(": it says nothing\n"), "{ended:?}");
    assert!(silent.calls()[0].said.is_empty());
    drop(silent);
    let asks = Listener::on(&inside.gateway, 7777, |caller| {
        caller.say(QUESTION);
        caller.hear_out();
    });
    let ended = inside.without_terminal(&["10.77.0.1", "--limit", "4s"], CODE).expect(5);
    assert!(ended.stderr.starts_with("wgmfa: error: the gateway does not answer\n"), "{ended:?}");
    drop(asks);
    let _mute = Listener::on(&inside.gateway, 7777, |caller| {
        caller.say(QUESTION);
        caller.hear();
    });
    let ended = inside.without_terminal(&["10.77.0.1"], CODE).expect(5);
    assert!(ended.stderr.starts_with("wgmfa: error: the gateway hung up\n"), "{ended:?}");
}

#[test]
fn what_it_refuses_is_told_from_what_it_cannot_reach() {
    let inside = Inside::new();
    for (line, status, expected) in [
        ("error: unknown peer", 3, "wgmfa: error: the gateway says: unknown peer\n"),
        ("error: the bastion is not reached", 5, "wgmfa: error: the gateway says: the bastion is not reached\n"),
        (
            "error: the bastion cannot record anything now",
            5,
            "wgmfa: error: the gateway says: the bastion cannot record anything now\n",
        ),
        ("locked for 2 min", 3, "wgmfa: error: locked for 2 min\n"),
        ("what?", 1, "wgmfa: error: it does not speak like a gateway: what?\n"),
    ] {
        let _gateway = Listener::on(&inside.gateway, 7777, move |caller| {
            caller.say(QUESTION);
            caller.hear();
            caller.say(line);
        });
        let ended = inside.without_terminal(&["10.77.0.1"], CODE).expect(status);
        assert!(ended.stderr.starts_with(expected), "{ended:?}");
    }
    for (line, status) in [
        ("10.77.0.2 is no peer here", 3),
        ("too many conversations at once, end one of them", 5),
        ("others are waiting, begin again", 5),
    ] {
        let _gateway = Listener::on(&inside.gateway, 7777, move |caller| caller.say(&format!("error: {line}")));
        let ended = inside.without_terminal(&["10.77.0.1"], CODE).expect(status);
        assert!(ended.stderr.starts_with(&format!("wgmfa: error: the gateway says: {line}\n")), "{ended:?}");
    }
}
