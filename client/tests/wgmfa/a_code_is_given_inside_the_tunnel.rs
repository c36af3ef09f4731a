use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use wgmfa_tests::program::{install, run};

use crate::inside::{CODE, Inside, Listener, OK, QUESTION, without_terminal};

const INSIDE: &str = "10.77.0.2";

#[test]
fn the_gateway_asks_and_the_code_is_typed_unseen() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    let mut terminal = inside.on_a_terminal(&[]);
    terminal.await_text(&format!("{QUESTION} "));
    assert_eq!(gateway.said(0), [""; 0], "nothing is said before the gateway has asked");
    terminal.type_hidden(CODE);
    let (status, said) = terminal.end();
    assert_eq!((status, said), (0, format!("{QUESTION} \n{OK}\n")));
    assert_eq!(gateway.said(1), [CODE]);
    assert_eq!(gateway.calls()[0].from, INSIDE.parse::<IpAddr>().unwrap());
}

#[test]
fn what_was_typed_ahead_counts() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    let mut terminal = inside.on_a_terminal(&[]);
    terminal.type_line(CODE);
    assert_eq!(terminal.end().0, 0);
    assert_eq!(gateway.said(1), [CODE]);
}

#[test]
fn a_wrong_code_is_followed_by_another_one() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    let mut terminal = inside.on_a_terminal(&["--interface", inside.interface()]);
    for (code, answer) in
        [("000000", "wrong code, 4 tries left\n"), ("", "that is no code\n"), ("logout", "that is no code\n")]
    {
        terminal.await_text(&format!("{QUESTION} "));
        terminal.type_hidden(code);
        terminal.await_text(&answer.replace('\n', "\r\n"));
    }
    terminal.await_text(&format!("{QUESTION} "));
    terminal.type_hidden(CODE);
    let (status, said) = terminal.end();
    assert_eq!(status, 0, "{said}");
    assert_eq!(gateway.said(2), ["000000", CODE], "what is no code is not said");
}

#[test]
fn too_many_tries_end_with_3() {
    let inside = Inside::new();
    let _gateway = Listener::good(&inside.gateway);
    let mut terminal = inside.on_a_terminal(&[]);
    for _ in 0..5 {
        terminal.await_text(&format!("{QUESTION} "));
        terminal.type_hidden("000000");
    }
    let (status, said) = terminal.end();
    assert_eq!(status, 3, "{said}");
    let end = "\nwgmfa: error: locked for 30 s\nwgmfa: hint: wait so long, then: wgmfa code\n";
    assert!(said.ends_with(end), "{said}");
}

#[test]
fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let inside = Inside::new();
    let _gateway = Listener::good(&inside.gateway);
    let mut terminal = inside.on_a_terminal(&[]);
    terminal.await_text(&format!("{QUESTION} "));
    assert!(!terminal.shows_what_is_typed());
    nix::sys::signal::kill(terminal.pid(), nix::sys::signal::Signal::SIGINT).unwrap();
    terminal.await_text("wgmfa: error: interrupted");
    assert!(terminal.shows_what_is_typed());
    assert_eq!(terminal.end().0, 4);
}

#[test]
fn a_step_up_names_its_tier_first() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    let ended = inside.without_terminal(&["--tier", "admin"], "123456\n").ok();
    assert_eq!(ended.stdout, format!("{OK}\n"));
    assert_eq!(gateway.said(2), ["tier admin", CODE]);

    let ended = inside.without_terminal(&["--tier", "nosuch"], "123456\n").expect(1);
    let lines = "wgmfa: error: no such tier\nwgmfa: hint: without --tier the policy's own tier opens; others stand in \
                 agent.toml of the gateway\n";
    assert_eq!(ended.stderr, lines);
    assert_eq!(gateway.calls()[1].said, ["tier nosuch"], "no code is spent on it");
}

#[test]
fn one_line_of_standard_input_is_a_code() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    inside.without_terminal(&[], " 123456 \r\nmore\n").ok();
    inside.without_terminal(&[], CODE).ok();
    let ended = inside.without_terminal(&[], "000000\n123456\n").expect(3);
    assert!(ended.stderr.starts_with("wgmfa: error: wrong code, 4 tries left\nwgmfa: hint: wait for "), "{ended:?}");
    let ended = inside.without_terminal(&[], &"1".repeat(1000)).expect(4);
    assert_eq!(ended.stderr, "wgmfa: error: that is no code\nwgmfa: hint: wgmfa code\n");
    let ended = inside.without_terminal(&[], "").expect(4);
    assert_eq!(ended.stderr, "wgmfa: error: nobody can be asked for a code\nwgmfa: hint: wgmfa code\n");
    let said: Vec<Vec<String>> = gateway.calls().into_iter().map(|call| call.said).collect();
    assert_eq!(said, [vec![CODE], vec![CODE], vec!["000000"], vec![], vec![]]);
}

#[test]
fn without_a_terminal_nobody_is_prompted() {
    let inside = Inside::new();
    let _gateway = Listener::good(&inside.gateway);
    let asked = inside.laptop.path("asked");
    inside.program("systemd-ask-password", &format!("#!/bin/sh\ntouch {}\necho {CODE}\n", asked.display()));
    let ended = inside.without_terminal(&[], "").expect(4);
    assert_eq!(ended.stderr, "wgmfa: error: nobody can be asked for a code\nwgmfa: hint: wgmfa code\n");
    assert!(!asked.exists());
}

