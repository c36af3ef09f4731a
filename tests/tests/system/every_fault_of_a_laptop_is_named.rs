//! `wgmfa check` on a laptop, with stock `ssh` and a real bastion: no root, no question, no failed login.

use std::os::unix::fs::PermissionsExt;

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::PORT;
use wgmfa_tests::program::{Ended, install, ours, run};

/// `wgmfa check` as root, without what it says of this machine's clock.
#[track_caller]
fn check(lab: &Lab, words: &[&str], status: i32) -> Vec<String> {
    let ended = checked(lab, words).expect(status);
    assert!(lab.laptop.asked().is_empty(), "nobody is asked: {ended:#?}");
    let json = ended.json();
    let all = ["faults", "warnings"].map(|key| json[key].as_array().expect("a list").clone()).concat();
    let texts = all.iter().map(|text| text.as_str().expect("a text").to_owned());
    texts.filter(|text| !text.starts_with("clock: no time")).collect()
}

fn checked(lab: &Lab, words: &[&str]) -> Ended {
    let mut command = lab.laptop.command(ours("wgmfa"));
    command.args(["check", "--json"]).args(words).args(["--", "-F"]).arg(lab.laptop.ssh_config());
    run(&mut command, b"")
}

#[test]
fn a_good_laptop_is_good_and_the_bastion_counts_no_failed_login() {
    let mut lab = Lab::with_resident_agent("1h");
    let interface = lab.laptop.tunnel.name.clone();
    assert_eq!(check(&lab, &["bastion", "--interface", &interface], 0), [""; 0]);
    assert!(lab.bastion.log("login-refused").is_empty());
    lab.log_in();
    assert_eq!(checked(&lab, &["bastion"]).ok().json()["faults"], serde_json::json!([]));
}

#[test]
fn each_way_not_to_reach_the_bastion_is_said_apart() {
    let lab = Lab::new("1h");
    let (address, known) = (lab.bastion.address.clone(), lab.laptop.machine.path("known_hosts"));
    let good = std::fs::read_to_string(&known).unwrap();
    let one = |words: &[&str], status: i32, expected: &str| {
        let found = check(&lab, words, status);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    };
    one(&[], 2, "no bastion is named");
    one(&["ssh://nowhere.invalid:2222"], 5, "its name does not resolve");
    one(&[&format!("ssh://{address}:9")], 5, "nothing listens there (connection refused)");
    std::fs::write(&known, "").unwrap();
    one(&["bastion"], 5, "its host key is not known here");
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    std::fs::write(&known, format!("[{address}]:{PORT} {other}\n")).unwrap();
    one(&["bastion"], 5, "its host key is not the one in known_hosts");
    std::fs::write(&known, good).unwrap();
    one(&["bastion", "--interface", "wg-gone"], 2, "no WireGuard interface wg-gone");
    let config = lab.laptop.machine.write("client.toml", "bastion = \"bastion\"\n");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o666)).unwrap();
    one(&["--config", config.to_str().unwrap()], 2, "somebody else could have written this file");
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(check(&lab, &["--config", config.to_str().unwrap()], 0), [""; 0]);
}

#[test]
fn somebody_without_rights_learns_that_sudo_gives_none() {
    let lab = Lab::new("1h");
    let folder = lab.laptop.machine.folder();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    install(ours("wgmfa"), &lab.laptop.machine.path("wgmfa"));
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
    let check = |sudo: &str| {
        let bin = lab.laptop.machine.path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("sudo"), format!("#!/bin/sh\n{sudo}\n")).unwrap();
        std::fs::set_permissions(bin.join("sudo"), PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = lab.laptop.machine.command("setpriv");
        command.args(nobody).arg(lab.laptop.machine.path("wgmfa")).args(["check", "--json", "bastion"]);
        command.args(["--", "-F"]).arg(lab.laptop.ssh_config());
        let path = format!("{}:/usr/bin:/bin", bin.display());
        run(command.env("HOME", folder).env("PATH", path), b"").json()
    };
    for file in ["ssh_config", "known_hosts"] {
        std::fs::set_permissions(lab.laptop.machine.path(file), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let forbidden = check("exit 1");
    let faults = forbidden["faults"].as_array().unwrap();
    assert!(faults.len() == 2 && faults[1].as_str().unwrap().contains("NOPASSWD: "), "{forbidden}");
    assert_eq!(check("exit 0")["faults"], serde_json::json!([]));
    let asks = check("echo 'sudo: a password is required' >&2; exit 1");
    assert_eq!((asks["faults"].as_array().unwrap().len(), asks["notes"].as_array().unwrap().len()), (0, 2), "{asks}");
}
