//! The lines that are shipped for wg-quick and systemd-networkd, with the real wg-quick: whatever happens, it goes on, and
//! the interface is there or gone as documented.

use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_tests::machine::write_private;
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::terminal::Terminal;

use crate::inside::{CODE, Inside, Listener, OK, QUESTION, without_terminal};

/// A laptop that `wg-quick up` has not touched yet, with stock wg-quick.
struct Quick {
    inside: Inside,
    name: String,
}

/// A line of the file that is shipped, also one that stands there as an alternative.
fn shipped(contains: &str) -> &'static str {
    let lines = include_str!("../../../packaging/wgmfa-code.conf").lines().map(|line| line.trim_start_matches('#'));
    let mut found = lines.filter(|line| line.starts_with("PostUp = ") && line.contains(contains));
    found.next().unwrap()
}

impl Quick {
    fn new() -> Self {
        let inside = Inside::without_interface();
        // wg-quick looks for other programs beside itself first
        std::fs::copy("/usr/bin/wg-quick", inside.laptop.path("bin/wg-quick")).unwrap();
        // the daemon that it starts is to outlive the terminal
        inside.program("userspace", "#!/bin/sh\nexec setsid wireguard-go \"$@\" </dev/null >/dev/null 2>&1\n");
        let name = format!("{}0", inside.laptop.namespace());
        Self { inside, name }
    }

    fn file(&self) -> PathBuf {
        self.inside.laptop.path(&format!("{}.conf", self.name))
    }

    fn up(&self, post_up: &str) -> Command {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.77.0.2/24, fd77::2/64\n{post_up}\n\n[Peer]\nPublicKey = {}\n\
             AllowedIPs = 10.77.0.1/32, fd77::1/128, 10.78.0.0/16\nEndpoint = 10.99.0.1:51820\n",
            self.inside.keys.private, self.inside.gateway_key
        );
        write_private(&self.file(), &text);
        let mut command = self.inside.command(self.inside.laptop.path("bin/wg-quick"));
        command.arg("up").arg(self.file());
        command.env("WG_QUICK_USERSPACE_IMPLEMENTATION", self.inside.laptop.path("bin/userspace"));
        command
    }

    fn on_a_terminal(&self, post_up: &str) -> Terminal {
        Terminal::start(&self.up(post_up))
    }

    #[track_caller]
    fn without_terminal(&self, post_up: &str) -> Ended {
        run(&mut without_terminal(&self.up(post_up)), b"")
    }

    fn is_up(&self) -> bool {
        self.inside.laptop.run("ip", &["link", "show", "up", "dev", &self.name]).stdout.contains(&self.name)
    }

    fn down(&self) {
        self.inside.laptop.ip(&["link", "del", &self.name]);
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.name));
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", self.name));
    }
}

#[test]
fn wg_quick_asks_on_the_terminal_and_goes_on_with_a_good_code() {
    let quick = Quick::new();
    let gateway = Listener::good(&quick.inside.gateway);
    for line in [shipped("--post-up"), shipped("--or-down")] {
        let mut terminal = quick.on_a_terminal(line);
        terminal.await_text(&format!("{QUESTION} "));
        terminal.type_hidden(CODE);
        let (status, said) = terminal.end();
        assert_eq!(status, 0, "{said}");
        assert!(said.ends_with(&format!("\n{OK}\n")) && !said.contains(CODE), "{said}");
        assert!(quick.is_up());
        quick.down();
    }
    assert_eq!(gateway.calls().len(), 2);
}

#[test]
fn a_wrong_code_and_a_silent_person_leave_the_interface_up_unless_or_down() {
    let quick = Quick::new();
    let _gateway = Listener::good(&quick.inside.gateway);
    for (line, status) in [(shipped("--post-up"), 0), (shipped("--or-down"), 4)] {
        let mut terminal = quick.on_a_terminal(&format!("{line} --limit 10s"));
        terminal.await_text(&format!("{QUESTION} "));
        terminal.type_hidden("000000");
        terminal.await_text("wrong code, 4 tries left");
        let (ended, said) = terminal.end();
        assert_eq!(ended, status, "{said}");
        let hint = format!("wgmfa: hint: wgmfa code --interface {}\n", quick.name);
        assert!(said.contains("wgmfa: error: no code was given in time\n") && said.contains(&hint), "{said}");
        assert_eq!(quick.is_up(), status == 0);
        if status == 0 {
            quick.down();
        }
    }
}

#[test]
fn where_nobody_can_be_asked_it_says_what_is_needed() {
    let quick = Quick::new();
    let gateway = Listener::good(&quick.inside.gateway);
    let ended = quick.without_terminal(shipped("--post-up")).ok();
    assert!(ended.stdout.ends_with(&format!("code needed: wgmfa code --interface {}\n", quick.name)), "{ended:?}");
    assert!(quick.is_up());
    quick.down();
    quick.without_terminal(shipped("--or-down")).expect(4);
    assert!(!quick.is_up());
    assert!(gateway.calls().is_empty(), "it was asked before anybody could answer");
    let tier = format!("{} --tier admin", shipped("--post-up"));
    let ended = quick.without_terminal(&tier).ok();
    assert!(ended.stdout.ends_with(&format!(" --interface {} --tier admin\n", quick.name)), "{ended:?}");
}