#[test]
fn an_empty_input_makes_way_for_the_terminal() {
    let inside = Inside::new();
    let _gateway = Listener::good(&inside.gateway);
    let mut shell = inside.command("sh");
    shell.args(["-c", "wgmfa code </dev/null"]);
    let mut terminal = wgmfa_tests::terminal::Terminal::start(&shell);
    terminal.await_text(&format!("{QUESTION} "));
    terminal.type_hidden(CODE);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_gateway_may_be_named_also_by_ipv6_and_port() {
    let inside = Inside::new();
    let seven = Listener::good(&inside.gateway);
    let eight = Listener::on(&inside.gateway, 7778, |caller| {
        caller.say(QUESTION);
        caller.hear();
        caller.say(OK);
        caller.hear_out();
    });
    for (words, from) in [
        (&["10.77.0.1"][..], INSIDE),
        (&["fd77::1"], "fd77::2"),
        (&["[fd77::1]:7777", "--interface", inside.interface()], "fd77::2"),
    ] {
        inside.without_terminal(words, CODE).ok();
        assert_eq!(seven.calls().last().unwrap().from, from.parse::<IpAddr>().unwrap());
    }
    inside.without_terminal(&["10.77.0.1:7778"], CODE).ok();
    std::fs::create_dir_all(inside.laptop.path(".config/wgmfa")).unwrap();
    inside.laptop.write(".config/wgmfa/client.toml", "gateway = \"[fd77::1]:7778\"\n");
    inside.without_terminal(&[], CODE).ok();
    assert_eq!((seven.calls().len(), eight.calls().len()), (3, 2));
    inside.without_terminal(&["-x"], CODE).expect(2);
    inside.without_terminal(&["10.77.0.1:0"], CODE).expect(2);
}

#[test]
fn no_code_goes_outside_of_the_tunnel() {
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    // on the wire somebody has the gateway's inner address, and all routes lead there
    inside.laptop.ip(&["route", "add", "10.77.0.1/32", "via", "10.99.0.1"]);
    inside.laptop.ip(&["route", "add", "10.77.0.0/25", "via", "10.99.0.1"]);
    inside.without_terminal(&[], CODE).ok();
    inside.without_terminal(&["10.77.0.1", "--interface", inside.interface()], CODE).ok();
    let inner = INSIDE.parse::<IpAddr>().unwrap();
    assert!(gateway.calls().iter().all(|call| call.from == inner), "{:?}", gateway.calls());
    for words in [&["10.77.0.1"][..], &["10.99.0.1"]] {
        let ended = inside.without_terminal(words, CODE).expect(5);
        let error = format!("wgmfa: error: {} is not reached through a WireGuard interface\n", words[0]);
        assert!(ended.stderr.starts_with(&error), "{ended:?}");
    }
    inside.without_terminal(&["10.99.0.1", "--interface", "eth0"], CODE).expect(1);
    inside.tunnel.as_ref().unwrap().down(&inside.laptop);
    let ended = inside.without_terminal(&[], CODE).expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: no WireGuard interface here\n"), "{ended:?}");
    assert_eq!(gateway.calls().len(), 2);
}

#[test]
fn who_may_not_read_the_peers_asks_in_the_own_network() {
    let inside = Inside::new();
    // where nobody may start it, whatever folder it was built in
    std::fs::set_permissions(inside.laptop.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_file(inside.laptop.path("bin/wgmfa")).unwrap();
    install(env!("CARGO_BIN_EXE_wgmfa"), &inside.laptop.path("bin/wgmfa"));
    let as_nobody = |words: &[&str]| {
        let mut command = inside.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]);
        command.arg(inside.laptop.path("bin/wgmfa")).arg("code").args(words);
        run(&mut without_terminal(&command), CODE.as_bytes())
    };
    let ended = as_nobody(&[]).expect(5);
    let error = format!("wgmfa: error: no gateway asks for a code: 10.77.0.1 through {}: ", inside.interface());
    assert!(ended.stderr.starts_with(&error), "{ended:?}");
    assert!(ended.stderr.contains("wgmfa: hint: only root can see the peers of "), "{ended:?}");
    let gateway = Listener::good(&inside.gateway);
    as_nobody(&[]).ok();
    as_nobody(&["10.77.0.1"]).ok();
    assert_eq!(gateway.calls()[0].from, INSIDE.parse::<IpAddr>().unwrap());
}

#[test]
fn each_address_that_was_tried_is_named() {
    let inside = Inside::new();
    let ended = inside.without_terminal(&[], CODE).expect(5);
    for expected in ["10.77.0.1 through ", "fd77::1 through ", "connection refused", "wgmfa: hint: name the gateway"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
    let ended = inside.without_terminal(&["--interface", "nosuch"], CODE).expect(1);
    assert!(ended.stderr.starts_with("wgmfa: error: nosuch: no such WireGuard interface here\n"), "{ended:?}");
}

#[test]
fn where_no_code_is_needed_all_is_done() {
    let inside = Inside::new();
    let line = "nothing holds you back, no code is needed";
    let gateway = Listener::on(&inside.gateway, 7777, move |caller| caller.say(&format!("error: {line}")));
    for words in [&[][..], &["--tier", "admin"]] {
        let ended = inside.without_terminal(words, CODE).ok();
        assert_eq!((ended.stdout, ended.stderr), (format!("{line}\n"), String::new()));
    }
    // nobody is held back, so the interface stays
    let (status, said) = inside.on_a_terminal(&["--interface", inside.interface(), "--post-up", "--or-down"]).end();
    assert_eq!((status, said), (0, format!("{line}\n")));
    assert!(gateway.calls().iter().all(|call| call.said.is_empty()), "no code is spent on it");
}
