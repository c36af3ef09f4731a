//! Nothing of ours needs to be on the person's machine.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::{DEVICE, GATEWAY};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{run, says_an_hour};

/// As the documents have it, without the sudo that root needs not.
const PIPE: &str = r#"ssh -F "$1" bastion wgmfa-sync | while IFS="$(printf '\t')" read -r peer key; do
  printf '%s\n' "$key" | wg set "$2" peer "$peer" preshared-key /dev/stdin; done"#;

#[test]
fn a_pipe_from_ssh_to_wg_opens_the_tunnel() {
    let mut lab = Lab::with_resident_agent("1h");
    let allowed_ips = |lab: &Lab| lab.laptop.tunnel.allowed_ips(&lab.laptop.machine, &lab.gateway.tunnel.keys.public);
    let before = allowed_ips(&lab);
    assert!(!is_answered(&lab.laptop.machine, GATEWAY));
    let code = lab.laptop.authenticator.next_code();
    lab.laptop.set_code(&code);
    let mut shell = lab.laptop.command("sh");
    shell.args(["-c", PIPE, "sh"]).arg(lab.laptop.ssh_config()).arg(&lab.laptop.tunnel.name);
    let ended = run(&mut shell, b"").ok();
    let interface = lab.gateway.interface();
    assert!(ended.stdout.is_empty(), "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("{interface}: OK, ")) && ended.stderr.contains(" min left (until "),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("policy 101 Devices"), "{ended:?}");

    let pings = lab.pings(); // a key that is set in place is used from the next handshake on: within 15 s
    pings.first_reply_after(std::time::UNIX_EPOCH);
    assert_eq!(allowed_ips(&lab), before);
    lab.bastion.await_state(DEVICE, "OK");
}

#[test]
fn the_json_of_the_command_is_what_apply_reads() {
    let mut lab = Lab::with_resident_agent("1h");
    let json = lab.laptop.ssh(&["wgmfa-sync", "--format", "json"]).ok();
    assert_eq!(json.json()["device"], DEVICE);
    let mut apply = lab.laptop.command(wgmfa_tests::program::ours("wgmfa"));
    let ended = run(apply.args(["apply", "--interface", &lab.laptop.tunnel.name]), json.stdout.as_bytes()).ok();
    assert!(says_an_hour(&ended.stdout, ": OK, "), "{ended:?}");
    lab.await_answer();
}
