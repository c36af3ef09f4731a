//! `pam_wgmfa.so` in the system's own PAM folder, under an application that is not ours: pamtester(1).

#[path = "worker/mod.rs"]
mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use worker::{ACCEPT, REFUSE, Script, Site, account, answers, begin, says};

/// A service file in `/etc/pam.d` that vanishes with the test.
struct Service {
    name: String,
    path: PathBuf,
}

impl Service {
    fn new(site: &Site, test: &str) -> Self {
        let name = format!("wgmfa-{test}-{}", std::process::id());
        let path = PathBuf::from("/etc/pam.d").join(&name);
        let module = site.wgmfa("");
        let text = ["auth", "account", "session"].map(|kind| format!("{kind} required {module}\n")).concat();
        std::fs::write(&path, text).unwrap();
        Self { name, path }
    }

    /// Runs the operations for ada, with both answers on standard input.
    fn run(&self, operations: &[&str]) -> Output {
        let mut child = Command::new("pamtester")
            .args(["-I", "rhost=192.0.2.7", &self.name, "ada"])
            .args(operations)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // An application that asks nothing does not read.
        let _ = child.stdin.take().unwrap().write_all(b"correct horse\n123456\n");
        child.wait_with_output().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn can_run() -> bool {
    nix::unistd::geteuid().is_root() && Command::new("pamtester").arg("--version").output().is_ok()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn session(service: &str, open: bool) -> String {
    format!(r#"{{"type":"session","version":1,"user":"ada","service":"{service}","open":{open}}}"#)
}

/// What the keeper hears of an authentication.
fn authentication(service: &str, outcome: &str) -> Vec<(String, String)> {
    vec![says(begin("ada", true, service), worker::ASK_BOTH), says(answers(Some("correct horse"), "123456"), outcome)]
}

#[test]
fn all_hooks_pass_when_the_keeper_accepts() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    let service = Service::new(&site, "pass");
    let script: Script = vec![
        authentication(&service.name, ACCEPT),
        vec![says(account("ada"), ACCEPT)],
        vec![says(session(&service.name, true), ACCEPT)],
        vec![says(session(&service.name, false), ACCEPT)],
    ];
    let keeper = site.keeper(script);
    let output = service.run(&["authenticate", "setcred", "acct_mgmt", "open_session", "close_session"]);
    assert!(output.status.success(), "{}", text(&output));
    keeper.visitors();
}

#[test]
fn a_refusal_is_shown_and_fails() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    let service = Service::new(&site, "refuse");
    let keeper = site.keeper(vec![authentication(&service.name, REFUSE)]);
    let output = service.run(&["authenticate"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("login refused: try again\n"), "{}", text(&output));
    assert!(text(&output).contains("pamtester: Authentication failure\n"), "{}", text(&output));
    keeper.visitors();
}

#[test]
fn without_a_keeper_every_hook_but_setcred_and_the_end_of_a_session_fails() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    let service = Service::new(&site, "away");
    let unavailable = "Authentication service cannot retrieve authentication info";
    for operation in ["authenticate", "acct_mgmt", "open_session"] {
        let output = service.run(&[operation]);
        assert!(!output.status.success(), "{operation}");
        assert!(text(&output).contains(unavailable), "{operation}: {}", text(&output));
    }
    for operation in ["setcred", "close_session"] {
        assert!(service.run(&[operation]).status.success(), "{operation}");
    }
}

#[test]
fn a_refused_session_does_not_open() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    let service = Service::new(&site, "session");
    let keeper = site.keeper(vec![vec![says(session(&service.name, true), REFUSE)]]);
    let output = service.run(&["open_session"]);
    assert!(!output.status.success() && text(&output).contains("Authentication failure"), "{}", text(&output));
    keeper.visitors();
}

/// What the linker's tools say of the module.
fn tool(program: &str, option: &str) -> String {
    let output = Command::new(program).arg(option).arg(worker::pam_wgmfa()).output().unwrap();
    assert!(output.status.success(), "{program}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_module_exports_its_hooks_and_needs_libpam_and_the_c_library_alone() {
    let symbols = tool("nm", "-gD");
    let mut exported: Vec<&str> =
        symbols.lines().filter_map(|line| line.split_once(" T ")).map(|(_, name)| name).collect();
    exported.sort_unstable();
    let hooks = ["acct_mgmt", "authenticate", "chauthtok", "close_session", "open_session", "setcred"];
    assert_eq!(exported, hooks.map(|hook| format!("pam_sm_{hook}")));
    let headers = tool("objdump", "-p");
    let needed: Vec<&str> =
        headers.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim).collect();
    let allowed = ["libpam.so.0", "libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
    assert!(needed.contains(&"libpam.so.0") && needed.iter().all(|library| allowed.contains(library)), "{needed:?}");
}
