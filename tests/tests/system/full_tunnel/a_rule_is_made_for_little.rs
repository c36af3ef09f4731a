//! Whoever may start the privileged half can have little go past a tunnel, and less where the site says so.

use wgmfa_tests::program::{Ended, ours, run};

use super::{BASTION, FullTunnel};

/// Asks the privileged half for a way, and hangs up.
fn ask(full: &FullTunnel, way: &str) -> Ended {
    let wanted = format!("{{\"version\":1,\"way\":{way}}}\n");
    run(full.lab.laptop.machine.command(ours("wgmfa")).arg("apply"), wanted.as_bytes())
}

#[test]
fn only_where_a_tunnel_is_in_the_way() {
    let full = FullTunnel::new();
    let before = full.routing();
    let far = ask(&full, &format!("[\"{}:22\"]", BASTION[0])).ok().json();
    assert_eq!(far, serde_json::json!({"way": [format!("{}:22", BASTION[0])], "refused": []}));
    for (near, why) in [
        ("10.99.0.1:22", "no tunnel is in its way"),
        ("127.0.0.1:22", "not an address of another machine"),
        ("224.0.0.1:22", "not an address of another machine"),
        ("[fe80::1]:22", "not an address of another machine"),
        ("198.51.100.1:0", "not an address of another machine"),
    ] {
        let answer = ask(&full, &format!("[\"{near}\"]")).ok().json();
        assert_eq!(answer["way"], serde_json::json!([]));
        assert!(answer["refused"][0].as_str().is_some_and(|refused| refused.ends_with(why)), "{near}: {answer}");
    }
    let many: Vec<String> = (1..10).map(|number| format!("198.51.100.{number}:22")).collect();
    let ended = ask(&full, &serde_json::json!(many).to_string()).expect(1);
    assert!(ended.stderr.contains("not a way to at most 8 addresses"), "{ended:?}");
    assert_eq!(full.routing(), before);
}

#[test]
fn and_only_where_the_main_table_knows_another_one() {
    let full = FullTunnel::new();
    full.lab.laptop.machine.ip(&["route", "add", "198.51.100.0/25", "dev", &full.lab.laptop.tunnel.name]);
    let before = full.routing();
    let answer = ask(&full, &format!("[\"{}:22\"]", BASTION[0])).ok().json();
    let why = format!("{}: the main routing table has no way to it but {}", BASTION[0], full.lab.laptop.tunnel.name);
    assert_eq!(answer, serde_json::json!({"way": [], "refused": [why]}));
    assert_eq!(full.routing(), before);
}

/// `wgmfa sync` on a laptop whose site says this in `/etc/wgmfa/client.toml`.
fn sync_where(full: &mut FullTunnel, site: &str) -> Ended {
    let laptop = &mut full.lab.laptop;
    let code = laptop.authenticator.next_code();
    laptop.set_code(&code);
    let etc = laptop.machine.path("etc");
    std::fs::create_dir_all(etc.join("wgmfa")).expect("a folder");
    std::fs::write(etc.join("wgmfa/client.toml"), site).expect("it can be written");
    // a program in this machine has a mount namespace of its own
    let script = "mount -t overlay -o \"lowerdir=$1:/etc\" overlay /etc && shift && exec \"$@\"";
    let mut sync = laptop.command("sh");
    sync.args(["-c", script, "sh"]).arg(&etc).arg(ours("wgmfa"));
    sync.args(["sync", "bastion", "--interface", &laptop.tunnel.name, "--", "-F"]).arg(laptop.ssh_config());
    run(&mut sync, b"")
}

#[test]
fn and_only_where_the_site_allows_it() {
    let mut full = FullTunnel::new();
    let before = full.routing();
    let ended = sync_where(&mut full, "way-around = []\n").expect(5);
    let error = "wgmfa: error: bastion could not be reached: the way to 198.51.100.1 runs into the tunnel: \
                 198.51.100.1: the site's client.toml does not allow it (way-around)\n";
    let hint = "wgmfa: hint: as root, or as PostUp in the interface's wg-quick file: ip rule add to 198.51.100.1 lookup \
                main\n";
    assert!(ended.stderr.contains(error) && ended.stderr.contains(hint), "{ended:?}");
    sync_where(&mut full, "way-around = [\"198.51.100.0/24\"]\n").ok();
    assert_eq!(full.routing(), before);
    full.await_tunnel();
}
