//! Lock keys in files of systemd-networkd and NetworkManager: put there by a round, renewed by `lock`, taken out by `stand-down`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::bed::{Bed, text};

/// The interface is configured there and not for wg-quick: the first peer has its key, the second none.
fn configure(bed: &Bed, place: &str) -> (PathBuf, String) {
    let [first, second] = [0, 1].map(|number: usize| bed.peers[number].public_key);
    let (interface, key) = (&bed.interface, &bed.configured);
    let content = match place {
        "networkd" => format!(
            "[NetDev]\nName={interface}\nKind=wireguard\n\n; the office\n[WireGuardPeer]\nPublicKey={first}\n\
             PresharedKey={key}\n\n[WireGuardPeer]\nAllowedIPs=10.9.0.0/24,\\\n 10.10.0.0/24\nPublicKey={second}\n"
        ),
        _ => format!(
            "[connection]\nid=Office\ntype=wireguard\ninterface-name={interface}\n\n[wireguard-peer.{first}]\n\
             preshared-key={key}\npreshared-key-flags=0\n\n# the lab\n[wireguard-peer.{second}]\nallowed-ips=10.9.0.0/24;\n"
        ),
    };
    std::fs::remove_file(bed.file()).unwrap();
    let folder = bed.path(place);
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join(if place == "networkd" { "50-office.netdev" } else { "Office.nmconnection" });
    write(&file, &content);
    bed.configure(&format!("{place}-dirs = [\"{}\"]", folder.display()));
    let peer = second.to_string();
    assert!(bed.wg(&["set", interface, "peer", &peer, "preshared-key", "/dev/null"]).status.success());
    (file, content)
}

fn write(file: &Path, content: &str) {
    std::fs::write(file, content).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// The preshared keys in a file, in order.
fn keys(file: &Path) -> Vec<String> {
    let content = std::fs::read_to_string(file).unwrap();
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        ["PresharedKey", "preshared-key"].contains(&key).then(|| value.to_owned())
    };
    content.lines().filter_map(value).collect()
}

fn a_round_locks_and_stand_down_puts_back(place: &str) {
    let bed = Bed::new(2);
    let (file, content) = configure(&bed, place);
    bed.rotate();
    let locked = keys(&file);
    assert_eq!(locked.len(), 2, "{place}");
    for (number, key) in locked.iter().enumerate() {
        assert!(*key != bed.configured && *key != bed.key_on(number), "{place}: a lock key of its own");
    }
    bed.rotate();
    assert_eq!(keys(&file), locked, "{place}: a lock key that stands stays");

    // somebody puts the old file back: no peer comes up with its old key
    write(&file, &content);
    bed.rotate();
    assert_eq!(keys(&file).len(), 2, "{place}");
    assert!(!keys(&file).contains(&bed.configured), "{place}");
    let before = keys(&file);
    assert!(bed.agent(&["lock"]).status.success());
    assert!(keys(&file).iter().all(|key| !before.contains(key)), "{place}: fresh ones");

    let out = bed.agent(&["stand-down", "--reason", "migration"]);
    assert!(out.status.success(), "{place}: {out:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    assert_eq!((bed.key_on(0).as_str(), bed.key_on(1).as_str()), (bed.configured.as_str(), "(none)"));
}

#[test]
fn in_files_of_systemd_networkd() {
    a_round_locks_and_stand_down_puts_back("networkd");
}

#[test]
fn in_files_of_networkmanager() {
    a_round_locks_and_stand_down_puts_back("networkmanager");
}

#[test]
fn a_peer_in_a_packages_file_is_named_once_and_enforced_all_the_same() {
    let bed = Bed::new(2);
    let (file, content) = configure(&bed, "networkd");
    let folder = file.parent().unwrap().display().to_string();
    bed.configure(&format!("networkd-dirs = [\"/nowhere/etc\", \"/nowhere/run\", \"{folder}\"]"));
    let out = bed.agent(&["rotate"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(6), "{said}");
    // whichever of the two comes first
    assert!(said.starts_with(&format!("wgmfa-agent: error: {}:", file.display())), "{said}");
    assert!(said.contains(": a file of the system's packages, which wgmfa does not change ("), "{said}");
    assert!(said.ends_with("; 1 more peers of that interface have no key there\n"), "{said}");
    assert!(bed.is_waiting(0) && bed.is_waiting(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    let out = bed.agent(&["stand-down", "--reason", "migration"]);
    assert!(out.status.success(), "what never was changed need not be put back: {out:?}");
    assert_eq!(bed.key_on(0), bed.configured);
}

#[test]
fn check_names_what_everybody_can_read_and_what_stands_twice() {
    let bed = Bed::new(2);
    let (file, content) = configure(&bed, "networkd");
    let peer = bed.peers[0].public_key;
    write(&file, &format!("{content}[WireGuardPeer]\nPublicKey={peer}\n"));
    bed.rotate();
    std::fs::set_permissions(bed.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let said = text(&bed.agent(&["check"]).stderr);
    let shown = file.display();
    for expected in [
        format!("error: {shown}:15: {peer} stands in {shown}:6 already\n"),
        format!("error: {shown}: everybody on this machine can read it\n"),
        format!("hint: chown root:systemd-network {shown}; chmod 0640 {shown}\n"),
    ] {
        assert!(said.contains(&expected), "{expected}--- not in\n{said}");
    }
}
