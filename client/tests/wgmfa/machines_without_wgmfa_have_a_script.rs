use std::process::Command;

use wgmfa_tests::program::run;
use wgmfa_tests::terminal::Terminal;

use crate::inside::{CODE, Inside, Listener, OK, QUESTION, without_terminal};

/// The script that is shipped, on a laptop with these programs and no `wgmfa`.
fn script(inside: &Inside, words: &[&str]) -> Command {
    let mut command = inside.command("sh");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/wgmfa-code.sh")).args(words);
    let _ = std::fs::remove_file(inside.laptop.path("bin/wgmfa"));
    command
}

fn with_ncat() -> Inside {
    let inside = Inside::new();
    assert_eq!(run(inside.command("ncat").arg("--version"), b"").code(), 0, "ncat is missing: apt install ncat");
    inside
}

/// The script falls back to bash.
fn without_ncat() -> Inside {
    let inside = Inside::new();
    drop(inside.command("true"));
    let _ = std::fs::remove_file(inside.laptop.path("path/ncat"));
    inside
}

#[track_caller]
fn ended(inside: &Inside, words: &[&str], code: Option<&str>) -> (i32, String) {
    let mut terminal = Terminal::start(&script(inside, words));
    if let Some(code) = code {
        terminal.await_text(&format!("{QUESTION} "));
        terminal.type_hidden(code);
    }
    terminal.end()
}

#[test]
fn it_gives_a_code_with_ncat_or_bash() {
    for inside in [with_ncat(), without_ncat()] {
        let gateway = Listener::good(&inside.gateway);
        let (status, said) = ended(&inside, &["10.77.0.1"], Some(CODE));
        assert_eq!((status, said), (0, format!("{QUESTION} \n{OK}\n")));
        assert_eq!(gateway.said(1), [CODE]);
        let (status, said) = ended(&inside, &["fd77::1", "7777"], Some("000000"));
        assert_eq!((status, said), (3, format!("{QUESTION} \nwrong code, 4 tries left\n")));
    }
}

#[test]
fn without_a_gateway_or_a_person_it_says_so() {
    for inside in [with_ncat(), without_ncat()] {
        let (status, said) = ended(&inside, &["10.77.0.1"], None);
        assert_eq!((status, said.as_str()), (5, "no gateway asks for a code: no answer\n"));
        let gateway = Listener::on(&inside.gateway, 7777, |caller| {
            for _ in 0..1000 {
                caller.send("\u{1b}[2Jx".repeat(1024).as_bytes());
            }
        });
        let (status, said) = ended(&inside, &["10.77.0.1"], None);
        assert_eq!(status, 5, "{said}");
        assert!(said.starts_with("no gateway asks for a code: [2Jx") && said.len() < 500, "{said:?}");
        drop(gateway);

        // who types nothing keeps nobody waiting: the script's patience is cut short here
        let patience = "#!/bin/sh\n[ \"$1 $2\" = '--foreground 40' ] && shift 2 && set -- --foreground 1 \"$@\"\n\
                        exec /usr/bin/timeout \"$@\"\n";
        inside.program("timeout", patience);
        let _gateway = Listener::good(&inside.gateway);
        let mut terminal = Terminal::start(&script(&inside, &["10.77.0.1"]));
        terminal.await_text(&format!("{QUESTION} "));
        assert_eq!(terminal.end().0, 4);

        let nobody = run(&mut without_terminal(&script(&inside, &["10.77.0.1"])), b"").expect(4);
        assert!(nobody.stdout.starts_with("code needed: ") && nobody.stdout.ends_with("wgmfa-code.sh 10.77.0.1\n"));
        run(&mut without_terminal(&script(&inside, &[])), b"").expect(2);
    }
}

#[test]
fn where_no_code_is_needed_all_is_done() {
    for inside in [with_ncat(), without_ncat()] {
        let line = "nothing holds you back, no code is needed";
        let _gateway = Listener::on(&inside.gateway, 7777, move |caller| caller.say(&format!("error: {line}")));
        assert_eq!(ended(&inside, &["10.77.0.1"], None), (0, format!("{line}\n")));
    }
}
