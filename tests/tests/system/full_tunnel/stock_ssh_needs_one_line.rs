//! The lines of README.md and doc/full-tunnels.md for stock `ssh`, word for word.

use wgmfa_tests::program::run;

use super::{BASTION, FullTunnel};

/// The lines of a document that begin so.
fn lines_of(document: &str, beginning: &str) -> Vec<String> {
    let path = format!("{}/../{document}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(str::trim).filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
}

#[test]
fn in_the_wg_quick_file() {
    let lines: Vec<String> = ["PostUp = ip", "PreDown = ip"]
        .iter()
        .flat_map(|beginning| lines_of("doc/full-tunnels.md", beginning))
        .map(|line| line.replace("203.0.113.7", BASTION[0]).replace("2001:db8::7", BASTION[1]))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let mut full = FullTunnel::with(&lines.join("\n"));
    let code = full.lab.laptop.authenticator.next_code();
    full.lab.laptop.set_code(&code);
    let keys = run(full.ssh().args(["bastion", "wgmfa-sync"]), b"").ok().stdout;
    let (peer, key) = keys.trim_end().split_once('\t').expect("a key came");
    full.lab.laptop.tunnel.readd(&full.lab.laptop.machine, peer, key);
    full.await_tunnel();

    full.config(&format!("Host bastion\n  HostName {}\n", BASTION[1]));
    full.sync().ok();
    let mut down = full.lab.laptop.machine.command("wg-quick");
    run(down.arg("down").arg(full.configuration()), b"").ok();
    let left = full.routing();
    assert!(BASTION.iter().all(|address| !left.contains(&format!("to {address} lookup"))), "{left}");
}