#[test]
fn a_gateway_that_is_away_leaves_the_interface_up_unless_or_down() {
    let quick = Quick::new();
    let (status, said) = quick.on_a_terminal(shipped("--post-up")).end();
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("wgmfa: error: no gateway asks for a code: 10.77.0.1 through "), "{said}");
    assert!(quick.is_up());
    quick.down();
    let (status, said) = quick.on_a_terminal(shipped("--or-down")).end();
    assert_eq!(status, 5, "{said}");
    assert!(!quick.is_up());
    // a configuration that is broken takes no interface down either
    std::fs::create_dir_all(quick.inside.laptop.path(".config/wgmfa")).unwrap();
    quick.inside.laptop.write(".config/wgmfa/client.toml", "nonsense = 1\n");
    assert_eq!(quick.on_a_terminal(shipped("--post-up")).end().0, 0);
    assert!(quick.is_up());
}

#[test]
fn without_a_terminal_systemd_ask_password_asks() {
    let quick = Quick::new();
    let gateway = Listener::good(&quick.inside.gateway);
    let asked = quick.inside.laptop.path("asked");
    let program = |answer: &str| {
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >>{}\n{answer}\n", asked.display());
        quick.inside.program("systemd-ask-password", &script);
    };
    program("echo 123456");
    let ended = quick.without_terminal(shipped("--or-down")).ok();
    assert!(ended.stdout.ends_with(&format!("{OK}\n")), "{ended:?}");
    assert_eq!(gateway.said(1), [CODE]);
    let arguments = std::fs::read_to_string(&asked).unwrap();
    assert!(arguments.ends_with(&format!("\n--\n{QUESTION}\n")) && !arguments.contains(CODE), "{arguments}");
    assert!(quick.is_up());
    quick.down();

    // nobody answers: the question is taken away in time
    let withdrawn = quick.inside.laptop.path("withdrawn");
    program(&format!("trap ': >{}; exit 1' TERM\nsleep 100 & wait", withdrawn.display()));
    let line = format!("{} --limit 6s", shipped("--post-up"));
    let ended = quick.without_terminal(&line).ok();
    assert!(ended.stderr.contains("wgmfa: error: no code was given in time\n"), "{ended:?}");
    assert!(withdrawn.exists());
    assert!(quick.is_up());
    quick.down();

    program("exit 1");
    let ended = quick.without_terminal(shipped("--or-down")).expect(4);
    assert!(ended.stderr.contains("wgmfa: error: no code was given\n"), "{ended:?}");
    assert!(!quick.is_up());
}

#[test]
fn the_real_systemd_ask_password_understands_it() {
    let (ask, reply) = ("/usr/bin/systemd-ask-password", "/lib/systemd/systemd-reply-password");
    if !Path::new(ask).exists() || !Path::new(reply).exists() {
        return; // this system has none
    }
    let inside = Inside::new();
    let gateway = Listener::good(&inside.gateway);
    std::os::unix::fs::symlink(ask, inside.laptop.path("bin/systemd-ask-password")).unwrap();
    // an agent as systemd's own are, in a /run/systemd where nobody else looks
    inside.program(
        "with-agent",
        &format!(
            "#!/bin/sh\nmount -t tmpfs none /run/systemd && mkdir /run/systemd/ask-password || exit\n\
             ( until question=$(ls /run/systemd/ask-password/ask.* 2>/dev/null); do sleep 0.01; done\n\
             grep Message= \"$question\"\n\
             printf 123456 | {reply} 1 \"$(sed -n s/^Socket=//p \"$question\")\" ) &\nexec \"$@\"\n"
        ),
    );
    let mut command = inside.command(inside.laptop.path("bin/with-agent"));
    command.args(["wgmfa", "code", "--post-up", "--or-down", "--interface", inside.interface()]);
    let ended = run(&mut without_terminal(&command), b"").ok();
    assert!(
        ended.stdout.contains(&format!("Message={QUESTION}\n")) && ended.stdout.ends_with(&format!("{OK}\n")),
        "{ended:?}"
    );
    assert_eq!(gateway.said(1), [CODE]);
}

#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = include_str!("../../../packaging/wgmfa-code@.service");
    assert!(unit.contains("ExecStart=/usr/bin/wgmfa code --interface %I --post-up --or-down\n"));
    let unit = unit.replace("/usr/bin/wgmfa", env!("CARGO_BIN_EXE_wgmfa"));
    let path = folder.path().join("wgmfa-code@wg0.service");
    std::fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(&path).output();
    let Ok(verified) = verified else { return }; // this system has none
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
