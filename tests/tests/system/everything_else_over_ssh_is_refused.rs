//! What stock `ssh` can ask for and nobody gets here: one clear line, a status that is not 0, never a hang.

use std::sync::Arc;

use wgmfa_tests::bastion::PORT;
use wgmfa_tests::program::{Ended, run};

use super::site::{Person, Site};

const ONLY: &str = "wgmfa: error: only these can be asked for here: wgmfa-sync, wgmfa-status, wgmfa-passwd, wgmfa-codes, \
                    wgmfa-enrol, wgmfa-host-key";

/// The command has failed, by itself, and said this.
#[track_caller]
fn refused(ended: &Ended, words: &str) {
    assert!(![0, 124].contains(&ended.code()), "{ended:?}"); // 124: timeout(1) has ended it
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
}

#[test]
fn commands_and_file_transfer() {
    let mut site = Site::new();
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let file = site.justin.laptop.machine.write("file", "content").to_string_lossy().into_owned();
    let master = site.justin.master();
    for command in ["sh", "/bin/sh -c id", "wgmfa-bastion2 key list", "wgmfa-sync2", "scp -t ."] {
        let ended = master.ssh(&["bastion", command]).expect(1);
        assert_eq!((ended.stdout.as_str(), ended.stderr.trim_end()), ("", ONLY));
    }
    for subsystem in ["sftp", "netconf", "wgmfa-agent", "wgmfa-status"] {
        let ended = master.ssh(&["-s", "bastion", subsystem]).expect(1);
        assert_eq!((ended.stdout.as_str(), ended.stderr.trim_end()), ("", ONLY));
    }
    for words in [&[&*file, "bastion:file"][..], &["-O", &file, "bastion:file"], &["bastion:/etc/passwd", "."]] {
        refused(&master.run("scp", words), ONLY);
    }
    refused(&master.run("sftp", &["-b", "/dev/null", "bastion"]), ONLY);
    // words that shells would act on are words
    for command in [
        "wgmfa-sync; id",
        "wgmfa-sync $(id)",
        "wgmfa-sync | id",
        "wgmfa-sync > file",
        "wgmfa-status && id",
        "'wgmfa-sync",
    ] {
        let ended = master.ssh(&["bastion", command]);
        assert_ne!(ended.code(), 0, "{ended:?}");
        assert!(!ended.said().contains("uid="), "{ended:?}");
    }
    // no command at all: what there is, then out; with and without a terminal
    for words in [&["bastion"][..], &["-tt", "bastion"]] {
        let ended = master.ssh(words).ok();
        assert!(ended.stdout.contains("app-gw") && ended.stdout.contains("wgmfa-sync, wgmfa-status"), "{ended:?}");
    }
    drop(master);
    assert_eq!(site.count("released"), 0);
}

/// Stock `ssh` on a connection of its own; it is ended when it hangs.
#[track_caller]
fn alone(person: &mut Person, program: &[&str], words: &[&str]) -> Ended {
    let code = person.fresh_code();
    person.laptop.set_code(&code);
    let mut command = person.laptop.command("timeout");
    command.arg("20").args(program).args(["ssh", "-F"]).arg(person.laptop.ssh_config()).args(words);
    run(&mut command, b"")
}

#[test]
fn forwarding() {
    let mut site = Site::new();
    let to = format!("{}:22", site.bastion.address);
    let justin = &mut site.justin;
    refused(&alone(justin, &[], &["-W", &to, "bastion"]), "administratively prohibited: wgmfa forwards nothing");
    let strict = ["-o", "ExitOnForwardFailure=yes", "-R", "8022:localhost:22", "bastion", "wgmfa-status"];
    refused(&alone(justin, &[], &strict), "remote port forwarding failed for listen port 8022");
    // a request beside the command that is refused does not take the command with it
    for (program, words) in [
        (&[][..], &["-R", "8022:localhost:22"][..]),
        (&[], &["-X", "-o", "XAuthLocation=/bin/true"]),
        (&["ssh-agent"], &["-A"]),
        (&[], &["-o", "SetEnv=WGMFA_CRASH_AT=released LD_PRELOAD=/nowhere.so"]),
    ] {
        let ended = alone(justin, program, &[words, &["bastion", "wgmfa-status"]].concat()).ok();
        assert!(ended.stdout == "no connections\n", "{ended:?}");
    }
}

#[test]
fn a_forwarded_port_leads_nowhere() {
    let mut site = Site::new();
    let machine = Arc::clone(&site.justin.laptop.machine);
    let to = format!("8022:{}:{PORT}", site.bastion.address);
    let master = site.justin.master();
    master.ssh(&["-O", "forward", "-L", &to, "bastion"]).ok();
    refused(&master.ssh(&["-O", "forward", "-R", "8022:localhost:22", "bastion"]), "remote port forwarding failed");
    let came = machine.within(|| {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:8022").unwrap();
        let mut bytes = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
        bytes
    });
    assert!(came.is_empty(), "not even the bastion's own banner comes through itself");
}
